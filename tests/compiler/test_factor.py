"""Factor: costly subexpressions that vary along fewer axes become definitions."""

from __future__ import annotations

import numpy as np
from weft.compiler.passes.factor import Factor
from weft.ir.op_interp import interpret
from weft.ir.op_text import parse_op
from weft.ir.op_verify import verify

WEIGHTED = """op f(s: f32[M, N], v: f32[N, E]) -> (z: f32[M], o: f32[M, E]) {
  z[i] = sum[j] exp(s[i, j])
  o[i, e] = sum[j] exp(s[i, j]) * v[j, e]
}"""


def test_shared_exponential_is_named_once() -> None:
    op = parse_op(WEIGHTED)
    out = Factor().run(op)
    verify(out)
    assert len(out.definitions) == 3
    rng = np.random.default_rng(0)
    inputs = {"s": rng.standard_normal((5, 7)).astype("f4"), "v": rng.standard_normal((7, 3)).astype("f4")}
    before, after = interpret(op, inputs, {}), interpret(out, inputs, {})
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-6)


def test_nothing_to_name() -> None:
    op = parse_op("op f(x: f32[M, N]) -> (y: f32[M]) { y[i] = sum[j] exp(x[i, j]) }")
    assert len(Factor().run(op).definitions) == 1


def test_what_a_guard_keeps_inside_is_padded() -> None:
    """Found by `make fuzz`: the new definition has no guard, and read past the end."""
    text = """op f(x: f32[N], v: f32[N, E]) -> (y: f32[E]) {
      y[e] = sum[j: N where j + 3 < N and N > 5] (exp(x[j + 3]) + exp(x[5])) * v[j, e]
    }"""
    op = parse_op(text)
    out = Factor().run(op)
    verify(out)
    assert len(out.definitions) > 1
    rng = np.random.default_rng(0)
    for n in (4, 9):
        inputs = {"x": rng.standard_normal(n).astype("f4"), "v": rng.standard_normal((n, 3)).astype("f4")}
        np.testing.assert_allclose(interpret(out, inputs, {})["y"], interpret(op, inputs, {})["y"], rtol=1e-6)


def test_gathers_stay_under_their_guard() -> None:
    text = """op f(x: f32[K], p: i64[M, N], v: f32[E]) -> (y: f32[M, E]) {
      y[i, e] = sum[j where p[i, j] >= 0] exp(x.clamp[p[i, j]]) * v[e]
    }"""
    assert len(Factor().run(parse_op(text)).definitions) == 1
