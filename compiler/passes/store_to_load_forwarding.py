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

from dataclasses import dataclass, field, replace
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

MOST_DEPTH = 160  # operations in a row that stay in registers: targets follow them by recursion


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
    out: list[list[Stmt]] = []  # what stands in the place of each statement
    before = _Before()
    changed = False
    for stmt in body:
        inner = bodies(stmt)
        if inner:
            new = tuple(_body(b, dtypes, taken) for b in inner)
            if any(a is not b for a, b in zip(new, inner, strict=True)):
                stmt, changed = with_bodies(stmt, new), True
        elif isinstance(stmt, Load):
            found = before.source(stmt, out)
            if found is not None:
                changed = True
                stmt = _forward(out[found], stmt, dtypes[stmt.source.buffer], taken)
        before.note(stmt, len(out))
        out.append([stmt])
    return tuple(s for place in out for s in place) if changed else body


@dataclass
class _Before:
    """The statements so far of a body, by number: the last that wrote a buffer (nested ones included), the last that
    holds a sync, the last that assigned a tile."""

    wrote: dict[str, int] = field(default_factory=dict)
    synced: int = -1
    assigned: dict[str, int] = field(default_factory=dict)
    depths: dict[str, int] = field(default_factory=dict)  # operations in a row up to the value of a tile

    def note(self, stmt: Stmt, number: int) -> None:
        for s in (stmt, *(s for b in bodies(stmt) for s in walk_stmts(b))):
            if isinstance(s, Sync):
                self.synced = number
            buffer, tile = buffer_written(s), tile_written(s)
            if buffer is not None:
                self.wrote[buffer] = number
            if tile is not None:
                self.assigned[tile] = number
                self.depths[tile] = self.depth(s.expr) if isinstance(s, Compute) else 0

    def source(self, load: Load, out: list[list[Stmt]]) -> int | None:
        """The number of the store whose value the load sees."""
        k = self.wrote.get(load.source.buffer)
        if k is None or self.synced > k or load.pairs:
            return None
        store = out[k][-1]
        if not isinstance(store, Store) or store.target != load.source or store.shape != load.shape:
            return None
        used = {n for e in (*expressions(load), store.value) for n in refs(e)}
        kept = all(self.assigned.get(n, -1) <= k for n in used)
        kept = kept and store.predicate in (None, load.predicate)
        return k if kept and self.depth(store.value) < MOST_DEPTH else None

    def depth(self, expr: Expr) -> int:
        """Operations in a row up to the value of an expression."""
        if isinstance(expr, Ref):
            return self.depths.get(expr.name, 0) + 1
        return 1 + max((self.depth(c) for c in expr.children), default=0)


def _forward(place: list[Stmt], load: Load, dtype: DType, taken: set[str]) -> Compute:
    store = place[-1]
    assert isinstance(store, Store)
    value = store.value
    if not isinstance(value, Ref | Const):  # computed once, used twice
        made = Compute(fresh("v", taken), store.shape, value, dtype.arithmetic, store.location)
        place[-1:] = [made, replace(store, value=Ref(made.tile))]
        value = Ref(made.tile)
    seen: Expr = value if dtype is dtype.arithmetic else Cast(dtype, value)
    if load.predicate is not None and load.fill is not None:
        seen = Call(Fn.SELECT, (load.predicate, seen, load.fill))
    return Compute(load.tile, load.shape, seen, dtype.arithmetic, load.location)
