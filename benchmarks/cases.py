"""The cases of every suite: a program of the operator library, extents, what it must move and compute. A new suite is a
new list here; a new program needs its answer in `references.py` and its functions in `contenders/`."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from references import REFERENCES
from weft import ops
from weft.ir.dtypes import DType
from weft.ir.op import Op

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from inputs import _extent, random_inputs

Array = np.ndarray[Any, Any]
BF16_TOLERANCE = 1e-2  # an answer rounded to 8 bits is off by 2e-3
BF16_ATTENTION = 3e-2  # and libraries round the scores as well, some before the exponential


@dataclass(frozen=True)
class Case:
    """`flops` counts a multiply-add as two and each function as one; `touched` overrides the bytes read of an input of
    which only a part is needed (a gather). `tolerance` is the largest error relative to the largest answer. Where the
    reference would take minutes only every `every`-th query is checked: a number without a factor in common with any
    tile, so that every place within a tile has its turn."""

    suite: str
    name: str
    program: str
    extents: dict[str, int]
    flops: int
    touched: dict[str, int] = field(default_factory=dict)
    tolerance: float = 2e-5
    dtype: str = "f32"
    every: int = 1

    @cached_property
    def op(self) -> Op:
        return ops.load(self.program, DType(self.dtype))

    def inputs(self) -> dict[str, Array]:
        """The same arrays in every run."""
        arrays = random_inputs(self.op, self.extents, seed=1)
        if "length" in arrays:  # decoding with full caches, so that all contenders do the same work
            arrays["length"] = np.full_like(arrays["length"], self.extents["T"])
        return arrays

    def save(self, inputs: dict[str, Array], folder: Path) -> None:
        """For other processes: drawing a gigabyte of random numbers takes longer than reading it."""
        for name, array in inputs.items():  # the format knows no bf16
            np.save(folder / f"input-{name}.npy", array.view(np.uint16) if array.dtype.kind == "V" else array)

    def load(self, folder: Path) -> dict[str, Array]:
        return {t.name: np.load(folder / f"input-{t.name}.npy").view(t.dtype.numpy) for t in self.op.inputs}

    @cached_property
    def read_bytes(self) -> int:
        return sum(self.touched.get(t.name, _bytes(t, self.extents)) for t in self.op.inputs)

    @cached_property
    def write_bytes(self) -> int:
        return sum(_bytes(t, self.extents) for t in self.op.outputs)

    @cached_property
    def output_shapes(self) -> list[tuple[int, ...]]:
        return [tuple(_extent(e, self.extents) for e in t.shape) for t in self.op.outputs]

    def expected(self, inputs: dict[str, Array]) -> list[Array]:
        wide = [inputs[t.name].astype(np.float64) if t.dtype.is_float else inputs[t.name] for t in self.op.inputs]
        more = {"every": self.every} if self.program in ("attention", "attention_causal") else {}
        answer = REFERENCES[self.program](*wide, **more)
        return list(answer) if isinstance(answer, tuple) else [answer]

    def checked(self, output: Array) -> Array:
        """The part of an output that `expected` speaks of."""
        return output[..., :: self.every, :] if self.every > 1 else output


def _bytes(tensor: Any, extents: dict[str, int]) -> int:
    return math.prod(_extent(e, extents) for e in tensor.shape) * tensor.dtype.bytes


def _memory() -> list[Case]:
    def case(name: str, program: str, extents: dict[str, int], per: int, **more: Any) -> Case:
        return Case("memory", name, program, extents, per * math.prod(extents.values()), **more)

    def decode(batch: int, keys: int, dtype: str) -> Case:
        """32 query heads on 8 key heads."""
        extents = {"B": batch, "G": 8, "R": 4, "T": keys, "D": 128, "E": 128}
        flops = batch * 32 * keys * (4 * 128 + 5)
        name = f"decode_B{batch}_G8_R4_T{keys}_d128" + ("_bf16" if dtype == "bf16" else "")
        tolerance = BF16_ATTENTION if dtype == "bf16" else 2e-5
        return Case("memory", name, "attention_decode", extents, flops, dtype=dtype, tolerance=tolerance)

    big = {"M": 8192, "N": 4096}
    heads = {"B": 4, "S": 2048, "H": 16, "D": 64}
    image = {"N": 32, "C": 64, "H": 112, "W": 112}
    return [
        case("softmax_4096x4096", "softmax", {"M": 4096, "N": 4096}, 5),
        case("softmax_1x131072", "softmax", {"M": 1, "N": 131072}, 5),
        case("softmax_131072x64", "softmax", {"M": 131072, "N": 64}, 5),
        case("log_softmax_4096x4096", "log_softmax", {"M": 4096, "N": 4096}, 5),
        case("cross_entropy_8192x32000", "cross_entropy", {"M": 8192, "N": 32000}, 4),
        case("layer_norm_8192x4096", "layer_norm", big, 8),
        case("rms_norm_8192x4096", "rms_norm", big, 4),
        case("residual_layer_norm_8192x4096", "residual_layer_norm", big, 9),
        case("bias_gelu_8192x4096", "bias_gelu_tanh", big, 9),
        case("bias_gelu_erf_8192x4096", "bias_gelu", big, 6),
        case("chain6_8192x4096", "chain6", big, 6),
        case("sum_rows_8192x4096", "sum_rows", big, 1, tolerance=1e-4),
        case("sum_columns_8192x4096", "sum_columns", big, 1, tolerance=1e-4),
        case("cumsum_rows_8192x4096", "cumsum_rows", big, 1, tolerance=1e-4),
        case("transpose_4096x4096", "transpose", {"M": 4096, "N": 4096}, 0),
        case("nchw_to_nhwc_32x64x112x112", "nchw_to_nhwc", image, 0),
        case("swap_heads_4x2048x16x64", "swap_heads", heads, 0),
        case(
            "gather_rows_16384x1024",
            "gather_rows",
            {"V": 50000, "D": 1024, "T": 16384},
            0,
            touched={"table": 16384 * 1024 * 4},
        ),
        case("rotary_4096x32x128", "rotary", {"S": 4096, "H": 32, "F": 64}, 6),
        decode(8, 4096, "f32"),
        decode(1, 8192, "f32"),
        decode(1, 8192, "bf16"),
        # Extents that no tile divides, few rows, few columns, an axis in the middle.
        case("odd_softmax_1000x1001", "softmax", {"M": 1000, "N": 1001}, 5),
        case("odd_softmax_333x7777", "softmax", {"M": 333, "N": 7777}, 5),
        case("odd_softmax_axis_63x1021x77", "softmax_axis", {"A": 63, "N": 1021, "B": 77}, 5),
        case("odd_layer_norm_1023x4097", "layer_norm", {"M": 1023, "N": 4097}, 8),
        case("odd_rms_norm_5x65537", "rms_norm", {"M": 5, "N": 65537}, 4),
        case("odd_bias_gelu_erf_777x3333", "bias_gelu", {"M": 777, "N": 3333}, 6),
        case("odd_sum_rows_10x1000003", "sum_rows", {"M": 10, "N": 1000003}, 1, tolerance=1e-4),
        case("odd_sum_columns_999983x9", "sum_columns", {"M": 999983, "N": 9}, 1, tolerance=1e-4),
        case("odd_cumsum_rows_17x100003", "cumsum_rows", {"M": 17, "N": 100003}, 1, tolerance=1e-4),
        case("odd_transpose_4095x3001", "transpose", {"M": 4095, "N": 3001}, 0),
    ]


def _matmul() -> list[Case]:
    def case(dtype: str, m: int, k: int, n: int, kind: str = "matmul", per_element: int = 0) -> Case:
        """`per_element`: flops of the epilogue."""
        return Case(
            "matmul",
            f"{kind}_{m}x{k}x{n}_{dtype}",
            kind,
            {"M": m, "K": k, "N": n},
            2 * m * k * n + per_element * m * n,
            tolerance=BF16_TOLERANCE if dtype == "bf16" else 1e-4,
            dtype=dtype,
        )

    skinny = [(1024, 4096, 4096), (1, 4096, 4096), (16, 4096, 4096), (4096, 4096, 16), (4096, 64, 4096)]
    skinny += [(128, 16384, 128), (1000, 1001, 999)]
    epilogues = [("matmul_bias", 1), ("matmul_bias_gelu", 6), ("matmul_residual", 2)]
    return [
        case_
        for dtype in ("f32", "bf16")
        for case_ in (
            *(case(dtype, n, n, n) for n in (512, 1024, 2048, 4096)),
            *(case(dtype, *shape) for shape in skinny),
            case(dtype, 2048, 2048, 2048, "matmul_nt"),
            *(case(dtype, 2048, 2048, 2048, kind, per) for kind, per in epilogues),
        )
    ]


def _attention() -> list[Case]:
    def case(dtype: str, size: int, d: int, causal: bool, heads: int = 16) -> Case:
        flops = heads * size * size * (4 * d + 5)
        return Case(
            "attention",
            f"attention_{'causal' if causal else 'full'}_S{size}_d{d}_{dtype}",
            "attention_causal" if causal else "attention",
            {"H": heads, "S": size, "T": size, "D": d, "E": d},
            flops * (size + 1) // (2 * size) if causal else flops,
            tolerance=BF16_ATTENTION if dtype == "bf16" else 1e-4,
            dtype=dtype,
            every=7 if size > 4096 else 1,
        )

    return [
        case(dtype, size, d, causal)
        for dtype in ("f32", "bf16")
        for size in (512, 2048, 8192)
        for d in (64, 128)
        for causal in (False, True)
    ]


def _compute() -> list[Case]:
    """A short mix of the two suites above."""

    def matmul(name: str, m: int, k: int, n: int) -> Case:
        extents = {"M": m, "K": k, "N": n}
        return Case("compute", f"matmul_{name}", "matmul", extents, 2 * m * k * n, tolerance=1e-4)

    def attention(heads: int, causal: bool) -> Case:
        extents = {"H": heads, "S": 2048, "T": 2048, "D": 64, "E": 64}
        flops = heads * 2048 * 2048 * (4 * 64 + 5) // (2 if causal else 1)
        name = f"attention_{'causal' if causal else 'full'}_S2048_d64_{heads}h"
        program = "attention_causal" if causal else "attention"
        return Case("compute", name, program, extents, flops, tolerance=1e-4)

    return [
        *(matmul(str(n), n, n, n) for n in (512, 1024, 2048)),
        matmul("1024x4096x4096", 1024, 4096, 4096),
        *(attention(heads, causal) for causal in (False, True) for heads in (1, 16)),
    ]


def suites() -> dict[str, list[Case]]:
    return {"memory": _memory(), "matmul": _matmul(), "attention": _attention(), "compute": _compute()}
