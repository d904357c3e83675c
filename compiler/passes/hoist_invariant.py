"""Invariant hoisting: what is the same in every iteration of a serial loop is done once before it.

    loop j = 0 .. 64 {                    q[16] = Q[i + @0]
      q[16] = Q[i + @0]          -->      loop j = 0 .. 64 {
      ...                                   ...

Moved are loads, computations and reductions that introduce a tile, when nothing they use changes in the loop (the loop
index, tiles and buffers written there). Computations have no effect but their tile, so they may move out of a loop that
might not run; a load moves only out of a loop that provably runs (its index may be legal only there, and it would add
traffic). `max_bytes` bounds the tiles moved out of one loop: more than the registers hold would travel twice.

Runs in the monotone set, after guards: a guard over the loop index pins a load to its loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

from ...ir.expr import variables
from ...ir.gir import Alloc, Branch, Compute, Kernel, Load, Loop, LoopKind, Program, Reduce, Stmt, Sync
from ...ir.gir import walk as walk_stmts
from ...ir.gir_tools import (
    Body,
    buffer_read,
    buffer_written,
    expressions,
    fresh,
    map_kernels,
    mutable_tiles,
    rename_tiles,
    taken_names,
    tile_written,
    tiles_read,
)
from ..index_math import Env, program_env


@dataclass(frozen=True)
class HoistInvariant:
    """`max_bytes`: of the tiles that may move out of one loop."""

    max_bytes: int = 2048

    name: ClassVar[str] = "hoist_invariant"
    form: ClassVar[str] = "gir"

    def run(self, program: Program) -> Program:
        env = program_env(program)
        return map_kernels(program, lambda k: _Hoister(self.max_bytes, k, program).body(k.body, env))


class _Hoister:
    def __init__(self, max_bytes: int, kernel: Kernel, program: Program) -> None:
        self.max_bytes = max_bytes
        self.uses = _occurrences(walk_stmts(kernel.body))
        self.mutable = mutable_tiles(kernel.body)
        self.sizes: dict[str, int] = {}
        self.taken = taken_names(kernel, program)

    def body(self, body: Body, env: Env) -> Body:
        out: list[Stmt] = []
        for stmt in body:
            match stmt:
                case Loop():
                    inner = self.body(stmt.body, env.inside(stmt))
                    stmt = stmt if inner is stmt.body else replace(stmt, body=inner)
                    if stmt.kind in (LoopKind.SERIAL, LoopKind.UNROLL):
                        moved, stmt = self.split(stmt, env)
                        out.extend(moved)
                case Branch():
                    then, otherwise = (self.body(b, env) for b in (stmt.then, stmt.otherwise))
                    if then is not stmt.then or otherwise is not stmt.otherwise:
                        stmt = replace(stmt, then=then, otherwise=otherwise)
            out.append(stmt)
        same = len(out) == len(body) and all(a is b for a, b in zip(out, body, strict=True))
        return body if same else tuple(out)

    def split(self, loop: Loop, env: Env) -> tuple[list[Stmt], Loop]:
        """What moves before the loop, and the loop without it."""
        inside = list(walk_stmts(loop.body))
        written = {b for s in inside if (b := buffer_written(s)) is not None}
        written |= {s.name for s in inside if isinstance(s, Alloc)}
        writers = Counter(t for s in inside if (t := tile_written(s)) is not None)
        changing = set(writers)
        synced = any(isinstance(s, Sync) for s in inside)
        runs: bool | None = None  # proved when first asked: it is the costly question here
        moved: list[Stmt] = []
        kept: list[Stmt] = []
        uses: Counter[str] | None = None  # inside of the loop, counted when first asked
        new: dict[str, str] = {}  # a name of its own for a tile whose name also occurs outside of the loop
        budget = self.max_bytes
        for stmt in loop.body:
            kept.append(stmt)
            if not isinstance(stmt, Load | Compute | Reduce) or stmt.tile in self.mutable:
                continue
            if isinstance(stmt, Load) and (synced or buffer_read(stmt) in written):
                continue
            if loop.var in {n for e in expressions(stmt) for n in variables(e)} or tiles_read(stmt) & changing:
                continue
            if isinstance(stmt, Load):
                runs = env.less(loop.lo, loop.hi) if runs is None else runs
                if not runs:
                    continue
            size = self.size(stmt, new)
            if size > budget or writers[stmt.tile] > 1:
                continue
            budget -= size
            changing.discard(stmt.tile)
            moved.append(kept.pop())
            uses = _occurrences(inside) if uses is None else uses
            if self.uses[stmt.tile] > uses[stmt.tile]:
                new[stmt.tile] = fresh(stmt.tile, self.taken)
        if not moved:
            return [], loop
        if new:
            moved, kept = ([rename_tiles(s, new) for s in part] for part in (moved, kept))
        return moved, replace(loop, body=tuple(kept))

    def size(self, stmt: Load | Compute | Reduce, new: Mapping[str, str]) -> int:
        """Bytes of the tile, four to an element where the type is not at hand; `new` are names about to change."""
        match stmt:
            case Compute():
                bytes_ = prod(stmt.shape) * stmt.dtype.bytes
            case Load():
                bytes_ = prod(stmt.shape) * 4
            case Reduce():
                bytes_ = self.sizes.get(new.get(stmt.source, stmt.source), 0)  # at most
        self.sizes[stmt.tile] = bytes_
        return bytes_


def _occurrences(stmts: Iterable[Stmt]) -> Counter[str]:
    """How often every tile is read or written."""
    found: Counter[str] = Counter()
    for s in stmts:
        found.update(tiles_read(s))
        tile = tile_written(s)
        if tile is not None:
            found[tile] += 1
    return found
