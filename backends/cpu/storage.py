"""Narrow storage: what a value in memory becomes in a register and back (`ir/dtypes.py`)."""

from __future__ import annotations

from ...ir.dtypes import DType
from .llvm_text import STORAGE, Code, Elem, Value, arithmetic_elem, literal, mangled, type_name


def from_storage(code: Code, value: Value, dtype: DType) -> Value:
    """The arithmetic value of loaded bits."""
    n = value.lanes
    match dtype:
        case DType.BF16:
            wide = code.op(f"zext {value.typed} to {type_name(Elem.I32, n)}", Elem.I32, n)
            sixteen = code.splat(literal(16, Elem.I32), n)
            bits = code.op(f"shl {wide.typed}, {sixteen.text}", Elem.I32, n)
            return code.op(f"bitcast {bits.typed} to {type_name(Elem.F32, n)}", Elem.F32, n)
        case DType.F16:
            return code.op(f"fpext {value.typed} to {type_name(Elem.F32, n)}", Elem.F32, n)
        case DType.I8 | DType.I16:
            return code.op(f"sext {value.typed} to {type_name(Elem.I32, n)}", Elem.I32, n)
        case DType.U8:
            return code.op(f"zext {value.typed} to {type_name(Elem.I32, n)}", Elem.I32, n)
        case DType.BOOL:
            zero = code.splat(literal(0, Elem.I8), n)
            return code.op(f"icmp ne {value.typed}, {zero.text}", Elem.I1, n)
    return value


def to_storage(code: Code, value: Value, dtype: DType) -> Value:
    """The bits to store: rounded to nearest even, or wrapped (from a float: saturated)."""
    from .arith import convert

    n = value.lanes
    narrow, stored = STORAGE[dtype], type_name(STORAGE[dtype], n)
    if value.elem.is_float and dtype in (DType.I8, DType.I16, DType.U8):
        signed = "fptoui" if dtype is DType.U8 else "fptosi"
        return code.call(f"llvm.{signed}.sat.{mangled(narrow, n)}.{mangled(value.elem, n)}", [value], narrow, n)
    value = convert(code, value, arithmetic_elem(dtype))
    match dtype:
        case DType.BF16:
            return _round_bf16(code, value)
        case DType.F16:
            return code.op(f"fptrunc {value.typed} to {stored}", Elem.F16, n)
        case DType.I8 | DType.I16 | DType.U8:
            return code.op(f"trunc {value.typed} to {stored}", narrow, n)
        case DType.BOOL:
            return code.op(f"zext {value.typed} to {stored}", Elem.I8, n)
    return value


def _round_bf16(code: Code, value: Value) -> Value:
    """To nearest even by the carry of `bits + 0x7fff + lowest kept bit`; NaN stays NaN, made quiet."""
    n = value.lanes

    def of(x: int) -> str:
        return code.splat(literal(x, Elem.I32), n).text

    bits = code.op(f"bitcast {value.typed} to {type_name(Elem.I32, n)}", Elem.I32, n)
    high = code.op(f"lshr {bits.typed}, {of(16)}", Elem.I32, n)
    odd = code.op(f"and {high.typed}, {of(1)}", Elem.I32, n)
    bias = code.op(f"add {odd.typed}, {of(0x7FFF)}", Elem.I32, n)
    carried = code.op(f"add {bits.typed}, {bias.text}", Elem.I32, n)
    rounded = code.op(f"lshr {carried.typed}, {of(16)}", Elem.I32, n)
    quiet = code.op(f"or {high.typed}, {of(0x40)}", Elem.I32, n)
    nan = code.op(f"fcmp uno {value.typed}, {value.text}", Elem.I1, n)
    chosen = code.op(f"select {nan.typed}, {quiet.typed}, {rounded.typed}", Elem.I32, n)
    return code.op(f"trunc {chosen.typed} to {type_name(Elem.I16, n)}", Elem.I16, n)
