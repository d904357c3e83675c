"""Meaning, case by case: what docs/language.md says, on arrays small enough to check by eye. Covers the failures 9 (NaN
lost by max, min), 11 (floor versus truncation) and 16 (zero-size tensors) of the failure list."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from weft.ir.errors import BindError, CallError
from weft.ir.op_interp import interpret
from weft.ir.op_text import parse_op
from weft.ir.op_verify import verify

NAN, INF = np.nan, np.inf
F32 = np.float32


def run(head: str, body: str, **inputs: Any) -> Any:
    op = parse_op(f"op f{head} {{ {body} }}")
    verify(op)
    out = interpret(op, {n: np.asarray(a) for n, a in inputs.items()})
    return out["y"] if len(out) == 1 else out


X = np.array([[3, NAN, 1], [-INF, -2, -0.0]], F32)


@pytest.mark.parametrize(
    "body, wanted",
    [
        ("y[i] = max[j] x[i, j]", [NAN, 0.0]),
        ("y[i] = min[j] x[i, j]", [NAN, -INF]),
        ("y[i] = max[j where not isnan(x[i, j])] x[i, j]", [3, 0.0]),
        ("y[i] = sum[j where j > 5] x[i, j]", [0, 0]),
        ("y[i] = max[j where j > 5] x[i, j]", [-INF, -INF]),
        ("y[i] = min[j where j > 5] x[i, j]", [INF, INF]),
        ("y[i] = prod[j in 1..1] x[i, j]", [1, 1]),
        ("y[i] = f32(argmax[j] x[i, j])", [1, 2]),
        ("y[i] = f32(argmin[j] x[i, j])", [1, 0]),
        ("y[i] = 1.0 if any[j] (x[i, j] > 2) else 0.0", [1, 0]),
        ("y[i] = 1.0 if all[j] (x[i, j] <= 3) else 0.0", [0, 1]),
        ("y[i] = sum[j] (1.0 if x[i, j] != x[i, j] else 0.0)", [1, 0]),
        ("y[i] = sum[j in 0..i] x[i, j + 1]", [0, -2]),
        ("y[i] = max(x[i, 0], nan)", [NAN, NAN]),
        ("y[i] = x.pad(7)[i + 1, 2]", [-0.0, 7]),
        ("y[i] = x.clamp[i + 1, 9]", [-0.0, -0.0]),
        ("y[i] = x.wrap[i - 1, -1]", [-0.0, 1]),
        ("y[i] = x.reflect[0, 2 * i + 2]", [1, 3]),
        ("y[i] = x.pad(x.clamp[i + 5, 2])[i + 1, 2]", [-0.0, -0.0]),
    ],
)
def test_reductions_and_boundaries(body: str, wanted: list[float]) -> None:
    head = "(x: f32[M, N]) -> (y: f32[M]) where M == 2, N == 3"
    np.testing.assert_array_equal(run(head, body, x=X), np.array(wanted, F32))


@pytest.mark.parametrize("a, b", [(7, 2), (-7, 2), (7, -2), (-7, -2), (5, 0), (-1, 3), (0, 5)])
def test_failure_11_floor_division(a: int, b: int) -> None:
    head = "(a: i32, b: i32) -> (y: i32, z: i32)"
    out = run(head, "y = a // b z = a % b", a=np.int32(a), b=np.int32(b))
    assert (out["y"], out["z"]) == ((a // b, a % b) if b else (0, 0))


def test_stores_round_and_wrap() -> None:
    head = "(x: f32[N], k: i32[N]) -> (h: f16[N], b: bf16[N], i: i8[N], u: u8[N], y: f32[N])"
    body = "h[n] = x[n] b[n] = x[n] i[n] = k[n] u[n] = k[n] y[n] = f16(x[n]) * 3 + f32(i[n])"
    x = np.array([1.0009766, 65519.0, 1e-8, 3.1415927], F32)
    k = np.array([127, 128, -129, 256], np.int32)
    out = run(head, body, x=x, k=k)
    np.testing.assert_array_equal(out["h"], x.astype(np.float16))
    np.testing.assert_array_equal(out["b"], x.astype(ml_dtypes.bfloat16))
    np.testing.assert_array_equal(out["i"], [127, -128, 127, 0])
    np.testing.assert_array_equal(out["u"], [127, 128, 127, 0])
    np.testing.assert_array_equal(out["y"], x.astype(np.float16).astype(F32) * 3 + out["i"])


def test_narrow_integers_compute_in_i32() -> None:
    out = run("(x: i8[N]) -> (y: i32)", "y = sum[n] x[n] * x[n]", x=np.full(100, 127, np.int8))
    assert out == 100 * 127 * 127


def test_casts_truncate_and_saturate() -> None:
    x = np.array([1.9, -1.9, 1e20, -1e20, NAN], F32)
    out = run("(x: f32[N]) -> (y: i32[N], b: bool[N])", "y[n] = i32(x[n]) b[n] = bool(x[n])", x=x)
    np.testing.assert_array_equal(out["y"], [1, -1, 2**31 - 1, -(2**31), 0])
    assert out["b"].all()


def test_accumulation_in_f64() -> None:
    x = np.full(1 << 20, 0.1, F32)
    out = run("(x: f32[N]) -> (y: f64)", "y = sum<f64>[n] x[n]", x=x)
    assert abs(out - float(F32(0.1)) * (1 << 20)) < 1e-6


def test_a_select_drops_what_it_does_not_choose() -> None:
    x = np.array([0.0, -1.0, 4.0], F32)
    out = run("(x: f32[N]) -> (y: f32[N])", "y[n] = log(x[n]) if x[n] > 0 else 0.0", x=x)
    np.testing.assert_array_equal(out, np.array([0, 0, np.log(4)], F32))


def test_sweeps() -> None:
    x = np.array([1.0, 2.0, 3.0], F32)
    head = "(x: f32[T]) -> (y: f32[T], z: f32[T])"
    body = "y[t] = y.pad(10)[t - 1] * 2 + x[t] z[t] = z.pad(x[0])[t + 2] + x[t]"
    out = run(head, body, x=x)
    np.testing.assert_array_equal(out["y"], [21, 44, 91])
    np.testing.assert_array_equal(out["z"], [5, 3, 4])


@pytest.mark.parametrize("reads", [[(-1, 0), (0, -1)], [(-1, 1), (0, -1)], [(-1, 3), (0, -1), (-2, 0)], [(-1, -1)]])
@pytest.mark.parametrize("step", [1, -1])
def test_wavefronts_keep_the_meaning(reads: list[tuple[int, int]], step: int) -> None:
    offsets = [(step * a, step * b) for a, b in reads]
    own = " + ".join(f"y.pad(0.5)[i + {a}, j + {b}, c]" for a, b in offsets).replace("+ -", "- ")
    x = np.random.default_rng(2).standard_normal((5, 6, 2))
    found = run("(x: f64[M, N, C]) -> (y: f64[M, N, C])", f"y[i, j, c] = ({own}) * 0.25 + x[i, j, c]", x=x)
    wanted = np.zeros_like(x)
    for i in range(5)[::step]:
        for j in range(6)[::step]:
            around = [(i + a, j + b) for a, b in offsets]
            inside = [wanted[p] if 0 <= p[0] < 5 and 0 <= p[1] < 6 else 0.5 for p in around]
            total = inside[0]
            for value in inside[1:]:
                total = total + value
            wanted[i, j] = total * 0.25 + x[i, j]
    np.testing.assert_array_equal(found, wanted)


def test_lists() -> None:
    x = np.array([[0, 2, 0, 3], [NAN, 1, 1, -1]], F32)
    out = run(
        "(x: f32[M, N]) -> (l: i64[M, N], c: i32[M], p: i64[M, N], q: i64[M, N])",
        """(l, c)[i]: i64, i32 = compact[j where x[i, j] > 0]
           p[i] = argsort[j] x[i, j]
           q[i] = argsort_desc[j] x[i, j]""",
        x=x,
    )
    np.testing.assert_array_equal(out["l"], [[1, 3, -1, -1], [1, 2, -1, -1]])
    np.testing.assert_array_equal(out["c"], [2, 2])
    np.testing.assert_array_equal(out["p"], [[0, 2, 1, 3], [3, 1, 2, 0]])
    np.testing.assert_array_equal(out["q"], [[3, 1, 0, 2], [1, 2, 3, 0]])


def test_ordered_monoids_keep_the_order() -> None:
    op = parse_op(
        """monoid affine(a, b) ordered { identity (1.0, 0.0) combine(p, q) = (p.a * q.a, q.a * p.b + q.b) }
           op f(a: f32[N], b: f32[N]) -> (h: f32) {
             (p, h)[] = affine[n] (a[n], b[n])
           }"""
    )
    verify(op)
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (2, 37)).astype(F32)
    state = 0.0
    for x, y in zip(a.astype(np.float64), b.astype(np.float64), strict=True):
        state = x * state + y
    assert abs(interpret(op, {"a": a, "b": b}, float64=True)["h"] - state) < 1e-12


@pytest.mark.parametrize("m, n", [(0, 3), (2, 0), (0, 0)])
def test_failure_16_empty_tensors(m: int, n: int) -> None:
    x = np.zeros((m, n), F32)
    head = "(x: f32[M, N]) -> (s: f32[M], t: f32, k: i64[M], l: i64[M, N], c: i64[M], p: i64[M, N], h: f32[M, N])"
    body = """s[i] = sum[j] x[i, j]
              t = max[i, j] x[i, j]
              k[i] = argmax[j] x[i, j]
              (l, c)[i] = compact[j where x[i, j] > 0]
              p[i] = argsort[j] x[i, j]
              h[i, j] = h.pad(0)[i, j - 1] + x.clamp[i + 1, j]"""
    out = run(head, body, x=x)
    assert out["t"] == -INF
    np.testing.assert_array_equal(out["s"], np.zeros(m))
    np.testing.assert_array_equal(out["k"], np.full(m, 2**63 - 1))
    np.testing.assert_array_equal(out["c"], np.zeros(m))
    assert out["l"].shape == out["p"].shape == out["h"].shape == (m, n)


def test_large_reductions_are_cut_into_boxes() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((130, 300)).astype(F32), rng.standard_normal((300, 260)).astype(F32)
    out = run("(a: f32[M, K], b: f32[K, N]) -> (y: f32[M, N])", "y[i, j] = sum[k] a[i, k] * b[k, j]", a=a, b=b)
    np.testing.assert_allclose(out, a @ b, rtol=2e-4, atol=2e-4)
    x = rng.standard_normal((3000, 1500)).astype(F32)
    out = run("(x: f32[M, N]) -> (y: i64, z: f32)", "y = sum[i: M, j: N where j <= i] 1 z = max[i, j] x[i, j]", x=x)
    assert out["y"] == sum(min(i + 1, 1500) for i in range(3000))
    assert out["z"] == x.max()


def test_gathers_are_checked() -> None:
    head = "(x: f32[N], k: i32[M]) -> (y: f32[M])"
    x = np.arange(3, dtype=F32)
    np.testing.assert_array_equal(run(head, "y[i] = x[k[i]]", x=x, k=np.array([2, 0], np.int32)), [2, 0])
    for wrong in (3, -1):
        with pytest.raises(CallError, match="read outside"):
            run(head, "y[i] = x[k[i]]", x=x, k=np.array([2, wrong], np.int32))
    guarded = "y[i] = sum[j: N where j == k[i]] x[j]"
    np.testing.assert_array_equal(run(head, guarded, x=x, k=np.array([2, -1], np.int32)), [2, 0])


def test_inputs_that_do_not_fit() -> None:
    head, body = "(x: f32[M, N], z: f32[N]) -> (y: f32[M])", "y[i] = sum[j] x[i, j] * z[j]"
    x = np.ones((2, 3), F32)
    with pytest.raises(CallError, match="missing"):
        run(head, body, x=x)
    with pytest.raises(CallError, match="the array is int64"):
        run(head, body, x=x, z=np.ones(3, np.int64))
    with pytest.raises(BindError, match="dimension 0 of `z` is 4"):
        run(head, body, x=x, z=np.ones(4, F32))


def test_float64_is_an_oracle() -> None:
    op = parse_op("op f(x: bf16[N]) -> (y: bf16[N]) { t[i]: f16 = x[i] / 3 y[i] = f16(t[i] * 3.1) }")
    x = np.linspace(-1, 1, 11).astype(ml_dtypes.bfloat16)
    out = interpret(op, {"x": x}, float64=True)["y"]
    np.testing.assert_allclose(out, x.astype(np.float64) / 3 * 3.1, rtol=1e-15)
    assert interpret(op, {"x": x})["y"].dtype == ml_dtypes.bfloat16
    assert set(interpret(op, {"x": x}, targets=True)) == {"t", "y"}
