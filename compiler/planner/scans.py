"""Recurrences that are scans: y[.., j] = fn(y[.., j - 1], b[.., j]) with an associative `fn` and `b` free of y.

The steps of such a recurrence need not be taken one after the other: the folds up to every element of a vector take
log2(lanes) steps of the whole vector, and one more joins them to what came before.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.expr import Boundary, Call, Expr, Fn, Read, const, substitute, walk
from ...ir.op import Definition, Pointwise, constant_offset
from ..remembered import remembered

_FOLDS = frozenset({Fn.ADD, Fn.MAX, Fn.MIN, Fn.AND, Fn.OR})


@dataclass(frozen=True)
class Scanned:
    """`axis` is the last axis of the definition; `initial` stands before its first element, free of the axis."""

    axis: str
    fn: Fn
    addend: Expr
    initial: Expr


@remembered
def scanned(d: Definition) -> Scanned | None:
    """What scan `d` is, or None. A state that is rounded or wrapped at every step is none, since the order matters, nor
    is a product of floats: those of a few factors may overflow where the whole does not."""
    if not isinstance(d.body, Pointwise) or len(d.targets) != 1 or not d.axes or len(set(d.self_reads)) != 1:
        return None
    dtype = d.targets[0].dtype
    read = d.self_reads[0]
    offset = constant_offset(read, d.axes)
    if dtype.arithmetic is not dtype or offset is None or list(offset) != [0] * (len(d.axes) - 1) + [-1]:
        return None
    if read.boundary is not Boundary.PAD or read.fill is None:
        return None
    found = _split(d.body.expr, read)
    if found is None or (found[0] is Fn.MUL and dtype.is_float):
        return None
    axis = d.axes[-1].name
    return Scanned(axis, *found, substitute(read.fill, {axis: const(0)}))


def _split(e: Expr, state: Read) -> tuple[Fn, Expr] | None:
    """(fn, b) with e = fn(state, b)."""
    if not isinstance(e, Call) or len(e.args) != 2:
        return None
    a, b = e.args
    if e.fn is Fn.SUB and not _has(b, state):
        if a == state:
            return Fn.ADD, Call(Fn.NEG, (b,))
        inner = _split(a, state)
        return (Fn.ADD, Call(Fn.SUB, (inner[1], b))) if inner is not None and inner[0] is Fn.ADD else None
    if e.fn not in _FOLDS and e.fn is not Fn.MUL:
        return None
    for one, other in ((a, b), (b, a)):
        if _has(other, state):
            continue
        if one == state:
            return e.fn, other
        inner = _split(one, state)
        if inner is not None and inner[0] is e.fn:
            return e.fn, Call(e.fn, (inner[1], other))
    return None


def _has(e: Expr, state: Read) -> bool:
    return any(n == state for n in walk(e))
