"""Programs for tests that force an instruction set: operators of different kinds, and GIR that says where data goes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

# op text, extents, input maker; the name says what is looked at
OPS: dict[str, tuple[str, dict[str, int]]] = {
    "contraction": (
        "op f(a: f32[M, K], b: f32[K, N]) -> (c: f32[M, N]) { c[i, j] = sum[k] a[i, k] * b[k, j] }",
        {"M": 13, "N": 83, "K": 45},
    ),
    "narrow_contraction": (
        "op f(a: bf16[M, K], b: bf16[K, N]) -> (c: bf16[M, N]) { c[i, j] = sum[k] a[i, k] * b[k, j] }",
        {"M": 7, "N": 37, "K": 34},
    ),
    "reductions": (
        """op f(x: f32[M, N]) -> (s: f32[M], t: f32[N], w: f64[M]) {
             s[i] = max[j] x[i, j]
             t[j] = sum[i] x[i, j]
             w[i] = sum[j] f64(x[i, j]) * f64(x[i, j])
           }""",
        {"M": 21, "N": 77},
    ),
    "normalised": (
        """op f(x: f32[M, N]) -> (y: f32[M, N]) {
             m[i] = max[j] x[i, j]
             e[i, j] = exp(x[i, j] - m[i])
             s[i] = sum[j] e[i, j]
             y[i, j] = e[i, j] / s[i]
           }""",
        {"M": 5, "N": 203},
    ),
    "transposed": (
        "op f(x: f32[M, N]) -> (y: f32[N, M], z: f32[N, M]) { y[j, i] = x[i, j]  z[j, i] = x[i, j] * 2 + 1 }",
        {"M": 50, "N": 67},
    ),
    "functions": (
        """op f(x: f32[N]) -> (a: f32[N], b: f32[N], c: f32[N], d: f32[N], e: f32[N]) {
             a[i] = exp(x[i])  b[i] = log(abs(x[i]) + 0.01)  c[i] = erf(x[i])  d[i] = tanh(x[i])
             e[i] = floor(x[i]) + sqrt(abs(x[i])) + sin(x[i])
           }""",
        {"N": 131},
    ),
    "halves": (
        """op f(x: bf16[N], z: f16[N]) -> (y: f16[N], w: bf16[N], v: f32[N]) {
             y[i] = f16(f32(x[i]) * 3)  w[i] = bf16(f32(z[i]) + 0.1)  v[i] = f32(x[i]) * f32(z[i])
           }""",
        {"N": 101},
    ),
    "gathered": (
        "op f(x: f32[M, N], p: i32[K]) -> (y: f32[K, N]) { y[k, j] = x.clamp[p[k], j] }",
        {"M": 9, "N": 45, "K": 23},
    ),
    "integers": (
        "op f(x: i32[N], z: i64[N]) -> (y: i32[N], w: i64[N]) { y[i] = max(x[i] * 3, x[i] // 7)  w[i] = z[i] % 11 }",
        {"N": 93},
    ),
}

LISTED = ("contraction", "reductions", "functions", "halves")  # whose machine code is read too

# streaming stores, a prefetch, masks at the end, a function, a transposing move through scratch
MOVING = """
program moving(N) {
  tensor x: f32[32, 32] input
  tensor z: f32[N] input
  tensor y: f32[32, 32] output
  tensor t: f32[32, 32] output
  tensor w: f32[N] output
  kernel main {
    parallel unit i in 0..32 {
      prefetch<32> x[i + 1, 0]
      v = load<32> x[i, @0]
      store<32> y[i, @0] = v * 2.0 streaming
    }
    alloc s: f32[32, 32] sram
    move<32, 32> s[@0, @1] = x[@1, @0]
    move<32, 32> t[@0, @1] = s[@0, @1]
    parallel unit k in 0..N step 48 {
      u = load<48> z[k + @0] where k + @0 < N else 0.0
      store<48> w[k + @0] = exp(u) + 1.0 where k + @0 < N
    }
  }
}"""

_X86_ONLY_SINCE = {  # instructions that a set lacks; VEX and EVEX forms begin with v
    "avx512": r"(?!x)x",
    "avx2": r"zmm|%k[0-7]|%[xy]mm(?:1[6-9]|2\d|3[01])|dpbf16|vpdpbusd|vscalef|vpternlog|vrndscale|vpermt2|vpermi2",
    "simd128": r"zmm|ymm|%k[0-7]|^\s+v[a-z]",
}
_X86_ONLY_SINCE["sse2"] = _X86_ONLY_SINCE["simd128"] + (
    r"|pshufb|pblend|blendv|blendp|roundp|rounds|pmulld|p(?:min|max)[su]d|p(?:min|max)sb|p(?:min|max)uw|pextr[bdq]"
    r"|pinsr[bdq]|insertps|extractps|hadd|hsub|ptest|dpps|pmov[sz]x|packusdw|movddup|movs[hl]dup|lddqu|pabs|palignr"
    r"|pcmpeqq|pcmpgtq|pmuldq|popcnt|crc32|addsub"
)


def above(name: str, listing: str) -> list[str]:
    """Lines of an x86 listing with something that the set `name` does not have."""
    pattern = re.compile(_X86_ONLY_SINCE[name])
    lines = (re.sub(r"^\s+[0-9a-f]+:\s+", "\t", line) for line in listing.splitlines())  # objdump's addresses
    code = (line for line in lines if re.match(r"\s+[a-z]", line))
    return [line.strip() for line in code if pattern.search(line)]


def inputs_of(tensors: Any, extents: dict[str, int]) -> dict[str, Any]:
    """Random arrays for input tensors, whose shapes are symbols; indices of a gather stay in range."""
    rng = np.random.default_rng(7)
    out = {}
    for t in tensors:
        shape = tuple(extents[e.name] for e in t.shape)
        if t.dtype.is_int:
            out[t.name] = rng.integers(-1, 9, shape).astype(t.dtype.numpy)
        else:
            out[t.name] = (rng.standard_normal(shape) * 2).astype(t.dtype.numpy)
    return out
