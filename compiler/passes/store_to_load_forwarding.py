"""Store-to-load forwarding: what was just stored is not loaded again.

    store<16> s[@0] = a + b              v: f32<16> = a + b
    t = load<16> s[@0]           -->     store<16> s[@0] = v
                                         t: f32<16> = v

Within one body, for the same access and shape, when nothing between them writes the buffer, synchronises, or changes a
tile that the store or the load uses, and the store was not predicated unless the load has the same predicate. A narrow
buffer rounds, so its value is forwarded through a cast.

Runs first of the monotone set: it leaves stores without readers, which dead_store then removes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.dtypes import DType
from ...ir.expr import Call, Cast, Const, Expr, Fn, Ref, refs
from ...ir.gir import Alloc, Compute, Kernel, Level, Load, Program, Stmt, Store, Sync, bodies
from ...ir.gir import walk as walk_stmts
from ...ir.gir_tools import (
    Body,
    buffer_written,
    expressions,
    fresh,
    map_kernels,
    taken_names,
    tile_written,
    with_bodies,
)


@dataclass(frozen=True)
class StoreToLoadForwarding:
    name: ClassVar[str] = "store_to_load_forwarding"
    form: ClassVar[str] = "gir"

    def run(self, program: Program) -> Program:
        dtypes = {t.name: t.dtype for t in program.tensors}

        def kernel(k: Kernel) -> Body:
            buffers = {s.name: s.dtype for s in walk_stmts(k.body) if isinstance(s, Alloc) and s.level is not Level.REG}
            return _body(k.body, {**dtypes, **buffers}, taken_names(k, program))

        return map_kernels(program, kernel)


def _body(body: Body, dtypes: dict[str, DType], taken: set[str]) -> Body:
    out: list[Stmt] = []
    changed = False
    for stmt in body:
        inner = bodies(stmt)
        if inner:
            new = tuple(_body(b, dtypes, taken) for b in inner)
            if any(a is not b for a, b in zip(new, inner, strict=True)):
                stmt, changed = with_bodies(stmt, new), True
        elif isinstance(stmt, Load):
            found = _source(out, stmt)
            if found is not None:
                changed = True
                stmt = _forward(out, found, stmt, dtypes[stmt.source.buffer], taken)
        out.append(stmt)
    return tuple(out) if changed else body


def _source(before: list[Stmt], load: Load) -> int | None:
    """The position of the store whose value the load sees."""
    used = {n for e in expressions(load) for n in refs(e)}
    assigned: set[str] = set()
    for k in range(len(before) - 1, -1, -1):
        stmt = before[k]
        if assigned & used:
            return None
        if isinstance(stmt, Store) and stmt.target == load.source and stmt.shape == load.shape:
            kept = not refs(stmt.value) & assigned
            return k if kept and stmt.predicate in (None, load.predicate) else None
        for s in (stmt, *(s for b in bodies(stmt) for s in walk_stmts(b))):
            if isinstance(s, Sync) or buffer_written(s) == load.source.buffer:
                return None
            tile = tile_written(s)
            if tile is not None:
                assigned.add(tile)
    return None


def _forward(out: list[Stmt], k: int, load: Load, dtype: DType, taken: set[str]) -> Compute:
    store = out[k]
    assert isinstance(store, Store)
    value = store.value
    if not isinstance(value, Ref | Const):  # computed once, used twice
        made = Compute(fresh("v", taken), store.shape, value, dtype.arithmetic, store.location)
        out[k : k + 1] = [made, replace(store, value=Ref(made.tile))]
        value = Ref(made.tile)
    seen: Expr = value if dtype is dtype.arithmetic else Cast(dtype, value)
    if load.predicate is not None and load.fill is not None:
        seen = Call(Fn.SELECT, (load.predicate, seen, load.fill))
    return Compute(load.tile, load.shape, seen, dtype.arithmetic, load.location)
