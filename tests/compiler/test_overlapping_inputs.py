"""Inputs that share memory: nothing that is emitted assumes otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import weft
from weft.ir.errors import CallError

SUM = "op f(a: f32[N], b: f32[N]) -> (y: f32[N], z: f32[N]) { y[i] = a[i] - b[i]; z[i] = y[i] * b[i] }"


@pytest.mark.parametrize("target", ["cpu", "c"])
def test_inputs_that_share_memory(target: str) -> None:
    """Failure 13: the same array twice, shifted views of one array; outputs that overlap an input are refused."""
    kernel = weft.compile(SUM, target, bind={"N": 100})
    memory = np.random.default_rng(0).standard_normal(164, dtype=np.float32)
    for shift in (0, 1, 16, 64):
        a, b = memory[:100], memory[shift : shift + 100]
        y, z = kernel(a, b)
        np.testing.assert_array_equal(y, a - b)
        np.testing.assert_array_equal(z, (a - b) * b)
    with pytest.raises(CallError, match="overlaps"):
        kernel(memory[:100], memory[:100], out=(memory[64:], np.zeros(100, np.float32)))
