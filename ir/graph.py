"""The instruction graph: the dataflow of one kernel.

A node is one primitive instruction: a load, store, move, reduction or sync, an `Alloc`, the head of a loop or branch,
or one scalar function over tiles (`Compute` expressions are flattened; what holds no tile, such as index arithmetic
and literals, stays an operand). Nodes are numbered in program order and know the loops and branch sides around them.
An edge is a value on its way from the instruction that wrote it to one that reads it: a register tile, or a slice of
a buffer, with its bytes, level and live range. A read has an edge from every write that may reach it; edges around a
loop are `carried`. Data written outside of the kernel has no edge.

`build` makes the graph of a kernel, `to_kernel` writes it back: the same program up to the names of temporaries.
The text form is in graph_text.py, the verifier in graph_verify.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import NamedTuple

import networkx as nx

from .dtypes import DType
from .errors import NOWHERE, Location
from .expr import COMPARISONS, LOGICAL, Call, Cast, Const, Coord, Expr, Fn, Ref, walk
from .gir import Alloc, Branch, Compute, Kernel, Level, Load, Loop, Program, Reduce, Stmt, Store
from .gir_tools import buffer_written, fresh, introduced, names


class Scope(NamedTuple):
    """A body: of the loop with number `header`, or of one side of the branch (0: condition holds)."""

    header: int
    side: int


@dataclass(frozen=True)
class Instruction:
    """`stmt` is the statement without what is nested in it; `nest` lists the bodies around it, outermost first."""

    number: int
    nest: tuple[Scope, ...]
    stmt: Stmt


@dataclass(frozen=True)
class Slice:
    """What travels along an edge. `bytes` is None where an extent is symbolic; the value lives from instruction
    `first`, which wrote it, to `last`, the end of a loop included where the loop needs it again."""

    name: str
    level: Level
    bytes: int | None
    first: int
    last: int
    carried: bool


class Edge(NamedTuple):
    source: int
    target: int
    slice: Slice


@dataclass(frozen=True, eq=False)
class InstructionGraph:
    """`program` gives symbols, tensors and facts (it has no kernels). Nodes of `graph` are instruction numbers with
    the attribute `instruction`; its edges have the attribute `slice` and the name of the value as key."""

    program: Program
    name: str
    graph: nx.MultiDiGraph
    location: Location = NOWHERE

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        return tuple(self.graph.nodes[n]["instruction"] for n in sorted(self.graph.nodes))

    @property
    def edges(self) -> tuple[Edge, ...]:
        found = [Edge(a, b, s) for a, b, s in self.graph.edges(data="slice")]
        return tuple(sorted(found, key=lambda e: (e.source, e.target, e.slice.name)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InstructionGraph):
            return NotImplemented
        return (self.program, self.name, self.instructions, self.edges) == (
            other.program,
            other.name,
            other.instructions,
            other.edges,
        )

    def __hash__(self) -> int:
        return hash((self.program, self.name, self.instructions))


@dataclass(frozen=True)
class TileType:
    shape: tuple[int, ...]
    dtype: DType

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.dtype.bytes


def build(kernel: Kernel, program: Program) -> InstructionGraph:
    """The instruction graph of a kernel of a program that verifies."""
    from .graph_flow import edges_of

    instructions = tuple(flatten(kernel, program))
    return assemble(program, kernel.name, instructions, edges_of(instructions, program), kernel.location)


def build_all(program: Program) -> tuple[InstructionGraph, ...]:
    """The graphs of all kernels, in order."""
    return tuple(build(k, program) for k in program.kernels)


def assemble(
    program: Program,
    name: str,
    instructions: tuple[Instruction, ...],
    edges: tuple[Edge, ...],
    location: Location = NOWHERE,
) -> InstructionGraph:
    graph = nx.MultiDiGraph()
    for i in instructions:
        graph.add_node(i.number, instruction=i)
    for e in edges:
        graph.add_edge(e.source, e.target, key=e.slice.name, slice=e.slice)
    return InstructionGraph(replace(program, kernels=()), name, graph, location)


def to_kernel(graph: InstructionGraph) -> Kernel:
    """The kernel whose instructions are those of the graph, in its order."""
    rows = graph.instructions
    ends = subtree_ends(rows)

    def body(first: int, last: int, scope: Scope | None) -> tuple[Stmt, ...]:
        out: list[Stmt] = []
        k = first
        while k < last:
            row = rows[k]
            inside = row.nest[-1] if row.nest else None
            if inside == scope:
                match row.stmt:
                    case Loop():
                        out.append(replace(row.stmt, body=body(k + 1, ends[k], Scope(k, 0))))
                    case Branch():
                        then, other = (body(k + 1, ends[k], Scope(k, side)) for side in (0, 1))
                        out.append(replace(row.stmt, then=then, otherwise=other))
                    case _:
                        out.append(row.stmt)
            k = ends[k] if isinstance(row.stmt, Loop | Branch) else k + 1
        return tuple(out)

    return Kernel(graph.name, body(0, len(rows), None), graph.location)


def to_program(graph: InstructionGraph) -> Program:
    """A program with this kernel alone."""
    return replace(graph.program, kernels=(to_kernel(graph),))


def subtree_ends(instructions: tuple[Instruction, ...]) -> list[int]:
    """For every instruction the number after the last one nested in it."""
    ends = [i.number + 1 for i in instructions]
    for i in instructions:
        for scope in i.nest:
            ends[scope.header] = max(ends[scope.header], i.number + 1)
    return ends


# -- flattening ------------------------------------------------------------------------------------------------------


def is_operand(expr: Expr) -> bool:
    """A tile, or an expression without tiles."""
    return isinstance(expr, Ref) or not any(isinstance(e, Ref) for e in walk(expr))


def note_type(stmt: Stmt, types: dict[str, TileType], buffers: dict[str, DType]) -> None:
    """Record shape and arithmetic type of the tile, or the storage type of the buffer, that a statement introduces."""
    match stmt:
        case Alloc() if stmt.level is Level.REG:
            shape = tuple(e.value for e in stmt.shape if isinstance(e, Const) and isinstance(e.value, int))
            types[stmt.name] = TileType(shape, stmt.dtype.arithmetic)
        case Alloc():
            buffers[stmt.name] = stmt.dtype
        case Load():
            types[stmt.tile] = TileType(stmt.shape, stmt.dtype(buffers[stmt.source.buffer]))
        case Compute():
            types[stmt.tile] = TileType(stmt.shape, stmt.dtype)
        case Reduce():
            source = types[stmt.source]
            types[stmt.tile] = TileType(stmt.folded(source.shape), source.dtype)


def flatten(kernel: Kernel, program: Program) -> Iterator[Instruction]:
    """The primitive instructions of a kernel, numbered in program order."""
    return _Flattener(kernel, program).run(kernel.body, ())


class _Flattener:
    def __init__(self, kernel: Kernel, program: Program) -> None:
        self.types: dict[str, TileType] = {}
        self.buffers = {t.name: t.dtype for t in program.tensors}
        self.taken = names(kernel.body) | set(self.buffers) | {s.name for s in program.symbols}
        self.count = 0

    def run(self, body: tuple[Stmt, ...], nest: tuple[Scope, ...]) -> Iterator[Instruction]:
        for stmt in body:
            before: list[Stmt] = []
            match stmt:
                case Compute() if not is_operand(stmt.expr):
                    stmt = replace(stmt, expr=self.call(stmt.expr, stmt, before))
                case Store():
                    stmt = replace(stmt, value=self.operand(stmt.value, stmt, before))
            note_type(stmt, self.types, self.buffers)
            head = stmt
            match stmt:
                case Loop():
                    head = replace(stmt, body=())
                case Branch():
                    head = replace(stmt, then=(), otherwise=())
            for s in (*before, head):
                number = self.count
                self.count += 1
                yield Instruction(number, nest, s)
            match stmt:
                case Loop():
                    yield from self.run(stmt.body, (*nest, Scope(number, 0)))
                case Branch():
                    yield from self.run(stmt.then, (*nest, Scope(number, 0)))
                    yield from self.run(stmt.otherwise, (*nest, Scope(number, 1)))

    def call(self, expr: Expr, stmt: Compute | Store, before: list[Stmt]) -> Expr:
        """The expression with operands for arguments."""
        return expr.with_children(tuple(self.operand(a, stmt, before) for a in expr.children))

    def operand(self, expr: Expr, stmt: Compute | Store, before: list[Stmt]) -> Expr:
        if is_operand(expr):
            return expr
        flat = self.call(expr, stmt, before)
        name = fresh("v", self.taken)
        made = Compute(name, self.shape(flat, stmt.shape), flat, self.dtype(flat), stmt.location)
        self.types[name] = TileType(made.shape, made.dtype)
        before.append(made)
        return Ref(name, stmt.location)

    def shape(self, expr: Expr, box: tuple[int, ...]) -> tuple[int, ...]:
        """What the operands broadcast to."""
        sizes: list[int] = []
        for e in walk(expr):
            match e:
                case Ref(name):
                    other = self.types[name].shape
                case Coord(axis):
                    other = tuple(n if k == axis else 1 for k, n in enumerate(box))
                case _:
                    continue
            sizes = [1] * (len(other) - len(sizes)) + sizes
            for k, n in enumerate(reversed(other), start=1):
                sizes[-k] = max(sizes[-k], n)
        return tuple(sizes)

    def dtype(self, expr: Expr) -> DType:
        match expr:
            case Ref(name):
                return self.types[name].dtype
            case Cast(dtype, _):
                return dtype.arithmetic
            case Const(_, dtype) if dtype is not None:
                return dtype.arithmetic
            case Call(fn, args):
                if fn in COMPARISONS or fn in LOGICAL or fn is Fn.ISNAN:
                    return DType.BOOL
                return self.dtype(args[1] if fn is Fn.SELECT else args[-1] if fn is Fn.DOT2_BF16 else args[0])
        return DType.I64  # loop indices, symbols, coordinates


def writes(stmt: Stmt) -> str | None:
    """The tile or buffer that an instruction gives a value."""
    return buffer_written(stmt) or introduced(stmt)
