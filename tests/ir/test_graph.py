"""The instruction graph: build, write back, verify, text, liveness, identity."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.ir.errors import ParseError, UserError, VerifyError
from weft.ir.expr import Call
from weft.ir.gir import Branch, Compute, Level, Loop, Program, Store
from weft.ir.gir_interp import interpret as interpret_gir
from weft.ir.gir_parser import parse_program
from weft.ir.graph import InstructionGraph, assemble, build, build_all, is_operand, to_kernel
from weft.ir.graph_queries import canonical, canonical_hash, max_live_bytes, same
from weft.ir.graph_text import parse_graph, print_graph
from weft.ir.graph_verify import interpret, verify

sys.path.insert(0, str(Path(__file__).parent.parent / "compiler"))
from gir_programs import random_program

ROWS = """
program p(N) {
  tensor x: f32[N, 8] input
  tensor r: f32[N] output
  kernel rows {
    parallel unit i in 0..N {
      alloc acc: f32<> reg
      acc = 0.0
      loop j in 0..8 step 4 {
        t = load<4> x[i, j + @0]
        u: f32<4> = exp(t) * t + 1.0
        s = reduce add u over 0
        v: f32<1> = s + 0.0
        w = reduce add v over 0
        acc = acc + 1.0
      }
      store r[i] = acc
    }
  }
}
"""


def rows() -> InstructionGraph:
    program = parse_program(ROWS)
    return build(program.kernels[0], program)


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_a_random_program_survives_the_graph(seed: int) -> None:
    sample = random_program(seed)
    graphs = build_all(sample.program)
    for graph in graphs:
        verify(graph)
        assert parse_graph(print_graph(graph)) == graph
        again = build(to_kernel(graph), sample.program)
        assert again == graph and same(graph, again)
        assert max_live_bytes(graph, Level.REG) >= 0
    back = replace(sample.program, kernels=tuple(to_kernel(g) for g in graphs))
    for name, array in sample.run().items():
        np.testing.assert_array_equal(sample.run(back)[name], array)


def test_every_instruction_is_primitive() -> None:
    graph = rows()
    for row in graph.instructions:
        if isinstance(row.stmt, Compute) and isinstance(row.stmt.expr, Call):
            assert all(is_operand(a) for a in row.stmt.expr.args)
        if isinstance(row.stmt, Store):
            assert is_operand(row.stmt.value)
    assert sum(isinstance(r.stmt, Compute) for r in graph.instructions) == 6


def test_an_accumulator_is_carried_around_its_loop() -> None:
    graph = rows()
    carried = [e for e in graph.edges if e.slice.carried]
    assert [(e.slice.name, e.source == e.target) for e in carried] == [("acc", True)]
    readers = {e.target for e in graph.edges if e.slice.name == "acc"}
    update = carried[0].source
    store = next(r.number for r in graph.instructions if isinstance(r.stmt, Store))
    assert readers == {update, store}
    initial = [e for e in graph.edges if e.slice.name == "acc" and e.source < update]
    assert {e.target for e in initial} == {update, store}  # the loop might not run, as far as the graph knows


def test_liveness() -> None:
    # t and exp(t) with acc: 16 + 16 + 4; exp(t) * t is written when both are still live
    assert max_live_bytes(rows(), Level.REG) == 3 * 16 + 4
    assert max_live_bytes(rows(), Level.SRAM) == 0


def test_sram_that_depends_on_symbols_needs_their_values() -> None:
    text = ROWS.replace("alloc acc: f32<> reg", "alloc s: f32[N] sram\n      alloc acc: f32<> reg")
    program = parse_program(text)
    graph = build(program.kernels[0], program)
    assert max_live_bytes(graph, Level.SRAM, {"N": 10}) == 40
    with pytest.raises(UserError, match="depends on symbols"):
        max_live_bytes(graph, Level.SRAM)


def renamed(text: str) -> Program:
    for old, new in (("acc", "total"), ("x", "input0"), ("N", "K"), ("t", "tile"), ("j", "column"), ("rows", "lines")):
        text = re.sub(rf"\b{old}\b", new, text)
    return parse_program(text)


def test_identity_ignores_names_and_nothing_else() -> None:
    graph = rows()
    program = renamed(ROWS)
    other = build(program.kernels[0], program)
    assert other != graph and same(graph, other) and canonical_hash(graph) == canonical_hash(other)
    changed = parse_program(ROWS.replace("exp(t)", "log(t)"))
    third = build(changed.kernels[0], changed)
    assert not same(graph, third) and canonical_hash(graph) != canonical_hash(third)
    assert "acc" not in canonical(graph)


def test_interpreter_runs_the_graph() -> None:
    x = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    graph = rows()
    expected = interpret_gir(parse_program(ROWS), {"x": x})
    np.testing.assert_array_equal(interpret(graph, {"x": x})["r"], expected["r"])


def broken(kind: int) -> InstructionGraph:
    graph = rows()
    instructions, edges = graph.instructions, graph.edges
    match kind:
        case 1:
            instructions = instructions[:-1] + (replace(instructions[-1], number=99),)
            edges = tuple(e for e in edges if e.target != len(instructions) - 1)
        case 2:
            number = next(r.number for r in instructions if isinstance(r.stmt, Loop) and r.nest)
            below = instructions[number + 1]
            instructions = tuple(replace(r, nest=r.nest[1:]) if r is below else r for r in instructions)
        case 3:
            row = next(r for r in instructions if isinstance(r.stmt, Store))
            assert isinstance(row.stmt, Store)
            deep = parse_program(ROWS.replace("= acc\n", "= acc + 1.0\n")).kernels[0].body[0]
            assert isinstance(deep, Loop)
            instructions = tuple(replace(r, stmt=deep.body[-1]) if r is row else r for r in instructions)
        case 4:
            edges = edges[1:]
        case 6:
            edges = (edges[0]._replace(slice=replace(edges[0].slice, bytes=1)), *edges[1:])
    return assemble(graph.program, graph.name, instructions, edges, graph.location)


@pytest.mark.parametrize("guarantee", [1, 2, 3, 4, 6])
def test_each_guarantee_is_checked(guarantee: int) -> None:
    with pytest.raises(VerifyError, match=rf"\[{guarantee}\]"):
        verify(broken(guarantee))


def test_an_edge_that_is_not_dataflow_is_refused() -> None:
    graph = rows()
    edge = next(e for e in graph.edges if e.slice.name == "t")
    extra = edge._replace(target=len(graph.instructions) - 1)
    with pytest.raises(VerifyError, match=r"\[4\]"):
        verify(assemble(graph.program, graph.name, graph.instructions, (*graph.edges, extra)))


def test_branches_have_two_sides() -> None:
    text = ROWS.replace("acc = acc + 1.0", "when j < 4 {\n acc = acc + 1.0\n } else {\n acc = acc + 2.0\n }")
    program = parse_program(text)
    graph = build(program.kernels[0], program)
    verify(graph)
    assert to_kernel(graph).body != () and any(isinstance(r.stmt, Branch) for r in graph.instructions)
    carried = {(e.source, e.target) for e in graph.edges if e.slice.carried}
    assert len(carried) == 4  # either side feeds either side
    assert parse_graph(print_graph(graph)) == graph


def test_text_that_is_not_a_graph_is_a_parse_error() -> None:
    text = print_graph(rows())
    rng = Random(0)
    for _ in range(60):
        cut = text[: rng.randrange(len(text))]
        at = rng.randrange(len(text))
        flipped = text[:at] + chr(rng.randrange(32, 127)) + text[at + 1 :]
        for bad in (cut, flipped):
            try:
                verify(parse_graph(bad))
            except UserError:
                continue
    with pytest.raises(ParseError, match="not an edge"):
        parse_graph(text.replace("-> ", "=> ", 1))
