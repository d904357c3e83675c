"""Redundant syncs: nobody waits where nothing was written since the last wait.

    sync sram                            sync sram
    t = load<16> x[@0]           -->     t = load<16> x[@0]
    sync sram                            ...

A sync goes when one of at least its scope stands before it in the same body and nothing between them writes a buffer or
reads one that the kernel writes (a later write might have to wait for that read); and at the end of a kernel, where the
next kernel waits anyway.

Runs in the monotone set: forwarding removes the stores that syncs were for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...ir.gir import Kernel, Level, Program, Stmt, Sync, bodies
from ...ir.gir import walk as walk_stmts
from ...ir.gir_tools import Body, buffer_read, buffer_written, map_kernels, with_bodies


@dataclass(frozen=True)
class RedundantSync:
    name: ClassVar[str] = "redundant_sync"
    form: ClassVar[str] = "gir"

    def run(self, program: Program) -> Program:
        def kernel(k: Kernel) -> Body:
            written = {b for s in walk_stmts(k.body) if (b := buffer_written(s)) is not None}
            body = _body(k.body, written)
            while body and isinstance(body[-1], Sync):
                body = body[:-1]
            return body

        return map_kernels(program, kernel)


def _body(body: Body, written: set[str]) -> Body:
    out: list[Stmt] = []
    waited: Level | None = None  # the widest scope waited for since the last access that matters
    for stmt in body:
        inner = bodies(stmt)
        if inner:
            new = tuple(_body(b, written) for b in inner)
            if any(a is not b for a, b in zip(new, inner, strict=True)):
                stmt = with_bodies(stmt, new)
        if isinstance(stmt, Sync):
            if waited is not None and (waited is Level.DRAM or waited is stmt.scope):
                continue
            waited = stmt.scope
        elif any(_matters(s, written) for s in (stmt, *(s for b in bodies(stmt) for s in walk_stmts(b)))):
            waited = None
        out.append(stmt)
    return body if len(out) == len(body) and all(a is b for a, b in zip(out, body, strict=True)) else tuple(out)


def _matters(stmt: Stmt, written: set[str]) -> bool:
    return isinstance(stmt, Sync) or buffer_written(stmt) is not None or buffer_read(stmt) in written
