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
        case DType.F16 if not code.module.has_half:
            return _widen_f16(code, value)
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
        case DType.F16 if not code.module.has_half:
            return _round_f16(code, value)
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


def _widen_f16(code: Code, value: Value) -> Value:
    """Without an instruction: the exponent moved by a multiplication, which also normalises subnormals."""
    n = value.lanes
    ints, floats = type_name(Elem.I32, n), type_name(Elem.F32, n)

    def of(x: int) -> str:
        return code.splat(literal(x, Elem.I32), n).text

    bits = code.op(f"bitcast {value.typed} to {type_name(Elem.I16, n)}", Elem.I16, n)
    wide = code.op(f"zext {bits.typed} to {ints}", Elem.I32, n)
    magnitude = code.op(f"and {wide.typed}, {of(0x7FFF)}", Elem.I32, n)
    moved = code.op(f"shl {magnitude.typed}, {of(13)}", Elem.I32, n)
    small = code.op(f"bitcast {moved.typed} to {floats}", Elem.F32, n)
    scale = code.splat(literal(2.0**112, Elem.F32), n)
    scaled = code.op(f"fmul {small.typed}, {scale.text}", Elem.F32, n)
    finite = code.op(f"bitcast {scaled.typed} to {ints}", Elem.I32, n)
    special = code.op(f"or {moved.typed}, {of(0x7F800000)}", Elem.I32, n)
    is_special = code.op(f"icmp uge {magnitude.typed}, {of(0x7C00)}", Elem.I1, n)
    chosen = code.op(f"select {is_special.typed}, {special.typed}, {finite.typed}", Elem.I32, n)
    high = code.op(f"and {wide.typed}, {of(0x8000)}", Elem.I32, n)
    sign = code.op(f"shl {high.typed}, {of(16)}", Elem.I32, n)
    whole = code.op(f"or {chosen.typed}, {sign.text}", Elem.I32, n)
    return code.op(f"bitcast {whole.typed} to {floats}", Elem.F32, n)


def _round_f16(code: Code, value: Value) -> Value:
    """Without an instruction: subnormals rounded by adding 0.5, the rest by the carry of the dropped bits."""
    n = value.lanes
    ints = type_name(Elem.I32, n)

    def of(x: int) -> str:
        return code.splat(literal(x, Elem.I32), n).text

    def op(name: str, a: Value, b: str) -> Value:
        return code.op(f"{name} {a.typed}, {b}", Elem.I32, n)

    bits = code.op(f"bitcast {value.typed} to {ints}", Elem.I32, n)
    magnitude = op("and", bits, of(0x7FFFFFFF))
    # normal: rebias the exponent and round to even
    odd = op("and", op("lshr", magnitude, of(13)), of(1))
    normal = op("lshr", op("add", op("add", magnitude, of(((15 - 127) << 23) + 0xFFF)), odd.text), of(13))
    # subnormal: in [0.5, 1) the last place of f32 is that of subnormal halves
    float_ = code.op(f"bitcast {magnitude.typed} to {type_name(Elem.F32, n)}", Elem.F32, n)
    half = code.splat(literal(0.5, Elem.F32), n)
    shifted = code.op(f"fadd {float_.typed}, {half.text}", Elem.F32, n)
    subnormal = op("sub", code.op(f"bitcast {shifted.typed} to {ints}", Elem.I32, n), of(0x3F000000))
    is_small = code.op(f"icmp ult {magnitude.typed}, {of(0x38800000)}", Elem.I1, n)
    is_large = code.op(f"icmp uge {magnitude.typed}, {of(0x47800000)}", Elem.I1, n)
    is_nan = code.op(f"icmp ugt {magnitude.typed}, {of(0x7F800000)}", Elem.I1, n)
    chosen = code.op(f"select {is_small.typed}, {subnormal.typed}, {normal.typed}", Elem.I32, n)
    large = code.op(f"select {is_nan.typed}, {ints} {of(0x7E00)}, {ints} {of(0x7C00)}", Elem.I32, n)
    chosen = code.op(f"select {is_large.typed}, {large.typed}, {chosen.typed}", Elem.I32, n)
    sign = op("and", op("lshr", bits, of(16)), of(0x8000))
    short = code.op(f"trunc {op('or', chosen, sign.text).typed} to {type_name(Elem.I16, n)}", Elem.I16, n)
    return code.op(f"bitcast {short.typed} to {type_name(Elem.F16, n)}", Elem.F16, n)
