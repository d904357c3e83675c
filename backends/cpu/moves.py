"""Bulk copies written out as loops of loads and stores."""

from __future__ import annotations

from ...ir.affine import affine
from ...ir.expr import Call, Coord, Expr, Fn, Var, as_int, const, rewrite
from ...ir.gir import Access, Load, Loop, LoopKind, Move, Stmt, Store

_VECTORS_AT_ONCE = 4


def expand_move(move: Move, lanes: int) -> tuple[Stmt, ...]:
    """`move` as a nest of loops: vectors along an axis that is contiguous in the source or the target.

    move dst[f(@0, @1)] = src[g(@0, @1)] over [E0, E1]
    -->
    for m0 in 0..E0 { for m1 in 0..E1 step 64 { t = load src[g(m0, m1 + @0)]; store dst[f(m0, m1 + @0)] = t } tail }
    """
    rank = len(move.shape)
    axis = _vector_axis(move)
    order = [k for k in range(rank) if k != axis]
    if axis is None:
        return _nest(move, order, _copy(move, {}, 1, None))
    extent = move.shape[axis]
    width = lanes * _VECTORS_AT_ONCE
    known = as_int(extent)
    if known is not None and known <= width:
        return _nest(move, order, _copy(move, {axis: Coord(0)}, known, None))
    var = f"$m{axis}"
    start = Var(var)
    whole = Call(Fn.SUB, (extent, const(width - 1))) if known is None else const(known // width * width)
    main = Loop(
        var, const(0), whole, width, LoopKind.SERIAL, _copy(move, {axis: Call(Fn.ADD, (start, Coord(0)))}, width, None)
    )
    stmts: tuple[Stmt, ...] = (main,)
    if known is None or known % width:
        first = Call(Fn.MUL, (Call(Fn.FLOORDIV, (extent, const(width))), const(width)))
        here = Call(Fn.ADD, (start, Coord(0)))
        inside = Call(Fn.LT, (here, extent))
        tail = Loop(var, first, extent, lanes, LoopKind.SERIAL, _copy(move, {axis: here}, lanes, inside))
        stmts += (tail,)
    return _nest(move, order, stmts)


def _vector_axis(move: Move) -> int | None:
    """The axis with stride one in the target, else in the source."""
    for access in (move.target, move.source):
        last = affine(access.index[-1]) if access.index else None
        if last is None:
            continue
        for axis in range(len(move.shape)):
            name = f"@{axis}"
            elsewhere = any(_uses(e, axis) for e in access.index[:-1])
            if last.coefficients.get(name) == 1 and not elsewhere:
                return axis
    return None


def _uses(expr: Expr, axis: int) -> bool:
    from ...ir.expr import walk

    return any(isinstance(n, Coord) and n.axis == axis for n in walk(expr))


def _copy(move: Move, given: dict[int, Expr], width: int, inside: Expr | None) -> tuple[Stmt, ...]:
    """One piece: coordinates become loop variables, the vector axis a lane."""
    values = {k: given.get(k, Var(f"$m{k}")) for k in range(len(move.shape))}

    def place(e: Expr) -> Expr:
        return rewrite(e, lambda n: values[n.axis] if isinstance(n, Coord) else None)

    shape = (width,) if given else ()
    predicate = None if move.predicate is None else place(move.predicate)
    source = Access(move.source.buffer, tuple(place(e) for e in move.source.index))
    target = Access(move.target.buffer, tuple(place(e) for e in move.target.index))
    read = predicate if inside is None else inside if predicate is None else Call(Fn.AND, (inside, predicate))
    fill = None if move.fill is None else place(move.fill)
    if read is not None and fill is None:
        fill = const(0)
    load = Load("$move", shape, source, read, fill, move.location)
    from ...ir.expr import Ref

    written = inside if move.fill is not None or move.predicate is None else read
    return (load, Store(target, shape, Ref("$move"), written, location=move.location))


def _nest(move: Move, order: list[int], inner: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    for k in reversed(order):
        inner = (Loop(f"$m{k}", const(0), move.shape[k], 1, LoopKind.SERIAL, inner),)
    return inner
