"""Scalar functions on LLVM values, lane by lane (semantics: `ir/expr.py`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...ir.dtypes import DType
from ...ir.errors import InternalError
from ...ir.expr import COMPARISONS, Fn
from .llvm_text import Code, Elem, Value, arithmetic_elem, literal, mangled, type_name

_RANK = {Elem.I1: 0, Elem.I32: 1, Elem.I64: 2, Elem.F32: 3, Elem.F64: 4}
_FLOAT_COMPARE = {Fn.EQ: "oeq", Fn.NE: "une", Fn.LT: "olt", Fn.LE: "ole", Fn.GT: "ogt", Fn.GE: "oge"}
_INT_COMPARE = {Fn.EQ: "eq", Fn.NE: "ne", Fn.LT: "slt", Fn.LE: "sle", Fn.GT: "sgt", Fn.GE: "sge"}
_FOLD = {Fn.ADD: lambda a, b: a + b, Fn.SUB: lambda a, b: a - b, Fn.MUL: lambda a, b: a * b}
_OF_BOOLS = {Fn.ADD: "or", Fn.MAX: "or", Fn.MUL: "and", Fn.MIN: "and"}
_UNARY_INTRINSIC = {
    Fn.SQRT: "sqrt",
    Fn.FLOOR: "floor",
    Fn.CEIL: "ceil",
    Fn.ROUND: "roundeven",
}


@dataclass(frozen=True)
class Features:
    """What the instruction selection of the target decides here."""

    has_fma: bool = True
    has_half: bool = True
    has_scalef: bool = False  # AVX-512 vscalef for 512-bit vectors
    has_bf16_dot: bool = False  # AVX-512 BF16: products of pairs of bf16


def unify(code: Code, values: list[Value]) -> list[Value]:
    """Bring operands to one type (the wider; literals follow) and one lane count."""
    lanes = max(v.lanes for v in values)
    strong = [v.elem for v in values if not v.weak]
    weak_float = any(v.weak and v.elem.is_float for v in values)
    elem = max(strong or [v.elem for v in values], key=_RANK.__getitem__)
    if weak_float and not elem.is_float:
        elem = Elem.F64
    return [code.splat(convert(code, v, elem), lanes) for v in values]


def convert(code: Code, value: Value, elem: Elem) -> Value:
    """Value-preserving conversion between arithmetic types (bool to number: 0 or 1; a literal is re-typed)."""
    if value.elem is elem:
        return value
    if value.constant is not None:
        if elem is Elem.I1:
            return literal(value.constant != 0, elem)
        if elem.is_float or not value.elem.is_float:
            return literal(value.constant, elem)
        if value.weak and math.isfinite(value.constant) and value.constant == int(value.constant):
            return literal(value.constant, elem)
    n = value.lanes
    kind = type_name(elem, n)
    if elem is Elem.I1:
        zero = code.splat(literal(0, value.elem), n)
        if value.elem.is_float:
            return code.op(f"fcmp une {value.typed}, {zero.text}", elem, n)
        return code.op(f"icmp ne {value.typed}, {zero.text}", elem, n)
    if value.elem is Elem.I1:
        return code.op(f"{'uitofp' if elem.is_float else 'zext'} {value.typed} to {kind}", elem, n)
    if value.elem.is_float and elem.is_float:
        return code.op(f"{'fpext' if elem.bits > value.elem.bits else 'fptrunc'} {value.typed} to {kind}", elem, n)
    if elem.is_float:
        return code.op(f"sitofp {value.typed} to {kind}", elem, n)
    if value.elem.is_float:
        name = f"llvm.fptosi.sat.{mangled(elem, n)}.{mangled(value.elem, n)}"
        return code.call(name, [value], elem, n)
    return code.op(f"{'sext' if elem.bits > value.elem.bits else 'trunc'} {value.typed} to {kind}", elem, n)


def apply(code: Code, features: Features, fn: Fn, args: list[Value]) -> Value:
    """`fn` of already evaluated arguments. Only functions with a direct instruction sequence; the rest is mathlib's."""
    if fn is Fn.SELECT:
        return select(code, args[0], *unify(code, args[1:]))
    if fn is Fn.LDEXP:
        return _ldexp(code, features, *_pair(code, args))
    if fn is Fn.DOT2_BF16:
        return _dot2_bf16(code, features, *args)
    args = unify(code, args)
    if fn in COMPARISONS:
        return compare(code, fn, args[0], args[1])
    if len(args) == 1:
        return _unary(code, fn, args[0])
    if fn is Fn.FMA:
        a = args[0]
        name = "llvm.fma" if features.has_fma else "llvm.fmuladd"
        return code.call(f"{name}.{mangled(a.elem, a.lanes)}", args, a.elem, a.lanes)
    return binary(code, fn, args[0], args[1])


def _dot2_bf16(code: Code, features: Features, a: Value, b: Value, c: Value) -> Value:
    """c + a.low * b.low + a.high * b.high."""
    n = max(a.lanes, b.lanes, c.lanes)
    a, b = (code.splat(convert(code, v, Elem.I32), n) for v in (a, b))
    c = code.splat(convert(code, c, Elem.F32), n)
    if features.has_bf16_dot and 32 * n in (128, 256, 512):
        name, pairs = f"llvm.x86.avx512bf16.dpbf16ps.{32 * n}", f"<{2 * n} x bfloat>"
        x, y = (code.op(f"bitcast {v.typed} to {pairs}", Elem.I32, n).text for v in (a, b))
        code.module.declare(f"declare {c.type} @{name}({c.type}, {pairs}, {pairs})")
        return code.op(f"call {c.type} @{name}({c.typed}, {pairs} {x}, {pairs} {y})", Elem.F32, n)
    sixteen, upper = (code.splat(literal(v, Elem.I32), n).text for v in (16, -65536))

    def half(how: str, v: Value, by: str) -> Value:
        bits = code.op(f"{how} {v.typed}, {by}", Elem.I32, n)
        return code.op(f"bitcast {bits.typed} to {c.type}", Elem.F32, n)

    high = apply(code, features, Fn.FMA, [half("and", a, upper), half("and", b, upper), c])
    return apply(code, features, Fn.FMA, [half("shl", a, sixteen), half("shl", b, sixteen), high])


def _pair(code: Code, args: list[Value]) -> tuple[Value, Value]:
    a, b = unify(code, args)
    return a, b


def select(code: Code, condition: Value, a: Value, b: Value) -> Value:
    if condition.constant is not None:
        return a if condition.constant else b
    lanes = max(condition.lanes, a.lanes)
    a, b = code.splat(a, lanes), code.splat(b, lanes)
    return code.op(f"select {condition.typed}, {a.typed}, {b.typed}", a.elem, lanes)


def compare(code: Code, fn: Fn, a: Value, b: Value) -> Value:
    """Comparison of unified operands."""
    if a.elem.is_float:
        return code.op(f"fcmp {_FLOAT_COMPARE[fn]} {a.typed}, {b.text}", Elem.I1, a.lanes)
    if a.elem is Elem.I1:  # false < true; as signed bits the order is the other way round
        unsigned = _INT_COMPARE[fn].replace("s", "u", 1) if fn not in (Fn.EQ, Fn.NE) else _INT_COMPARE[fn]
        return code.op(f"icmp {unsigned} {a.typed}, {b.text}", Elem.I1, a.lanes)
    return code.op(f"icmp {_INT_COMPARE[fn]} {a.typed}, {b.text}", Elem.I1, a.lanes)


def _unary(code: Code, fn: Fn, a: Value) -> Value:
    n = a.lanes
    if fn in _UNARY_INTRINSIC:
        return code.call(f"llvm.{_UNARY_INTRINSIC[fn]}.{mangled(a.elem, n)}", [a], a.elem, n)
    match fn:
        case Fn.NOT:
            return code.op(f"xor {a.typed}, {code.splat(literal(True, Elem.I1), n).text}", Elem.I1, n)
        case Fn.NEG if a.elem.is_float:
            return code.op(f"fneg {a.typed}", a.elem, n)
        case Fn.NEG if a.constant is not None:
            return literal(-a.constant, a.elem, a.weak)
        case Fn.NEG:
            return code.op(f"sub {a.type} {code.splat(literal(0, a.elem), n).text}, {a.text}", a.elem, n)
        case Fn.ABS if a.elem.is_float:
            return code.call(f"llvm.fabs.{mangled(a.elem, n)}", [a], a.elem, n)
        case Fn.ABS:
            return code.call(f"llvm.abs.{mangled(a.elem, n)}", [a, literal(False, Elem.I1)], a.elem, n)
        case Fn.ISNAN:
            return code.op(f"fcmp uno {a.typed}, {a.text}", Elem.I1, n)
        case Fn.FLOAT_BITS:
            to = Elem.I64 if a.elem is Elem.F64 else Elem.I32
            return code.op(f"bitcast {a.typed} to {type_name(to, n)}", to, n)
        case Fn.BITS_FLOAT:
            to = Elem.F64 if a.elem is Elem.I64 else Elem.F32
            return code.op(f"bitcast {a.typed} to {type_name(to, n)}", to, n)
    raise InternalError(f"the cpu target has no instruction for {fn}")


def binary(code: Code, fn: Fn, a: Value, b: Value) -> Value:
    """A binary function of unified operands."""
    if not a.elem.is_float:
        return _int_binary(code, fn, a, b)
    name = {Fn.ADD: "fadd", Fn.SUB: "fsub", Fn.MUL: "fmul", Fn.DIV: "fdiv"}.get(fn)
    if name is not None:
        return code.op(f"{name} {a.typed}, {b.text}", a.elem, a.lanes)
    match fn:
        case Fn.MAX | Fn.MIN:
            return _float_extremum(code, fn, a, b)
        case Fn.FLOORDIV:
            quotient = code.op(f"fdiv {a.typed}, {b.text}", a.elem, a.lanes)
            return _unary(code, Fn.FLOOR, quotient)
        case Fn.MOD:  # fmod, then the divisor's sign
            rem = code.op(f"frem {a.typed}, {b.text}", a.elem, a.lanes)
            zero = code.splat(literal(0.0, a.elem), a.lanes)
            nonzero = code.op(f"fcmp une {rem.typed}, {zero.text}", Elem.I1, a.lanes)
            low = code.op(f"fcmp olt {rem.typed}, {zero.text}", Elem.I1, a.lanes)
            low_b = code.op(f"fcmp olt {b.typed}, {zero.text}", Elem.I1, a.lanes)
            differ = code.op(f"xor {low.typed}, {low_b.text}", Elem.I1, a.lanes)
            fix = code.op(f"and {differ.typed}, {nonzero.text}", Elem.I1, a.lanes)
            return select(code, fix, code.op(f"fadd {rem.typed}, {b.text}", a.elem, a.lanes), rem)
    raise InternalError(f"the cpu target has no instruction for {fn} of floats")


def _float_extremum(code: Code, fn: Fn, a: Value, b: Value) -> Value:
    """NaN of either side wins. With a literal on one side a single maxps does it: its second operand passes NaN on."""
    order = "ogt" if fn is Fn.MAX else "olt"
    if b.text.startswith(("0x", "splat (")) and "7FF8" not in b.text:
        a, b = b, a
    if a.text.startswith(("0x", "splat (")) and "7FF8" not in a.text:
        first = code.op(f"fcmp {order} {a.typed}, {b.text}", Elem.I1, a.lanes)
        return code.op(f"select {first.typed}, {a.typed}, {b.typed}", a.elem, a.lanes)
    # LLVM tests the first operand for NaN: the newer one, since `a` is mostly an accumulator that others wait for.
    name = f"llvm.{'maximum' if fn is Fn.MAX else 'minimum'}.{mangled(a.elem, a.lanes)}"
    return code.call(name, [b, a], a.elem, a.lanes, "nsz ")


def _int_binary(code: Code, fn: Fn, a: Value, b: Value) -> Value:
    n = a.lanes
    if fn in _FOLD and a.constant is not None and b.constant is not None and a.elem is not Elem.I1:
        return literal(int(_FOLD[fn](a.constant, b.constant)), a.elem, a.weak and b.weak)
    if a.elem is Elem.I1 and fn in _OF_BOOLS:
        return code.op(f"{_OF_BOOLS[fn]} {a.typed}, {b.text}", a.elem, n)
    match fn:
        case Fn.ADD | Fn.SUB if b.constant == 0:
            return a
        case Fn.ADD if a.constant == 0:
            return b
        case Fn.MUL if b.constant == 1:
            return a
        case Fn.MUL if a.constant == 1:
            return b
        case Fn.ADD | Fn.SUB | Fn.MUL:
            return code.op(f"{fn.value} {a.typed}, {b.text}", a.elem, n)
        case Fn.AND | Fn.OR:
            return code.op(f"{fn.value} {a.typed}, {b.text}", a.elem, n)
        case Fn.MAX | Fn.MIN:
            return code.call(f"llvm.s{fn.value}.{mangled(a.elem, n)}", [a, b], a.elem, n)
        case Fn.FLOORDIV | Fn.MOD:
            return _floor_division(code, fn, a, b)
    raise InternalError(f"the cpu target has no instruction for {fn} of integers")


def _floor_division(code: Code, fn: Fn, a: Value, b: Value) -> Value:
    """Floors; by zero gives 0; the divisor -1 is kept from the machine's division, which traps on overflow."""
    n, elem = a.lanes, a.elem
    divisor = b.constant if b.constant is not None else _splat_constant(b)
    if divisor is not None and divisor > 0:
        d = int(divisor)
        if d & (d - 1) == 0:
            if fn is Fn.FLOORDIV:
                return code.op(f"ashr {a.typed}, {code.splat(literal(d.bit_length() - 1, elem), n).text}", elem, n)
            return code.op(f"and {a.typed}, {code.splat(literal(d - 1, elem), n).text}", elem, n)
        return _floored(code, fn, a, b)
    zero, one = (code.splat(literal(v, elem), n) for v in (0, 1))
    minus = code.splat(literal(-1, elem), n)
    is_zero = code.op(f"icmp eq {b.typed}, {zero.text}", Elem.I1, n)
    is_minus = code.op(f"icmp eq {b.typed}, {minus.text}", Elem.I1, n)
    odd = code.op(f"or {is_zero.typed}, {is_minus.text}", Elem.I1, n)
    value = _floored(code, fn, a, select(code, odd, one, b))
    special = code.op(f"sub {a.type} {zero.text}, {a.text}", elem, n) if fn is Fn.FLOORDIV else zero
    return select(code, is_zero, zero, select(code, is_minus, special, value))


def _splat_constant(value: Value) -> int | None:
    if value.text.startswith("splat (") and not value.elem.is_float:
        return int(value.text[len("splat (") : -1].split()[1])
    return None


def _floored(code: Code, fn: Fn, a: Value, b: Value) -> Value:
    n, elem = a.lanes, a.elem
    zero = code.splat(literal(0, elem), n)
    rem = code.op(f"srem {a.typed}, {b.text}", elem, n)
    mixed = code.op(f"xor {rem.typed}, {b.text}", elem, n)
    negative = code.op(f"icmp slt {mixed.typed}, {zero.text}", Elem.I1, n)
    nonzero = code.op(f"icmp ne {rem.typed}, {zero.text}", Elem.I1, n)
    fix = code.op(f"and {negative.typed}, {nonzero.text}", Elem.I1, n)
    if fn is Fn.MOD:
        return select(code, fix, code.op(f"add {rem.typed}, {b.text}", elem, n), rem)
    quotient = code.op(f"sdiv {a.typed}, {b.text}", elem, n)
    step = code.op(f"sext {fix.typed} to {a.type}", elem, n)
    return code.op(f"add {quotient.typed}, {step.text}", elem, n)


def _ldexp(code: Code, features: Features, x: Value, n: Value) -> Value:
    """x * 2**n with n a whole number in the same float type."""
    total = x.lanes * x.elem.bits
    if features.has_scalef and total in (128, 256, 512):
        kind = "ps" if x.elem is Elem.F32 else "pd"
        name = f"llvm.x86.avx512.mask.scalef.{kind}.{total}"
        mask = Value("-1", Elem.I16 if x.lanes == 16 else Elem.I8)
        rounding = [Value("4", Elem.I32)] if total == 512 else []
        return code.call(name, [x, n, x, mask, *rounding], x.elem, x.lanes)
    if features.has_scalef and total == 1024:
        return _halves(code, features, x, n)
    bits, bias = (23, 127) if x.elem is Elem.F32 else (52, 1023)
    limit = 370.0 if x.elem is Elem.F32 else 3000.0  # beyond, every result is zero or infinite
    ints = Elem.I32 if x.elem is Elem.F32 else Elem.I64
    low, high = (code.splat(literal(v, x.elem), x.lanes) for v in (-limit, limit))
    clamped = _float_extremum(code, Fn.MIN, high, _float_extremum(code, Fn.MAX, low, n))
    nan = code.op(f"fcmp uno {n.typed}, {n.text}", Elem.I1, n.lanes)
    zero = code.splat(literal(0.0, x.elem), x.lanes)
    whole = code.op(f"fptosi {select(code, nan, zero, clamped).typed} to {type_name(ints, x.lanes)}", ints, x.lanes)
    # Three factors 2**(n//3), none of which leaves the format; 86/256 is close enough to a third.
    scaled = code.op(f"mul {whole.typed}, {code.splat(literal(86, ints), x.lanes).text}", ints, x.lanes)
    third = code.op(f"ashr {scaled.typed}, {code.splat(literal(8, ints), x.lanes).text}", ints, x.lanes)
    twice = code.op(f"add {third.typed}, {third.text}", ints, x.lanes)
    rest = code.op(f"sub {whole.typed}, {twice.text}", ints, x.lanes)
    result = x
    for part in (third, third, rest):
        biased = code.op(f"add {part.typed}, {code.splat(literal(bias, ints), x.lanes).text}", ints, x.lanes)
        raised = code.op(f"shl {biased.typed}, {code.splat(literal(bits, ints), x.lanes).text}", ints, x.lanes)
        factor = code.op(f"bitcast {raised.typed} to {x.type}", x.elem, x.lanes)
        result = code.op(f"fmul {result.typed}, {factor.text}", x.elem, x.lanes)
    return select(code, nan, n, result)


def _halves(code: Code, features: Features, x: Value, n: Value) -> Value:
    parts = []
    for half in (0, 1):
        pieces = [slice_lanes(code, v, half * v.lanes // 2, v.lanes // 2) for v in (x, n)]
        parts.append(_ldexp(code, features, pieces[0], pieces[1]))
    return concat(code, parts[0], parts[1])


def slice_lanes(code: Code, value: Value, start: int, width: int) -> Value:
    """Lanes start .. start + width of a vector (a scalar where width is 1)."""
    if width == 1:
        return code.op(f"extractelement {value.typed}, i64 {start}", value.elem)
    mask = ", ".join(f"i32 {start + k}" for k in range(width))
    return code.op(f"shufflevector {value.typed}, {value.type} poison, <{width} x i32> <{mask}>", value.elem, width)


def concat(code: Code, a: Value, b: Value) -> Value:
    mask = ", ".join(f"i32 {k}" for k in range(2 * a.lanes))
    text = f"shufflevector {a.typed}, {b.typed}, <{2 * a.lanes} x i32> <{mask}>"
    return code.op(text, a.elem, 2 * a.lanes)


def fold_lanes(code: Code, features: Features, fn: Fn, value: Value) -> Value:
    """All lanes of a vector combined by `fn`, halving."""
    while value.lanes > 1:
        half = value.lanes // 2
        low, high = slice_lanes(code, value, 0, half), slice_lanes(code, value, half, half)
        value = apply(code, features, fn, [low, high])
    return value


def fold_vectors(code: Code, features: Features, fn: Fn, vectors: list[Value]) -> Value:
    """The lanes of each of 2**k vectors combined by `fn`: lane i of the result is vector i folded. Each step combines
    halves of two vectors at once, so that n vectors take about n steps and not n times their logarithm."""
    items, segment = 1, vectors[0].lanes  # a vector holds so many items of so many lanes, and adds up to all lanes
    while segment > 1:
        half = segment // 2
        pairs = list(zip(vectors[::2], vectors[1::2], strict=True)) if len(vectors) > 1 else [(vectors[0], None)]
        lanes = vectors[0].lanes
        folded = []
        for a, b in pairs:
            starts = [base + i * segment for base in (0, lanes)[: 1 if b is None else 2] for i in range(items)]
            sides = [_pick(code, a, b, [s + at + k for s in starts for k in range(half)]) for at in (0, half)]
            folded.append(apply(code, features, fn, sides))
        items, segment, vectors = items * (1 if pairs[0][1] is None else 2), half, folded
    return vectors[0]


def _pick(code: Code, a: Value, b: Value | None, lanes: list[int]) -> Value:
    """The chosen lanes of two vectors, the second one's counted on from the first one's."""
    mask = ", ".join(f"i32 {k}" for k in lanes)
    second = "poison" if b is None else b.text
    text = f"shufflevector {a.typed}, {a.type} {second}, <{len(lanes)} x i32> <{mask}>"
    return code.op(text, a.elem, len(lanes))


def scan_lanes(code: Code, features: Features, fn: Fn, value: Value) -> Value:
    """Every lane combined by `fn` with all lanes before it, in log2(lanes) steps. (Hillis and Steele, CACM 1986.)"""
    n, step = value.lanes, 1
    while step < n:
        back = ", ".join(f"i32 {k - step}" if k >= step else "i32 poison" for k in range(n))
        moved = code.op(f"shufflevector {value.typed}, {value.type} poison, <{n} x i32> <{back}>", value.elem, n)
        both = apply(code, features, fn, [moved, value])
        kept = ", ".join(f"i32 {k if k < step else k + n}" for k in range(n))
        value = code.op(f"shufflevector {value.typed}, {both.typed}, <{n} x i32> <{kept}>", value.elem, n)
        step *= 2
    return value


def cast(code: Code, value: Value, dtype: DType) -> Value:
    """`Cast`: float to int truncates and saturates with NaN giving 0; to a narrow type rounds or wraps to it."""
    from .storage import from_storage, to_storage

    if value.constant is not None and math.isfinite(value.constant):
        value = Value(value.text, value.elem, 1, value.constant)
    if dtype.arithmetic is not dtype:
        return from_storage(code, to_storage(code, value, dtype), dtype)
    return convert(code, value, arithmetic_elem(dtype))
