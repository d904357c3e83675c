"""Code LLVM gets wrong, written otherwise: stores of one constant lane of a narrow vector."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from weft.backends.cpu.jit import compile_ir, optimized_ir
from weft.backends.cpu.llvm_repairs import repaired
from weft.backends.target import get_target

MODULE = """
define void @store(ptr %to, ptr %from) {{
  %wide = load <16 x i32>, ptr %from, align 4
  %narrow = trunc <16 x i32> %wide to <16 x i{bits}>
  %at = getelementptr i8, ptr %to, i64 0
  call void @llvm.masked.store.v16i{bits}.p0(<16 x i{bits}> %narrow, ptr align 1 %at, <16 x i1> <{mask}>)
  ret void
}}
declare void @llvm.masked.store.v16i{bits}.p0(<16 x i{bits}>, ptr, <16 x i1>)
"""


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("lanes", [(0,), (5,), (15,), (0, 1), (3, 9, 12), ()])
def test_only_the_lanes_of_the_mask_are_stored(bits: int, lanes: tuple[int, ...]) -> None:
    mask = ", ".join(f"i1 {'true' if n in lanes else 'false'}" for n in range(16))
    text = MODULE.format(bits=bits, mask=mask)
    processor = get_target("cpu").processor
    code = compile_ir(text, processor)
    store = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(code.address("store"))
    to = np.full(20, 77, f"u{bits // 8}")
    source = np.arange(0x1234501, 0x1234501 + 16, dtype=np.uint32)
    store(to.ctypes.data, source.ctypes.data)
    expected = np.full(20, 77, to.dtype)
    expected[list(lanes)] = source[list(lanes)].astype(to.dtype)
    np.testing.assert_array_equal(to, expected)
    assert repaired(optimized_ir(text, processor)) is None
