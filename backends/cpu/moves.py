"""Bulk copies written out as loops of loads and stores."""

from __future__ import annotations

from dataclasses import replace

from ...ir.affine import affine
from ...ir.expr import Call, Coord, Expr, Fn, Ref, Var, as_int, const, rewrite, walk
from ...ir.gir import Access, Load, Loop, LoopKind, Move, Stmt, Store
from .pair_moves import PairMove, contiguous_pairs, copy_pairs

_VECTORS_AT_ONCE = 4
_TILES_AT_ONCE = 4


def expand_move(move: Move, lanes: int, tile: int) -> tuple[Stmt, ...]:
    """`move` as a nest of loops: vectors along an axis that is contiguous in the source or the target.

    move dst[f(@0, @1)] = src[g(@0, @1)] over [E0, E1]
    -->
    for m0 in 0..E0 { for m1 in 0..E1 step 64 { t = load src[g(m0, m1 + @0)]; store dst[f(m0, m1 + @0)] = t } tail }

    Where the contiguous axes of the two differ, squares of `tile` elements a side go through registers, and the edges
    element by element. An extent below zero is an empty box.
    """
    known = [as_int(e) for e in move.shape]
    if any(n is not None and n <= 0 for n in known):
        return ()
    counted = zip(move.shape, known, strict=True)
    shape = tuple(e if n is not None or isinstance(e, Var) else Call(Fn.MAX, (e, const(0))) for e, n in counted)
    move = replace(move, shape=shape)
    target, source = _contiguous(move, move.target), _contiguous(move, move.source)
    if isinstance(move, PairMove):
        target, source = contiguous_pairs(move, True), contiguous_pairs(move, False)
    apart = isinstance(move, PairMove) and move.apart  # blocks hold values as they are loaded
    if target is not None and source is not None and target != source and move.predicate is None and not apart:
        return _transposing(move, target, source, lanes, tile)
    return _straight(move, target if target is not None else source, lanes)


def _straight(move: Move, axis: int | None, lanes: int) -> tuple[Stmt, ...]:
    order = [k for k in range(len(move.shape)) if k != axis]
    if axis is None:
        return _nest(move, order, _copy(move, {}, (), None))
    extent, width = move.shape[axis], lanes * _VECTORS_AT_ONCE
    known = as_int(extent)
    if known is not None and known <= width:
        return _nest(move, order, _copy(move, {axis: Coord(0)}, (known,), None)) if known else ()
    here = Call(Fn.ADD, (Var(f"$m{axis}"), Coord(0)))
    main = _loop(axis, const(0), _whole(extent, width), width, _copy(move, {axis: here}, (width,), None))
    tail: tuple[Stmt, ...] = ()
    if known is None or known % width:
        inside = Call(Fn.LT, (here, extent))
        tail = (_loop(axis, _whole(extent, width), extent, lanes, _copy(move, {axis: here}, (lanes,), inside)),)
    return _nest(move, order, (main, *tail))


def _transposing(move: Move, target: int, source: int, lanes: int, n: int) -> tuple[Stmt, ...]:
    places: dict[int, Expr] = {
        target: Call(Fn.ADD, (Var(f"$m{target}"), Coord(0))),
        source: Call(Fn.ADD, (Var(f"$m{source}"), Coord(1))),
    }
    ends = {k: _whole(move.shape[k], n) for k in (target, source)}
    block = _copy(move, places, (n, n), None)
    # A few tiles side by side along the source, so that whole runs of it are read while its pages are at hand.
    outer, run = f"$o{source}", n * _TILES_AT_ONCE
    stop = Call(Fn.MIN, (Call(Fn.ADD, (Var(outer), const(run))), ends[source]))
    inner = Loop(f"$m{source}", Var(outer), stop, n, LoopKind.SERIAL, block)
    middle = _loop(target, const(0), ends[target], n, (inner,))
    others = [k for k in range(len(move.shape)) if k not in places]
    main = _nest(move, others, (Loop(outer, const(0), ends[source], run, LoopKind.SERIAL, (middle,)),))
    below = _part(move, target, ends[target], move.shape[target])
    beside = _part(_part(move, target, const(0), ends[target]), source, ends[source], move.shape[source])
    return (*main, *_straight(below, source, lanes), *_straight(beside, target, lanes))


def _part(move: Move, axis: int, lo: Expr, hi: Expr) -> Move:
    """The same copy with one coordinate between lo and hi only."""

    def place(e: Expr) -> Expr:
        return rewrite(e, lambda x: Call(Fn.ADD, (x, lo)) if isinstance(x, Coord) and x.axis == axis else None)

    if as_int(lo) == 0:
        return replace(move, shape=tuple(hi if k == axis else e for k, e in enumerate(move.shape)))
    a, b = as_int(lo), as_int(hi)
    extent = const(b - a) if a is not None and b is not None else Call(Fn.SUB, (hi, lo))
    return replace(
        move,
        shape=tuple(extent if k == axis else e for k, e in enumerate(move.shape)),
        source=Access(move.source.buffer, tuple(place(e) for e in move.source.index)),
        target=Access(move.target.buffer, tuple(place(e) for e in move.target.index)),
    )


def _whole(extent: Expr, width: int) -> Expr:
    """The largest multiple of `width` up to an extent."""
    known = as_int(extent)
    if known is not None:
        return const(known // width * width)
    return Call(Fn.MUL, (Call(Fn.FLOORDIV, (extent, const(width))), const(width)))


def _contiguous(move: Move, access: Access) -> int | None:
    """The axis along which neighbours are neighbours in memory."""
    rank = len(move.shape)
    last = affine(access.index[-1]) if access.index else None
    if last is None:
        return None
    for axis in range(rank):
        elsewhere = any(isinstance(n, Coord) and n.axis == axis for e in access.index[:-1] for n in walk(e))
        if last.coefficients.get(f"@{axis}") == 1 and not elsewhere:
            return axis
    return None


def _copy(move: Move, given: dict[int, Expr], shape: tuple[int, ...], inside: Expr | None) -> tuple[Stmt, ...]:
    """One piece: coordinates become loop variables or, as `given` says, tile coordinates."""
    values = {k: given.get(k, Var(f"$m{k}")) for k in range(len(move.shape))}
    if isinstance(move, PairMove):
        return copy_pairs(move, values, shape, inside)

    def place(e: Expr) -> Expr:
        return rewrite(e, lambda n: values[n.axis] if isinstance(n, Coord) else None)

    predicate = None if move.predicate is None else place(move.predicate)
    source = Access(move.source.buffer, tuple(place(e) for e in move.source.index))
    target = Access(move.target.buffer, tuple(place(e) for e in move.target.index))
    read = predicate if inside is None else inside if predicate is None else Call(Fn.AND, (inside, predicate))
    fill = None if move.fill is None else place(move.fill)
    if read is not None and fill is None:
        fill = const(0)
    # With a fill the whole box is written, without one only where the predicate holds.
    written = inside if move.fill is not None else read
    load = Load("$move", shape, source, read, fill, move.location)
    return (load, Store(target, shape, Ref("$move"), written, location=move.location))


def _loop(axis: int, lo: Expr, hi: Expr, step: int, body: tuple[Stmt, ...]) -> Loop:
    return Loop(f"$m{axis}", lo, hi, step, LoopKind.SERIAL, body)


def _nest(move: Move, order: list[int], inner: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    for k in reversed(order):
        inner = (_loop(k, const(0), move.shape[k], 1, inner),)
    return inner
