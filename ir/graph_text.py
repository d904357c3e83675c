"""The instruction graph as text, numbered GIR followed by its edges. `parse_graph(print_graph(g)) == g`.

    graph rows {
      program shifted(M, N) {
        tensor x: f32[M, N] input
        ...
        kernel rows {
    0 |   parallel unit i in 0..M {
    1 |     t = load<16> x[i, @0]
          ...
      }
    }
    edges {
      1 -> 2: t reg 64 bytes live 1..4
      5 -> 2: m reg 4 bytes live 5..6 carried
    }

One line is one instruction, the numbers are those of the edges. Bytes are `?` where an extent is symbolic.
"""

from __future__ import annotations

import re

from .errors import Location, ParseError
from .gir import Level
from .gir_parser import parse_program
from .gir_printer import print_program
from .gir_verify import verify as verify_gir
from .graph import Edge, InstructionGraph, Slice, assemble, flatten, to_program

_EDGE = re.compile(
    r"\s*(\d+) -> (\d+): (\S+) (reg|sram|dram) (\d+|\?) bytes live (\d+)\.\.(\d+)( carried)?\s*", re.ASCII
)
_NUMBERED = re.compile(r"^\s*\d+ \|", re.ASCII)
_MARK = " |"


def print_graph(graph: InstructionGraph) -> str:
    """The whole graph, ending in a newline."""
    lines = print_program(to_program(graph)).rstrip("\n").split("\n")
    inside = False
    number = 0
    out = [f"graph {graph.name} {{"]
    width = len(str(max(len(graph.instructions) - 1, 0))) + len(_MARK)
    for line in lines:
        text = line.strip()
        is_instruction = inside and not text.startswith("}")
        mark = f"{number}{_MARK}" if is_instruction else ""
        number += is_instruction
        out.append(f"{mark:>{width}} {line}")
        inside |= text.startswith("kernel ")
    out += ["}", "edges {"]
    for e in graph.edges:
        s = e.slice
        size = "?" if s.bytes is None else str(s.bytes)
        carried = " carried" if s.carried else ""
        out.append(f"  {e.source} -> {e.target}: {s.name} {s.level} {size} bytes live {s.first}..{s.last}{carried}")
    return "\n".join([*out, "}"]) + "\n"


def parse_graph(text: str, filename: str = "") -> InstructionGraph:
    """The graph of a text. Raises ParseError where it is not one, VerifyError where its GIR is not legal;
    `graph_verify.verify` checks the edges."""
    lines = text.split("\n")
    head = next((k for k, line in enumerate(lines) if line.strip()), 0)
    found = re.fullmatch(r"\s*graph (\S+) \{\s*", lines[head])
    if found is None:
        raise ParseError("not an instruction graph", Location(filename, head + 1, 1), "begin with 'graph NAME {'")
    end = next((k for k, line in enumerate(lines) if line.rstrip() == "edges {"), None)
    if end is None or lines[end - 1].strip() != "}":
        raise ParseError("a graph without edges", Location(filename, len(lines), 1), "end with 'edges { ... }'")
    # blank lines for what is not GIR keep the line numbers of messages
    body = [""] * (head + 1) + [_NUMBERED.sub(_blank, line) for line in lines[head + 1 : end - 1]]
    program = parse_program("\n".join(body) + "\n", filename)
    if len(program.kernels) != 1 or program.kernels[0].name != found[1]:
        raise ParseError(f"a graph holds one kernel, '{found[1]}'", Location(filename, head + 1, 1))
    verify_gir(program)
    kernel = program.kernels[0]
    edges: list[Edge] = []
    instructions = tuple(flatten(kernel, program))
    closed = False
    for k, line in enumerate(lines[end + 1 :], start=end + 2):
        if closed or not line.strip():
            if line.strip():
                raise ParseError("text after the edges", Location(filename, k, 1))
            continue
        if line.strip() == "}":
            closed = True
            continue
        edges.append(_edge(line, Location(filename, k, 1), len(instructions)))
    if not closed:
        raise ParseError("the edges are not closed", Location(filename, len(lines), 1), "end with '}'")
    return assemble(program, kernel.name, instructions, tuple(edges), kernel.location)


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _edge(line: str, location: Location, count: int) -> Edge:
    found = _EDGE.fullmatch(line)
    if found is None:
        raise ParseError(
            "not an edge", location, "SOURCE -> TARGET: NAME LEVEL BYTES bytes live FIRST..LAST [carried]", line
        )
    source, target, first, last = (int(found[k]) for k in (1, 2, 6, 7))
    if max(source, target) >= count:
        raise ParseError(f"there are {count} instructions", location, source_line=line)
    size = None if found[5] == "?" else int(found[5])
    return Edge(source, target, Slice(found[3], Level(found[4]), size, first, last, found[8] is not None))
