"""Streaming reductions: what is found, what is refused, and that a stream by blocks gives the unfused result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from equivalence import assert_same, random_inputs
from stream_simulator import simulate
from weft.compiler.passes.action import transfer
from weft.compiler.passes.normal import normalise
from weft.compiler.passes.sampling import is_action
from weft.compiler.passes.streaming import Streaming
from weft.compiler.passes.summand import Summand
from weft.ir.dtypes import DType
from weft.ir.expr import Const
from weft.ir.op import Op, Reduction
from weft.ir.op_interp import interpret
from weft.ir.op_text import parse_op, print_op
from weft.ir.op_verify import verify

SOFTMAX = """op f(x: f32[M, N]) -> (y: f32[M, N]) {
  m[i] = max[j] x[i, j]
  e[i, j] = exp(x[i, j] - m[i])
  s[i] = sum[j] e[i, j]
  y[i, j] = e[i, j] / s[i]
}"""

WEIGHTED = """op f(q: f32[S, D], k: f32[N, D], v: f32[N, E]) -> (o: f32[S, E]) {{
  t[i, j] = {score}
  m[i] = max[j{where}] t[i, j]
  w[i, j] = {weight}
  l[i] = sum[j{where}] w[i, j]
  p[i, j] = w[i, j] / l[i]
  o[i, e] = sum[j{where}] p[i, j] * v[j, e]
}}"""
SCORES = {
    "product": "(sum[d] q[i, d] * k[j, d]) * rsqrt(f32(D))",
    "capped": "tanh((sum[d] q[i, d] * k[j, d]) * 0.25) * 4.0",
    "distance": "-(sum[d] (q[i, d] - k[j, d]) ** 2.0)",
    "biased": "(sum[d] q[i, d] * k[j, d]) - 0.5 * f32(i - j)",
    "masked": "(sum[d] q[i, d] * k[j, d]) if j <= i else -inf",
}
WEIGHTS = {
    "exp": "exp(t[i, j] - m[i])",
    "exp2": "exp2(1.4426950408889634 * (t[i, j] - m[i]))",
    "scaled": "exp(0.5 * (t[i, j] - m[i]))",
    "apart": "exp(0.5 * t[i, j] - m[i] * 0.5)",
    "power": "3.0 ** (t[i, j] - m[i])",
    "squared": "exp(t[i, j] - m[i]) * exp(t[i, j] - m[i])",
    "root": "sqrt(exp(t[i, j] - m[i]))",
    "divided": "exp((t[i, j] - m[i]) / 2.0)",
}


def streams(op: Op) -> list[tuple[str, ...]]:
    return [tuple(c.target for c in s.components) for s in op.streams]


def check(
    text: str, symbols: dict[str, int], inputs: Any = None, special: float = 0.0, rtol: float = 1e-4, atol: float = 1e-5
) -> Op:
    """The normal form means the same, whole and by blocks of every awkward size; returns it."""
    before = parse_op(text)
    op = normalise(before)
    verify(op)
    arrays = random_inputs(before, symbols, 3, special) if inputs is None else inputs
    assert_same(before, op, symbols, rtol=rtol, atol=atol, inputs=arrays)
    whole = interpret(op, arrays, symbols, targets=True)
    for s in op.streams:
        for block in (1, 2, 5, 64):
            found = simulate(op, s, arrays, symbols, block)
            for name, value in found.items():
                np.testing.assert_allclose(value, whole[name], rtol=rtol, atol=atol, equal_nan=True, err_msg=name)
    return op


def test_softmax_golden() -> None:
    assert print_op(normalise(parse_op(SOFTMAX))) == (
        "op f(x: f32[M, N]) -> (y: f32[M, N]) {\n"
        "  m[i] = max[j] x[i, j]\n"
        "  s[i] = sum[j] exp(x[i, j] - m[i])\n"
        "  y[i, j] = exp(x[i, j] - m[i]) / s[i]\n"
        "  stream[j] { m; s repair old.s if old.m == new.m else 0.0 if old.m == -inf"
        " else old.s * exp(old.m - new.m); }\n"
        "}\n"
    )


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("weight", ["exp", "power"])
def test_every_score_function_streams(score: str, weight: str) -> None:
    text = WEIGHTED.format(score=SCORES[score], weight=WEIGHTS[weight], where="")
    op = check(text, {"S": 4, "N": 7, "D": 3, "E": 2})
    assert streams(op) == [("m", "l", "o$sum")]


@pytest.mark.parametrize("weight", WEIGHTS)
def test_every_weight_with_the_action_streams(weight: str) -> None:
    text = WEIGHTED.format(score="sum[d] q[i, d] * k[j, d]", weight=WEIGHTS[weight], where="")
    assert streams(check(text, {"S": 3, "N": 6, "D": 3, "E": 2})) == [("m", "l", "o$sum")]


def test_guarded_rows_and_empty_rows() -> None:
    text = WEIGHTED.format(score="sum[d] q[i, d] * k[j, d]", weight=WEIGHTS["exp"], where=" where j < i")
    op = check(text, {"S": 5, "N": 7, "D": 2, "E": 2})
    assert streams(op) == [("m", "l", "o$sum")]
    before = parse_op(text)
    arrays = random_inputs(before, {"S": 5, "N": 7, "D": 2, "E": 2})
    out = interpret(op, arrays, {"S": 5, "N": 7, "D": 2, "E": 2})["o"]
    assert (out[0] == 0.0).all() and np.isfinite(out).all()


@pytest.mark.parametrize("extent", [0, 1, 7])
def test_extents(extent: int) -> None:
    text = WEIGHTED.format(score="sum[d] q[i, d] * k[j, d]", weight=WEIGHTS["exp"], where="")
    check(text, {"S": 3, "N": extent, "D": 2, "E": 2})
    check(SOFTMAX, {"M": 2, "N": extent})


def test_masked_prefix_of_minus_infinity_is_dropped() -> None:
    x = np.array(
        [[-np.inf] * 6 + [1.0, 2.0], [-np.inf] * 8, [0.0] * 7 + [np.inf], [1.0, np.nan] + [0.0] * 6], np.float32
    )
    check(SOFTMAX, {"M": 4, "N": 8}, {"x": x})


@pytest.mark.parametrize("seed", range(6))
def test_special_values(seed: int) -> None:
    op = parse_op(SOFTMAX)
    arrays = random_inputs(op, {"M": 40, "N": 6}, seed, special=0.2)
    check(SOFTMAX, {"M": 40, "N": 6}, arrays)


def test_variance_about_the_running_mean() -> None:
    text = """op f(x: f32[M, N], eps: f32) -> (y: f32[M, N]) {
      mean[i] = (sum[j] x[i, j]) / f32(N)
      d[i, j] = x[i, j] - mean[i]
      var[i] = (sum[j] d[i, j] * d[i, j]) / f32(N)
      y[i, j] = d[i, j] * rsqrt(var[i] + eps)
    }"""
    arrays = {"x": (1000.0 + np.random.default_rng(0).normal(size=(4, 30))).astype(np.float32), "eps": np.float32(1e-5)}
    op = check(text, {"M": 4, "N": 30}, arrays, rtol=2e-3, atol=2e-3)
    assert streams(op) == [("mean$1", "mean$count", "var$1")]
    check(text, {"M": 2, "N": 0}, {"x": np.zeros((2, 0), np.float32), "eps": np.float32(1.0)})


def test_independent_reductions_share_a_read() -> None:
    text = """op f(x: f32[M, N]) -> (s: f32[M], q: f32[M], a: f32[M], c: f32[N]) {
      s[i] = sum[j] x[i, j]
      q[p] = sum[t] x[p, t] * x[p, t]
      a[i] = max[j] abs(x[i, j])
      c[j] = sum[i] x[i, j]
    }"""
    op = check(text, {"M": 3, "N": 8}, special=0.1)
    assert streams(op) == [("s", "q", "a")]
    assert streams(Streaming(independent=False).run(parse_op(text))) == []


def test_scale_leaves_the_sum() -> None:
    text = """op f(x: f32[M, N], w: f32[N, E]) -> (o: f32[M, E]) {
      q[i] = sum[j] x[i, j] * x[i, j]
      o[i, e] = sum[j] x[i, j] * rsqrt(q[i] / f32(N) + 0.001) * w[j, e]
    }"""
    op = check(text, {"M": 3, "N": 8, "E": 2})
    assert streams(op) == [("q", "o$sum")]
    check(text, {"M": 3, "N": 0, "E": 2})


def test_scale_by_a_running_maximum_is_repaired() -> None:
    text = """op f(x: f32[M, N]) -> (o: f32[M]) {
      a[i] = max[j] abs(x[i, j])
      o[i] = sum[j] (x[i, j] / a[i]) * (x[i, j] / a[i])
    }"""
    op = check(text, {"M": 3, "N": 8})
    assert streams(op) == [("a", "o")]


def test_guarded_scale_counts_what_it_saw() -> None:
    text = """op f(x: f32[M, N]) -> (o: f32[M]) {
      q[i] = sum[j where j < i] x[i, j] * x[i, j]
      o[i] = sum[j where j < i] x[i, j] / q[i]
    }"""
    op = check(text, {"M": 6, "N": 5})
    assert streams(op) == [("q", "q$count", "o$sum")]


@pytest.mark.parametrize(
    "summand",
    [
        "sigmoid(x[i, j] - m[i])",
        "(x[i, j] - m[i]) ** 3.0",
        "exp(w[j] * (x[i, j] - m[i]))",
        "exp(x[i, j] * m[i])",
        "exp(x[i, j] - m[i]) + 1.0",
        "tanh(x[i, j]) + m[i] * w[j]",
        "1.0 if x[i, j] > m[i] - 1.0 else 0.0",
    ],
)
def test_no_action_no_stream(summand: str) -> None:
    text = f"""op f(x: f32[M, N], w: f32[N]) -> (s: f32[M]) {{
      m[i] = max[j] x[i, j]
      s[i] = sum[j] ({summand})
    }}"""
    assert streams(check(text, {"M": 3, "N": 6})) == []


@pytest.mark.parametrize(
    "second",
    [
        "s[i] = sum[j where j > i] exp(x[i, j] - m[i])",  # another guard
        "s[i] = sum[j in 1..N] exp(x[i, j] - m[i])",  # another range
        "s[i: M] = sum[j] exp(x[i, j] - m.clamp[i + 1])",  # another row's reference
        "s[i] = prod[j] exp(x[i, j] - m[i])",  # no sum
        "s[j] = sum[i] exp(x[i, j] - m[i])",  # the other axis
    ],
)
def test_what_does_not_fit_is_left(second: str) -> None:
    text = f"op f(x: f32[M, N]) -> (s: f32[{'N' if second.startswith('s[j]') else 'M'}]) {{\n m[i] = max[j] x[i, j]\n"
    assert streams(check(text + f" {second}\n}}", {"M": 4, "N": 6})) == []


def test_a_rounded_reference_is_no_reference() -> None:
    text = """op f(x: f32[M, N]) -> (s: f32[M]) {
      m[i]: bf16 = max[j] x[i, j] * 1.1
      s[i] = sum[j] exp(x[i, j] - m[i])
    }"""
    assert streams(check(text, {"M": 3, "N": 6})) == []
    assert streams(check(text.replace("x: f32", "x: bf16").replace(" * 1.1", ""), {"M": 3, "N": 6})) == [("m", "s")]


def test_a_dependence_through_another_reduction_is_no_reference() -> None:
    text = """op f(x: f32[M, N]) -> (s: f32[M]) {
      m[i] = max[j] x[i, j]
      t = sum[i: M] m[i]
      s[i] = sum[j] exp(x[i, j] - m[i]) * t
    }"""
    assert streams(check(text, {"M": 3, "N": 6})) == []


def test_weights_in_a_narrow_type() -> None:
    text = """op f(x: f32[M, N], v: bf16[N, E]) -> (o: bf16[M, E]) {
      m[i] = max[j] x[i, j]
      w[i, j]: bf16 = exp(x[i, j] - m[i])
      l[i] = sum[j] w[i, j]
      o[i, e] = (sum[j] w[i, j] * v[j, e]) / l[i]
    }"""
    op = check(text, {"M": 3, "N": 6, "E": 2}, rtol=3e-2, atol=1e-2)
    assert len(streams(op)[0]) == 3


def test_axes_of_other_names_and_order() -> None:
    text = """op f(x: f32[H, M, N], v: f32[H, N, E]) -> (o: f32[M, H, E]) {
      m[h, i] = max[j] x[h, i, j]
      o[b, a, j] = sum[i] exp(x[a, b, i] - m[a, b]) * v[a, i, j]
    }"""
    op = check(text, {"H": 2, "M": 3, "N": 5, "E": 2})
    assert streams(op) == [("m", "o")]
    o = op.definition_of("o")
    assert o is not None and isinstance(o.body, Reduction)
    assert [a.name for a in o.axes][:2] == ["i", "h"] and o.body.axes[0].name == "j"


def test_ragged_rows_stream() -> None:
    text = """op f(x: f32[M, N], n: i64[M]) -> (s: f32[M]) {
      m[i] = max[j in 0..n[i]] x[i, j]
      s[i] = sum[j in 0..n[i]] exp(x[i, j] - m[i])
    }"""
    assert streams(normalise(parse_op(text))) == [("m", "s")]


def test_several_axes_stream_by_the_first() -> None:
    text = """op f(x: f32[M, N, C], v: f32[N, C, E], n: i64[M]) -> (o: f32[M, E], var: f32[M]) {
      m[i] = max[j, c where c <= j] x[i, j, c]
      l[i] = sum[j, c where c <= j] exp(x[i, j, c] - m[i])
      o[i, e] = sum[j, c where c <= j] exp(x[i, j, c] - m[i]) / l[i] * v[j, c, e]
      t[i] = (sum[a, b] x[i, a, b]) / f32(N * C)
      var[i] = sum[a, b] (x[i, a, b] - t[i]) ** 2.0
    }"""
    before = parse_op(text)
    assert streams(normalise(before)) == []
    op = Streaming(nested=True).run(before)
    assert streams(op) == [("m", "l", "o$sum"), ("t$1", "t$count", "var")]
    symbols = {"M": 3, "N": 4, "C": 3, "E": 2}
    arrays = random_inputs(before, symbols)
    whole = interpret(op, arrays, symbols, targets=True)
    assert_same(before, op, symbols, rtol=1e-5, atol=1e-6)
    for s in op.streams:
        for name, value in simulate(op, s, arrays, symbols, 2).items():
            np.testing.assert_allclose(value, whole[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", ["c[i]", "f32(i)"])
def test_a_repair_names_states_alone(scale: str) -> None:
    text = f"""op f(x: f32[M, N], c: f32[M]) -> (s: f32[M]) {{
      m[i] = max[j] x[i, j]
      s[i] = sum[j] exp({scale} * (x[i, j] - m[i]))
    }}"""
    assert streams(check(text, {"M": 3, "N": 6})) == []


@pytest.mark.parametrize(
    ("reference", "summand", "found"),
    [
        ("max[j] abs(x[i, j])", "exp(x[i, j] - m[i])", True),
        ("max[j] (x[i, j] + 1.0)", "exp(x[i, j] - m[i])", True),
        ("min[j] x[i, j]", "exp(m[i] - x[i, j])", True),
        ("max[j] w[j]", "exp(x[i, j] - m[i])", False),
        ("min[j] x[i, j]", "exp(x[i, j] - m[i])", True),
        ("sum[j] x[i, j]", "exp(x[i, j] - m[i])", False),
        ("sum[j] x[i, j]", "(x[i, j] / m[i]) ** 2.0", True),
        ("max[j] x[i, j]", "exp(x[i, j]) / exp(m[i])", False),
        ("max[j] abs(x[i, j])", "w[j] / m[i]", False),
        ("max[j] abs(x[i, j])", "x[i, j] * w[j] / m[i]", True),
        ("max[j] abs(w[j])", "exp(tanh(x[i, j]) - tanh(w[j])) / m[i]", False),
    ],
)
def test_references_must_be_safe_on_the_way(reference: str, summand: str, found: bool) -> None:
    text = f"""op f(x: f32[M, N], w: f32[N]) -> (s: f32[M]) {{
      m[i: M] = {reference}
      s[i] = sum[j] {summand}
    }}"""
    assert bool(check(text, {"M": 3, "N": 6}, rtol=1e-3).streams) == found


def test_a_scale_that_begins_with_zeros() -> None:
    text = """op f(x: f32[M, N]) -> (s: f32[M]) {
      m[i] = max[j] abs(x[i, j])
      s[i] = sum[j] (x[i, j] / m[i]) * (x[i, j] / m[i])
    }"""
    x = np.array([[0.0, -0.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0], [1e30, 1e38, 0.0, 3e38]], np.float32)
    assert check(text, {"M": 3, "N": 4}, {"x": x}).streams


def test_large_scores_do_not_overflow_on_the_way() -> None:
    x = np.array([[-300.0, 0.0, 300.0, 100.0], [3e38, -3e38, 1.0, 0.0]], np.float32)
    check(SOFTMAX, {"M": 2, "N": 4}, {"x": x})


def test_is_action_rejects_a_wrong_factor() -> None:
    op = parse_op("op f(x: f32[M, N]) -> (s: f32[M]) { m[i] = max[j] x[i, j]\n s[i] = sum[j] exp(x[i, j] - m[i]) }")
    body = op.definitions[1].body
    assert isinstance(body, Reduction)
    s = Summand(body.args[0], frozenset({"m"}), frozenset({"j"}))
    types = {"x": DType.F32, "m": DType.F32}
    t = transfer(s, types)
    assert t is not None and is_action(s, t, types)
    assert not is_action(s, Const(1.0), types) and not is_action(s, Const(2.0), types)
