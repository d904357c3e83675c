"""Whole ranges: a reduction over part of an axis becomes one over all of it, guarded.

    p[b, t] = exp(s[b, t]);  z[b] = sum[t in 0..length[b]] p[b, t]
      -->                    z[b] = sum[t where t < length[b]] p[b, t]

Only where what is reduced was computed along the whole axis: then both are one axis, and a shared pass can compute `p`
tile by tile instead of keeping it; a loop over tiles ends where the guard no longer holds. What an op reads through
bounds alone (rows of a sparse matrix) keeps them. Sound because the bounds lie inside of the axis; the call checks it.
All components of a stream change together. Runs after streams are found and before subexpressions are named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.expr import Boundary, Call, Expr, Fn, Var, as_int, const, reads
from ...ir.op import Axis, Definition, Op, Reduction


@dataclass(frozen=True)
class WholeRanges:
    name: ClassVar[str] = "whole_ranges"
    form: ClassVar[str] = "op"

    def run(self, op: Op) -> Op:
        changed: dict[str, Definition] = {}
        for names in _together(op):
            members = [d for n in names if (d := op.definition_of(n)) is not None]
            wholes = {axis for d in members if (axis := _whole_axis(op, d)) is not None}
            if len(wholes) != 1:
                continue
            whole = wholes.pop()
            changed |= {d.name: _guarded(d, whole) for d in members}
        if not changed:
            return op
        return replace(op, definitions=tuple(changed.get(d.name, d) for d in op.definitions))


def _together(op: Op) -> list[tuple[str, ...]]:
    """Definitions whose ranges must stay the same: the components of each stream, every other one by itself."""
    out = [tuple(c.target for c in s.components) for s in op.streams]
    streamed = {name for group in out for name in group}
    return out + [(d.name,) for d in op.definitions if d.name not in streamed]


def _is_partial(axis: Axis) -> bool:
    """It begins at 0, and a tensor says where it ends."""
    return as_int(axis.lo) == 0 and bool(reads(axis.hi))


def _whole_axis(op: Op, definition: Definition) -> Expr | None:
    """The extent of the axis of what is read along the only reduction axis, which runs over a part of it."""
    body = definition.body
    if not isinstance(body, Reduction) or len(body.axes) != 1 or not _is_partial(body.axes[0]):
        return None
    found: set[Expr] = set()
    for read in definition.reads:
        producer = op.definition_of(read.tensor)
        if producer is None or producer is definition or read.boundary is not Boundary.NONE:
            continue
        for index, own in zip(read.index, producer.axes, strict=False):  # lists have a dimension more
            if index == Var(body.axes[0].name) and as_int(own.lo) == 0 and not reads(own.hi):
                found.add(own.hi)
    return found.pop() if len(found) == 1 else None


def _guarded(definition: Definition, whole: Expr) -> Definition:
    body = definition.body
    assert isinstance(body, Reduction)
    (axis,) = body.axes
    inside: Expr = Call(Fn.LT, (Var(axis.name), axis.hi), definition.location)
    guard = inside if body.guard is None else Call(Fn.AND, (inside, body.guard), definition.location)
    return replace(definition, body=replace(body, axes=(replace(axis, lo=const(0), hi=whole),), guard=guard))
