"""Every operator of the library compiled, against NumPy: bound and symbolic extents, odd, zero and one."""

from __future__ import annotations

import numpy as np
import pytest
import weft
from library_reference import LONG, ODD, REFERENCE, cases, expected, operator_inputs
from weft import ops
from weft.ir.dtypes import DType

# A few: symbolic extents take longest to compile.
SYMBOLIC = (
    *("bias_gelu", "softmax", "softmax_axis", "layer_norm", "sum_columns", "argmax_rows", "cumsum_rows"),
    *("transpose", "embedding_bag", "rotary", "matmul", "cross_entropy"),
)
# A kind each: fused reductions, a strided axis, indices, a scan, two layouts, run-time indices, halves, a contraction.
SANITIZED = (
    "bias_gelu",
    "softmax_axis",
    "argmax_rows",
    "cumsum_rows",
    "nchw_to_nhwc",
    "embedding_bag",
    "rotary",
    "matmul",
)


def check(name: str, sizes: dict[str, int], target: str, specialise: str = "auto") -> None:
    op, symbols, inputs = operator_inputs(name, sizes)
    kernel = weft.compile(op, target=target, specialise=specialise)
    got = kernel(*inputs.values(), **{s.name: symbols[s.name] for s in op.symbols})
    for found, want in zip(got if isinstance(got, tuple) else (got,), expected(name, inputs), strict=True):
        np.testing.assert_allclose(found, np.reshape(want, found.shape), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(("name", "sizes"), cases())
def test_on_cpu(name: str, sizes: dict[str, int]) -> None:
    check(name, sizes, "cpu")


@pytest.mark.parametrize("name", SYMBOLIC)
def test_symbolic_extents_on_cpu(name: str) -> None:
    check(name, LONG, "cpu", specialise="never")


@pytest.mark.parametrize("name", REFERENCE)
def test_as_c(name: str) -> None:
    check(name, ODD | {"N": 37, "D": 19}, "c")


@pytest.mark.parametrize("name", SANITIZED)
def test_as_c_under_sanitizers(name: str) -> None:
    check(name, ODD | {"N": 37, "D": 19}, "c:sanitize")


@pytest.mark.parametrize("dtype", [DType.F64, DType.BF16, DType.F16])
@pytest.mark.parametrize("name", ["softmax", "matmul", "rms_norm"])
def test_other_element_types(name: str, dtype: DType) -> None:
    _, symbols, inputs = operator_inputs(name, LONG)
    inputs = {n: a.astype(dtype.numpy) for n, a in inputs.items()}
    got = weft.compile(ops.load(name, dtype), target="cpu")(*inputs.values(), **symbols)
    (want,) = expected(name, {n: a.astype(np.float64) for n, a in inputs.items()})
    tolerance = {DType.F64: 1e-12, DType.BF16: 2e-2, DType.F16: 3e-3}[dtype]
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=tolerance, atol=tolerance * np.abs(want).max())
