"""Dead stores: work whose result nobody reads is removed.

    s[@0] = t                                              u[16] = x[@0]
    u[16] = x[@0]               -->                        y[@0] = u           (s is sram and never loaded)
    y[@0] = t
    y[@0] = u

Live are stores to outputs, and whatever computes or addresses something live; all else goes: stores and moves to
buffers that are never read, tiles, allocations, temporaries, and loops that are left empty. A store is dead too when
the same elements are stored again later in the same body before anything could read them.

Runs in the monotone set: forwarding a stored value to its loads leaves the store without readers, and splitting loops
leaves copies of which some compute nothing that is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.expr import refs
from ...ir.gir import Access, Alloc, Branch, Kernel, Loop, Prefetch, Program, Role, Stmt, Store, Sync, bodies
from ...ir.gir import walk as walk_stmts
from ...ir.gir_tools import (
    Body,
    buffer_read,
    buffer_written,
    map_kernels,
    map_statements,
    tile_written,
    tiles_read,
    with_bodies,
)


@dataclass(frozen=True)
class DeadStore:
    name: ClassVar[str] = "dead_store"
    form: ClassVar[str] = "gir"

    def run(self, program: Program) -> Program:
        shared = {t.name for t in program.tensors}
        program = map_kernels(program, lambda k: _overwritten(k.body))
        live = _live(program, shared)
        program = map_kernels(program, lambda k: map_statements(k.body, lambda s: _keep(s, k.name, live)))
        kernels = tuple(k for k in program.kernels if k.body)
        tensors = tuple(t for t in program.tensors if t.role is not Role.TEMP or t.name in live[""])
        if len(kernels) == len(program.kernels) and len(tensors) == len(program.tensors):
            return program
        return replace(program, kernels=kernels, tensors=tensors)


Live = Mapping[str, set[str]]  # names that are read, by kernel; under "" the tensors of the program


def _live(program: Program, shared: set[str]) -> dict[str, set[str]]:
    live: dict[str, set[str]] = {k.name: set() for k in program.kernels}
    live[""] = {t.name for t in program.tensors if t.role is Role.OUTPUT}

    def mark(kernel: Kernel, names: set[str]) -> bool:
        grown = False
        for n in names:
            found = live[""] if n in shared else live[kernel.name]
            if n not in found:
                found.add(n)
                grown = True
        return grown

    def visit(kernel: Kernel, body: Body) -> tuple[bool, bool]:
        """Whether the body holds anything live, and whether marking it made more live."""
        any_live = any_grown = False
        for s in reversed(body):  # readers first, so that one visit finds most of it
            alive = _effective(s, kernel.name, live)
            for b in bodies(s):
                below, grown = visit(kernel, b)
                alive, any_grown = alive or below, any_grown or grown
            if alive:
                any_grown |= mark(kernel, _used(s))
            any_live |= alive
        return any_live, any_grown

    growing = True
    while growing:
        growing = False
        for k in reversed(program.kernels):
            growing |= visit(k, k.body)[1]
    return live


def _used(stmt: Stmt) -> set[str]:
    source = buffer_read(stmt)
    return tiles_read(stmt) | ({source} if source is not None else set())


def _effective(stmt: Stmt, kernel: str, live: Live) -> bool:
    target = buffer_written(stmt)
    if target is None:
        target = tile_written(stmt)
    return target is not None and (target in live[kernel] or target in live[""])


def _keep(stmt: Stmt, kernel: str, live: Live) -> Body | None:
    """`()` for a statement that nothing live needs, None to keep it."""
    match stmt:
        case Sync():
            return None
        case Alloc():
            return None if stmt.name in live[kernel] else ()
        case Prefetch(source=source):
            return None if source.buffer in live[kernel] | live[""] else ()
        case Loop():
            return None if _working(stmt.body) else ()
        case Branch():
            return None if _working(stmt.then) or _working(stmt.otherwise) else ()
    return None if _effective(stmt, kernel, live) else ()


def _working(body: Body) -> bool:
    return any(not isinstance(s, Alloc) for s in walk_stmts(body))


def _overwritten(body: Body) -> Body:
    """Without stores that a later store of the same body covers before a read."""
    out: list[Stmt] = []
    last: dict[tuple[Access, tuple[int, ...]], int] = {
        (s.target, s.shape): k for k, s in enumerate(body) if isinstance(s, Store)
    }
    for k, stmt in enumerate(body):
        inner = bodies(stmt)
        if inner:
            new = tuple(_overwritten(b) for b in inner)
            if any(a is not b for a, b in zip(new, inner, strict=True)):
                stmt = with_bodies(stmt, new)
        again = isinstance(stmt, Store) and last[stmt.target, stmt.shape] > k
        if not (again and isinstance(stmt, Store) and _covered(stmt, body[k + 1 :])):
            out.append(stmt)
    return tuple(out) if len(out) < len(body) or any(a is not b for a, b in zip(out, body, strict=True)) else body


def _covered(store: Store, rest: Body) -> bool:
    where = [*store.target.index, *([store.predicate] if store.predicate is not None else [])]
    addressing = {n for e in where for n in refs(e)}
    for stmt in rest:
        match stmt:
            case Store() if stmt.target == store.target and stmt.shape == store.shape:
                if store.target.buffer in _used(stmt):
                    return False
                if stmt.predicate in (None, store.predicate):
                    return True
            case Sync():
                return False
        inside = [stmt, *(s for b in bodies(stmt) for s in walk_stmts(b))]
        if any(isinstance(s, Sync) or buffer_read(s) == store.target.buffer for s in inside):
            return False
        if any(tile_written(s) in addressing for s in inside):
            return False
    return False
