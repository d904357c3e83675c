"""Products of bf16 pairs on the targets: with the instruction and without it, packed by rows and by columns."""

from __future__ import annotations

from itertools import product

import ml_dtypes
import numpy as np
import pytest
from weft.backends import host
from weft.backends.isa import INSTRUCTION_SETS
from weft.backends.target import get_target
from weft.ir import gir
from weft.ir.gir_interp import interpret
from weft.ir.gir_parser import parse_program
from weft.ir.gir_verify import verify

M, N = 5, 70
HERE = [f"cpu:{name}" for name, one in INSTRUCTION_SETS.items() if host.runs_here(one)]


def contraction(depth: int, columns: bool) -> gir.Program:
    """c = a b, in pairs along the reduced axis; b is (depth, N), or (N, depth) with `columns`."""
    pairs = depth // 2
    shape, source = (f"{N}, {depth}", "b[@1, 2*@0 + @2]") if columns else (f"{depth}, {N}", "b[2*@0 + @2, @1]")
    odd = f" and 2*@0 + @2 < {depth}" if depth % 2 else ""
    found = parse_program(f"""
    program pairs() {{
      tensor a: bf16[{M}, {depth}] input
      tensor b: bf16[{shape}] input
      tensor c: f32[{M}, {N}] output
      kernel k {{
        parallel unit i in 0..{M} {{
          alloc p: bf16[{pairs + depth % 2}, 96, 2] sram
          move<{pairs + depth % 2}, 96, 2> p[@0, @1, @2] = {source} where @1 < {N}{odd} else 0.0
          loop j in 0..{N} step 48 {{
            alloc acc: f32<48> reg
            acc = 0.0
            loop k in 0..{pairs} {{
              av = load pairs a[i, 2*k]
              bv = load pairs<48> p[k, j + @0, 0]
              acc = dot2_bf16(av, bv, acc)
            }}
            loop k in {2 * pairs}..{depth} {{
              x = load a[i, k]
              y = load<48> p[k // 2, j + @0, k % 2]
              acc = fma(x, y, acc)
            }}
            store<48> c[i, j + @0] = acc where j + @0 < {N}
          }}
        }}
      }}
    }}""")
    assert verify(found) == []
    return found


def given(depth: int, columns: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(depth)
    a = rng.standard_normal((M, depth)).astype(ml_dtypes.bfloat16)
    b = rng.standard_normal((N, depth) if columns else (depth, N)).astype(ml_dtypes.bfloat16)
    return a, b


def run(target: str, program: gir.Program, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    c = np.full((M, N), np.nan, np.float32)
    get_target(target).load(program)([x.ctypes.data for x in (a, b, c)], [], 1)
    return c


@pytest.mark.parametrize("target", ["c", "cpu", *HERE])
@pytest.mark.parametrize(("depth", "columns"), list(product((1, 2, 37, 64), (False, True))))
def test_against_the_interpreter(target: str, depth: int, columns: bool) -> None:
    program, (a, b) = contraction(depth, columns), given(depth, columns)
    want = interpret(program, {"a": a, "b": b})["c"]
    np.testing.assert_allclose(run(target, program, a, b), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("target", ["c", "cpu", *HERE])
def test_special_values(target: str) -> None:
    program, (a, b) = contraction(7, False), given(7, False)
    a[0, 6], a[1, 0], a[2, 3], b[6, 1] = np.inf, np.nan, -np.inf, np.inf  # 6 is the odd one
    with np.errstate(invalid="ignore"):
        want = a.astype(np.float64) @ b.astype(np.float64)
    found = run(target, program, a, b)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(want))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(want))
    assert np.all(np.sign(found[np.isinf(want)]) == np.sign(want[np.isinf(want)]))


def test_the_description_decides() -> None:
    if not host.is_x86():
        pytest.skip("descriptions of x86")
    program = contraction(64, False)
    for name in ("avx512bf16", "avx512"):
        text = get_target(f"cpu:{name}").ir(program)  # type: ignore[attr-defined]
        assert ("dpbf16ps" in text) == (name == "avx512bf16")
