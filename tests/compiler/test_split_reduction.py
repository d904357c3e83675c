"""Splitting reductions: plain ones, streams, monoids with several components, tails and guards."""

from __future__ import annotations

import numpy as np
import pytest
from equivalence import assert_same, random_inputs
from stream_simulator import simulate
from weft.compiler.passes.factor import Factor
from weft.compiler.passes.normal import normalise
from weft.compiler.passes.split_reduction import SplitReduction, split_reduction
from weft.ir.errors import ScheduleError
from weft.ir.op import Op
from weft.ir.op_interp import interpret
from weft.ir.op_text import parse_op, print_op
from weft.ir.op_verify import verify

SUM = "op f(x: f32[M, N]) -> (y: f32[M]) { y[i] = sum[j] x[i, j] }"


def split(text: str, name: str, factor: int, symbols: dict[str, int], special: float = 0.0, normal: bool = True) -> Op:
    before = parse_op(text)
    op = normalise(before) if normal else before
    new = split_reduction(op, name, factor)
    verify(new)
    assert_same(before, new, symbols, special=special, rtol=1e-5, atol=1e-5)
    return new


def test_golden() -> None:
    assert print_op(split_reduction(parse_op(SUM), "y", 16)) == (
        "op f(x: f32[M, N]) -> (y: f32[M]) {\n"
        "  y$part[j$chunk: (N + 15) // 16, i] = sum[j$in: 16 where j$chunk * 16 + j$in < N] x[i, j$chunk * 16 + j$in]\n"
        "  y[i] = sum[j$chunk] y$part[j$chunk, i]\n"
        "}\n"
    )


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7, 8, 9])
@pytest.mark.parametrize("factor", [1, 3, 4, 64])
def test_extents(n: int, factor: int) -> None:
    split(SUM, "y", factor, {"M": 2, "N": n})
    split(SUM.replace("N]", "8]"), "y", factor, {"M": 2})
    split(SUM.replace("[j]", "[j in 1..N]"), "y", factor, {"M": 2, "N": n})
    split(SUM.replace("[j]", "[j where x[i, j] > 0.0]"), "y", factor, {"M": 2, "N": n})


@pytest.mark.parametrize("monoid", ["max", "min", "prod", "sum<f64>"])
def test_monoids(monoid: str) -> None:
    split(SUM.replace("sum", monoid).replace("x[i, j] }", "x[i, j] }"), "y", 3, {"M": 4, "N": 8}, special=0.1)


def test_argmax_keeps_the_first() -> None:
    text = "op f(x: f32[M, N]) -> (y: i64[M]) { y[i] = argmax[j] floor(x[i, j]) }"
    for factor in (1, 2, 3, 100):
        split(text, "y", factor, {"M": 20, "N": 7}, special=0.1)


def test_a_users_monoid() -> None:
    text = """monoid last(v: f32) ordered { identity (nan) combine(a, b) = (a.v if isnan(b.v) else b.v) }
    op f(x: f32[M, N]) -> (y: f32[M]) { y[i] = last[j] x[i, j] }"""
    split(text, "y", 3, {"M": 4, "N": 8}, special=0.2)


def test_split_k_of_a_product() -> None:
    text = "op f(a: f32[M, K], b: f32[K, N]) -> (c: f32[M, N]) { c[i, j] = sum[k] a[i, k] * b[k, j] }"
    split(text, "c", 4, {"M": 3, "K": 10, "N": 2})


WEIGHTED = """op f(x: f32[M, N], v: f32[N, E]) -> (o: f32[M, E]) {
  m[i] = max[j where j <= i + 2] x[i, j]
  w[i, j] = exp(x[i, j] - m[i])
  l[i] = sum[j where j <= i + 2] w[i, j]
  o[i, e] = sum[j where j <= i + 2] w[i, j] / l[i] * v[j, e]
}"""


@pytest.mark.parametrize("factor", [1, 2, 5, 50])
def test_a_stream_splits_whole(factor: int) -> None:
    symbols = {"M": 4, "N": 9, "E": 2}
    new = split(WEIGHTED, "l", factor, symbols)
    assert [[c.target for c in s.components] for s in new.streams] == [["m$part", "l$part", "o$part"]]
    arrays = random_inputs(new, symbols)
    whole = interpret(new, arrays, symbols, targets=True)
    for name, value in simulate(new, new.streams[0], arrays, symbols, 2).items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_streams_on_special_values(seed: int) -> None:
    text = """op f(x: f32[M, N]) -> (y: f32[M, N]) {
      m[i] = max[j] x[i, j]
      s[i] = sum[j] exp(x[i, j] - m[i])
      y[i, j] = exp(x[i, j] - m[i]) / s[i]
    }"""
    before = parse_op(text)
    new = split_reduction(normalise(before), "m", 2)
    assert_same(before, new, {"M": 40, "N": 5}, seed, special=0.25, rtol=1e-5, atol=1e-6)


def test_variance_merges_by_counts() -> None:
    text = """op f(x: f32[M, N]) -> (v: f32[M]) {
      s[i] = sum[j] x[i, j]
      v[i] = (sum[j] (x[i, j] - s[i] / f32(N)) ** 2.0) / f32(N)
    }"""
    split(text, "s", 4, {"M": 3, "N": 10})
    split(text, "s", 4, {"M": 3, "N": 0}, special=0.0)


def test_the_chosen_axis() -> None:
    op = parse_op("op f(x: f32[M, N]) -> (y: f32[]) { y = sum[i, j] x[i, j] }")
    for axis in ("", "i", "j"):
        new = SplitReduction("y", 3, axis).run(op)
        verify(new)
        assert_same(op, new, {"M": 5, "N": 4}, rtol=1e-5, atol=1e-6)


def test_refusals() -> None:
    ragged = parse_op("op f(x: f32[M, N], n: i64[M]) -> (y: f32[M]) { y[i] = sum[j in 0..n[i]] x.clamp[i, j] }")
    with pytest.raises(ScheduleError, match="cannot be split"):
        split_reduction(ragged, "y", 4)
    triangle = parse_op("op f(x: f32[M, M]) -> (y: f32[M]) { y[i] = sum[j in 0..i + 1] x[i, j] }")
    with pytest.raises(ScheduleError, match="cannot be split"):
        split_reduction(triangle, "y", 4)
    factored = Factor().run(normalise(parse_op(WEIGHTED)))
    with pytest.raises(ScheduleError, match="depends on 'm' through another definition"):
        split_reduction(factored, "l", 4)
    with pytest.raises(ScheduleError, match="no reduction"):
        split_reduction(ragged, "x", 4)
    with pytest.raises(ScheduleError, match="chunks of 0"):
        split_reduction(parse_op(SUM), "y", 0)
    with pytest.raises(ScheduleError, match="cannot be split"):
        split_reduction(parse_op(SUM), "y", 4, "k")
