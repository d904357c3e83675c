"""Every operator of the library against NumPy, by the interpreter: odd, zero and one extents."""

from __future__ import annotations

import numpy as np
import pytest
from library_reference import REFERENCE, cases, expected, operator_inputs
from weft import ops
from weft.ir.dtypes import DType
from weft.ir.errors import UserError
from weft.ir.op_interp import interpret


def test_every_operator_has_a_reference() -> None:
    assert set(ops.names()) == set(REFERENCE)


@pytest.mark.parametrize(("name", "sizes"), cases())
def test_operator_against_numpy(name: str, sizes: dict[str, int]) -> None:
    op, symbols, inputs = operator_inputs(name, sizes)
    got = interpret(op, inputs, symbols, float64=True)
    for tensor, want in zip(op.outputs, expected(name, inputs), strict=True):
        found = got[tensor.name]
        np.testing.assert_allclose(found, np.reshape(want, found.shape), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [DType.F64, DType.BF16, DType.F16])
def test_other_element_types(dtype: DType) -> None:
    op = ops.load("softmax", dtype)
    assert {t.dtype for t in (*op.inputs, *op.outputs)} == {dtype}


def test_unknown_name_suggests_near_ones() -> None:
    with pytest.raises(UserError, match="softmax"):
        ops.load("sofmax")


def test_integer_type_is_refused() -> None:
    with pytest.raises(UserError, match="floats"):
        ops.load("softmax", DType.I32)
