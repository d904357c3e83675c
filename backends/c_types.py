"""C spellings of element types, vector types and literals."""

from __future__ import annotations

import math

import numpy as np

from ..ir.dtypes import DType

SCALAR: dict[DType, str] = {
    DType.F64: "double",
    DType.F32: "float",
    DType.I64: "int64_t",
    DType.I32: "int32_t",
    DType.BOOL: "bool",
}
STORAGE: dict[DType, str] = {
    DType.F64: "double",
    DType.F32: "float",
    DType.BF16: "uint16_t",
    DType.F16: "uint16_t",
    DType.I64: "int64_t",
    DType.I32: "int32_t",
    DType.I16: "int16_t",
    DType.I8: "int8_t",
    DType.U8: "uint8_t",
    DType.BOOL: "uint8_t",
}
ELEMENTS: dict[str, tuple[str, int]] = {  # element name in vector types -> C type, bytes
    "f32": ("float", 4),
    "f64": ("double", 8),
    "i8": ("int8_t", 1),
    "i16": ("int16_t", 2),
    "i32": ("int32_t", 4),
    "i64": ("int64_t", 8),
    "u8": ("uint8_t", 1),
    "u16": ("uint16_t", 2),
    "u32": ("uint32_t", 4),
    "u64": ("uint64_t", 8),
}


def vector(element: str, lanes: int) -> str:
    return f"{element}x{lanes}"


def literal(value: int | float | bool, dtype: DType) -> str:
    """A literal of an arithmetic type, exact: it reads back as the same value."""
    if dtype is DType.BOOL:
        return "true" if value else "false"
    if dtype.is_int:
        bits = 8 * dtype.arithmetic.bytes
        number = (int(value) + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
        if number == -(1 << (bits - 1)):
            return f"INT{bits}_MIN"
        return str(number) if abs(number) < 1 << 31 else f"INT64_C({number})"
    with np.errstate(all="ignore"):
        rounded = dtype.numpy.type(value)
    number_ = float(rounded)
    if math.isnan(number_):
        return "NAN"
    if math.isinf(number_):
        return "INFINITY" if number_ > 0 else "-INFINITY"
    if dtype.arithmetic is DType.F64:
        return repr(number_)
    return str(np.float32(number_)) + "f"
