"""Functions of f32 densely: all exponents and both signs, the range where they bend, and special values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from test_mathlib import EXTENDED, SPECIAL, program, reference, run
from weft.backends.c import target as c_target
from weft.backends.host import cpu_flags, host_machine, is_x86
from weft.backends.target import get_target
from weft.ir.dtypes import DType
from weft.ir.expr import Fn
from weft.ir.gir_parser import parse_program

COUNT = 40_000
RANGES = {
    Fn.ERF: (-4.2, 4.2),
    Fn.TANH: (-9.5, 9.5),
    Fn.SIGMOID: (-105, 40),
    Fn.EXP: (-105, 90),
    Fn.EXP2: (-151, 129),
    Fn.EXPM1: (-20, 90),
    Fn.LOG: (0.4, 2.5),
    Fn.LOG2: (0.4, 2.5),
    Fn.LOG1P: (-1, 2),
    Fn.RSQRT: (0.5, 4.5),
}
LIMITS = {Fn.EXP: 1.2, Fn.EXP2: 1.2, Fn.TANH: 2.0, Fn.RSQRT: 1.5}  # in units in the last place; others 1.65
ODD = (Fn.ERF, Fn.TANH, Fn.EXPM1, Fn.LOG1P)
EDGES = [3.9, 4.0, 9.0, 9.0625, 9.1, 88.72, 88.73, -88.72, -88.73, 1e-38, 1.17549435e-38, 1.40129846e-45, 3.4028235e38]


def points(fn: Fn) -> Any:
    rng = np.random.default_rng(7)
    anything = rng.integers(0, 2**32, COUNT, dtype=np.uint64).astype(np.uint32).view(np.float32)
    small = rng.choice([-1, 1], COUNT) * 10.0 ** rng.uniform(-12, 0.7, COUNT)
    with np.errstate(all="ignore"):
        special = np.array([*SPECIAL, *EDGES, *(-e for e in EDGES)], np.float32)
        even = rng.uniform(*RANGES[fn], COUNT).astype(np.float32)
        return np.concatenate([special, anything, even, small.astype(np.float32)])


def check(fn: Fn, target: str) -> None:
    """Within the limit, the same kinds of value, and zeros of the same sign."""
    x = points(fn)
    y = run(program(fn, DType.F32), target, x)
    with np.errstate(all="ignore"):
        want = np.array([math.erf(v) for v in x], np.longdouble) if fn is Fn.ERF else reference(fn, x)
        rounded = want.astype(np.float32)
        finite = np.isfinite(y) & np.isfinite(rounded)
        step = np.spacing(np.abs(rounded)).astype(np.longdouble)
        error = np.where(finite, np.abs(y.astype(np.longdouble) - want) / step, 0)
        same = finite | (y == rounded) | (np.isnan(y) & np.isnan(rounded))
    assert same.all(), x[~same]
    assert error.max() <= LIMITS.get(fn, 1.65), (x[error.argmax()], float(error.max()))
    if fn in ODD:
        zero = x == 0
        assert (np.signbit(y[zero]) == np.signbit(x[zero])).all() and (y[zero] == 0).all()


@pytest.mark.skipif(not EXTENDED, reason="no extended precision to compare with")
@pytest.mark.parametrize("target", ["cpu", "cpu:avx2", "cpu:simd128", "c"])
@pytest.mark.parametrize("fn", sorted(RANGES, key=str))
def test_dense(fn: Fn, target: str) -> None:
    if target == "cpu:avx2" and not {"avx2", "fma"} <= set(cpu_flags()):
        pytest.skip("no AVX2 here")
    check(fn, target)


@pytest.mark.skipif(not EXTENDED or not is_x86(), reason="no extended precision, or no choice of instructions")
@pytest.mark.parametrize("fn", [Fn.ERF, Fn.TANH, Fn.SIGMOID, Fn.LOG1P, Fn.RSQRT])
def test_c_without_the_instructions(fn: Fn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same C text, compiled for a machine without AVX-512."""
    flags = [*c_target.FLAGS, "-mno-avx512f"]
    monkeypatch.setattr(c_target, "FLAGS", flags)
    check(fn, "c")


def wide_machine() -> bool:
    return is_x86() and host_machine(None).has_masks


@pytest.mark.parametrize("target", ["cpu", "c"])
@pytest.mark.parametrize("fn", [Fn.SIN, Fn.COS])
def test_turns_of_any_size(fn: Fn, target: str) -> None:
    """NumPy's sine of f64 is right for any argument, and far better than f32."""
    rng = np.random.default_rng(3)
    near_zeros = np.arange(1, 40_000) * (np.pi / 2)
    far = 2.0 ** rng.uniform(16, 128, COUNT) * rng.choice([-1, 1], COUNT)
    special = [0.0, -0.0, 1e-45, -1e-45, 1e5, 100000.0078125, 3.4028235e38, math.inf, -math.inf, math.nan]
    parts = [special, rng.uniform(-10, 10, COUNT), rng.uniform(-1e5, 1e5, COUNT), near_zeros]
    if wide_machine():  # elsewhere just f64's reduction
        parts.append(far)
    with np.errstate(all="ignore"):
        x = np.concatenate(parts).astype(np.float32)
        want = getattr(np, fn.value)(x.astype(np.float64))
    y = run(program(fn, DType.F32), target, x)
    finite = np.isfinite(x)
    assert np.isnan(y[~finite]).all() and np.isfinite(y[finite]).all()
    step = np.spacing(np.abs(want[finite]).astype(np.float32))
    assert (np.abs(y[finite] - want[finite]) <= 1.6 * step).all()
    assert fn is Fn.COS or (np.signbit(y[:2]) == [False, True]).all()


@pytest.mark.parametrize("width", [1, 4, 8, 32])
def test_far_arguments_among_near_ones(width: int) -> None:
    """The branch for far arguments in every part of a vector, in loops that carry values."""
    text = f"""
program apply(N) {{
  tensor x: f32[N] input
  tensor y: f32[{width}] output
  kernel main {{
    parallel unit u in 0..1 {{
      alloc total: f32<{width}> reg
      total = 0_f32
      loop i in 0..N step {width} {{
        v = load<{width}> x[i + @0] where i + @0 < N else 0_f32
        total = total + sin(v) * cos(v)
      }}
      store<{width}> y[@0] = total
    }}
  }}
}}"""
    x = np.linspace(-3, 3, 67, dtype=np.float32)
    x[[5, 40, 66]] = 1e30, -2e7, 3e38
    y = np.empty(width, np.float32)
    get_target("cpu").load(parse_program(text))([x.ctypes.data, y.ctypes.data], [x.size], 1)
    wide = x.astype(np.float64)
    if wide_machine():
        np.testing.assert_allclose(y.sum(), (np.sin(wide) * np.cos(wide)).sum(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", ["cpu", "c"])
@pytest.mark.parametrize("fn", [Fn.ERF, Fn.TANH, Fn.LOG, Fn.SIGMOID])
def test_parts_of_vectors(fn: Fn, target: str) -> None:
    """Whatever the width of a tile, lengths beside its multiples give what whole vectors give, to the limit."""
    x = np.linspace(0.1, 3.5, 67, dtype=np.float32)
    with np.errstate(all="ignore"):
        want = reference(fn, x).astype(np.float32)
    y = np.empty_like(x)
    for width in (1, 8, 16, 32):
        call = get_target(target).load(program(fn, DType.F32, width))
        for n in (1, 7, 16, 33, 67):
            y.fill(9)
            call([x.ctypes.data, y.ctypes.data], [n], 1)
            np.testing.assert_array_max_ulp(y[:n], want[:n], 2)
            assert (y[n:] == 9).all()


@pytest.mark.parametrize("fn", [Fn.ERF, Fn.TANH, Fn.LOG, Fn.RSQRT, Fn.SIGMOID, Fn.EXP, Fn.SIN])
def test_values_do_not_depend_on_the_tile(fn: Fn) -> None:
    x = np.linspace(0.01, 6, 64, dtype=np.float32)
    wide = run(program(fn, DType.F32, 64), "cpu", x)
    for width in (1, 2, 8, 16):
        assert (run(program(fn, DType.F32, width), "cpu", x) == wide).all()
