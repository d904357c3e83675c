"""Recognition of linear recurrences: h[t, ..] = A * h[t - 1, ..] + b, with A and b free of h.

`split_linear` brings an expression into the form A * h + b by its shape; `linear_recurrence` says what a definition is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...ir.expr import Boundary, Call, Const, Expr, Fn, const, substitute, walk
from ...ir.op import Axis, Definition, Pointwise, constant_offset


@dataclass(frozen=True)
class LinearRecurrence:
    """`axis` is the ordered one, number `position` of the free axes; `factor` and `addend` are A and b at the current
    element (None: zero); `initial` is what stands before the first element, free of the axis."""

    axis: Axis
    position: int
    factor: Expr
    addend: Expr | None
    initial: Expr


def linear_recurrence(d: Definition) -> LinearRecurrence | None:
    """What `d` is, or None: it must read itself one step back along one axis, with `.pad`, and linearly."""
    if not isinstance(d.body, Pointwise) or len(d.targets) != 1 or not d.targets[0].dtype.is_float:
        return None
    own = set(d.self_reads)
    if len(own) != 1:
        return None
    read = own.pop()
    offset = constant_offset(read, d.axes)
    if offset is None or sorted(offset) != [-1] + [0] * (len(offset) - 1):
        return None
    if read.boundary is not Boundary.PAD or read.fill is None:
        return None
    position = offset.index(-1)
    axis = d.axes[position]
    found = split_linear(d.body.expr, lambda e: e == read)
    if found is None or found[0] is None:
        return None
    initial = substitute(read.fill, {axis.name: const(0)})
    return LinearRecurrence(axis, position, found[0], found[1], initial)


def split_linear(e: Expr, is_state: Callable[[Expr], bool]) -> tuple[Expr | None, Expr | None] | None:
    """(A, b) with e = A * state + b, None for a zero; None altogether where `e` is not linear by its shape."""
    if is_state(e):
        return Const(1.0), None
    if not any(is_state(n) for n in walk(e)):
        return None, e
    match e:
        case Call(Fn.ADD | Fn.SUB as fn, (x, y)):
            left, right = split_linear(x, is_state), split_linear(y, is_state)
            if left is None or right is None:
                return None
            return _sum(fn, left[0], right[0]), _sum(fn, left[1], right[1])
        case Call(Fn.NEG, (x,)):
            inner = split_linear(x, is_state)
            return None if inner is None else (_sum(Fn.SUB, None, inner[0]), _sum(Fn.SUB, None, inner[1]))
        case Call(Fn.MUL, (x, y)):
            for scale, rest in ((x, y), (y, x)):
                if not any(is_state(n) for n in walk(scale)):
                    inner = split_linear(rest, is_state)
                    return None if inner is None else (_product(scale, inner[0]), _product(scale, inner[1]))
        case Call(Fn.DIV, (x, y)) if not any(is_state(n) for n in walk(y)):
            inner = split_linear(x, is_state)
            return None if inner is None else (_over(inner[0], y), _over(inner[1], y))
        case Call(Fn.FMA, (x, y, z)):
            return split_linear(Call(Fn.ADD, (Call(Fn.MUL, (x, y)), z)), is_state)
        case Call(Fn.SELECT, (c, x, y)) if not any(is_state(n) for n in walk(c)):
            left, right = split_linear(x, is_state), split_linear(y, is_state)
            if left is None or right is None:
                return None
            return _choice(c, left[0], right[0]), _choice(c, left[1], right[1])
    return None


def _sum(fn: Fn, a: Expr | None, b: Expr | None) -> Expr | None:
    if b is None:
        return a
    if a is None:
        return b if fn is Fn.ADD else Call(Fn.NEG, (b,))
    return Call(fn, (a, b))


def _product(scale: Expr, e: Expr | None) -> Expr | None:
    if e is None:
        return None
    return scale if e == Const(1.0) else Call(Fn.MUL, (scale, e))


def _over(e: Expr | None, by: Expr) -> Expr | None:
    return None if e is None else Call(Fn.DIV, (e, by))


def _choice(c: Expr, a: Expr | None, b: Expr | None) -> Expr | None:
    if a is None and b is None:
        return None
    return Call(Fn.SELECT, (c, Const(0.0) if a is None else a, Const(0.0) if b is None else b))
