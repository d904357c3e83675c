"""Every example program against its NumPy reference, by the interpreter in float64: odd, zero and one extents."""

from __future__ import annotations

import numpy as np
import pytest
from example_cases import ROOT, SIZES, cases, expected
from inputs import random_inputs
from weft.ir.op import Op
from weft.ir.op_interp import interpret


def test_every_example_file_has_sizes() -> None:
    assert set(SIZES) == {p.name for p in (ROOT / "examples").glob("*.gir") if not p.name.startswith("scheduled")}


@pytest.mark.parametrize(("op", "symbols"), cases())
def test_example_against_reference(op: Op, symbols: dict[str, int]) -> None:
    inputs = random_inputs(op, symbols)
    got = interpret(op, inputs, symbols, float64=True)
    for tensor, want in zip(op.outputs, expected(op, inputs, symbols), strict=True):
        np.testing.assert_allclose(got[tensor.name], want, rtol=1e-6, atol=1e-7, err_msg=tensor.name)
