"""The CPU target against the interpreter: random programs, storage types, streaming stores, moves."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_programs import Maker, random_inputs
from weft.backends import host
from weft.backends.cpu.jit import assembly
from weft.backends.cpu.target import CpuTarget
from weft.backends.isa import INSTRUCTION_SETS
from weft.backends.target import get_target
from weft.ir import gir
from weft.ir.dtypes import DType
from weft.ir.errors import ScheduleError, TargetError
from weft.ir.expr import Var
from weft.ir.gir import Role
from weft.ir.gir_interp import interpret
from weft.ir.gir_parser import parse_program

MACHINES = ["simd128", "avx2", "avx512"]
HERE = [name for name in MACHINES if host.runs_here(INSTRUCTION_SETS[name])]


def run(program: gir.Program, inputs: dict[str, Any], env: dict[str, int], target: str = "cpu") -> dict[str, Any]:
    """All tensors after a call; what nobody writes is filled with a pattern."""
    arrays = {}
    for t in program.tensors:
        shape = tuple(env[e.name] if isinstance(e, Var) else int(e.value) for e in t.shape)  # type: ignore[attr-defined]
        if t.role is Role.INPUT:
            arrays[t.name] = np.ascontiguousarray(inputs[t.name])
        else:
            arrays[t.name] = np.full(int(np.prod(shape)) * t.dtype.bytes, 0x5A, np.uint8).view(t.dtype.numpy)
            arrays[t.name] = arrays[t.name].reshape(shape)
    buffers = [arrays[t.name].ctypes.data for t in program.tensors]
    get_target(target).load(program)(buffers, [env[s.name] for s in program.symbols], 2)
    return arrays


def same(a: Any, b: Any) -> bool:
    if a.dtype.kind in "iub":
        return bool((a == b).all())
    with np.errstate(all="ignore"):
        wide = [x.astype(np.float64) for x in (a, b)]
    return np.array_equal(*wide, equal_nan=True)


@pytest.mark.parametrize("machine", ["native", *HERE])
@pytest.mark.parametrize("seed", [1, 2, 5, 10, 17, 19])
def test_random_programs(seed: int, machine: str) -> None:
    program = Maker(seed, exact=True, shape=[(48,), (3, 7), (5, 32)][seed % 3], steps=9).program()
    env = {"M": 1 + seed % 4, "N": (1, 7, 16, 33)[seed % 4]}
    inputs = random_inputs(program, env, seed)
    got = run(program, inputs, env, "cpu" if machine == "native" else f"cpu:{machine}")
    want = interpret(program, inputs, env)
    for name, array in want.items():
        assert same(got[name], array), name


def copy_program(dtype: DType, to: DType, width: int = 40) -> gir.Program:
    return parse_program(f"""
program convert(N) {{
  tensor x: {dtype}[N] input
  tensor y: {to}[N] output
  kernel main {{
    parallel unit i in 0..N step {width} {{
      v = load<{width}> x[i + @0] where i + @0 < N else {_zero(dtype)}
      store<{width}> y[i + @0] = {to.arithmetic}(v) where i + @0 < N
    }}
  }}
}}""")


def _zero(dtype: DType) -> str:
    return "false" if dtype is DType.BOOL else f"0_{dtype.arithmetic}"


@pytest.mark.parametrize("to", [DType.F32, DType.BF16, DType.F16, DType.I8, DType.U8, DType.BOOL])
@pytest.mark.parametrize("dtype", [DType.BF16, DType.F16])
def test_every_16_bit_pattern(dtype: DType, to: DType) -> None:
    """Conversions of all 65 536 values, NaN payloads included (failures 10)."""
    x = np.arange(65536, dtype=np.uint16).view(dtype.numpy)
    program = copy_program(dtype, to)
    got = run(program, {"x": x}, {"N": x.size})["y"]
    want = interpret(program, {"x": x}, {"N": x.size})["y"]
    assert same(got, want)


@pytest.mark.parametrize("to", [DType.BF16, DType.F16])
def test_rounding_to_16_bits(to: DType) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 1 << 32, 40000, dtype=np.uint32).view(np.float32)
    halves = np.arange(65535, dtype=np.uint16).view(to.numpy).astype(np.float32)
    with np.errstate(all="ignore"):
        x = np.concatenate([x, (halves[:-1] + halves[1:]) / 2, np.nextafter(halves, np.float32(0))])
        want = x.astype(to.numpy)
    got = run(copy_program(DType.F32, to), {"x": x}, {"N": x.size})["y"]
    assert same(got, want)


@pytest.mark.parametrize("offset", [0, 1, 3, 16])
@pytest.mark.parametrize("dtype", [DType.F32, DType.F64, DType.BF16, DType.U8])
def test_streaming_stores_at_any_alignment(dtype: DType, offset: int) -> None:
    program = parse_program(f"""
program stream(M, N) {{
  tensor x: {dtype}[M, N] input
  tensor y: {dtype}[M, N] output
  kernel main {{
    parallel unit i in 0..M {{
      loop j in 0..N // 36 * 36 step 36 {{
        v = load<36> x[i, j + @0]
        store<36> y[i, j + @0] = v streaming
      }}
      loop j in N // 36 * 36..N {{
        w = load x[i, j]
        store y[i, j] = w streaming
      }}
    }}
  }}
}}""")
    rng = np.random.default_rng(0)
    size = 9 * 111
    memory = rng.integers(0, 50, size + 64).astype(dtype.numpy)
    x = memory[offset : offset + size].reshape(9, 111)
    out = np.zeros(size + 64, dtype.numpy)
    y = out[offset : offset + size].reshape(9, 111)
    get_target("cpu").load(program)([x.ctypes.data, y.ctypes.data], [9, 111], 2)
    np.testing.assert_array_equal(y.astype(np.float64), x.astype(np.float64))
    assert not out[:offset].any() and not out[offset + size :].any()


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64, DType.BF16, DType.I8, DType.BOOL])
@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (16, 16), (17, 33), (70, 128), (129, 3)])
def test_transposing_move(dtype: DType, shape: tuple[int, int]) -> None:
    program = parse_program(f"""
program transpose(M, N) {{
  tensor x: {dtype}[M, N] input
  tensor y: {dtype}[N, M] output
  kernel main {{
    move<N, M> y[@0, @1] = x[@1, @0]
  }}
}}""")
    x = np.random.default_rng(0).integers(0, 2, shape).astype(dtype.numpy)
    if dtype is not DType.BOOL:
        x = (np.arange(x.size) % 113).astype(dtype.numpy).reshape(shape)
    got = run(program, {"x": x}, {"M": shape[0], "N": shape[1]})["y"]
    np.testing.assert_array_equal(got.astype(np.float64), x.T.astype(np.float64))


@pytest.mark.parametrize("else_part", ["", "else 7_f32"])
@pytest.mark.parametrize("index", ["@0, @1", "@1, @0"])
@pytest.mark.parametrize("shape", [(5, 9), (40, 90), (1, 300)])
def test_move_with_predicate(else_part: str, index: str, shape: tuple[int, int]) -> None:
    source = "@0, @1 * 2" if index == "@0, @1" else "@1, @0 * 2"
    box = "M, N" if index == "@0, @1" else "N, M"
    program = parse_program(f"""
program window(M, N) {{
  tensor x: f32[M, N] input
  tensor y: f32[M, N] output
  kernel main {{
    move<M, N> y[@0, @1] = x[@0, @1]
    alloc s: f32[{box}] sram
    move<{box}> s[@0, @1] = y[{index}]
    move<{box}> s[@0, @1] = x[{source}] where {source.split(", ")[1]} < N {else_part}
    move<M, N> y[@0, @1] = s[{index}]
  }}
}}""")
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    env = {"M": shape[0], "N": shape[1]}
    np.testing.assert_array_equal(run(program, {"x": x}, env)["y"], interpret(program, {"x": x}, env)["y"])


def test_maximum_keeps_nan_from_either_side() -> None:
    """Failures 9."""
    program = parse_program("""
program extrema(N) {
  tensor a: f32[N] input
  tensor b: f32[N] input
  tensor y: f32[5, N] output
  kernel main {
    parallel unit i in 0..N step 32 {
      p = load<32> a[i + @0] where i + @0 < N else 0.0
      q = load<32> b[i + @0] where i + @0 < N else 0.0
      store<32> y[0, i + @0] = max(p, q) where i + @0 < N
      store<32> y[1, i + @0] = min(p, q) where i + @0 < N
      store<32> y[2, i + @0] = max(p, 0.0) where i + @0 < N
      store<32> y[3, i + @0] = min(1.0, p) where i + @0 < N
      store<32> y[4, i + @0] = max(p, nan) where i + @0 < N
    }
  }
}""")
    values = np.array([0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-42], np.float32)
    a, b = (v.ravel() for v in np.meshgrid(values, values))
    inputs = {"a": a, "b": b}
    for target in ("cpu", *(f"cpu:{m}" for m in HERE)):
        got = run(program, inputs, {"N": a.size}, target)["y"]
        assert same(got, interpret(program, inputs, {"N": a.size})["y"]), target


def test_text_is_a_function_of_the_program() -> None:
    program = Maker(7, steps=8).program()
    target = get_target("cpu:simd128")
    first, second = target.emit(program), target.emit(program)
    assert first == second and "define void @weft_entry" in first.files[first.main]


def test_unknown_machine_lists_those_that_exist() -> None:
    with pytest.raises(TargetError, match="avx2"):
        get_target("cpu:avx3")


def test_a_value_across_a_sync_is_refused() -> None:
    program = parse_program("""
program across(U) {
  tensor y: i64[U] output
  kernel main {
    parallel unit u in 0..U {
      v: i64 = u
      sync dram
      store y[u] = v
    }
  }
}""")
    with pytest.raises(ScheduleError, match="lives across a sync"):
        get_target("cpu").load(program)


@pytest.mark.skipif(shutil.which("cc") is None, reason="a library needs a linker")
@pytest.mark.parametrize("threads", [0, 1, 3])
def test_shared_library(tmp_path: Path, threads: int) -> None:
    program = parse_program("""
program double(M, N) {
  tensor x: f32[M, N] input
  tensor y: f32[M, N] output
  kernel main {
    parallel unit i in 0..M {
      alloc s: f32[N] sram
      move<N> s[@0] = x[i, @0]
      loop j in 0..N {
        v = load s[j]
        store y[i, j] = v * 2.0
      }
    }
  }
}""")
    path = tmp_path / "libdouble.so"
    get_target("cpu").library(program, str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["libdouble.so"]
    library = ctypes.CDLL(str(path))
    x = np.random.default_rng(0).standard_normal((50, 70)).astype(np.float32)
    for _ in range(20):
        y = np.zeros_like(x)
        buffers = (ctypes.c_void_p * 2)(x.ctypes.data, y.ctypes.data)
        assert library.double_call(buffers, (ctypes.c_int64 * 2)(50, 70), threads) == 0
        np.testing.assert_array_equal(y, 2 * x)


@pytest.mark.skipif(not host.is_x86(), reason="reads x86 assembly")
def test_register_tile_stays_in_registers() -> None:
    """A 6 x 64 tile of accumulators: 24 fused multiply-adds for each step, nothing spilled, no vector splat by hand."""
    program = parse_program("""
program tile(K) {
  tensor a: f32[K, 6] input
  tensor b: f32[K, 64] input
  tensor c: f32[6, 64] output
  kernel main {
    alloc acc: f32<6, 64> reg
    acc = 0.0
    loop k in 0..K {
      u = load<6, 1> a[k, @0]
      v = load<1, 64> b[k, @1]
      acc = fma(u, v, acc)
    }
    store<6, 64> c[@0, @1] = acc
  }
}""")
    target = CpuTarget("cpu:avx512", "avx512", False)
    lines = assembly(target.ir(program), target.processor).splitlines()
    assert sum("vfmadd" in line for line in lines) % 24 == 0
    assert not [line for line in lines if "zmm" in line and "rsp" in line]
