"""The cases of every suite: a program of the operator library, extents, what it must move and compute, and the answer
in float64. A new suite is a new list here; a new program needs its functions in `contenders/`."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from weft import ops
from weft.ir.op import Op

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from inputs import random_inputs

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """`flops` counts a multiply-add as two and each function as one; `touched` overrides the bytes read of an input of
    which only a part is needed (a gather). `tolerance` is the largest error relative to the largest answer."""

    suite: str
    name: str
    program: str
    extents: dict[str, int]
    flops: int
    reference: Callable[..., Any]
    touched: dict[str, int] = field(default_factory=dict)
    tolerance: float = 2e-5
    dtype: str = "f32"

    @cached_property
    def op(self) -> Op:
        return ops.load(self.program)

    def inputs(self) -> dict[str, Array]:
        """The same arrays in every process."""
        arrays = random_inputs(self.op, self.extents, seed=1)
        if "length" in arrays:  # decoding with full caches, so that all contenders do the same work
            arrays["length"] = np.full_like(arrays["length"], self.extents["T"])
        return arrays

    @cached_property
    def read_bytes(self) -> int:
        return sum(self.touched.get(t.name, _bytes(t, self.extents)) for t in self.op.inputs)

    @cached_property
    def write_bytes(self) -> int:
        return sum(_bytes(t, self.extents) for t in self.op.outputs)

    def expected(self, inputs: dict[str, Array]) -> list[Array]:
        wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in inputs.values()]
        answer = self.reference(*wide)
        return list(answer) if isinstance(answer, tuple) else [answer]


def _bytes(tensor: Any, extents: dict[str, int]) -> int:
    from inputs import _extent

    return math.prod(_extent(e, extents) for e in tensor.shape) * tensor.dtype.bytes


def _softmax(x: Array, axis: int = -1) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    e /= e.sum(axis, keepdims=True)
    return e


def _layer_norm(x: Array, gamma: Array, beta: Array, eps: Array) -> Array:
    c = x - x.mean(1, keepdims=True)
    return c / np.sqrt((c**2).mean(1, keepdims=True) + eps) * gamma + beta


def _gelu_tanh(x: Array, b: Array) -> Array:
    t = x + b
    return 0.5 * t * (1 + np.tanh(0.7978845608028654 * (t + 0.044715 * t**3)))


def _chain6(x: Array, z: Array, b: Array) -> Array:
    s = (x + b) * 0.5
    return (np.maximum(s, 0) + z) ** 2 - s


def _rotary(x: Array, c: Array, s: Array) -> Array:
    c, s = c[:, None], s[:, None]
    return np.stack([x[:, :, 0] * c - x[:, :, 1] * s, x[:, :, 1] * c + x[:, :, 0] * s], 2)


def _attend(q: Array, k: Array, v: Array, causal: bool = False) -> Array:
    s = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    if causal:
        s = np.where(np.tri(*s.shape[-2:], dtype=bool), s, -np.inf)
    return _softmax(s) @ v


def _heads(q: Array, k: Array, v: Array, causal: bool = False) -> Array:
    return np.array([_attend(*one, causal) for one in zip(q, k, v, strict=True)])


def _decode(q: Array, k: Array, v: Array, length: Array) -> Array:
    return _attend(q, k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3))


def _log_softmax(x: Array) -> Array:
    c = x - x.max(1, keepdims=True)
    return c - np.log(np.exp(c).sum(1, keepdims=True))


def _memory() -> list[Case]:
    def case(name: str, program: str, extents: dict[str, int], per: int, reference: Any, **more: Any) -> Case:
        return Case("memory", name, program, extents, per * math.prod(extents.values()), reference, **more)

    big = {"M": 8192, "N": 4096}
    heads = {"B": 4, "S": 2048, "H": 16, "D": 64}
    return [
        case("softmax_4096x4096", "softmax", {"M": 4096, "N": 4096}, 5, _softmax),
        case("softmax_1x131072", "softmax", {"M": 1, "N": 131072}, 5, _softmax),
        case("softmax_131072x64", "softmax", {"M": 131072, "N": 64}, 5, _softmax),
        case("log_softmax_4096x4096", "log_softmax", {"M": 4096, "N": 4096}, 5, _log_softmax),
        case("layer_norm_8192x4096", "layer_norm", big, 8, _layer_norm),
        case(
            "rms_norm_8192x4096",
            "rms_norm",
            big,
            4,
            lambda x, gamma, eps: x / np.sqrt((x**2).mean(1, keepdims=True) + eps) * gamma,
        ),
        case(
            "residual_layer_norm_8192x4096",
            "residual_layer_norm",
            big,
            9,
            lambda x, z, gamma, beta, eps: (x + z, _layer_norm(x + z, gamma, beta, eps)),
        ),
        case("bias_gelu_8192x4096", "bias_gelu_tanh", big, 9, _gelu_tanh),
        case("chain6_8192x4096", "chain6", big, 6, _chain6),
        case("sum_rows_8192x4096", "sum_rows", big, 1, lambda x: x.sum(1), tolerance=1e-4),
        case("sum_columns_8192x4096", "sum_columns", big, 1, lambda x: x.sum(0), tolerance=1e-4),
        case("cumsum_rows_8192x4096", "cumsum_rows", big, 1, lambda x: x.cumsum(1), tolerance=1e-4),
        case("transpose_4096x4096", "transpose", {"M": 4096, "N": 4096}, 0, lambda x: x.T),
        case(
            "nchw_to_nhwc_32x64x112x112",
            "nchw_to_nhwc",
            {"N": 32, "C": 64, "H": 112, "W": 112},
            0,
            lambda x: x.transpose(0, 2, 3, 1),
        ),
        case("swap_heads_4x2048x16x64", "swap_heads", heads, 0, lambda x: x.transpose(0, 2, 1, 3)),
        case(
            "gather_rows_16384x1024",
            "gather_rows",
            {"V": 50000, "D": 1024, "T": 16384},
            0,
            lambda table, index: table[index],
            touched={"table": 16384 * 1024 * 4},
        ),
        case("rotary_4096x32x128", "rotary", {"S": 4096, "H": 32, "F": 64}, 6, _rotary),
        Case(
            "memory",
            "decode_B8_G8_R4_T4096_d128",
            "attention_decode",
            {"B": 8, "G": 8, "R": 4, "T": 4096, "D": 128, "E": 128},
            8 * 8 * 4 * 4096 * (4 * 128 + 5),
            _decode,
        ),
    ]


def _compute() -> list[Case]:
    def matmul(n: int) -> Case:
        return Case("compute", f"matmul_{n}", "matmul", {"M": n, "K": n, "N": n}, 2 * n**3, np.matmul, tolerance=1e-4)

    def attention(heads: int, causal: bool) -> Case:
        extents = {"H": heads, "S": 2048, "T": 2048, "D": 64, "E": 64}
        flops = heads * 2048 * 2048 * (4 * 64 + 5) // (2 if causal else 1)
        kind = "causal" if causal else "full"
        return Case(
            "compute",
            f"attention_{kind}_S2048_d64_{heads}h",
            "attention_causal" if causal else "attention",
            extents,
            flops,
            lambda q, k, v: _heads(q, k, v, causal),
            tolerance=1e-4,
        )

    return [
        *(matmul(n) for n in (512, 1024, 2048)),
        Case(
            "compute",
            "matmul_1024x4096x4096",
            "matmul",
            {"M": 1024, "K": 4096, "N": 4096},
            2 * 1024 * 4096 * 4096,
            np.matmul,
            tolerance=1e-4,
        ),
        *(attention(heads, causal) for causal in (False, True) for heads in (1, 16)),
    ]


def suites() -> dict[str, list[Case]]:
    return {"memory": _memory(), "compute": _compute()}
