"""The text of target `c`, compared with texts that a person has read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from weft.backends.target import get_target
from weft.ir.gir_parser import parse_program

COPY = """
program scaled_copy(N) {
  tensor x: f32[N] input
  tensor y: bf16[N] output
  kernel whole {
    parallel unit i in 0..N step 16 {
      v = load<16> x[i + @0] where i + @0 < N else 0.0
      store<16> y[i + @0] = v * 2.0 where i + @0 < N
    }
  }
}
"""
ROWS = """
program row_maxima(M) {
  tensor x: f32[M, 64] input
  tensor y: f32[M] output
  kernel rows {
    parallel unit i in 0..M {
      alloc m: f32<16> reg
      m: f32<16> = -inf
      unroll j in 0..4 {
        v = load<16> x[i, j * 16 + @0]
        m: f32<16> = max(m, v)
      }
      top = reduce max m over 0
      t = reduce max top over 0
      store<1> y[i + @0] = t
    }
  }
}
"""
TILES = """
program products(M, N, K) {
  tensor a: f32[M, K] input
  tensor b: f32[K, N] input
  tensor c: f32[M, N] output
  kernel tiles {
    parallel unit i in 0..M step 2 {
      parallel unit j in 0..N step 32 {
        alloc panel: f32[K, 32] sram
        move<K, 32> panel[@0, @1] = b[@0, j + @1]
        alloc acc: f32<2, 32> reg
        acc: f32<2, 32> = 0.0
        loop k in 0..K {
          u = load<2, 1> a[i + @0, k]
          v = load<1, 32> panel[k, @1]
          acc: f32<2, 32> = fma(u, v, acc)
        }
        store<2, 32> c[i + @0, j + @1] = acc streaming
      }
    }
  }
}
"""


@pytest.mark.parametrize(("name", "text"), [("scaled_copy", COPY), ("row_maxima", ROWS), ("products", TILES)])
def test_text(name: str, text: str, golden: Callable[[str, str], None]) -> None:
    emitted = get_target("c", "avx512").emit(parse_program(text))
    golden(f"c/{name}.c", emitted.files[emitted.main])
    golden(f"c/{name}.h", emitted.files[emitted.header])
