"""Mathematical functions as straight-line sequences of primitive functions, shared by the CPU targets.

Errors in units in the last place: at most 1 for exp, exp2, log and pow; 1.2 for log2, log1p and erf; 1.5 for rsqrt;
2.2 for expm1, tanh and sigmoid; in f32 as in f64.
NaN, infinities, signs of overflow and domain errors are as in IEEE 754; the sign of a zero result is not kept by tanh
and erf. Arguments may be subnormal. sin and cos reduce in double precision and hold to |x| about 1e9 in
f32 and 1e7 in f64; beyond, the reduction loses its digits and the result is only bounded.

`saturating` sequences rely on a scale instruction that gives infinity or zero for infinite exponents whatever is
scaled (x86 vscalef), and so need one clamp less.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ..ir.dtypes import DType
from ..ir.errors import InternalError
from ..ir.expr import Call, Cast, Const, Expr, Fn, Ref
from . import math_tables as tables

LIBRARY = frozenset(
    {Fn.EXP, Fn.EXP2, Fn.EXPM1, Fn.LOG, Fn.LOG2, Fn.LOG1P, Fn.TANH, Fn.SIGMOID, Fn.ERF, Fn.SIN, Fn.COS, Fn.POW}
    | {Fn.RSQRT}
)


@dataclass(frozen=True)
class Step:
    """`name` = `expr` over `Ref`s of the arguments (`x`, `y`) and earlier steps; `dtype` is its arithmetic type."""

    name: str
    expr: Expr
    dtype: DType


@cache
def sequence(fn: Fn, double: bool, saturating: bool = False) -> tuple[Step, ...]:
    """The steps of `fn` for f64 or f32; the last one is the result. Raises InternalError for a primitive function."""
    if fn not in _FUNCTIONS:
        raise InternalError(f"{fn} is not a library function")
    kit = _Kit(double, saturating)
    x = Ref("x")
    result = _pow(kit, x, Ref("y")) if fn is Fn.POW else _FUNCTIONS[fn](kit, x)
    kit.let(result)
    return tuple(kit.steps)


class _Kit:
    """Collects steps in one precision. Methods name primitive functions; numbers become literals of the precision."""

    def __init__(self, double: bool, saturating: bool) -> None:
        self.double = double
        self.saturating = saturating
        self.steps: list[Step] = []

    @property
    def dtype(self) -> DType:
        return DType.F64 if self.double else DType.F32

    def c(self, value: float) -> Const:
        return Const(float(value), self.dtype)

    def i(self, value: int) -> Const:
        return Const(value, DType.I64 if self.double else DType.I32)

    def let(self, expr: Expr, dtype: DType | None = None) -> Expr:
        name = f"s{len(self.steps)}"
        self.steps.append(Step(name, expr, dtype or self.dtype))
        return Ref(name)

    def f(self, fn: Fn, *args: Expr | float) -> Expr:
        return self.let(call(fn, *(self.c(a) if isinstance(a, float | int) else a for a in args)))

    def test(self, fn: Fn, *args: Expr | float) -> Expr:
        return self.let(call(fn, *(self.c(a) if isinstance(a, float | int) else a for a in args)), DType.BOOL)

    def whole(self, fn: Fn, *args: Expr) -> Expr:
        return self.let(call(fn, *args), DType.I64 if self.double else DType.I32)

    def pick(self, condition: Expr, a: Expr | float, b: Expr | float) -> Expr:
        return self.f(Fn.SELECT, condition, a, b)

    def polynomial(self, coefficients: tuple[float, ...], x: Expr) -> Expr:
        """Horner's rule."""
        value: Expr = self.c(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            value = self.f(Fn.FMA, value, x, c)
        return value

    def wider(self) -> _Kit:
        """The same steps continued in f64."""
        kit = _Kit(True, self.saturating)
        kit.steps = self.steps
        return kit


def call(fn: Fn, *args: Expr) -> Expr:
    return Call(fn, args)


def _clamp(k: _Kit, x: Expr, low: float, high: float) -> Expr:
    return k.f(Fn.MIN, high, k.f(Fn.MAX, low, x))


def _reduce_exp(k: _Kit, x: Expr) -> tuple[Expr, Expr]:
    """x = n*ln(2) + r with n whole and |r| <= ln(2)/2."""
    n = k.f(Fn.ROUND, k.f(Fn.MUL, x, tables.LOG2E_F64[0]))
    high, low = tables.LN2_F64 if k.double else tables.LN2_F32
    r = k.f(Fn.FMA, n, -high, x)
    return n, k.f(Fn.FMA, n, -low, r)


def _exp(k: _Kit, x: Expr) -> Expr:
    limit = 800.0 if k.double else 110.0
    # The polynomial is positive everywhere (even degree in f32), so that overflow on top scales to infinity by itself.
    x = k.f(Fn.MAX, -limit, x) if k.saturating and not k.double else _clamp(k, x, -limit, limit)
    n, r = _reduce_exp(k, x)
    p = k.polynomial((1.0, 1.0, *(tables.EXP_F64 if k.double else tables.EXP_F32)), r)
    return k.f(Fn.LDEXP, p, n)


def _exp2(k: _Kit, x: Expr) -> Expr:
    limit = 1100.0 if k.double else 160.0
    x = _clamp(k, x, -limit, limit)
    n = k.f(Fn.ROUND, x)
    r = k.f(Fn.SUB, x, n)
    p = k.polynomial((1.0, *(tables.EXP2_F64 if k.double else tables.EXP2_F32)), r)
    return k.f(Fn.LDEXP, p, n)


def _expm1(k: _Kit, x: Expr) -> Expr:
    """2**n * (expm1(r) + 1) - 1, with half the power of two so that the largest results do not overflow early."""
    # At the upper limit the result overflows, but n is at most 1024 (128): its half power is still finite.
    clamped = _clamp(k, x, -800.0 if k.double else -110.0, 709.9 if k.double else 89.0)
    n, r = _reduce_exp(k, clamped)
    q = k.polynomial((0.5, *(tables.EXPM1_F64 if k.double else tables.EXPM1_F32)), r)
    q = k.f(Fn.FMA, k.f(Fn.MUL, r, r), q, r)
    half = k.f(Fn.LDEXP, 0.5, n)
    y = k.f(Fn.FMA, half, q, k.f(Fn.SUB, half, 0.5))
    return k.pick(k.test(Fn.EQ, n, 0.0), q, k.f(Fn.ADD, y, y))


def _split_log(k: _Kit, x: Expr) -> tuple[Expr, Expr]:
    """x = m * 2**e with sqrt(1/2) <= m < sqrt(2), for positive finite x: (m, e)."""
    bits, root_half, tiny = (52, 0x3FE6A09E667F3BCD, 2.0**-1022) if k.double else (23, 0x3F3504F3, 2.0**-126)
    subnormal = k.test(Fn.LT, x, tiny)
    x = k.pick(subnormal, k.f(Fn.MUL, x, 2.0**bits), x)
    raw = k.whole(Fn.FLOAT_BITS, x)
    steps = k.whole(Fn.FLOORDIV, k.whole(Fn.SUB, raw, k.i(root_half)), k.i(1 << bits))
    m = k.let(call(Fn.BITS_FLOAT, k.whole(Fn.SUB, raw, k.whole(Fn.MUL, steps, k.i(1 << bits)))))
    e = k.let(Cast(k.dtype, steps))
    return m, k.pick(subnormal, k.f(Fn.SUB, e, float(bits)), e)


def _log_edges(k: _Kit, x: Expr, value: Expr) -> Expr:
    """-inf at 0, inf at inf, NaN below 0 and at NaN."""
    value = k.pick(k.test(Fn.EQ, x, 0.0), float("-inf"), value)
    value = k.pick(k.test(Fn.EQ, x, float("inf")), float("inf"), value)
    return k.pick(k.test(Fn.GE, x, 0.0), value, float("nan"))


def _log_tail(k: _Kit, m: Expr) -> tuple[Expr, Expr]:
    """log(m) = head + tail with the head exact, and the tail small."""
    f = k.f(Fn.SUB, m, 1.0)
    if not k.double:
        square = k.f(Fn.MUL, f, f)
        p = k.polynomial(tables.LOG_F32, f)
        tail = k.f(Fn.FMA, k.f(Fn.MUL, square, f), p, k.f(Fn.MUL, square, -0.5))
        return f, tail
    # log(1+f) = f - (f^2/2 - s*(f^2/2 + R)), R = s^2 * P(s^2), s = f / (2 + f)   (fdlibm's e_log.c)
    s = k.f(Fn.DIV, f, k.f(Fn.ADD, f, 2.0))
    z = k.f(Fn.MUL, s, s)
    half = k.f(Fn.MUL, k.f(Fn.MUL, f, f), 0.5)
    rest = k.f(Fn.MUL, z, k.polynomial(tables.LOG_F64, z))
    return f, k.f(Fn.SUB, k.f(Fn.MUL, s, k.f(Fn.ADD, half, rest)), half)


def _log_core(k: _Kit, x: Expr) -> Expr:
    m, e = _split_log(k, x)
    f, tail = _log_tail(k, m)
    high, low = tables.LN2_F64 if k.double else tables.LN2_F32
    small = k.f(Fn.ADD, f, k.f(Fn.FMA, e, low, tail))
    return k.f(Fn.FMA, e, high, small)


def _log(k: _Kit, x: Expr) -> Expr:
    return _log_edges(k, x, _log_core(k, x))


def _log2(k: _Kit, x: Expr) -> Expr:
    m, e = _split_log(k, x)
    f, tail = _log_tail(k, m)
    high, low = tables.LOG2E_F64
    if not k.double:
        high, low = 1.44269502162933349609, 1.925963033500011e-8  # log2(e) in two f32
    # (f + tail) * log2(e), with the product's rounding error carried along
    total = k.f(Fn.ADD, f, tail)
    lost = k.f(Fn.ADD, k.f(Fn.SUB, f, total), tail)
    product = k.f(Fn.MUL, total, high)
    error = k.f(Fn.FMA, total, high, k.f(Fn.NEG, product))
    error = k.f(Fn.FMA, total, low, k.f(Fn.FMA, lost, high, error))
    return _log_edges(k, x, k.f(Fn.ADD, k.f(Fn.ADD, e, product), error))


def _log1p(k: _Kit, x: Expr) -> Expr:
    """log(u) + (x - (u - 1)) / u with u = 1 + x rounded (the second term mends the rounding)."""
    u = k.f(Fn.ADD, x, 1.0)
    lost = k.f(Fn.SUB, x, k.f(Fn.SUB, u, 1.0))
    value = k.f(Fn.ADD, _log_core(k, u), k.f(Fn.DIV, lost, u))
    value = k.pick(k.test(Fn.EQ, u, 1.0), x, value)
    return _log_edges(k, u, value)


def _tanh(k: _Kit, x: Expr) -> Expr:
    """e / (e + 2) with e = expm1(2*|x|), and x's sign."""
    a = k.f(Fn.MIN, 22.0 if k.double else 10.0, k.f(Fn.ABS, x))
    e = _expm1(k, k.f(Fn.ADD, a, a))
    t = k.f(Fn.DIV, e, k.f(Fn.ADD, e, 2.0))
    return k.pick(k.test(Fn.LT, x, 0.0), k.f(Fn.NEG, t), t)


def _sigmoid(k: _Kit, x: Expr) -> Expr:
    return k.f(Fn.DIV, 1.0, k.f(Fn.ADD, _exp(k, k.f(Fn.NEG, x)), 1.0))


def _erf(k: _Kit, x: Expr) -> Expr:
    a = k.f(Fn.ABS, x)
    square = k.f(Fn.MUL, a, a)
    if k.double:
        low = k.f(Fn.FMA, k.polynomial(tables.ERF_SMALL_F64, square), a, a)
        far = k.f(Fn.MIN, 6.2, a)
        t = k.f(Fn.DIV, k.f(Fn.SUB, far, 2.0), k.f(Fn.ADD, far, 2.0))
        scaled = k.polynomial(tables.ERF_LARGE_F64, t)
        decay = _exp(k, k.f(Fn.NEG, k.f(Fn.MUL, far, far)))
        high = k.f(Fn.SUB, 1.0, k.f(Fn.DIV, k.f(Fn.MUL, scaled, decay), k.f(Fn.FMA, 2.0, far, 1.0)))
        value = k.pick(k.test(Fn.LT, a, 1.0), low, high)
    else:
        low = k.f(Fn.FMA, k.polynomial(tables.ERF_SMALL_F32, square), a, a)
        far = k.f(Fn.MIN, 4.05, a)
        exponent = k.f(Fn.FMA, k.polynomial(tables.ERF_LARGE_F32, far), far, k.f(Fn.NEG, far))
        value = k.pick(k.test(Fn.LT, a, 0.925), low, k.f(Fn.SUB, 1.0, _exp(k, exponent)))
        value = k.pick(k.test(Fn.GT, a, 4.0), k.f(Fn.MIN, 1.0, a), value)
    return k.pick(k.test(Fn.LT, x, 0.0), k.f(Fn.NEG, value), value)


def _quadrant(k: _Kit, x: Expr, cosine: bool) -> Expr:
    """x = n*pi/2 + r by three-part subtraction in f64 (Cody and Waite 1980); the quadrant picks sine or cosine of r."""
    wide = k if k.double else k.wider()
    big = x if k.double else wide.let(Cast(DType.F64, x))
    n = wide.f(Fn.ROUND, wide.f(Fn.MUL, big, tables.TWO_OVER_PI))
    r = big
    for part in tables.HALF_PI_F64:
        r = wide.f(Fn.FMA, n, -part, r)
    r = _clamp(wide, r, -0.7854, 0.7854)
    turn = wide.f(Fn.SUB, n, wide.f(Fn.MUL, wide.f(Fn.FLOOR, wide.f(Fn.MUL, n, 0.25)), 4.0))
    if not k.double:
        r, turn = k.let(Cast(DType.F32, r)), k.let(Cast(DType.F32, turn))
    z = k.f(Fn.MUL, r, r)
    sine = k.f(Fn.MUL, z, k.polynomial(tables.SIN_F64 if k.double else tables.SIN_F32, z))
    sine = k.f(Fn.FMA, sine, r, r)
    cos_tail = k.polynomial((-0.5, *(tables.COS_F64 if k.double else tables.COS_F32)), z)
    cos = k.f(Fn.FMA, cos_tail, z, 1.0)
    odd = k.let(call(Fn.OR, call(Fn.EQ, turn, k.c(1.0)), call(Fn.EQ, turn, k.c(3.0))), DType.BOOL)
    if cosine:
        value = k.pick(odd, sine, cos)
        flip = k.let(call(Fn.OR, call(Fn.EQ, turn, k.c(1.0)), call(Fn.EQ, turn, k.c(2.0))), DType.BOOL)
    else:
        value = k.pick(odd, cos, sine)
        flip = k.test(Fn.GE, turn, 2.0)
    value = k.pick(flip, k.f(Fn.NEG, value), value)
    finite = k.test(Fn.LT, k.f(Fn.ABS, x), float("inf"))
    return k.pick(finite, value, float("nan"))


def _sin(k: _Kit, x: Expr) -> Expr:
    return _quadrant(k, x, cosine=False)


def _cos(k: _Kit, x: Expr) -> Expr:
    return _quadrant(k, x, cosine=True)


def _rsqrt(k: _Kit, x: Expr) -> Expr:
    return k.f(Fn.DIV, 1.0, k.f(Fn.SQRT, x))


def _pow(k: _Kit, x: Expr, y: Expr) -> Expr:
    """2**(y * log2|x|) with the logarithm in two parts of f64, then the special cases of C's pow (annex F)."""
    wide = k if k.double else k.wider()
    base, power = (x, y) if k.double else (wide.let(Cast(DType.F64, x)), wide.let(Cast(DType.F64, y)))
    a = wide.f(Fn.ABS, base)
    high, low = _log2_pair(wide, a)
    product = wide.f(Fn.MUL, power, high)
    error = wide.f(Fn.FMA, power, high, wide.f(Fn.NEG, product))
    error = wide.f(Fn.FMA, power, low, error)
    decided = wide.test(Fn.GE, wide.f(Fn.ABS, product), 1200.0)  # zero or infinity, whatever the error
    error = wide.pick(decided, 0.0, error)
    main = _clamp(wide, product, -1200.0, 1200.0)
    n = wide.f(Fn.ROUND, main)
    r = wide.f(Fn.ADD, wide.f(Fn.SUB, main, n), error)
    value = wide.f(Fn.LDEXP, wide.polynomial((1.0, *tables.EXP2_F64), r), n)
    # a negative base: odd whole powers are negative, other whole powers positive, the rest not a number
    half = wide.f(Fn.MUL, power, 0.5)
    whole = wide.test(Fn.EQ, wide.f(Fn.FLOOR, power), power)
    odd = wide.let(call(Fn.AND, whole, call(Fn.NE, call(Fn.FLOOR, half), half)), DType.BOOL)
    negative = wide.let(call(Fn.LT, call(Fn.FLOAT_BITS, base), Const(0, DType.I64)), DType.BOOL)  # -0 included
    signed = wide.pick(odd, wide.f(Fn.NEG, value), value)
    edge = wide.let(call(Fn.OR, call(Fn.EQ, a, wide.c(float("inf"))), call(Fn.EQ, a, wide.c(0.0))), DType.BOOL)
    signed = wide.pick(wide.let(call(Fn.OR, whole, edge), DType.BOOL), signed, float("nan"))
    value = wide.pick(negative, signed, value)
    unit = wide.let(call(Fn.AND, call(Fn.EQ, a, wide.c(1.0)), _is_infinite(wide, power)), DType.BOOL)
    value = wide.pick(unit, 1.0, value)
    one = wide.let(call(Fn.OR, call(Fn.EQ, base, wide.c(1.0)), call(Fn.EQ, power, wide.c(0.0))), DType.BOOL)
    value = wide.pick(one, 1.0, value)
    return value if k.double else k.let(Cast(DType.F32, value))


def _is_infinite(k: _Kit, x: Expr) -> Expr:
    return call(Fn.EQ, call(Fn.ABS, x), k.c(float("inf")))


def _log2_pair(k: _Kit, a: Expr) -> tuple[Expr, Expr]:
    """log2(a) as an unevaluated sum of two f64, for a >= 0 (-inf at 0, inf at inf), about 2**-65 of itself."""
    m, e = _split_log(k, a)
    f = k.f(Fn.SUB, m, 1.0)
    d = k.f(Fn.ADD, f, 2.0)
    d_low = k.f(Fn.SUB, f, k.f(Fn.SUB, d, 2.0))
    s = k.f(Fn.DIV, f, d)
    # s's own rounding error: (f - s*(d + d_low)) / d
    remainder = k.f(Fn.FMA, k.f(Fn.NEG, s), d, f)
    remainder = k.f(Fn.FMA, k.f(Fn.NEG, s), d_low, remainder)
    s_low = k.f(Fn.DIV, remainder, d)
    z = k.f(Fn.MUL, s, s)
    z_low = k.f(Fn.FMA, s, s, k.f(Fn.NEG, z))
    # log(m) = 2s + s^3 * (2/3 + z*Q): the constant 2/3 and s^3 in two parts, the rest in one
    rest = k.f(Fn.MUL, z, k.polynomial(tables.LOG_F64[1:], z))
    cube = k.f(Fn.MUL, z, s)
    cube_low = k.f(Fn.FMA, z, s, k.f(Fn.NEG, cube))
    cube_low = k.f(Fn.ADD, cube_low, k.f(Fn.FMA, z_low, s, k.f(Fn.MUL, k.f(Fn.MUL, z, s_low), 3.0)))
    third, third_low = 0.6666666666666666, 3.700743415417188e-17
    p = k.f(Fn.ADD, rest, third)
    p_low = k.f(Fn.ADD, k.f(Fn.SUB, rest, k.f(Fn.SUB, p, third)), third_low)
    t = k.f(Fn.MUL, cube, p)
    t_low = k.f(Fn.FMA, cube, p, k.f(Fn.NEG, t))
    t_low = k.f(Fn.FMA, cube, p_low, k.f(Fn.FMA, cube_low, p, t_low))
    twice = k.f(Fn.ADD, s, s)
    head = k.f(Fn.ADD, twice, t)
    tail = k.f(Fn.ADD, k.f(Fn.SUB, twice, head), t)
    tail = k.f(Fn.ADD, tail, k.f(Fn.FMA, 2.0, s_low, t_low))
    high, low = tables.LOG2E_F64
    product = k.f(Fn.MUL, head, high)
    error = k.f(Fn.FMA, head, high, k.f(Fn.NEG, product))
    error = k.f(Fn.FMA, head, low, k.f(Fn.FMA, tail, high, error))
    total = k.f(Fn.ADD, e, product)
    lost = k.f(Fn.ADD, k.f(Fn.ADD, k.f(Fn.SUB, e, total), product), error)
    # e may be zero: then the sum above is exact only if the larger summand comes first
    exact = k.test(Fn.EQ, e, 0.0)
    total = k.pick(exact, product, total)
    lost = k.pick(exact, error, lost)
    total = _log_edges(k, a, total)
    usual = k.let(call(Fn.AND, call(Fn.GT, a, k.c(0.0)), call(Fn.LT, a, k.c(float("inf")))), DType.BOOL)
    return total, k.pick(usual, lost, 0.0)


_FUNCTIONS: dict[Fn, Callable[[_Kit, Expr], Expr]] = {
    Fn.EXP: _exp,
    Fn.EXP2: _exp2,
    Fn.EXPM1: _expm1,
    Fn.LOG: _log,
    Fn.LOG2: _log2,
    Fn.LOG1P: _log1p,
    Fn.TANH: _tanh,
    Fn.SIGMOID: _sigmoid,
    Fn.ERF: _erf,
    Fn.SIN: _sin,
    Fn.COS: _cos,
    Fn.RSQRT: _rsqrt,
    Fn.POW: _rsqrt,  # replaced in `sequence`: it has two arguments
}
