"""Streaming stores: outputs that nobody reads soon go past the caches.

    y[i + @0, j + @1] = t     -->     y[i + @0, j + @1] = t  streaming

A plain store reads its line from memory first; a streaming store of whole lines does not, a third of the bytes of a
copy. It loses when the data is read soon. So a store is marked where its tensor is written once and not read in the
program, where each store fills whole lines (contiguous along the last tile axis, starting at a multiple of the line
from the start of the tensor, no predicate), where no loop around it stores the same place again, and where the bytes
that the program writes this way reach half of the last-level cache. For that the extents must be known (integers, or
bound by `symbols`), or a fact must say how many elements there are at least (`M * N >= 4194304`).

Runs last of the monotone set: guards have to be gone, and dead stores too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

from ...ir.expr import Call, Const, Coord, Expr, Fn, Var, as_int, const, substitute, variables
from ...ir.gir import Loop, LoopKind, Move, Program, Role, Stmt, Store, Tensor
from ...ir.gir import walk as walk_stmts
from ...ir.gir_tools import Body, buffer_read, buffer_written, coordinates, loops_around, map_kernels, map_statements
from ..index_math import Env, program_env


@dataclass(frozen=True)
class StreamingStores:
    """`cache_bytes`: of the last level; `line_bytes`: of a line; `symbols`: values where they are known; `plain`:
    tensors whose stores stay as they are."""

    cache_bytes: int = 32 << 20
    line_bytes: int = 64
    symbols: tuple[tuple[str, int], ...] = ()
    plain: tuple[str, ...] = ()

    name: ClassVar[str] = "streaming_stores"
    form: ClassVar[str] = "gir"

    def run(self, program: Program) -> Program:
        values = {n: const(v) for n, v in self.symbols}
        env = program_env(program)
        for name, value in values.items():
            env = env.having(Var(name), value, value)
            env = replace(env, divisors={**env.divisors, name: max(as_int(value) or 1, 1)})
        stmts = [s for k in program.kernels for s in walk_stmts(k.body)]
        taken = {buffer_read(s) for s in stmts} | {buffer_written(s) for s in stmts if isinstance(s, Move)}
        sizes = {t.name: _bytes(t, values, program.facts) for t in program.tensors if t.name not in taken}
        large = {n for n, size in sizes.items() if size and n not in self.plain}
        chosen = {t.name: t for t in program.tensors if t.role is Role.OUTPUT and t.shape and t.name in large}
        verdicts: list[bool] = []  # of every store, in program order
        found: set[str] = set()
        for kernel in program.kernels:
            for stmt, loops in loops_around(kernel.body):
                if isinstance(stmt, Store):
                    tensor = chosen.get(stmt.target.buffer)
                    fits = tensor is not None and self.whole_lines(stmt, tensor, loops, env) and _once(stmt, loops)
                    verdicts.append(fits)
                    found |= {stmt.target.buffer} if fits else set()
        if 2 * sum(sizes[n] for n in found) < self.cache_bytes:
            return program
        verdict = iter(verdicts)

        def mark(stmt: Stmt) -> Body | None:
            return (replace(stmt, streaming=True),) if isinstance(stmt, Store) and next(verdict) else None

        return map_kernels(program, lambda k: map_statements(k.body, mark))

    def whole_lines(self, store: Store, tensor: Tensor, loops: tuple[Loop, ...], env: Env) -> bool:
        line = self.line_bytes // tensor.dtype.bytes
        if store.predicate is not None or not store.shape or store.shape[-1] % line:
            return False
        lane = Coord(len(store.shape) - 1)
        if any(lane.axis in coordinates(i) for i in store.target.index[:-1]):
            return False
        for loop in loops:
            env = env.inside(loop)
        last = env.linear(store.target.index[-1])
        start = last.without(lane)
        pitch = env.linear(tensor.shape[-1])
        aligned = env.divides(start, line) and (len(tensor.shape) == 1 or env.divides(pitch, line))
        return last.coefficient(lane) == 1 and aligned


def _once(store: Store, loops: tuple[Loop, ...]) -> bool:
    """Whether every loop around the store moves it to another place."""
    used = {n for i in store.target.index for n in variables(i)}
    return all(loop.var in used or loop.kind.is_parallel for loop in loops if loop.kind is not LoopKind.UNROLL)


def _bytes(tensor: Tensor, values: Mapping[str, Expr], facts: tuple[Expr, ...]) -> int:
    """Of the tensor, at least."""
    factors = [f for e in tensor.shape for f in _factors(Env().simplify(substitute(e, dict(values))))]
    number = prod(n for f in factors if (n := as_int(f)) is not None)
    left = [f for f in factors if as_int(f) is None]
    for fact in facts if left else ():
        match fact:
            case Call(Fn.GE, (product, Const(int(least)))) if Counter(_factors(product)) == Counter(left):
                return number * max(least, 0) * tensor.dtype.bytes
    return 0 if left else number * tensor.dtype.bytes


def _factors(expr: Expr) -> list[Expr]:
    match expr:
        case Call(Fn.MUL, (a, b)):
            return [*_factors(a), *_factors(b)]
    return [expr]
