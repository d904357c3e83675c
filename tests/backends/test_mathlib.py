"""Mathematical functions on the CPU target: errors in units in the last place, special values, and the GIR form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from weft.backends.expand_math import expand_math
from weft.backends.mathlib import LIBRARY
from weft.backends.target import get_target
from weft.ir import gir
from weft.ir.dtypes import DType
from weft.ir.expr import Call, Fn, walk
from weft.ir.gir import Compute, Store
from weft.ir.gir_interp import interpret
from weft.ir.gir_parser import parse_program
from weft.ir.gir_verify import verify

SPECIAL = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 1e-45, 1e-40, -1e-40, 88.5, 89.0, -87.5, -103.0, -110.0]
SPECIAL += [0.5, 2.0, -2.0, 1e-30, -0.5, 709.7, 710.0, -745.0, -746.0, 3.4e38, -3.4e38]
EXTENDED = np.finfo(np.longdouble).nmant > 52  # a reference better than f64


def program(fn: Fn, dtype: DType, width: int = 64) -> gir.Program:
    two = fn is Fn.POW
    return parse_program(f"""
program apply(N) {{
  tensor x: {dtype}[N] input
  {f"tensor z: {dtype}[N] input" if two else ""}
  tensor y: {dtype}[N] output
  kernel main {{
    parallel unit i in 0..N step {width} {{
      v = load<{width}> x[i + @0] where i + @0 < N else 1_{dtype}
      {f"w = load<{width}> z[i + @0] where i + @0 < N else 1_{dtype}" if two else ""}
      store<{width}> y[i + @0] = {"v ** w" if two else f"{fn.value}(v)"} where i + @0 < N
    }}
  }}
}}""")


def run(p: gir.Program, target: str, *inputs: Any) -> Any:
    y = np.empty_like(inputs[0])
    get_target(target).load(p)([a.ctypes.data for a in inputs] + [y.ctypes.data], [y.size], 1)
    return y


def reference(fn: Fn, x: Any) -> Any:
    with np.errstate(all="ignore"):
        w = x.astype(np.longdouble)
        match fn:
            case Fn.SIGMOID:
                return 1 / (1 + np.exp(-w))
            case Fn.ERF:
                return np.array([math.erf(v) for v in x], np.longdouble)
            case Fn.RSQRT:
                return 1 / np.sqrt(w)
        return getattr(np, fn.value)(w)


def worst(y: Any, want: Any) -> float:
    """The largest error in units in the last place; infinite where kinds of value differ."""
    with np.errstate(all="ignore"):
        rounded = want.astype(y.dtype)
        step = np.spacing(np.abs(rounded)).astype(np.longdouble)
        finite = np.isfinite(y) & np.isfinite(rounded)
        error = np.where(finite, np.abs(y.astype(np.longdouble) - want) / step, 0)
    same = (y == rounded) | (np.isnan(y) & np.isnan(rounded))
    return math.inf if (~finite & ~same).any() else float(error.max())


def points(fn: Fn, dtype: DType, count: int = 12000) -> Any:
    rng = np.random.default_rng(5)
    wide = 1 if dtype is DType.F32 else 7
    even = {
        Fn.EXP: (-105 * wide, 90 * wide),
        Fn.EXP2: (-151 * wide, 129 * wide),
        Fn.EXPM1: (-20, 90),
        Fn.SIGMOID: (-80, 80),
        Fn.TANH: (-12, 12),
        Fn.ERF: (-6, 6),
        Fn.SIN: (-1e4, 1e4),
        Fn.COS: (-1e4, 1e4),
    }.get(fn, (0.5, 2.0))
    parts = [rng.uniform(*even, count), 10.0 ** rng.uniform(-30, 30, count)]
    if fn in (Fn.EXP, Fn.EXP2, Fn.EXPM1, Fn.TANH, Fn.SIGMOID, Fn.ERF, Fn.SIN, Fn.COS):
        parts[1] = 10.0 ** rng.uniform(-20, 0.3, count) * rng.choice([-1, 1], count)
    special = np.array([s for s in SPECIAL if fn not in (Fn.SIN, Fn.COS) or not 1e30 < abs(s) < math.inf])
    with np.errstate(all="ignore"):
        return np.concatenate([special, *parts]).astype(dtype.numpy)


LIMITS = {
    Fn.ERF: 1.6,
    Fn.LOG: 1.6,
    Fn.LOG2: 1.6,
    Fn.LOG1P: 1.6,
    Fn.TANH: 2.0,
    Fn.SIGMOID: 1.6,
    Fn.EXPM1: 2.0,
    Fn.SIN: 1.8,
    Fn.COS: 1.8,
    Fn.RSQRT: 1.6,
}


@pytest.mark.skipif(not EXTENDED, reason="no extended precision to compare with")
@pytest.mark.parametrize("target", ["cpu", "cpu:simd128"])
@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
@pytest.mark.parametrize("fn", sorted(LIBRARY - {Fn.POW}, key=str))
def test_error_in_last_places(fn: Fn, dtype: DType, target: str) -> None:
    x = points(fn, dtype)
    # without fused multiply-add the argument reductions round once more
    slack = 0.0 if target == "cpu" else 4.0 if fn not in (Fn.SIN, Fn.COS) else 1e6
    assert worst(run(program(fn, dtype), target, x), reference(fn, x)) <= LIMITS.get(fn, 1.3) + slack


@pytest.mark.skipif(not EXTENDED, reason="no extended precision to compare with")
@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
def test_pow(dtype: DType) -> None:
    rng = np.random.default_rng(2)
    values = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5, 1e38]
    a, b = (v.ravel() for v in np.meshgrid(values, values))
    x = np.concatenate([a, 10.0 ** rng.uniform(-10, 10, 8000)]).astype(dtype.numpy)
    z = np.concatenate([b, rng.uniform(-3, 3, 8000) * (1 if dtype is DType.F32 else 9)]).astype(dtype.numpy)
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.longdouble), z.astype(np.longdouble))
    assert worst(run(program(Fn.POW, dtype), "cpu", x, z), want) <= 1.0


def test_huge_arguments_stay_bounded() -> None:
    x = np.array([1e20, -3e38, 1e12, 123456789.0], np.float32)
    for fn in (Fn.SIN, Fn.COS):
        assert (np.abs(run(program(fn, DType.F32), "cpu", x)) <= 1.0).all()


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
@pytest.mark.parametrize("fn", sorted(LIBRARY, key=str))
def test_written_out_in_gir(fn: Fn, dtype: DType) -> None:
    """`expand_math` leaves a valid program of primitives with the same values."""
    p = program(fn, dtype)
    expanded = expand_math(p)
    exprs = [s.expr if isinstance(s, Compute) else s.value for s in _values(expanded)]
    assert not any(isinstance(n, Call) and n.fn in LIBRARY for e in exprs for n in walk(e))
    verify(expanded)
    x = points(fn, dtype, 200)
    inputs = {"x": x} if fn is not Fn.POW else {"x": x, "z": np.roll(x, 3)}
    got, want = interpret(expanded, inputs)["y"], interpret(p, inputs)["y"]
    with np.errstate(all="ignore"):
        tiny = np.finfo(dtype.numpy).tiny
        np.testing.assert_allclose(got, want, rtol=4e-7 if dtype is DType.F32 else 1e-14, atol=tiny)


def test_native_functions_are_left_alone() -> None:
    p = program(Fn.EXP, DType.F32)
    assert expand_math(p, frozenset({Fn.EXP})) == p


def _values(p: gir.Program) -> list[Compute | Store]:
    return [s for k in p.kernels for s in gir.walk(k.body) if isinstance(s, Compute | Store)]
