"""Element types: what is stored, and what a stored value becomes when an expression reads it.

Storage and arithmetic differ for narrow types: `f16`/`bf16` are read as `f32`, `i8`/`i16`/`u8` as `i32`; a store rounds
(to nearest even) or wraps. `bool` is one byte, 0 or 1.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import ml_dtypes
import numpy as np


class DType(Enum):
    F64 = "f64"
    F32 = "f32"
    BF16 = "bf16"
    F16 = "f16"
    I64 = "i64"
    I32 = "i32"
    I16 = "i16"
    I8 = "i8"
    U8 = "u8"
    BOOL = "bool"

    def __str__(self) -> str:
        return self.value

    @property
    def bytes(self) -> int:
        return self.numpy.itemsize

    @property
    def numpy(self) -> np.dtype[Any]:
        return _NUMPY[self]

    @property
    def is_float(self) -> bool:
        return self in (DType.F64, DType.F32, DType.BF16, DType.F16)

    @property
    def is_int(self) -> bool:
        return not self.is_float and self is not DType.BOOL

    @property
    def arithmetic(self) -> DType:
        """The type a value of this storage type has inside an expression."""
        if self in (DType.F16, DType.BF16):
            return DType.F32
        if self in (DType.I8, DType.I16, DType.U8):
            return DType.I32
        return self


_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.F64: np.dtype(np.float64),
    DType.F32: np.dtype(np.float32),
    DType.BF16: np.dtype(ml_dtypes.bfloat16),
    DType.F16: np.dtype(np.float16),
    DType.I64: np.dtype(np.int64),
    DType.I32: np.dtype(np.int32),
    DType.I16: np.dtype(np.int16),
    DType.I8: np.dtype(np.int8),
    DType.U8: np.dtype(np.uint8),
    DType.BOOL: np.dtype(np.bool_),
}


def from_numpy(dtype: np.dtype[Any]) -> DType | None:
    """The element type of a NumPy dtype, or None where there is none."""
    for ours, theirs in _NUMPY.items():
        if theirs == dtype:
            return ours
    return None
