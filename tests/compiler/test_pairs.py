"""Contractions of bf16 in pairs: which ones, and that the programs give what the mathematics says."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from weft.backends.machine import load_machine
from weft.compiler.lower import LowerOptions, lower, rewrite_op, write_out
from weft.compiler.plan import describe
from weft.compiler.planner import Choices
from weft.ir.binding import specialise
from weft.ir.gir_interp import interpret
from weft.ir.gir_printer import print_program
from weft.ir.gir_verify import verify
from weft.ir.op_text import parse_op

WITH, WITHOUT = load_machine("avx512bf16"), load_machine("avx512")
NN = "op f(a: bf16[M, K], b: bf16[K, N]) -> (c: f32[M, N]) { c[i, j] = sum[k] a[i, k] * b[k, j] }"
NT = "op f(a: bf16[M, K], b: bf16[N, K]) -> (c: bf16[M, N]) { c[i, j] = sum[k] a[i, k] * b[j, k] }"
BATCH = "op f(a: bf16[M, K], b: bf16[K, N]) -> (c: f32[2, M, N]) { c[p, i, j] = sum[k] a[i, k] * b[k, j] * f32(p + 1) }"
BIAS = """op f(a: bf16[M, K], b: bf16[K, N], r: bf16[N]) -> (c: bf16[M, N]) {
  c[i, j] = max(sum[k] a[i, k] * b[k, j] + r[j], 0.0)
}"""


def inputs(shape: tuple[int, int, int], transposed: bool) -> dict[str, np.ndarray]:
    m, n, k = shape
    rng = np.random.default_rng(k)
    made = {"a": (m, k), "b": (n, k) if transposed else (k, n), "r": (n,)}
    return {name: rng.standard_normal(s).astype(ml_dtypes.bfloat16) for name, s in made.items()}


def product(given: dict[str, np.ndarray], transposed: bool) -> np.ndarray:
    b = given["b"].astype(np.float64)
    return given["a"].astype(np.float64) @ (b.T if transposed else b)


@pytest.mark.parametrize("shape", [(13, 70, 12), (7, 65, 9), (1, 16, 1), (5, 1, 4), (6, 64, 2)])
@pytest.mark.parametrize("text", [NN, NT, BIAS])
def test_extents(text: str, shape: tuple[int, int, int]) -> None:
    given = inputs(shape, text is NT)
    op = specialise(parse_op(text), dict(zip("MNK", shape, strict=True)))
    program = write_out(rewrite_op(op), WITH, Choices()).program
    assert verify(program) == []
    want = product(given, text is NT)
    want = np.maximum(want + given["r"].astype(np.float64), 0) if text is BIAS else want
    found = interpret(program, {t.name: given[t.name] for t in op.inputs})["c"].astype(np.float64)
    np.testing.assert_allclose(found, want, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("k", [6, 7])
def test_open_extents(k: int) -> None:
    program = write_out(rewrite_op(parse_op(NN)), WITH, Choices()).program
    text = print_program(program)
    assert "dot2_bf16" in text and "fma(" in text  # the last one, where their number is odd
    given = inputs((7, 70, k), False)
    found = interpret(program, {"a": given["a"], "b": given["b"]})["c"]
    np.testing.assert_allclose(found, product(given, False), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("k", [96, 90, 91])
def test_in_blocks_of_the_reduced_axis(k: int) -> None:
    op = specialise(parse_op(NN), {"M": 7, "N": 70, "K": k})
    written = write_out(rewrite_op(op), WITH, Choices(block=32))
    assert "loop k by 32" in describe(written.plan) and "in pairs of k" in describe(written.plan)
    assert verify(written.program) == []
    given = inputs((7, 70, k), False)
    found = interpret(written.program, {"a": given["a"], "b": given["b"]})["c"]
    np.testing.assert_allclose(found, product(given, False), rtol=1e-4, atol=1e-4)


def test_the_description_and_the_choice_decide() -> None:
    op = specialise(parse_op(NN), {"M": 64, "N": 128, "K": 64})
    texts = [
        print_program(write_out(rewrite_op(op), machine, choices).program)
        for machine, choices in ((WITH, Choices()), (WITHOUT, Choices()), (WITH, Choices(pairs=False)))
    ]
    assert ["dot2_bf16" in t for t in texts] == [True, False, False]
    op = specialise(parse_op(NN), {"M": 512, "N": 512, "K": 512})
    fast, slow = (lower(op, machine, LowerOptions(nodes=8)).cost.predicted_seconds for machine in (WITH, WITHOUT))
    assert fast < slow


@pytest.mark.parametrize(
    "text",
    [
        NN.replace("b: bf16", "b: f32"),
        NN.replace("sum[k]", "sum<f64>[k]").replace("c: f32", "c: f64"),
        NN.replace("sum[k]", "sum[k where k <= i]"),
        NN.replace("a[i, k] *", "a[i, k] * 2.0 *"),
        NN.replace("a[i, k]", "a.pad(0.0)[i, k + 1]"),
        BATCH,
    ],
)
def test_what_is_summed_one_by_one(text: str) -> None:
    op = specialise(parse_op(text), {"M": 16, "N": 64, "K": 16})
    assert "dot2_bf16" not in print_program(write_out(rewrite_op(op), WITH, Choices()).program)


def test_values_of_the_same_kernel_are_not_rounded() -> None:
    """What a kernel computes stays f32: rounding it would change the result."""
    text = """op f(a: bf16[16, 32], b: bf16[32, 16], d: bf16[16, 64]) -> (c: f32[16, 64]) {
      t[i, k] = sum[l] a[i, l] * b[l, k]
      c[i, j] = sum[k] t[i, k] * d[k, j]
    }"""
    written = write_out(rewrite_op(parse_op(text)), WITH, Choices())
    lines = [line for line in print_program(written.program).splitlines() if "dot2_bf16" in line]
    assert all(not line.strip().startswith("c") for line in lines)


def test_inside_of_a_shared_pass() -> None:
    """Scores and their maximum share a nest: the fold over the features stands inside of another one."""
    text = """op f(q: bf16[S, D], k: bf16[T, D], v: bf16[T, D]) -> (o: f32[S, D]) {
      s[i, j] = sum[d] q[i, d] * k[j, d]
      m[i] = max[j] s[i, j]
      p[i, j] = exp(s[i, j] - m[i])
      z[i] = sum[j] p[i, j]
      o[i, e] = (sum[j] p[i, j] * v[j, e]) / z[i]
    }"""
    op = specialise(parse_op(text), {"S": 70, "T": 33, "D": 10})
    written = write_out(rewrite_op(op), WITH, Choices())
    assert print_program(written.program).count("dot2_bf16") and verify(written.program) == []
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal(s).astype(ml_dtypes.bfloat16) for s in ((70, 10), (33, 10), (33, 10)))
    s = q.astype(np.float64) @ k.astype(np.float64).T
    p = np.exp(s - s.max(1, keepdims=True))
    want = p @ v.astype(np.float64) / p.sum(1, keepdims=True)
    np.testing.assert_allclose(interpret(written.program, {"q": q, "k": k, "v": v})["o"], want, rtol=1e-4, atol=1e-4)
