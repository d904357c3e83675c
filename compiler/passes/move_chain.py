"""Move chains: a copy of a copy is a copy of the original.

    move<M> tmp[@0] = x[@0]              move<M> tmp[@0] = x[@0]      (dead now)
    move<M> s[@0] = tmp[@0]      -->     move<M> s[@0] = x[@0]

For a move that reads exactly what an earlier move in the same body wrote, when it is the only reader of that buffer
(so that the original is still read once), types agree, and nothing between them writes either buffer or synchronises.

Runs in the monotone set; dead_store removes the first move.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.expr import refs
from ...ir.gir import Alloc, Move, Program, Role, Stmt, Sync, bodies
from ...ir.gir import walk as walk_stmts
from ...ir.gir_tools import Body, buffer_read, buffer_written, expressions, map_kernels, with_bodies


@dataclass(frozen=True)
class MoveChain:
    name: ClassVar[str] = "move_chain"
    form: ClassVar[str] = "gir"

    def run(self, program: Program) -> Program:
        readers: dict[str, int] = {t.name: 1 for t in program.tensors if t.role is Role.OUTPUT}
        dtypes = {t.name: t.dtype for t in program.tensors}
        for kernel in program.kernels:
            for s in walk_stmts(kernel.body):
                source = buffer_read(s)
                if source is not None:
                    readers[source] = readers.get(source, 0) + 1
                if isinstance(s, Alloc):
                    dtypes[s.name] = s.dtype
        single = {n for n, count in readers.items() if count == 1}

        def chained(first: Move, second: Move) -> bool:
            a, b, c = first.source.buffer, first.target.buffer, second.target.buffer
            same = first.target == second.source and first.shape == second.shape
            plain = first.predicate is None and not any(refs(e) for e in expressions(first))
            return same and plain and b in single and dtypes[a] is dtypes[b] and a != c

        def body(stmts: Body) -> Body:
            out: list[Stmt] = []
            moved: set[str] = set()
            for stmt in stmts:
                if isinstance(stmt, Move):
                    first = _writer(out, stmt) if stmt.source.buffer in moved else None
                    if first is not None and chained(first, stmt):
                        stmt = replace(stmt, source=first.source)
                    moved.add(stmt.target.buffer)
                inner = bodies(stmt)
                if inner:
                    new = tuple(body(b) for b in inner)
                    if any(a is not b for a, b in zip(new, inner, strict=True)):
                        stmt = with_bodies(stmt, new)
                out.append(stmt)
            return tuple(out) if any(a is not b for a, b in zip(out, stmts, strict=True)) else stmts

        return map_kernels(program, lambda k: body(k.body))


def _writer(before: list[Stmt], move: Move) -> Move | None:
    """The move that wrote what this one reads, with nothing between them that could change either end."""
    written: set[str | None] = set()
    for stmt in reversed(before):
        if isinstance(stmt, Move) and stmt.target.buffer == move.source.buffer:
            return None if stmt.source.buffer in written else stmt
        for s in (stmt, *(s for b in bodies(stmt) for s in walk_stmts(b))):
            if isinstance(s, Sync) or buffer_written(s) == move.source.buffer:
                return None
            written.add(buffer_written(s))
    return None
