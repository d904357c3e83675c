"""Wavefronts: the skewed op means the same bit for bit, and its plans run front by front on both targets."""

from __future__ import annotations

import numpy as np
import pytest
from equivalence import assert_same, random_inputs
from weft import compile as weft_compile
from weft.backends.machine import load_machine
from weft.compiler.axes import unify_axes
from weft.compiler.lower import write_out
from weft.compiler.needed import needed_where
from weft.compiler.passes.base import run_passes
from weft.compiler.passes.wavefront import Wavefront, find_front, skew_recurrence
from weft.compiler.pipeline import OP_PASSES
from weft.compiler.plan import Tile, walk_tiles
from weft.compiler.planner import Choices
from weft.compiler.planner.facts import front_axes
from weft.compiler.search.alternatives import alternatives
from weft.ir import gir, gir_interp, op_interp
from weft.ir.binding import specialise
from weft.ir.errors import ScheduleError
from weft.ir.gir_verify import verify as verify_gir
from weft.ir.op import Op
from weft.ir.op_text import parse_op
from weft.ir.op_verify import verify

FORWARD = """op f(x: f32[A, B]) -> (y: f32[A, B]) {
  y[i, j] = (x[i, j] + y.pad(1.0)[i - 1, j] * 0.5 + y.pad(1.0)[i, j - 1]) * 0.3
}"""
BACKWARD = FORWARD.replace("i - 1, j]", "i + 1, j]").replace("i, j - 1]", "i, j + 1]")
CORNER = """op f(x: f32[A, B], e: f32[B]) -> (y: f32[A, B]) {
  y[i, j] = x[i, j] - y.pad(e[j])[i - 1, j + 1] * 0.5 + max(y.pad(0.0)[i - 1, j], y.pad(2.0)[i, j - 2])
}"""
CHAIN = """op f(x: f32[A, C, B]) -> (y: f32[A, C, B]) {
  y[i, k, j] = x[i, k, j] + y.pad(0.0)[i - 1, k, j] * 0.25 - y.pad(1.0)[i, k - 1, j] * 0.5 + y.pad(0.0)[i, k, j - 1]
}"""
BATCH = """op f(x: f32[C, A, B]) -> (y: f32[C, A, B]) {
  y[n, i, j] = x[n, i, j] + y.pad(0.0)[n, i - 1, j] * 0.5 - y.pad(0.0)[n, i, j - 1] * 0.5
}"""
SYMMETRIC = """op f(x: f32[A, B]) -> (z: f32[A, B], s: f32[A]) {
  y[i: A, j] = x.clamp[i + 1, j] + y.pad(0.0)[i - 1, j] * 0.5 + y.pad(0.0)[i, j - 1] * 0.25
  z[i, j] = y.pad(3.0)[i - 1, j] + z.pad(0.0)[i + 1, j] * 0.5 + z.pad(0.0)[i, j + 1] * 0.25
  s[i]    = sum[j] y[i, j]
}"""
NARROW = "op f(x: i32[A, B]) -> (y: i32[A, B]) { y[i, j] = x[i, j] + y.pad(1)[i - 1, j] - y.pad(0)[i, j - 1] }"
TIME = """op f(x: f32[B], r: f32[A]) -> (y: f32[A, B]) {
  y[t, j] = (y.pad(x.clamp[j - 1])[t - 1, j - 1] + y.pad(0.5)[t - 1, j + 1]) * r[t]
}"""
CASES = {
    "forward": FORWARD,
    "backward": BACKWARD,
    "corner": CORNER,
    "chain": CHAIN,
    "batch": BATCH,
    "symmetric": SYMMETRIC,
    "narrow": NARROW,
}
MACHINE = load_machine("avx512")


def symbols_of(op: Op, a: int, b: int) -> dict[str, int]:
    return {s.name: {"A": a, "B": b, "C": 3}[s.name] for s in op.symbols}


def prepared(op: Op) -> Op:
    return unify_axes(run_passes(op, OP_PASSES))


@pytest.mark.parametrize("case", CASES)
def test_the_same_bit_for_bit(case: str) -> None:
    before = parse_op(CASES[case])
    after = Wavefront().run(before)
    verify(after)
    assert any("$wave" in d.name for d in after.definitions)
    for a, b in ((0, 0), (0, 4), (3, 0), (1, 1), (1, 7), (7, 1), (5, 3), (7, 11)):
        symbols = symbols_of(before, a, b)
        assert_same(before, after, symbols, special=0.1)
        bound = specialise(before, symbols)
        verify(Wavefront().run(bound))
        assert_same(bound, prepared(Wavefront().run(bound)), {})


def test_the_smallest_skew_that_is_legal() -> None:
    assert [find_front(parse_op(t).definitions[0]).skew for t in (FORWARD, CORNER)] == [1, 2]  # type: ignore[union-attr]
    assert find_front(parse_op(TIME).definitions[0]) is not None
    line = parse_op("op f(x: f32[A, B]) -> (y: f32[A, B]) { y[i, j] = x[i, j] + y.pad(0.0)[i, j - 1] }")
    assert find_front(line.definitions[0]) is None
    with pytest.raises(ScheduleError, match="no wavefronts"):
        skew_recurrence(line, "y")


def test_points_outside_of_the_grid_are_not_needed() -> None:
    after = prepared(Wavefront().run(parse_op(SYMMETRIC)))
    assert set(needed_where(after)) == {"y$wave", "z$wave"}
    everywhere = parse_op("""op f(x: f32[4]) -> (y: f32[4]) {
      t[i] = x[i] if i < 2 else 0.0
      y[i] = t[i] + t[0]
    }""")
    assert not needed_where(everywhere)


def test_axes_that_a_front_carries() -> None:
    def carried(text: str) -> tuple[str, frozenset[str]]:
        return front_axes(parse_op(text).definitions[0])

    assert carried(TIME) == ("t", frozenset({"j"}))
    assert carried(FORWARD) == ("", frozenset())


def written(text: str, a: int, b: int) -> tuple[Op, gir.Program, tuple[Tile, ...]]:
    op = parse_op(text)
    bound = specialise(op, symbols_of(op, a, b))
    out = write_out(prepared(Wavefront().run(bound)) if text != TIME else prepared(bound), MACHINE, Choices())
    tiles = tuple(t for k in out.plan.kernels for t in walk_tiles(k.body))
    return bound, out.program, tiles


@pytest.mark.parametrize("case", [*CASES, "time"])
@pytest.mark.parametrize(("a", "b"), [(0, 3), (1, 1), (17, 5), (37, 53)])
def test_plans_run_front_by_front(case: str, a: int, b: int) -> None:
    op, program, tiles = written(CASES.get(case, TIME), a, b)
    assert not verify_gir(program, MACHINE.sram_bytes)
    if a == 37:
        kinds = [t.kind for t in tiles]
        assert gir.LoopKind.SERIAL in kinds and gir.LoopKind.UNIT in kinds
        assert any(t.lag for t in tiles) == (case not in ("corner", "time")) or case == "corner"
    inputs = random_inputs(op, {})
    expected = op_interp.interpret(op, inputs, {})
    found = gir_interp.interpret(program, inputs)
    for name in found:
        exact = name != "s"  # a sum over lanes
        np.testing.assert_allclose(found[name], expected[name], rtol=0 if exact else 1e-5)


@pytest.mark.parametrize("target", ["cpu", "c"])
@pytest.mark.parametrize("case", ["symmetric", "chain", "time"])
def test_targets(case: str, target: str) -> None:
    op, program, _ = written(CASES.get(case, TIME), 150, 131)
    inputs = random_inputs(op, {})
    expected = op_interp.interpret(op, inputs, {})
    kernel = weft_compile(program, target=target, threads=2)
    for _ in range(3):
        found = kernel(**inputs)
        found = found if isinstance(found, tuple) else (found,)
        for got, output in zip(found, op.outputs, strict=True):
            exact = output.name != "s" and target == "cpu"
            np.testing.assert_allclose(got, expected[output.name], rtol=1e-6 if exact else 1e-4, atol=1e-6)


def test_the_search_is_offered_wavefronts() -> None:
    op = parse_op(FORWARD)
    labels = [x.label for x in alternatives(specialise(op, {"A": 64, "B": 96}), MACHINE)]
    assert "wavefront" in labels
    small = [x.label for x in alternatives(specialise(op, {"A": 4, "B": 96}), MACHINE)]
    assert "wavefront" not in small
