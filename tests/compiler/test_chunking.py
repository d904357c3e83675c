"""Chunking of linear recurrences: read-outs become contractions, states become a scan, tails and signs are right."""

from __future__ import annotations

import numpy as np
import pytest
from equivalence import assert_same, random_inputs
from weft.compiler.passes.chunking import Chunking, chunk_recurrence
from weft.compiler.passes.normal import normalise
from weft.ir.errors import ScheduleError
from weft.ir.op import Op, Reduction
from weft.ir.op_text import parse_op
from weft.ir.op_verify import verify

SCALAR = """op f(q: f32[T, D], k: f32[T, D], v: f32[T, E], a: f32[T]) -> (y: f32[T, E]) {
  h[t, d, e] = a[t] * h.pad(0.0)[t - 1, d, e] + k[t, d] * v[t, e]
  y[t, e]    = sum[d] q[t, d] * h[t, d, e]
}"""
CHANNELS = SCALAR.replace("a: f32[T]", "a: f32[T, D], h0: f32[D, E]").replace(
    "a[t] * h.pad(0.0)", "a[t, d] * h.pad(h0[d, e])"
)
HEADS = """op f(q: f32[B, T, D], k: f32[B, T, D], v: f32[B, T, E], g: f32[B, T]) -> (y: f32[B, T, E]) {
  h[b, t, d, e] = exp(-abs(g[b, t])) * h.pad(0.0)[b, t - 1, d, e] + k[b, t, d] * v[b, t, e] * 0.5
  y[b, t, e]    = sum[d] q[b, t, d] * h[b, t, d, e]
}"""
AVERAGE = """op f(x: f32[T, C], a: f32[C]) -> (y: f32[T, C]) {
  y[t, c] = a[c] * y.pad(0.0)[t - 1, c] + (1.0 - a[c]) * x[t, c]
}"""
CUMULATIVE = "op f(x: f32[C, T]) -> (y: f32[C, T]) { y[c, t] = y.pad(1.0)[c, t - 1] + x[c, t] }"
PRODUCT = "op f(x: f32[T]) -> (y: f32[T]) { y[t] = y.pad(2.0)[t - 1] * x[t] }"
SYMBOLS = {"D": 3, "E": 2, "B": 2, "C": 3}
STATE = {"D": 3, "E": 2}


def chunked(text: str, name: str, chunk: int, steps: int, seed: int = 0) -> Op:
    before = parse_op(text)
    symbols = {s.name: SYMBOLS.get(s.name, steps) for s in before.symbols}
    new = chunk_recurrence(before, name, chunk)
    verify(new)
    assert_same(before, new, symbols, seed, rtol=2e-5, atol=2e-5)
    after = normalise(new)
    verify(after)
    assert_same(before, after, symbols, seed, rtol=2e-5, atol=2e-5)
    return new


@pytest.mark.parametrize("steps", [0, 1, 4, 5, 11])
@pytest.mark.parametrize("chunk", [1, 4, 64])
@pytest.mark.parametrize(
    ("text", "name"),
    [(SCALAR, "h"), (CHANNELS, "h"), (HEADS, "h"), (AVERAGE, "y"), (CUMULATIVE, "y"), (PRODUCT, "y")],
    ids=["scalar", "channels", "heads", "average", "cumulative", "product"],
)
def test_equal(text: str, name: str, chunk: int, steps: int) -> None:
    chunked(text, name, chunk, steps)


def test_read_outs_become_contractions() -> None:
    new = chunked(SCALAR, "h", 4, 10)
    names = [d.name for d in new.definitions]
    assert names == ["h$decay", "h$between", "h$added", "h$carry", "y$score", "y$inside", "y$across", "y"]
    assert all(len(d.axes) < 5 for d in new.definitions)
    inside = new.definition_of("y$inside")
    assert inside is not None and isinstance(inside.body, Reduction) and inside.body.guard is not None


def test_a_wanted_state_is_scanned() -> None:
    text = SCALAR.replace("(y: f32[T, E])", "(y: f32[T, E], h: f32[T, D, E])")
    new = chunked(text, "h", 4, 10)
    assert [d.name for d in new.definitions] == ["h$decay", "h$within", "h$carry", "h", "y"]


def test_a_state_with_no_product_is_scanned() -> None:
    text = SCALAR.replace("k[t, d] * v[t, e]", "exp(k[t, d] + v[t, e])")
    assert "h$within" in [d.name for d in chunked(text, "h", 4, 10).definitions]


def test_zero_and_negative_decays() -> None:
    before = parse_op(CHANNELS)
    symbols = {"T": 13, **STATE}
    arrays = random_inputs(before, symbols)
    arrays["a"][4] = 0.0
    arrays["a"][7, 1] = -0.0
    assert_same(before, chunk_recurrence(before, "h", 4), symbols, inputs=arrays, rtol=1e-5, atol=1e-5)


def test_tiny_decays_stay_finite() -> None:
    before = parse_op(SCALAR)
    symbols = {"T": 40, **STATE}
    arrays = random_inputs(before, symbols)
    arrays["a"] = np.full(40, 1e-20, np.float32)
    assert_same(before, chunk_recurrence(before, "h", 16), symbols, inputs=arrays, rtol=1e-5, atol=1e-5)


def test_a_declared_divisibility_needs_no_padding() -> None:
    op = parse_op(SCALAR.replace("(y: f32[T, E]) {", "(y: f32[T, E]) where T % 16 == 0 {"))
    new = chunk_recurrence(op, "h", 8)
    verify(new)
    own = {"h$decay", "h$between", "h$carry"}
    assert all(r.fill is None for d in new.definitions for r in d.reads if r.tensor not in own)
    assert_same(op, new, {"T": 32, **STATE}, rtol=1e-5, atol=1e-5)


def test_several_read_outs() -> None:
    text = """op f(q: f32[T, D], p: f32[T, D], k: f32[T, D], v: f32[T, E], a: f32[T]) -> (y: f32[T, E], z: f32[T, E]) {
      h[t, d, e] = a[t] * h.pad(0.0)[t - 1, d, e] + k[t, d] * v[t, e]
      y[t, e] = sum[d] q[t, d] * h[t, d, e]
      z[s, c] = sum[d] h[s, d, c] * p[s, d]
    }"""
    assert len(chunked(text, "h", 4, 9).definitions) == 4 + 2 * 4


def test_the_pass_chunks_what_is_read_out() -> None:
    op = Chunking(chunk=4).run(parse_op(SCALAR))
    verify(op)
    assert op.definition_of("h") is None
    assert Chunking(chunk=4).run(parse_op(AVERAGE)) == parse_op(AVERAGE)
    assert Chunking("y", 4).run(parse_op(AVERAGE)) != parse_op(AVERAGE)


@pytest.mark.parametrize("seed", range(4))
def test_special_inputs_of_a_scan(seed: int) -> None:
    before = parse_op(PRODUCT)
    new = chunk_recurrence(before, "y", 3)
    assert_same(before, new, {"T": 10}, seed, special=0.1, rtol=1e-5, atol=1e-5)


def test_refusals() -> None:
    op = parse_op("op f(x: f32[T]) -> (y: f32[T]) { y[t] = max(y.pad(0.0)[t - 1], x[t]) }")
    with pytest.raises(ScheduleError, match="no linear recurrence"):
        chunk_recurrence(op, "y", 4)
    narrow = parse_op("op f(x: f32[T]) -> (y: bf16[T]) { y[t] = y.pad(0.0)[t - 1] * 0.5 + x[t] }")
    with pytest.raises(ScheduleError, match="rounds its state"):
        chunk_recurrence(narrow, "y", 4)
    with pytest.raises(ScheduleError, match="chunks of 0"):
        chunk_recurrence(parse_op(PRODUCT), "y", 0)
