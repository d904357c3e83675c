"""Name costly subexpressions that vary along fewer axes than the definition that holds them.

    o[i, e] = sum[j] exp(s[i, j] - m[i]) * v[j, e]
      -->  p[i, j] = exp(s[i, j] - m[i]);  o[i, e] = sum[j] p[i, j] * v[j, e]

Inlining (which the detection of streams needs) leaves such recomputation behind: here an exponential per (i, j, e)
instead of per (i, j). An expression is costly when it calls a transcendental function. Other definitions that hold
the same expression read the new definition too. Runs after streaming, before planning. Gathers and what stands in a
recurrence stay where they are; reads that a guard keeps inside are padded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...ir.expr import Boundary, Call, Expr, Fn, Read, Var, as_int, reads, rewrite, variables, walk
from ...ir.op import Axis, Definition, Op, Pointwise, Reduction, Tensor
from ..axes import all_axes, unify_axes
from ..op_types import op_dtype
from .compose import padded

COSTLY = frozenset(
    {Fn.EXP, Fn.EXP2, Fn.EXPM1, Fn.LOG, Fn.LOG2, Fn.LOG1P, Fn.TANH, Fn.SIGMOID, Fn.ERF, Fn.SIN, Fn.COS, Fn.POW}
)


@dataclass(frozen=True)
class Factor:
    """`limit` bounds the number of new definitions."""

    name: str = "factor"
    form: str = "op"
    limit: int = 64

    def run(self, op: Op) -> Op:
        op = unify_axes(op)
        for _ in range(self.limit):
            found = _find(op)
            if found is None:
                break
            op = _extract(op, *found)
        return op


def _is_costly(expr: Expr) -> bool:
    return any(isinstance(e, Call) and e.fn in COSTLY for e in walk(expr))


def _axes_of(expr: Expr, definition: Definition) -> list[Axis]:
    used = variables(expr)
    return [a for a in all_axes(definition) if a.name in used]


def _find(op: Op) -> tuple[int, Expr] | None:
    for number, definition in enumerate(op.definitions):
        if definition.is_recurrence or not isinstance(definition.body, Reduction):
            continue
        for argument in definition.body.args:
            for expr in walk(argument):
                if not isinstance(expr, Call) or expr.fn not in COSTLY:
                    continue
                axes = _axes_of(expr, definition)
                whole = len(axes) < len(all_axes(definition)) and axes
                simple = all(not (variables(a.lo) | variables(a.hi)) & _names(definition) for a in axes)
                if whole and simple and all(_plain_bounds(a) for a in axes) and _reads_safely(expr):
                    return number, expr
    return None


def _names(definition: Definition) -> set[str]:
    return {a.name for a in all_axes(definition)}


def _plain_bounds(axis: Axis) -> bool:
    """The axis runs from 0 to an extent that no tensor decides."""
    return as_int(axis.lo) == 0 and not reads(axis.hi)


def _reads_safely(expr: Expr) -> bool:
    """No gathers: outside of the reduction's guard an index could be out of range."""
    return all(not isinstance(e, Read) or all(not _has_read(i) for i in e.index) for e in walk(expr))


def _has_read(expr: Expr) -> bool:
    return any(isinstance(e, Read) for e in walk(expr))


def _extract(op: Op, number: int, expr: Expr) -> Op:
    definition = op.definitions[number]
    axes = tuple(_axes_of(expr, definition))
    value = _everywhere(expr, axes, op) if isinstance(definition.body, Reduction) and definition.body.guard else expr
    name = _fresh(op, f"{definition.name.split('$')[0]}$f")
    tensor = Tensor(name, op_dtype(expr, op), tuple(a.hi for a in axes), definition.location)
    new = Definition((tensor,), axes, Pointwise(value), definition.location)
    read = Read(name, tuple(Var(a.name) for a in axes))

    def replaced(d: Definition) -> Definition:
        if d.is_recurrence or not {a.name for a in axes} <= {a.name for a in all_axes(d)}:
            return d
        return d.with_expressions(tuple(rewrite(e, lambda x: read if x == expr else None) for e in d.expressions))

    # the first definition that holds the expression decides where the new one stands
    holders = [n for n, d in enumerate(op.definitions) if any(x == expr for e in d.expressions for x in walk(e))]
    first = min([*holders, number])
    rest = tuple(replaced(d) for d in op.definitions[first:])
    return replace(op, definitions=(*op.definitions[:first], new, *rest))


def _everywhere(expr: Expr, axes: tuple[Axis, ...], op: Op) -> Expr:
    """The expression without the guard that kept its reads inside: those that need it are padded; what they give
    where it does not hold is read by nobody."""
    extents: dict[Expr, Expr] = {Var(a.name): a.hi for a in axes}

    def rule(e: Expr) -> Expr | None:
        if not isinstance(e, Read) or e.boundary is not Boundary.NONE:
            return None
        shape = op.tensors[e.tensor].shape
        if all(extents.get(i) == n for i, n in zip(e.index, shape, strict=True)):
            return None
        return padded(e, op.tensors)

    return rewrite(expr, rule)


def _fresh(op: Op, base: str) -> str:
    count = 0
    name = base
    while name in op.tensors:
        count += 1
        name = f"{base}{count}"
    return name
