"""The search: what it steps through, what it leaves out and why, and what may be switched off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from weft.backends.machine import load_machine
from weft.compiler.lower import LowerOptions, lower, write_out
from weft.compiler.plan import Nest, block_definitions, step_definitions, walk_tiles
from weft.compiler.planner import Choices
from weft.compiler.search.alternatives import alternatives
from weft.compiler.search.best_first import search
from weft.compiler.search.canonical import canonical_hash
from weft.compiler.search.considered import as_text
from weft.compiler.search.levels import Levels
from weft.ir.binding import specialise
from weft.ir.gir_interp import interpret as run_gir
from weft.ir.gir_printer import print_program
from weft.ir.op_interp import interpret as run_op
from weft.ir.op_text import parse_op

MACHINE = load_machine("avx512")
SOFTMAX = """op softmax(x: f32[M, N]) -> (y: f32[M, N]) {
  m[i] = max[j] x[i, j]
  e[i, j] = exp(x[i, j] - m[i])
  s[i] = sum[j] e[i, j]
  y[i, j] = e[i, j] / s[i]
}"""
SPACES = {
    "rows": "op rows(x: f32[M, N]) -> (y: f32[M]) { y[i] = sum[j] x[i, j] }",
    "columns": "op columns(x: f32[M, N]) -> (y: f32[N]) { y[j] = sum[i] x[i, j] }",
    "turned": "op turned(x: f32[M, N]) -> (y: f32[N, M]) { y[j, i] = x[i, j] }",
    "mapped": "op mapped(x: f32[M, N], b: f32[N]) -> (y: f32[M, N]) { y[i, j] = tanh(x[i, j] + b[j]) }",
}


@pytest.mark.parametrize("name", SPACES)
def test_small_operators_have_many_plans_and_no_program_twice(name: str) -> None:
    op = specialise(parse_op(SPACES[name]), {"M": 4096, "N": 4096})
    found = search(op, MACHINE, {}, 60, exhaust=True)
    assert len(found.candidates) >= 50
    programs = [write_out(c.op, MACHINE, c.choices, c.plan).program for c in found.candidates[::10]]
    assert len({canonical_hash(p) for p in programs}) == len(programs)


def test_names_do_not_make_another_program() -> None:
    texts = (
        "op f(x: f32[64]) -> (y: f32[64]) { t[i] = exp(x[i]); y[i] = t[i] + x[i] * t[63 - i] }",
        "op f(x: f32[64]) -> (y: f32[64]) { u[k] = exp(x[k]); y[k] = u[k] + x[k] * u[63 - k] }",
        "op f(x: f32[64]) -> (y: f32[64]) { t[i] = exp(x[i]); y[i] = t[i] + x[i] * t[62 - i + 1] * 2.0 }",
    )
    made = [lower(parse_op(t), MACHINE, LowerOptions(search=False)).program for t in texts]
    assert canonical_hash(made[0]) == canonical_hash(made[1]) != canonical_hash(made[2])


def test_what_is_refused_is_kept_with_its_reason() -> None:
    op = specialise(parse_op(SPACES["columns"]), {"M": 512, "N": 512})
    report = search(op, MACHINE, {}, 60, exhaust=True)
    assert report.refused
    assert all("registers" in reason for _, reason in report.refused)
    result = replace(lower(op, MACHINE, LowerOptions()), report=report)
    shown = as_text(result, MACHINE)
    assert f"{len(report.refused)} refused" in shown and report.refused[0][1] in shown


@pytest.mark.parametrize("levels", [Levels.SRAM, Levels.DRAM])
def test_levels_may_be_fixed(levels: Levels) -> None:
    op = specialise(parse_op(SOFTMAX), {"M": 33, "N": 70})
    for searched in (True, False):
        result = lower(op, MACHINE, LowerOptions(search=searched, nodes=24, levels=levels))
        blocks = [b for k in result.plan.kernels for t in walk_tiles(k.body) for b in t.body]
        nests = [b for b in blocks if isinstance(b, Nest)]
        assert all(len(list(step_definitions(n.body))) == 1 for n in nests)
        if levels is Levels.DRAM:
            assert all(len(list(block_definitions(k.body))) == 1 for k in result.plan.kernels)
        check(op, result.program)


def test_monotone_rewrites_may_be_switched_off() -> None:
    op = specialise(parse_op(SOFTMAX), {"M": 33, "N": 70})
    texts = {print_program(lower(op, MACHINE, LowerOptions(search=False, monotone=m)).program) for m in (True, False)}
    assert len(texts) == 2


def test_recomputation_replaces_a_definition() -> None:
    op = specialise(parse_op(SOFTMAX), {"M": 33, "N": 70})
    stored = next(a for a in alternatives(op, MACHINE) if a.label == "stored").op
    assert stored.definition_of("e") is not None
    result = write_out(stored, MACHINE, Choices(recompute=frozenset({"e"})))
    assert result.op.definition_of("e") is None
    check(op, result.program)


def check(op, program) -> None:  # type: ignore[no-untyped-def]
    x = np.random.default_rng(0).standard_normal((33, 70)).astype("f4")
    got, want = run_gir(program, {"x": x}), run_op(op, {"x": x}, {}, float64=True)
    np.testing.assert_allclose(got["y"], want["y"], rtol=2e-5, atol=1e-7)
