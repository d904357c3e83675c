"""Streams of random weighted sums, by blocks, against the unfused op."""

from __future__ import annotations

import random

import numpy as np
import pytest
from equivalence import assert_same, random_inputs
from stream_simulator import simulate
from weft.compiler.passes.normal import normalise
from weft.compiler.passes.split_reduction import split_reduction
from weft.ir.op_interp import interpret
from weft.ir.op_text import parse_op
from weft.ir.op_verify import verify

SCORES = ("x[i, j]", "x[i, j] * 0.5 + w[j]", "x[i, j] if j <= i + 1 else -inf", "tanh(x[i, j]) * c[i]", "-abs(x[i, j])")
REFERENCES = ("max[j{where}] t[i, j]", "max[j{where}] abs(t[i, j])", "(max[j{where}] t[i, j]) + 1.0")
WEIGHTS = (
    "exp(t[i, j] - r[i])",
    "exp2(3.0 * (t[i, j] - r[i]))",
    "exp(t[i, j] / 2.0) / exp(r[i] / 2.0)",
    "2.5 ** (t[i, j] - r[i])",
)
WEIGHTS += ("exp(t[i, j] - r[i]) * w[j]", "sqrt(exp(t[i, j] - r[i]))", "t[i, j] * t[i, j]", "(t[i, j] / q[i]) ** 2.0")
RESULTS = (
    "p[i, j] * v[j, e]",
    "p[i, j] / l[i] * v[j, e]",
    "-p[i, j] * v[j, e] * rsqrt(abs(l[i]) + 0.1)",
    "p[i, j] + v[j, e]",
)
GUARDS = ("", "", " where j <= i", " where x[i, j] > -1.0", " where j < i")


@pytest.mark.parametrize("seed", range(60))
def test_random_streams(seed: int) -> None:
    pick = random.Random(seed)
    where = pick.choice(GUARDS)
    text = f"""op f(x: f32[M, N], w: f32[N], c: f32[M], v: f32[N, E]) -> (o: f32[M, E], l: f32[M]) {{
      t[i, j] = {pick.choice(SCORES)}
      r[i] = {pick.choice(REFERENCES).format(where=where)}
      q[i] = max[j{where}] abs(x[i, j])
      p[i, j] = {pick.choice(WEIGHTS)}
      l[i] = sum[j{where}] p[i, j]
      o[i, e] = sum[j{where}] {"(" + pick.choice(RESULTS) + ")"}
    }}"""
    before = parse_op(text)
    symbols = {"M": 4, "N": pick.choice((0, 1, 5, 8)), "E": 2}
    arrays = random_inputs(before, symbols, seed)
    if pick.random() < 0.5:
        arrays["x"] = random_inputs(before, symbols, seed, special=0.1)["x"]
    op = normalise(before)
    verify(op)
    assert_same(before, op, symbols, inputs=arrays, rtol=1e-4, atol=1e-5)
    whole = interpret(op, arrays, symbols, targets=True)
    for s in op.streams:
        for block in (1, 3):
            for name, value in simulate(op, s, arrays, symbols, block).items():
                np.testing.assert_allclose(value, whole[name], rtol=1e-4, atol=1e-5, equal_nan=True, err_msg=text)
        halves = split_reduction(op, s.components[0].target, 3)
        verify(halves)
        assert_same(before, halves, symbols, inputs=arrays, rtol=1e-4, atol=1e-5)
