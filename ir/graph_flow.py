"""Who reads what whom wrote: the edges of an instruction graph, by reaching definitions over structured control flow.

A tile is written whole, so a write hides those before it; a write to a buffer may be partial, so it adds to them. A
body of a loop may run no, one or many times: what leaves it joins what entered it, and in a serial loop what leaves an
iteration enters the next (`carried`). Iterations of a parallel loop do not feed each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from .expr import as_int
from .gir import Alloc, Branch, Level, Load, Loop, Move, Program, Stmt
from .gir_tools import buffer_read, buffer_written, tiles_read
from .graph import Edge, Instruction, Scope, Slice, TileType, note_type, subtree_ends, writes

State = dict[str, frozenset[int]]


def edges_of(instructions: tuple[Instruction, ...], program: Program) -> tuple[Edge, ...]:
    """Every edge, by source, target and name."""
    flow = _Flow(instructions, program)
    flow.body(0, len(instructions), None, {})
    return flow.edges()


class _Flow:
    def __init__(self, instructions: tuple[Instruction, ...], program: Program) -> None:
        self.rows = instructions
        self.ends = subtree_ends(instructions)
        self.found: dict[tuple[int, int, str], bool] = {}  # whether only a next iteration reads it
        self.again = False
        self.levels = {t.name: Level.DRAM for t in program.tensors}
        self.reads: list[dict[str, tuple[Level, int | None]]] = []
        types: dict[str, TileType] = {}
        buffers = {t.name: t.dtype for t in program.tensors}
        for row in instructions:
            if isinstance(row.stmt, Alloc):
                self.levels[row.stmt.name] = row.stmt.level
            read: dict[str, tuple[Level, int | None]] = {
                n: (Level.REG, types[n].bytes) for n in sorted(tiles_read(row.stmt))
            }
            note_type(row.stmt, types, buffers)
            source = buffer_read(row.stmt)
            if source is not None:
                size = _elements(row.stmt)
                level = self.levels[source]
                read[source] = (level, None if size is None else size * buffers[source].bytes)
            self.reads.append(read)

    def body(self, first: int, last: int, scope: Scope | None, state: State) -> State:
        """The state after the instructions of one body."""
        k = first
        while k < last:
            row = self.rows[k]
            if (row.nest[-1] if row.nest else None) == scope:
                self.read(row, state)
                match row.stmt:
                    case Loop():
                        state = self.loop(row, row.stmt, state)
                    case Branch():
                        sides = [self.body(k + 1, self.ends[k], Scope(k, s), dict(state)) for s in (0, 1)]
                        state = _join(*sides)
                    case _:
                        self.write(row, state)
            k = self.ends[k]
        return state

    def loop(self, row: Instruction, stmt: Loop, state: State) -> State:
        k = row.number
        out = _join(state, self.body(k + 1, self.ends[k], Scope(k, 0), dict(state)))
        if not stmt.kind.is_parallel:
            again, self.again = self.again, True
            out = _join(out, self.body(k + 1, self.ends[k], Scope(k, 0), dict(out)))
            self.again = again
        return out

    def read(self, row: Instruction, state: State) -> None:
        for name in self.reads[row.number]:
            for writer in state.get(name, ()):
                self.found.setdefault((writer, row.number, name), self.again)

    def write(self, row: Instruction, state: State) -> None:
        name = writes(row.stmt)
        if name is None:
            return
        whole = buffer_written(row.stmt) is None
        state[name] = frozenset({row.number}) if whole else state.get(name, frozenset()) | {row.number}

    def edges(self) -> tuple[Edge, ...]:
        last: dict[tuple[int, str], int] = {}
        for (source, target, name), carried in self.found.items():
            end = self.needed_until(source, target, carried)
            last[source, name] = max(last.get((source, name), source), end)
        out = []
        for source, target, name in sorted(self.found):
            level, size = self.reads[target][name]
            carried = self.found[source, target, name]
            out.append(Edge(source, target, Slice(name, level, size, source, last[source, name], carried)))
        return tuple(out)

    def needed_until(self, source: int, target: int, carried: bool) -> int:
        """The end of the outermost loop that uses a value from outside of it, or passes it to its next iteration."""
        return needed_until(self.rows, self.ends, source, target, carried)


def needed_until(rows: tuple[Instruction, ...], ends: list[int], source: int, target: int, carried: bool) -> int:
    """The number of the last instruction before whose end a value read by `target` must be kept."""
    shared = sum(a == b for a, b in zip(rows[source].nest, rows[target].nest, strict=False))
    common = rows[source].nest[:shared]
    if carried:
        loops = [s.header for s in common if isinstance(rows[s.header].stmt, Loop)]
        return ends[loops[-1]] - 1 if loops else target
    below = [s.header for s in rows[target].nest[shared:] if isinstance(rows[s.header].stmt, Loop)]
    return ends[below[0]] - 1 if below else target


def _elements(stmt: Stmt) -> int | None:
    match stmt:
        case Load():
            return prod(stmt.shape)
        case Move():
            extents = [as_int(e) for e in stmt.shape]
            return None if None in extents else prod(e for e in extents if e is not None)
    return None


def _join(*states: Mapping[str, frozenset[int]]) -> State:
    out: State = {}
    for state in states:
        for name, writers in state.items():
            out[name] = out.get(name, frozenset()) | writers
    return out
