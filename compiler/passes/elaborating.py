"""Typing of what a pass builds: literals and widenings made explicit again, so that the result is a valid op."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...ir.dtypes import DType
from ...ir.expr import Expr
from ...ir.op import Axis, Compact, Component, Definition, Op, Pointwise, Reduction, Sort, Stream
from ...ir.typing import TypeEnv, elaborate


def tensor_types(op: Op) -> dict[str, DType]:
    """Element types of every tensor of an op."""
    return {name: t.dtype for name, t in op.tensors.items()}


def elaborated(d: Definition, types: Mapping[str, DType]) -> Definition:
    """The definition with every literal typed. Raises TypeMismatch where operands do not go together."""
    env = TypeEnv(types)

    def exact(e: Expr, dtype: DType) -> Expr:
        return elaborate(e, env, dtype, exact=True)[0]

    def axis(a: Axis) -> Axis:
        return replace(a, lo=exact(a.lo, DType.I64), hi=exact(a.hi, DType.I64))

    match d.body:
        case Pointwise(expr):
            return replace(d, body=Pointwise(elaborate(expr, env, d.targets[0].dtype.arithmetic)[0]))
        case Reduction() as r:
            wants = [w or t.dtype.arithmetic for w, t in zip(state_types(r, d), d.targets, strict=True)]
            args = tuple(exact(a, w) for a, w in zip(r.args, wants, strict=True))
            guard = None if r.guard is None else exact(r.guard, DType.BOOL)
            return replace(d, body=replace(r, args=args, guard=guard, axes=tuple(map(axis, r.axes))))
        case Compact(a, guard):
            return replace(d, body=Compact(axis(a), exact(guard, DType.BOOL)))
        case Sort() as s:
            return replace(d, body=replace(s, key=elaborate(s.key, env)[0], axis=axis(s.axis)))


def state_types(r: Reduction, d: Definition) -> tuple[DType | None, ...]:
    """The types of the monoid's state, where the monoid says them."""
    return r.monoid.dtypes or (None,) * len(d.targets)


def elaborated_stream(s: Stream, op: Op) -> Stream:
    """The stream with its repairs typed; old and new values have the types of their reductions' states."""
    params: dict[str, DType] = {}
    for c in s.components:
        d = op.definition_of(c.target)
        assert d is not None and isinstance(d.body, Reduction)
        found = state_types(d.body, d)[d.target_names.index(c.target)] or d.targets[0].dtype.arithmetic
        params[f"old.{c.target}"] = params[f"new.{c.target}"] = found
    env = TypeEnv(tensor_types(op), params=params)
    out = []
    for c in s.components:
        if c.repair is None:
            out.append(c)
        else:
            want = params[f"new.{c.target}"]
            out.append(Component(c.target, elaborate(c.repair, env, want, exact=True)[0]))
    return replace(s, components=tuple(out))
