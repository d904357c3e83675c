"""Simplification of every expression of an op, bit for bit (algebra.py has the rules).

    y[i] = x[i] / 4.0 * 1.0                          -->   y[i] = x[i] * 0.25
    s[i] = sum[j where i >= j and 0 <= j] x[i, j]    -->   s[i] = sum[j where j <= i] x[i, j]

Runs first, so that every later pass compares normal forms (guards of streams, equal definitions), and again after
passes that compose expressions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.dtypes import DType
from ...ir.expr import Call, Const, Expr, Fn, Read, walk
from ...ir.op import Axis, Definition, Op, Pointwise, Reduction
from ...ir.ranges import Domain, domain
from ...ir.typing import TypeEnv
from .algebra import Algebra
from .elaborating import tensor_types
from .names import axes_of


@dataclass(frozen=True)
class Simplify:
    """Normal forms, without a change of any result."""

    name: ClassVar[str] = "simplify"
    form: ClassVar[str] = "op"

    def run(self, op: Op) -> Op:
        env = TypeEnv(tensor_types(op))
        return replace(op, definitions=tuple(simplify_definition(d, env, op.facts) for d in op.definitions))


def simplify_definition(d: Definition, env: TypeEnv, facts: tuple[Expr, ...]) -> Definition:
    """One definition; its axes' ranges and the op's facts decide comparisons. A guard that always holds goes."""
    algebra = Algebra(env, known(d.axes, facts))
    bounded = algebra_of_body(d, env, facts)
    match d.body:
        case Pointwise(expr):
            return replace(d, body=Pointwise(algebra.simplify(expr)))
        case Reduction(args=args, guard=guard) as r:
            axes = tuple(replace(a, lo=algebra.simplify(a.lo), hi=algebra.simplify(a.hi)) for a in r.axes)
            if guard is not None:
                guard = bounded.simplify(guard)
                if guard == Const(True, DType.BOOL):
                    guard = None
                elif plain(guard):
                    bounded = replace(bounded, domain=bounded.domain.with_condition(guard))
            new = tuple(bounded.simplify(a) for a in args)
            return replace(d, body=replace(r, axes=axes, args=new, guard=guard))
    return d.with_expressions(tuple(bounded.simplify(e) for e in d.expressions))


def known(axes: tuple[Axis, ...], facts: tuple[Expr, ...]) -> Domain:
    """The domain inside a definition: the ranges of its axes (those whose bounds read nothing) and the facts."""
    ranges: dict[str, tuple[Expr, Expr]] = {}
    for a in axes:
        if plain(a.lo) and plain(a.hi):
            ranges[a.name] = (a.lo, Call(Fn.SUB, (a.hi, Const(1, DType.I64))))
    return domain(ranges, facts)


def algebra_of_body(d: Definition, env: TypeEnv, facts: tuple[Expr, ...]) -> Algebra:
    """The algebra inside the body, where the body's own axes are in range as well."""
    return Algebra(env, known(axes_of(d), facts))


def plain(e: Expr) -> bool:
    """Reads no tensor."""
    return not any(isinstance(n, Read) for n in walk(e))
