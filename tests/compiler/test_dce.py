"""Dead code elimination."""

from __future__ import annotations

import pytest
from equivalence import assert_same
from random_ops import RandomOp
from weft.compiler.passes.dce import DeadCode
from weft.ir.op_text import parse_op
from weft.ir.op_verify import verify


def test_what_no_output_needs_goes() -> None:
    op = parse_op(
        """op f(x: f32[M, N]) -> (y: f32[M]) {
      a[i, j] = exp(x[i, j])
      b[i] = sum[j] a[i, j]
      (l, c)[i] = compact[j where x[i, j] > 0.0]
      y[i] = f32(c[i])
    }"""
    )
    new = DeadCode().run(op)
    assert [d.target_names for d in new.definitions] == [("l", "c"), ("y",)]
    assert_same(op, new, {"M": 3, "N": 4})


def test_a_recurrence_does_not_keep_itself_alive() -> None:
    op = parse_op("op f(x: f32[N]) -> (y: f32[N]) { h[i] = h.pad(0.0)[i - 1] + x[i]\n y[i] = x[i] }")
    assert len(DeadCode().run(op).definitions) == 1


def test_streams_lose_dead_components() -> None:
    text = """op f(x: f32[M, N]) -> (m: f32[M]) {
      m[i] = max[j] x[i, j]
      s[i] = sum[j] exp(x[i, j] - m[i])
      stream[j] { m; s repair old.s * exp(old.m - new.m); }
    }"""
    assert DeadCode().run(parse_op(text)).streams == ()
    kept = parse_op(text.replace("(m: f32[M])", "(m: f32[M], s: f32[M])"))
    assert DeadCode().run(kept) == kept


@pytest.mark.parametrize("seed", range(15))
def test_random_ops_bit_for_bit(seed: int) -> None:
    op = parse_op(RandomOp(seed, definitions=8).text)
    new = DeadCode().run(op)
    verify(new)
    assert_same(op, new, {"M": 4, "N": 3}, seed, special=0.3)
