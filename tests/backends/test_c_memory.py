"""Narrow types, tails, odd addresses and empty tensors through target `c`."""

from __future__ import annotations

import shutil
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from c_running import run
from weft.backends.target import Executable, get_target
from weft.ir.gir import Program
from weft.ir.gir_interp import interpret
from weft.ir.gir_parser import parse_program

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

CONVERT = """
program convert(N) {
  tensor x: SOURCE[N] input
  tensor y: TARGET[N] output
  tensor z: TARGET[N] output
  kernel vectors {
    parallel unit i in 0..N step 16 {
      v = load<16> x[i + @0] where i + @0 < N else ZERO
      store<16> y[i + @0] = v where i + @0 < N
    }
  }
  kernel scalars {
    loop i in 0..N {
      v = load x[i]
      store z[i] = v
    }
  }
}
"""


@cache
def build(text: str, machine: str | None = None) -> tuple[Program, Executable]:
    program = parse_program(text)
    return program, get_target("c", machine).load(program)


def converted(source: str, target: str, x: Any, machine: str | None) -> Any:
    zero = "0.0_f64" if source == "f64" else "0.0"
    program, executable = build(
        CONVERT.replace("SOURCE", source).replace("TARGET", target).replace("ZERO", zero), machine
    )
    out = run(program, executable, {"x": x}, {"N": len(x)})
    np.testing.assert_array_equal(out["y"].view(np.uint8), out["z"].view(np.uint8))
    return out["y"]


@pytest.mark.parametrize("machine", [None, "simd128"])
@pytest.mark.parametrize(("name", "dtype"), [("f16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_every_16_bit_value_widens(name: str, dtype: Any, machine: str | None) -> None:
    x = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    np.testing.assert_array_equal(converted(name, "f32", x, machine), x.astype(np.float32))


@pytest.mark.parametrize("source", ["f32", "f64"])
@pytest.mark.parametrize(("name", "dtype"), [("f16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_rounding_to_16_bits(name: str, dtype: Any, source: str) -> None:
    rng = np.random.default_rng(0)
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    exact = every[np.isfinite(every.astype(np.float32))].astype(np.float64)
    middle = (exact[:-1] + exact[1:]) / 2  # ties
    wide = np.float32 if source == "f32" else np.float64
    with np.errstate(all="ignore"):
        bits = rng.integers(0, 1 << 32, 20000, dtype=np.uint32).view(np.float32).astype(wide)
    near = np.concatenate([np.nextafter(middle.astype(wide), wide(s)) for s in (-np.inf, np.inf)])
    x = np.concatenate([exact.astype(wide), middle.astype(wide), near, bits]).astype(wide)
    with np.errstate(all="ignore"):
        want = x.astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(converted(source, name, x, None).astype(np.float32), want)


TAILS = """
program tails(M, N) {
  tensor x: f32[M, N] input
  tensor y: f32[M, N] output
  tensor s: f32[M] output
  tensor t: f32[N, M] temp
  kernel transpose {
    parallel unit i in 0..M step 4 {
      loop j in 0..N step 16 {
        v = load<4, 16> x[i + @0, j + @1] where i + @0 < M and j + @1 < N else 0.0
        store<4, 16> t[j + @1, i + @0] = v where i + @0 < M and j + @1 < N
      }
    }
  }
  kernel back {
    parallel unit i in 0..M {
      alloc sum: f32<16> reg
      sum: f32<16> = 0.0
      loop j in 0..N step 16 {
        v = load<16> t[j + @0, i] where j + @0 < N else 0.0
        sum: f32<16> = sum + v
        store<16> y[i, j + @0] = v * 2.0 where j + @0 < N streaming
      }
      all = reduce add sum over 0
      store<1> s[i + @0] = all
    }
  }
}
"""


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (3, 0), (1, 1), (5, 15), (4, 16), (7, 17), (13, 64)])
@pytest.mark.parametrize("threads", [0, 1, 3])
def test_tails_and_temporaries(shape: tuple[int, int], threads: int) -> None:
    program, executable = build(TAILS)
    room = np.random.default_rng(1).normal(size=shape[0] * shape[1] + 1).astype(np.float32)
    x = room[1:].reshape(shape)  # one element past an aligned address
    out = run(program, executable, {"x": x}, {"M": shape[0], "N": shape[1]}, threads)
    np.testing.assert_array_equal(out["y"], 2 * x)
    np.testing.assert_allclose(out["s"], x.sum(1), rtol=1e-5, atol=1e-5)


INTEGERS = """
program integers(N) {
  tensor a: TYPE[N] input
  tensor b: TYPE[N] input
  tensor q: TYPE[N, 8] output
  kernel k {
    parallel unit i in 0..N step 16 {
      u = load<16> a[i + @0] where i + @0 < N else 0_TYPE
      v = load<16> b[i + @0] where i + @0 < N else 0_TYPE
      store<16> q[i + @0, 0] = u // v where i + @0 < N
      store<16> q[i + @0, 1] = u % v where i + @0 < N
      store<16> q[i + @0, 2] = u * v where i + @0 < N
      store<16> q[i + @0, 3] = -u where i + @0 < N
      store<16> q[i + @0, 4] = abs(u) where i + @0 < N
      store<16> q[i + @0, 5] = u - v where i + @0 < N
      store<16> q[i + @0, 6] = u // 4_TYPE where i + @0 < N
      store<16> q[i + @0, 7] = u % 8_TYPE where i + @0 < N
    }
  }
}
"""


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers_floor_and_wrap(dtype: Any) -> None:
    limits = np.iinfo(dtype)
    values = np.array([limits.min, limits.min + 1, -7, -3, -1, 0, 1, 2, 3, 7, limits.max], dtype)
    a, b = (x.ravel().copy() for x in np.meshgrid(values, values))
    text = INTEGERS.replace("TYPE", "i32" if dtype is np.int32 else "i64")
    program, executable = build(text)
    want = interpret(program, {"a": a, "b": b}, {"N": len(a)})
    out = run(program, executable, {"a": a, "b": b}, {"N": len(a)})
    np.testing.assert_array_equal(out["q"], want["q"])


FUNCTIONS = """
program functions(N) {
  tensor x: f32[N] input
  tensor y: f32[N, 10] output
  kernel k {
    loop i in 0..N step 16 {
      v = load<16> x[i + @0] where i + @0 < N else 0.0
      store<16> y[i + @0, 0] = exp(v) where i + @0 < N
      store<16> y[i + @0, 1] = log(v) where i + @0 < N
      store<16> y[i + @0, 2] = tanh(v) where i + @0 < N
      store<16> y[i + @0, 3] = erf(v) where i + @0 < N
      store<16> y[i + @0, 4] = sigmoid(v) where i + @0 < N
      store<16> y[i + @0, 5] = rsqrt(v) where i + @0 < N
      store<16> y[i + @0, 6] = sin(v) where i + @0 < N
      store<16> y[i + @0, 7] = expm1(v) where i + @0 < N
      store<16> y[i + @0, 8] = max(v, 0.5) where i + @0 < N
      store<16> y[i + @0, 9] = v ** 1.5 where i + @0 < N
    }
  }
}
"""


@pytest.mark.parametrize(("target", "machine"), [("c", None), ("c:libm", None), ("c", "avx2")])
def test_functions(target: str, machine: str | None) -> None:
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, -1e-42, 88.7, 88.8, -87.4, -103.9, -104.1, 1e-20, 1.0]
    x = np.concatenate([special, np.linspace(-20, 20, 1001), np.logspace(-37, 38, 300)]).astype(np.float32)
    x = np.where(np.abs(x) > 1e6, np.where(np.isfinite(x), np.sign(x) * np.float32(1e6), x), x)
    program = parse_program(FUNCTIONS)
    want = interpret(program, {"x": x})["y"]
    got = run(program, get_target(target, machine).load(program), {"x": x}, {})["y"]
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-44)


INDICES = """
program indices(N) {
  tensor y: f32[N, 6, 32] output
  kernel k {
    parallel unit i in 0..N {
      store<32> y[i, 0, @0] = 1.0 if @0 <= i else 2.0
      store<32> y[i, 1, @0] = 1.0 if 3*@0 - i > 7 else 2.0
      store<32> y[i, 2, @0] = f32(abs(@0 - i))
      store<32> y[i, 3, @0] = 1.0 if abs(i - @0) < 5 and @0 != i else 2.0
      store<32> y[i, 4, @0] = 1.0 if i == @0 or i*1000000000 < @0 - 5 else 2.0
      store<32> y[i, 5, @0] = f32(@0 * i // 3 % 5)
    }
  }
}
"""


@pytest.mark.parametrize("machine", [None, "avx2"])
def test_index_arithmetic_across_lanes(machine: str | None) -> None:
    program, executable = build(INDICES, machine)
    want = interpret(program, {}, {"N": 40})["y"]
    np.testing.assert_array_equal(run(program, executable, {}, {"N": 40})["y"], want)
