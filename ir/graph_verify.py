"""What a legal instruction graph guarantees. `verify` raises VerifyError where a guarantee is broken.

1. Nodes are numbered 0, 1, ... in program order, and each carries the instruction with its number.
2. The bodies around an instruction are those of earlier loop or branch heads, nested as listed, and every body is one
   run of consecutive numbers; a loop has side 0 only, a branch sides 0 and 1 in this order.
3. Instructions are primitive: heads hold no body, a `Compute` applies at most one function to operands, and a `Store`
   stores an operand (a tile, or an expression without tiles).
4. Every tile an instruction reads has an edge from a write of that tile; data of a buffer has edges from every write
   in the kernel that may reach it. There are no other edges: an edge leads from a writer of its value to a reader.
5. An edge leads forward, or is carried by a serial loop around both ends.
6. An edge states its value's level and bytes, and the live range from its writer to the last reader, a loop included
   where the loop needs the value again.
7. Written back, the graph is a GIR kernel that verifies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import VerifyError
from .expr import Call, Cast, Expr
from .gir import Branch, Compute, Loop, Store
from .gir_interp import interpret as interpret_gir
from .gir_verify import verify as verify_gir
from .graph import Edge, Instruction, InstructionGraph, Scope, is_operand, to_program
from .graph_flow import edges_of


def verify(graph: InstructionGraph) -> None:
    """Check every guarantee. Raises VerifyError naming the one that is broken."""
    _numbers(graph)
    rows = graph.instructions
    _nesting(rows)
    for row in rows:
        _primitive(row)
    _edges(graph, rows)
    verify_gir(to_program(graph))


def interpret(
    graph: InstructionGraph, inputs: Mapping[str, Any], symbols: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Run the graph alone: checks that every read has its writer's edge (4, 5), then runs the kernel it stands for."""
    verify(graph)
    return dict(interpret_gir(to_program(graph), inputs, symbols))


def _fail(guarantee: int, row: Instruction | None, text: str) -> VerifyError:
    where = getattr(row.stmt, "location", None) if row is not None else None
    prefix = f"[{guarantee}] instruction {row.number}: " if row is not None else f"[{guarantee}] "
    return VerifyError(prefix + text, where) if where is not None else VerifyError(prefix + text)


def _numbers(graph: InstructionGraph) -> None:
    nodes = sorted(graph.graph.nodes)
    if nodes != list(range(len(nodes))):
        raise _fail(1, None, "instructions are not numbered 0, 1, ...")
    for number in nodes:
        found = graph.graph.nodes[number].get("instruction")
        if not isinstance(found, Instruction) or found.number != number:
            raise _fail(1, None, f"node {number} does not carry its instruction")


def _nesting(rows: tuple[Instruction, ...]) -> None:
    open_: tuple[Scope, ...] = ()
    previous = -1
    for row in rows:
        for depth, scope in enumerate(row.nest):
            if not 0 <= scope.header < row.number:
                raise _fail(2, row, f"is inside of {scope.header}, which does not stand before it")
            head = rows[scope.header]
            sides = {Loop: 1, Branch: 2}.get(type(head.stmt), 0)
            if scope.side not in range(sides) or head.nest != row.nest[:depth]:
                raise _fail(2, row, f"{scope.header} has no body {scope.side} at this depth")
        shared = 0
        while shared < min(len(open_), len(row.nest)) and open_[shared] == row.nest[shared]:
            shared += 1
        entered = row.nest[shared:]
        fresh = len(entered) == 0 or (
            len(entered) == 1
            and (entered[0].header == previous or (shared < len(open_) and open_[shared].header == entered[0].header))
        )
        turned = shared < len(open_) and entered and open_[shared].header == entered[0].header
        if not fresh or (turned and open_[shared].side > entered[0].side):
            raise _fail(2, row, "enters a body that does not begin here")
        open_, previous = row.nest, row.number


def _primitive(row: Instruction) -> None:
    match row.stmt:
        case Loop(body=body) if body:
            raise _fail(3, row, "the head of a loop holds no body")
        case Branch(then=then, otherwise=otherwise) if then or otherwise:
            raise _fail(3, row, "the head of a branch holds no body")
        case Compute(expr=expr) if not _single(expr):
            raise _fail(3, row, "applies more than one function")
        case Store(value=value) if not is_operand(value):
            raise _fail(3, row, "stores more than an operand")


def _single(expr: Expr) -> bool:
    if is_operand(expr):
        return True
    return isinstance(expr, Call | Cast) and all(is_operand(c) for c in expr.children)


def _edges(graph: InstructionGraph, rows: tuple[Instruction, ...]) -> None:
    needed = {_key(e): e for e in edges_of(rows, graph.program)}
    present = {_key(e): e for e in graph.edges}
    for key, edge in needed.items():
        if key not in present:
            raise _fail(4, rows[edge.target], f"reads '{edge.slice.name}' of {edge.source} without an edge")
    for key, edge in present.items():
        if key not in needed:
            raise _fail(
                4, rows[edge.target], f"an edge of '{edge.slice.name}' from {edge.source} is not one of dataflow"
            )
        loops = [s.header for s in _common(rows, edge) if isinstance(rows[s.header].stmt, Loop)]
        if edge.source >= edge.target and not (edge.slice.carried and loops):
            raise _fail(5, rows[edge.target], f"reads '{edge.slice.name}' before {edge.source} writes it")
        if edge != needed[key]:
            raise _fail(6, rows[edge.target], f"'{edge.slice.name}' is {needed[key].slice}, not {edge.slice}")


def _key(edge: Edge) -> tuple[int, int, str]:
    return edge.source, edge.target, edge.slice.name


def _common(rows: tuple[Instruction, ...], edge: Edge) -> list[Scope]:
    pairs = zip(rows[edge.source].nest, rows[edge.target].nest, strict=False)
    return [a for a, b in pairs if a == b]
