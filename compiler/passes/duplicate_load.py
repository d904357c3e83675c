"""Duplicate loads: data that a tile already holds is not loaded again.

    a = load<16> x[i, j + @0]            a = load<16> x[i, j + @0]
    b = load<16> x[i, j + @0]    -->     y = a + a
    y = a + b

A load is a duplicate of an earlier one of the same elements in this body or one around it, when nothing between them
may have changed the buffer (a write, a sync, a write anywhere in a loop entered since) or a tile the access uses. Tiles
do not cross into the body of a parallel loop. `max_bytes` bounds the tiles kept: larger ones would leave the registers.

Runs in the monotone set, after hoisting has brought loads of sibling loops into one body.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import ClassVar

from ...ir.expr import Expr, refs
from ...ir.gir import Access, Load, Loop, Program, Role, Stmt, Sync, bodies
from ...ir.gir import walk as walk_stmts
from ...ir.gir_tools import (
    Body,
    buffer_written,
    map_kernels,
    mutable_tiles,
    rename_tiles,
    tile_written,
    with_bodies,
)

Key = tuple[Access, tuple[int, ...], Expr | None, Expr | None, bool]


@dataclass
class Known:
    """The tiles that hold what is loaded so, and the loads by the buffers they read and the tiles they use."""

    tiles: dict[Key, str] = field(default_factory=dict)
    of_buffer: dict[str, set[Key]] = field(default_factory=dict)
    of_tile: dict[str, set[Key]] = field(default_factory=dict)

    def copy(self) -> Known:
        out = Known()
        for key, tile in self.tiles.items():
            out.note(key, tile)
        return out

    def note(self, key: Key, tile: str) -> None:
        self.tiles[key] = tile
        source, _, predicate, fill, _ = key
        self.of_buffer.setdefault(source.buffer, set()).add(key)
        for name in {n for e in (*source.index, predicate, fill) if e is not None for n in refs(e)}:
            self.of_tile.setdefault(name, set()).add(key)

    def forget(self, stmts: Iterable[Stmt], constant: set[str]) -> None:
        """Drop the loads that these statements may make stale."""
        for s in stmts:
            target, tile = buffer_written(s), tile_written(s)
            stale = set(self.of_buffer.pop(target, ())) if target is not None else set()
            stale |= self.of_tile.pop(tile, set()) if tile is not None else set()
            if isinstance(s, Sync):
                stale |= {key for key in self.tiles if key[0].buffer not in constant}
            for key in stale:
                self.tiles.pop(key, None)


@dataclass(frozen=True)
class DuplicateLoad:
    """`max_bytes`: of a tile that is kept instead of loaded again (four bytes an element)."""

    max_bytes: int = 2048

    name: ClassVar[str] = "duplicate_load"
    form: ClassVar[str] = "gir"

    def run(self, program: Program) -> Program:
        constant = {t.name for t in program.tensors if t.role is Role.INPUT}
        return map_kernels(program, lambda k: self.body(k.body, Known(), mutable_tiles(k.body), constant))

    def body(self, body: Body, known: Known, mutable: set[str], constant: set[str]) -> Body:
        """`known` maps loads to the tiles that hold them; it is updated to the end of the body."""
        same: dict[str, str] = {}  # tiles of loads left out -> the tile that holds the value
        out: list[Stmt] = []
        for stmt in body:
            if same:
                stmt = rename_tiles(stmt, same)
            inner = bodies(stmt)
            if inner:
                known.forget([stmt, *(s for b in inner for s in walk_stmts(b))], constant)
                crosses = isinstance(stmt, Loop) and stmt.kind.is_parallel
                new = tuple(self.body(b, Known() if crosses else known.copy(), mutable, constant) for b in inner)
                out.append(with_bodies(stmt, new) if any(a is not b for a, b in zip(new, inner, strict=True)) else stmt)
                continue
            if isinstance(stmt, Load) and stmt.tile not in mutable and prod(stmt.shape) * 4 <= self.max_bytes:
                key = (stmt.source, stmt.shape, stmt.predicate, stmt.fill, stmt.pairs)
                held = known.tiles.get(key)
                if held is not None:
                    same[stmt.tile] = held
                    continue
                known.note(key, stmt.tile)
            else:
                known.forget([stmt], constant)
            out.append(stmt)
        return body if len(out) == len(body) and all(a is b for a, b in zip(out, body, strict=True)) else tuple(out)
