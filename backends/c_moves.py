"""Bulk copies as loops over elements (`memcpy` where whole runs are contiguous)."""

from __future__ import annotations

from ..ir.errors import ScheduleError
from ..ir.expr import Const, Var
from ..ir.gir import Access, Move
from .c_expr import At, Scope
from .c_index import Poly, offset, poly, uses_coord
from .c_tile_base import Buffer
from .c_tiles import TilePrinter
from .c_values import ATOM, SUM
from .c_writer import Writer


def print_move(s: Move, tiles: TilePrinter, scope: Scope, w: Writer) -> None:
    """`target[...] = source[...]` over the box; where the predicate fails, the fill if there is one."""
    target, to = _address(s.target, tiles)
    source, at_source = _address(s.source, tiles)
    last = len(s.shape) - 1
    names = [f"c{k}" for k in range(len(s.shape))]
    at = At(tuple(Var("%" + n) for n in names))
    run = (
        s.predicate is None
        and source.dtype is target.dtype
        and last >= 0
        and all(p.stride(last, lambda f: uses_coord(f, last)) == Poly((((), 1),)) for p in (to, at_source))
    )
    axes = range(last) if run else range(last + 1)
    for k in axes:
        extent = tiles.printer.poly(poly(s.shape[k]), At(), scope).at(SUM)
        w.line(f"for (int64_t {names[k]} = 0; {names[k]} < {extent}; ++{names[k]}) {{")
        w.depth += 1
    if run:
        length = tiles.printer.poly(poly(s.shape[last]), At(), scope)
        start = At((*at.coords[:last], Const(0)))
        places = [
            b.name + ("" if x == "0" else f" + {x}")
            for b, x in (
                (target, tiles.flat(to, start, scope).at(SUM)),
                (source, tiles.flat(at_source, start, scope).at(SUM)),
            )
        ]
        if not length.text.isdecimal():
            w.line(f"if ({length.text} > 0)")
            w.depth += 1
        size = f"(size_t){length.at(ATOM)} * {target.dtype.bytes}"
        w.line(f"memcpy({places[0]}, {places[1]}, {size});")
        w.depth -= 0 if length.text.isdecimal() else 1
    else:
        _element(s, tiles, (target, to), (source, at_source), at, scope, w)
    for _ in axes:
        w.depth -= 1
        w.line("}")


def _address(access: Access, tiles: TilePrinter) -> tuple[Buffer, Poly]:
    if access.buffer not in tiles.buffers:
        raise ScheduleError(f"there is no buffer '{access.buffer}' here", remedy="allocate it, or declare a tensor")
    buffer = tiles.buffers[access.buffer]
    if len(access.index) != len(buffer.shape):
        raise ScheduleError(f"'{access.buffer}' has {len(buffer.shape)} dimensions", remedy="one index per dimension")
    return buffer, offset(access.index, buffer.shape)


def _element(
    s: Move,
    tiles: TilePrinter,
    target: tuple[Buffer, Poly],
    source: tuple[Buffer, Poly],
    at: At,
    scope: Scope,
    w: Writer,
) -> None:
    convert = tiles.printer.convert
    where = tiles.flat(target[1], at, scope)
    if source[0].dtype is target[0].dtype:
        copied = f"{target[0].name}[{where.text}] = {source[0].name}[{tiles.flat(source[1], at, scope).text}];"
    else:
        read = tiles.element(source[0], source[0].name, tiles.flat(source[1], at, scope))
        copied = tiles.assignment(target[0], target[0].name, where, tiles.stored(read, target[0].dtype))
    if s.predicate is None:
        w.line(copied)
        return
    with w.block(f"if ({tiles.condition(s.predicate, at, scope).text})"):
        w.line(copied)
    if s.fill is not None:
        arithmetic = source[0].dtype.arithmetic
        fill = convert.cast(tiles.printer.value(s.fill, at, scope, arithmetic), arithmetic)
        with w.block("else"):
            w.line(tiles.assignment(target[0], target[0].name, where, tiles.stored(fill, target[0].dtype)))
