"""View folding: a temporary that is a plain copy of an input is not made.

    move<M, N> tmp[@0, @1] = x[@0, @1]           (dead now)
    ... tmp[i, j] ...                    -->     ... x[i, j] ...

For a dram temporary that one move writes whole, without a predicate, from an input of the same shape and type: every
read of it reads the input instead, so no level sees more bytes and one write and read of the tensor go away. A copy
with another order of dimensions is a decision of the search, not of this pass: reads of it would touch other lines.

Runs in the monotone set; dead_store removes the move.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.expr import Coord
from ...ir.gir import Access, Load, Move, Prefetch, Program, Role, Stmt, Tensor
from ...ir.gir import walk as walk_stmts
from ...ir.gir_tools import Body, buffer_read, buffer_written, map_kernels, map_statements


@dataclass(frozen=True)
class ViewFolding:
    name: ClassVar[str] = "view_folding"
    form: ClassVar[str] = "gir"

    def run(self, program: Program) -> Program:
        writers: dict[str, list[Stmt]] = {}
        for kernel in program.kernels:
            for s in walk_stmts(kernel.body):
                target = buffer_written(s)
                if target is not None:
                    writers.setdefault(target, []).append(s)
        tensors = {t.name: t for t in program.tensors}
        copies = {n: o for n, t in tensors.items() if (o := _original(t, writers.get(n, []), tensors)) is not None}
        if not copies:
            return program

        def rule(stmt: Stmt) -> Body | None:
            if isinstance(stmt, Load | Move | Prefetch) and stmt.source.buffer in copies:
                return (replace(stmt, source=Access(copies[stmt.source.buffer], stmt.source.index)),)
            return None

        return map_kernels(program, lambda k: map_statements(k.body, rule) if _reads(k.body, copies) else k.body)


def _reads(body: Body, copies: dict[str, str]) -> bool:
    return any(buffer_read(s) in copies for s in walk_stmts(body))


def _original(tensor: Tensor, writers: list[Stmt], tensors: Mapping[str, Tensor]) -> str | None:
    """The input that the temporary is a copy of."""
    if tensor.role is not Role.TEMP:
        return None
    if len(writers) != 1 or not isinstance(writers[0], Move):
        return None
    move = writers[0]
    identity = tuple(Coord(k) for k in range(len(tensor.shape)))
    source = tensors.get(move.source.buffer)
    whole = move.target.index == identity == move.source.index and move.shape == tensor.shape
    if source is None or source.role is not Role.INPUT or not whole or move.predicate is not None:
        return None
    return source.name if (source.shape, source.dtype) == (tensor.shape, tensor.dtype) else None
