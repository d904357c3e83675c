"""Common definitions."""

from __future__ import annotations

import pytest
from equivalence import assert_same
from random_ops import RandomOp
from weft.compiler.passes.cse import CommonDefinitions
from weft.compiler.passes.normal import normalise
from weft.ir.op_text import parse_op, print_op
from weft.ir.op_verify import verify


def merged(text: str, **symbols: int) -> list[str]:
    op = parse_op(text)
    new = CommonDefinitions().run(op)
    verify(new)
    assert_same(op, new, symbols, special=0.2)
    return [line.strip() for line in print_op(new).splitlines()[1:-1]]


def test_streams_keep_what_their_repairs_refer_to() -> None:
    """Found by `make fuzz`: two variances along one axis count the same elements, each in its own stream."""
    text = """op f(x: f32[M, N], z: f32[M, N]) -> (v: f32[M], w: f32[M]) {
      s[i] = sum[j] x[i, j]
      v[i] = sum[j] (x[i, j] - s[i] / f32(N)) ** 2.0
      t[i] = sum[j] z[i, j]
      w[i] = sum[j] (z[i, j] - t[i] / f32(N)) ** 2.0
    }"""
    op = normalise(parse_op(text))
    verify(op)
    assert len(op.streams) == 2
    assert_same(parse_op(text), op, {"M": 3, "N": 5}, rtol=1e-5, atol=1e-5)


def test_equal_up_to_names_of_axes() -> None:
    text = """op f(x: f32[M, N]) -> (y: f32[M]) {
      a[i] = sum[j] x[i, j]
      b[p] = sum[q] x[p, q]
      y[i] = a[i] * b[i]
    }"""
    assert merged(text, M=3, N=4) == ["a[i] = sum[j] x[i, j]", "y[i] = a[i] * a[i]"]


def test_equal_through_equal_readers() -> None:
    text = """op f(x: f32[N]) -> (y: f32[N]) {
      a[i] = exp(x[i])
      b[i] = exp(x[i])
      c[i] = a[i] + 1.0
      d[i] = b[i] + 1.0
      y[i] = c[i] * d[i]
    }"""
    assert len(merged(text, N=4)) == 3


def test_outputs_become_copies() -> None:
    text = "op f(x: f32[N]) -> (a: f32[N], b: f32[N]) { a[i] = exp(x[i])\n b[i] = exp(x[i]) }"
    assert merged(text, N=4) == ["a[i] = exp(x[i])", "b[i] = a[i]"]


def test_lists_and_counts() -> None:
    text = """op f(x: f32[M, N]) -> (l: i64[M, N], c: i64[M], n: i64[M]) {
      (l, c)[i] = compact[j where x[i, j] > 0.0]
      (k, n)[i] = compact[j where x[i, j] > 0.0]
    }"""
    assert merged(text, M=3, N=4)[1:] == ["n[i] = c[i]"]


@pytest.mark.parametrize(
    "second",
    ["b[i]: bf16 = exp(x[i])", "b[i] = exp(x[i]) + 0.0", "b[i: N] = exp(x.clamp[i])", "b[i] = max(x[i], -0.0)"],
)
def test_different_things_stay(second: str) -> None:
    first = "a[i] = max(x[i], 0.0)" if "max" in second else "a[i] = exp(x[i])"
    assert len(merged(f"op f(x: f32[N]) -> (y: f32[N]) {{ {first}\n {second}\n y[i] = a[i] - b[i] }}", N=4)) == 3


def test_recurrences_merge() -> None:
    text = """op f(x: f32[N]) -> (y: f32[N]) {
      a[i] = a.pad(0.0)[i - 1] + x[i]
      b[j] = b.pad(0.0)[j - 1] + x[j]
      y[i] = a[i] * b[i]
    }"""
    assert len(merged(text, N=5)) == 2


@pytest.mark.parametrize("seed", range(15))
def test_random_ops_bit_for_bit(seed: int) -> None:
    op = parse_op(RandomOp(seed, definitions=8).text)
    new = CommonDefinitions().run(op)
    verify(new)
    assert_same(op, new, {"M": 4, "N": 3}, seed, special=0.3)
