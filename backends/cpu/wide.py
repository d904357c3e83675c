"""The instructions of `math_kit.Wide` as LLVM's intrinsics for AVX-512, on any number of lanes."""

from __future__ import annotations

from ..math_kit import Wide
from . import arith
from .llvm_text import Code, Elem, Value, literal, type_name

LANES = 16
_NORM_3_4, _NAN_BELOW_ZERO = 3, 3  # of getmant: the interval [3/4, 3/2); NaN for a negative operand, else the sign +
_CURRENT = Value("4", Elem.I32)  # the rounding mode in force
_ALL = Value("-1", Elem.I16)


def instruction(code: Code, op: Wide, args: list[Value], table: tuple[float, ...]) -> Value:
    """`op` of f32 lanes (LOOKUP: of i32 lanes)."""
    lanes = max(a.lanes for a in args)
    args = [code.splat(a, lanes) for a in args]
    if op is Wide.COPYSIGN:
        name = "llvm.copysign.f32" if lanes == 1 else f"llvm.copysign.v{lanes}f32"
        return code.call(name, args, Elem.F32, lanes)
    if op is Wide.FLIP:
        ints = type_name(Elem.I32, lanes)
        kind, minimum = args[0].type, code.splat(literal(-(1 << 31), Elem.I32), lanes)
        x, y = (code.op(f"bitcast {a.typed} to {ints}", Elem.I32, lanes) for a in args)
        sign = code.op(f"and {y.typed}, {minimum.text}", Elem.I32, lanes)
        flipped = code.op(f"xor {x.typed}, {sign.text}", Elem.I32, lanes)
        return code.op(f"bitcast {flipped.typed} to {kind}", Elem.F32, lanes)
    if lanes > LANES:
        parts = []
        for half in (0, 1):
            pieces = [arith.slice_lanes(code, a, half * lanes // 2, lanes // 2) for a in args]
            parts.append(instruction(code, op, pieces, table))
        return arith.concat(code, parts[0], parts[1])
    result = _full(code, op, [_widened(code, a) for a in args], table)
    return result if lanes == LANES else arith.slice_lanes(code, result, 0, lanes)


def beyond(code: Code, x: Value, value: Value, limit: float, name: str) -> Value:
    """`value`, but where x > limit what the function `name` makes of x: given the address of 16 lanes, it replaces
    them."""
    lanes = max(x.lanes, value.lanes)
    x, value = code.splat(x, lanes), code.splat(value, lanes)
    if lanes > LANES:
        parts = []
        for half in (0, 1):
            pieces = [arith.slice_lanes(code, a, half * lanes // 2, lanes // 2) for a in (x, value)]
            parts.append(beyond(code, pieces[0], pieces[1], limit, name))
        return arith.concat(code, parts[0], parts[1])
    bound = code.splat(literal(limit, Elem.F32), lanes)
    mask = code.op(f"fcmp ogt {x.typed}, {bound.text}", Elem.I1, lanes)
    some = mask if lanes == 1 else code.call(f"llvm.vector.reduce.or.v{lanes}i1", [mask], Elem.I1)
    slot = code.alloca(Elem.F32, LANES)
    far, join, start = code.new_label("far"), code.new_label("near"), code.block
    code.branch(some, far, join)
    code.label(far)
    code.do(f"store {_widened(code, x).typed}, ptr {slot.text}, align 64")
    code.do(f"call void @{name}(ptr {slot.text})")
    found = code.op(f"load {type_name(Elem.F32, LANES)}, ptr {slot.text}, align 64", Elem.F32, LANES)
    if lanes != LANES:
        found = arith.slice_lanes(code, found, 0, lanes)
    chosen = code.op(f"select {mask.typed}, {found.typed}, {value.typed}", Elem.F32, lanes)
    code.jump(join)
    code.label(join)
    return code.op(f"phi {value.type} [ {value.text}, %{start} ], [ {chosen.text}, %{far} ]", Elem.F32, lanes)


def _widened(code: Code, value: Value) -> Value:
    """In the lowest lanes of a register; the others hold anything."""
    if value.lanes == LANES:
        return value
    kind = type_name(value.elem, LANES)
    if value.lanes == 1:
        return code.op(f"insertelement {kind} poison, {value.typed}, i64 0", value.elem, LANES)
    mask = ", ".join(f"i32 {k}" if k < value.lanes else "i32 poison" for k in range(LANES))
    text = f"shufflevector {value.typed}, {value.type} poison, <{LANES} x i32> <{mask}>"
    return code.op(text, value.elem, LANES)


def _full(code: Code, op: Wide, args: list[Value], table: tuple[float, ...]) -> Value:
    def call(name: str, *operands: Value) -> Value:
        return code.call(f"llvm.x86.avx512.{name}", list(operands), Elem.F32, LANES)

    x = args[0]
    match op:
        case Wide.LOOKUP:
            rows = [_constants(table[k : k + LANES]) for k in range(0, len(table), LANES)]
            if len(rows) == 1:
                return call("permvar.sf.512", rows[0], x)
            return call("vpermi2var.ps.512", rows[0], x, rows[1])
        case Wide.EXPONENT:
            return call("mask.getexp.ps.512", x, x, _ALL, _CURRENT)
        case Wide.MANTISSA:
            how = Value(str(_NORM_3_4 | _NAN_BELOW_ZERO << 2), Elem.I32)
            return call("mask.getmant.ps.512", x, how, x, _ALL, _CURRENT)
        case Wide.RSQRT:
            return call("rsqrt14.ps.512", x, x, _ALL)
        case Wide.SCALE:
            return call("mask.scalef.ps.512", x, args[1], x, _ALL, _CURRENT)
    raise AssertionError(op)


def _constants(values: tuple[float, ...]) -> Value:
    inner = ", ".join(literal(v, Elem.F32).typed for v in values)
    return Value(f"<{inner}>", Elem.F32, len(values))
