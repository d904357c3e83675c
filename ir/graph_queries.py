"""Questions to an instruction graph: how much lives at once, and identity up to names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from math import prod

from .errors import UserError
from .expr import Expr, Ref, Var, as_int, const, rewrite, substitute
from .folding import fold
from .gir import (
    Access,
    Alloc,
    Compute,
    Kernel,
    Level,
    Load,
    Loop,
    Move,
    Prefetch,
    Program,
    Reduce,
    Stmt,
    Store,
    bodies,
)
from .gir_printer import print_program
from .gir_tools import map_expressions, with_bodies
from .graph import InstructionGraph, TileType, note_type, subtree_ends, to_program, writes
from .graph_flow import needed_until
from .op import Symbol


def max_live_bytes(graph: InstructionGraph, level: Level, symbols: Mapping[str, int] | None = None) -> int:
    """The most bytes that live at once at `level`: tiles for reg, `Alloc`s for sram (tensors live in dram for the whole
    call and do not count).

    A tile lives from its write to its last read, a mutable one and a buffer from its `Alloc` to the last read or write;
    a loop that needs the value again is included. Raises UserError where an extent stays symbolic.
    """
    rows = graph.instructions
    ends = subtree_ends(rows)
    types: dict[str, TileType] = {}
    buffers = {t.name: t.dtype for t in graph.program.tensors}
    last: dict[int, int] = {}
    for e in graph.edges:
        last[e.source] = max(last.get(e.source, e.source), e.slice.last)
    homes: dict[str, int] = {}  # name -> the Alloc that introduced it
    until: dict[int, int] = {}
    size: dict[int, int] = {}  # of what an instruction introduces
    for row in rows:
        note_type(row.stmt, types, buffers)
        name = writes(row.stmt)
        if name is None:
            continue
        end = last.get(row.number, row.number)
        home = homes.get(name)
        if isinstance(row.stmt, Alloc):
            homes[name] = row.number
            if row.stmt.level is level:
                until[row.number], size[row.number] = end, _bytes(row.stmt, symbols or {})
        elif home is not None and rows[home].nest == row.nest[: len(rows[home].nest)]:
            if home in until:
                until[home] = max(until[home], end, needed_until(rows, ends, home, row.number, False))
        elif level is Level.REG and name in types:
            until[row.number], size[row.number] = end, types[name].bytes
    change = [0] * (len(rows) + 1)
    for first, end in until.items():
        change[first] += size[first]
        change[end + 1] -= size[first]
    live = most = 0
    for delta in change:
        live += delta
        most = max(most, live)
    return most


def _bytes(alloc: Alloc, symbols: Mapping[str, int]) -> int:
    known: dict[str, Expr] = {n: const(v) for n, v in symbols.items()}
    extents = [as_int(fold(substitute(e, known))) for e in alloc.shape]
    if None in extents:
        raise UserError(
            f"the size of '{alloc.name}' depends on symbols", alloc.location, "give their values to max_live_bytes"
        )
    return prod(e for e in extents if e is not None) * alloc.dtype.bytes


def canonical(graph: InstructionGraph) -> str:
    """Text that two graphs share exactly when they differ in names alone: every name becomes its kind and the number
    of its first occurrence; tensors and symbols count in declaration order. Tensors the kernel does not touch count
    too, as the interface of the graph."""
    program = to_program(graph)
    found: dict[str, str] = {}
    for k, s in enumerate(program.symbols):
        found[s.name] = f"s{k}"
    for k, t in enumerate(program.tensors):
        found[t.name] = f"t{k}"
    (kernel,) = program.kernels
    body = _renamed(kernel.body, found, [0])
    extents = {n: Var(c) for n, c in found.items()}
    return print_program(
        Program(
            "p",
            tuple(Symbol(found[s.name], s.default) for s in program.symbols),
            tuple(
                replace(t, name=found[t.name], shape=tuple(substitute(e, dict(extents)) for e in t.shape))
                for t in program.tensors
            ),
            (Kernel("k", body),),
            tuple(substitute(f, dict(extents)) for f in program.facts),
        )
    )


def canonical_hash(graph: InstructionGraph) -> str:
    """SHA-256 of `canonical`, in hexadecimal. A hit in a table is confirmed with `same`."""
    return hashlib.sha256(canonical(graph).encode()).hexdigest()


def same(a: InstructionGraph, b: InstructionGraph) -> bool:
    """Whether two graphs differ in names alone."""
    return canonical(a) == canonical(b)


def _renamed(body: tuple[Stmt, ...], outer: Mapping[str, str], count: list[int]) -> tuple[Stmt, ...]:
    """One body; names it introduces are known in it and what is nested in it."""
    found = dict(outer)

    def new(name: str) -> str:
        if name not in found:
            found[name] = f"n{count[0]}"
            count[0] += 1
        return found[name]

    def expr(e: Expr) -> Expr:
        def rule(n: Expr) -> Expr | None:
            match n:
                case Ref(name):
                    return Ref(found[name])
                case Var(name):
                    return Var(found[name])
            return None

        return rewrite(e, rule)

    def access(a: Access) -> Access:
        return Access(found[a.buffer], a.index)

    out: list[Stmt] = []
    for stmt in body:
        stmt = map_expressions(stmt, expr)
        match stmt:
            case Alloc():
                stmt = replace(stmt, name=new(stmt.name))
            case Load():
                stmt = replace(stmt, source=access(stmt.source), tile=new(stmt.tile))
            case Compute():
                stmt = replace(stmt, tile=new(stmt.tile))
            case Reduce():
                stmt = replace(stmt, source=found[stmt.source], tile=new(stmt.tile))
            case Store():
                stmt = replace(stmt, target=access(stmt.target))
            case Move():
                stmt = replace(stmt, target=access(stmt.target), source=access(stmt.source))
            case Prefetch():
                stmt = replace(stmt, source=access(stmt.source))
            case Loop():
                name = f"n{count[0]}"
                count[0] += 1
                inner = _renamed(stmt.body, {**found, stmt.var: name}, count)
                out.append(replace(stmt, var=name, body=inner))
                continue
        inner_bodies = bodies(stmt)
        out.append(with_bodies(stmt, tuple(_renamed(b, found, count) for b in inner_bodies)) if inner_bodies else stmt)
    return tuple(out)
