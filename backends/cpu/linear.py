"""Index expressions as `sum of coefficient * tile coordinate + rest`, and what the rest depends on."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.expr import Call, Coord, Expr, Fn, Ref, as_int, const, walk
from .context import Context
from .tiles import MutableTile, Spot


@dataclass(frozen=True)
class Split:
    """`coefficients[k]` multiplies `Coord(k)`; `rest` is the same in all lanes but may differ from row to row."""

    coefficients: tuple[int, ...]
    rest: Expr

    def scaled(self, factor: int) -> Split:
        return Split(tuple(c * factor for c in self.coefficients), _mul(self.rest, factor))


def lane_dependent(ctx: Context, expr: Expr, rank: int) -> bool:
    """Whether lanes of one row may see different values."""
    for node in walk(expr):
        if isinstance(node, Coord) and node.axis == rank - 1:
            return True
        if isinstance(node, Ref) and ctx.tile(node.name).has_lanes:
            return True
    return False


def has_lanes(ctx: Context, expr: Expr, spot: Spot) -> bool:
    return lane_dependent(ctx, expr, len(spot.shape))


def row_dependent(ctx: Context, expr: Expr) -> bool:
    """Whether rows may see different values."""
    for node in walk(expr):
        if isinstance(node, Coord):
            return True
        if isinstance(node, Ref) and any(ctx.tile(node.name).wide):
            return True
    return False


def split(ctx: Context, expr: Expr, rank: int) -> Split | None:
    """The split form, or None where lanes enter in another way than linearly."""
    zero = (0,) * rank
    match expr:
        case Coord(axis):
            return Split(tuple(int(k == axis) for k in range(rank)), const(0))
        case Call(Fn.NEG, (a,)):
            part = split(ctx, a, rank)
            return None if part is None else part.scaled(-1)
        case Call(Fn.ADD | Fn.SUB as fn, (a, b)):
            left, right = split(ctx, a, rank), split(ctx, b, rank)
            if left is None or right is None:
                return None
            sign = 1 if fn is Fn.ADD else -1
            both = zip(left.coefficients, right.coefficients, strict=True)
            return Split(tuple(x + sign * y for x, y in both), _add(left.rest, right.rest, fn))
        case Call(Fn.MUL, (a, b)):
            for factor, other in ((as_int(a), b), (as_int(b), a)):
                if factor is not None:
                    part = split(ctx, other, rank)
                    return None if part is None else part.scaled(factor)
    return None if lane_dependent(ctx, expr, rank) else Split(zero, expr)


def _add(a: Expr, b: Expr, fn: Fn) -> Expr:
    x, y = as_int(a), as_int(b)
    if x is not None and y is not None:
        return const(x + y if fn is Fn.ADD else x - y)
    if y == 0:
        return a
    if x == 0 and fn is Fn.ADD:
        return b
    return Call(fn, (a, b))


def _mul(a: Expr, factor: int) -> Expr:
    x = as_int(a)
    if x is not None:
        return const(x * factor)
    return a if factor == 1 else Call(Fn.MUL, (a, const(factor)))


def dependencies(ctx: Context, *exprs: Expr | None) -> frozenset[str]:
    """The mutable tiles that expressions look at."""
    names = {n.name for e in exprs if e is not None for n in walk(e) if isinstance(n, Ref)}
    return frozenset(n for n in names if isinstance(ctx.names.get(n), MutableTile))
