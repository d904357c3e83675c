"""Functions of one argument as sequences of primitives (accuracy: `mathlib`)."""

from __future__ import annotations

from ..ir.dtypes import DType
from ..ir.expr import Cast, Expr, Fn
from . import math_tables as tables
from .math_kit import Kit, call, clamp


def _reduce_exp(k: Kit, x: Expr) -> tuple[Expr, Expr]:
    """x = n*ln(2) + r with n whole and |r| <= ln(2)/2."""
    n = k.f(Fn.SUB, k.f(Fn.FMA, x, tables.LOG2E_F64[0], _whole(k)), _whole(k))
    high, low = tables.LN2_F64 if k.double else tables.LN2_F32
    r = k.f(Fn.FMA, n, -high, x)
    return n, k.f(Fn.FMA, n, -low, r)


def _whole(k: Kit) -> float:
    """Adding and subtracting it rounds what is small beside it to whole numbers; some machines have no instruction."""
    return 1.5 * 2.0 ** (52 if k.double else 23)


def exp(k: Kit, x: Expr) -> Expr:
    limit = 800.0 if k.double else 110.0
    x = clamp(k, x, -limit, limit)
    n, r = _reduce_exp(k, x)
    p = k.polynomial((1.0, 1.0, *(tables.EXP_F64 if k.double else tables.EXP_F32)), r)
    return k.f(Fn.LDEXP, p, n)


def exp2(k: Kit, x: Expr) -> Expr:
    limit = 1100.0 if k.double else 160.0
    x = clamp(k, x, -limit, limit)
    n = k.f(Fn.SUB, k.f(Fn.ADD, x, _whole(k)), _whole(k))
    r = k.f(Fn.SUB, x, n)
    p = k.polynomial((1.0, *(tables.EXP2_F64 if k.double else tables.EXP2_F32)), r)
    return k.f(Fn.LDEXP, p, n)


def expm1(k: Kit, x: Expr) -> Expr:
    return k.pick(k.test(Fn.EQ, x, 0.0), x, unsigned_expm1(k, x))


def unsigned_expm1(k: Kit, x: Expr) -> Expr:
    """expm1 but for the sign of zero: 2**n * (expm1(r) + 1) - 1, with half the power of two so that the largest
    results do not overflow early."""
    # At the upper limit the result overflows, but n is at most 1024 (128): its half power is still finite.
    clamped = clamp(k, x, -800.0 if k.double else -110.0, 709.9 if k.double else 89.0)
    n, r = _reduce_exp(k, clamped)
    q = k.polynomial((0.5, *(tables.EXPM1_F64 if k.double else tables.EXPM1_F32)), r)
    q = k.f(Fn.FMA, k.f(Fn.MUL, r, r), q, r)
    half = k.f(Fn.LDEXP, 0.5, n)
    y = k.f(Fn.FMA, half, q, k.f(Fn.SUB, half, 0.5))
    return k.pick(k.test(Fn.EQ, n, 0.0), q, k.f(Fn.ADD, y, y))


def split_log(k: Kit, x: Expr) -> tuple[Expr, Expr]:
    """x = m * 2**e with sqrt(1/2) <= m < sqrt(2), for positive finite x: (m, e)."""
    bits, root_half, tiny = (52, 0x3FE6A09E667F3BCD, 2.0**-1022) if k.double else (23, 0x3F3504F3, 2.0**-126)
    subnormal = k.test(Fn.LT, x, tiny)
    x = k.pick(subnormal, k.f(Fn.MUL, x, 2.0**bits), x)
    raw = k.whole(Fn.FLOAT_BITS, x)
    steps = k.whole(Fn.FLOORDIV, k.whole(Fn.SUB, raw, k.i(root_half)), k.i(1 << bits))
    m = k.let(call(Fn.BITS_FLOAT, k.whole(Fn.SUB, raw, k.whole(Fn.MUL, steps, k.i(1 << bits)))))
    e = k.let(Cast(k.dtype, steps))
    return m, k.pick(subnormal, k.f(Fn.SUB, e, float(bits)), e)


def log_edges(k: Kit, x: Expr, value: Expr) -> Expr:
    """-inf at 0, inf at inf, NaN below 0 and at NaN."""
    value = k.pick(k.test(Fn.EQ, x, 0.0), float("-inf"), value)
    value = k.pick(k.test(Fn.EQ, x, float("inf")), float("inf"), value)
    return k.pick(k.test(Fn.GE, x, 0.0), value, float("nan"))


def _log_tail(k: Kit, m: Expr) -> tuple[Expr, Expr]:
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


def _log_core(k: Kit, x: Expr) -> Expr:
    m, e = split_log(k, x)
    f, tail = _log_tail(k, m)
    high, low = tables.LN2_F64 if k.double else tables.LN2_F32
    small = k.f(Fn.ADD, f, k.f(Fn.FMA, e, low, tail))
    return k.f(Fn.FMA, e, high, small)


def log(k: Kit, x: Expr) -> Expr:
    return log_edges(k, x, _log_core(k, x))


def log2(k: Kit, x: Expr) -> Expr:
    m, e = split_log(k, x)
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
    return log_edges(k, x, k.f(Fn.ADD, k.f(Fn.ADD, e, product), error))


def log1p(k: Kit, x: Expr) -> Expr:
    """log(u) + (x - (u - 1)) / u with u = 1 + x rounded (the second term mends the rounding)."""
    u = k.f(Fn.ADD, x, 1.0)
    lost = k.f(Fn.SUB, x, k.f(Fn.SUB, u, 1.0))
    value = k.f(Fn.ADD, _log_core(k, u), k.f(Fn.DIV, lost, u))
    value = k.pick(k.test(Fn.EQ, u, 1.0), x, value)
    return log_edges(k, u, value)


def tanh(k: Kit, x: Expr) -> Expr:
    """e / (e + 2) with e = expm1(2*|x|), and x's sign."""
    a = k.f(Fn.MIN, 22.0 if k.double else 10.0, k.f(Fn.ABS, x))
    e = unsigned_expm1(k, k.f(Fn.ADD, a, a))
    t = k.f(Fn.DIV, e, k.f(Fn.ADD, e, 2.0))
    half = k.f(Fn.MUL, e, 0.5)
    mended = k.f(Fn.FMA, k.f(Fn.NEG, half), t, half)  # in which the errors of t count half / (1 + half) times
    return _with_sign(k, k.pick(k.test(Fn.LT, a, 0.35), mended, t), x)


def _with_sign(k: Kit, value: Expr, x: Expr) -> Expr:
    """`value`, which is not negative, with x's sign; that of a zero too."""
    negative = k.test(Fn.LT, k.whole(Fn.FLOAT_BITS, x), k.i(0))
    return k.pick(negative, k.f(Fn.NEG, value), value)


def sigmoid(k: Kit, x: Expr) -> Expr:
    """1 - q or e - e*q with q = e / (1 + e) and e = exp(-|x|): nothing overflows, and results may be subnormal."""
    e = exp(k, k.f(Fn.NEG, k.f(Fn.ABS, x)))
    q = k.f(Fn.DIV, e, k.f(Fn.ADD, e, 1.0))
    above = k.pick(k.test(Fn.LT, x, 0.0), e, 1.0)
    return k.f(Fn.FMA, k.f(Fn.NEG, above), q, above)


def erf(k: Kit, x: Expr) -> Expr:
    a = k.f(Fn.ABS, x)
    square = k.f(Fn.MUL, a, a)
    if k.double:
        low = k.f(Fn.FMA, k.polynomial(tables.ERF_SMALL_F64, square), a, a)
        far = k.f(Fn.MIN, 6.2, a)
        t = k.f(Fn.DIV, k.f(Fn.SUB, far, 2.0), k.f(Fn.ADD, far, 2.0))
        scaled = k.polynomial(tables.ERF_LARGE_F64, t)
        decay = exp(k, k.f(Fn.NEG, k.f(Fn.MUL, far, far)))
        high = k.f(Fn.SUB, 1.0, k.f(Fn.DIV, k.f(Fn.MUL, scaled, decay), k.f(Fn.FMA, 2.0, far, 1.0)))
        value = k.pick(k.test(Fn.LT, a, 1.0), low, high)
    else:
        low = k.f(Fn.FMA, k.polynomial(tables.ERF_SMALL_F32, square), a, a)
        far = k.f(Fn.MIN, 4.05, a)
        exponent = k.f(Fn.FMA, k.polynomial(tables.ERF_LARGE_F32, far), far, k.f(Fn.NEG, far))
        value = k.pick(k.test(Fn.LT, a, 0.925), low, k.f(Fn.SUB, 1.0, exp(k, exponent)))
        value = k.pick(k.test(Fn.GT, a, 4.0), k.f(Fn.MIN, 1.0, a), value)
    return _with_sign(k, value, x)


def _quadrant(k: Kit, x: Expr, cosine: bool) -> Expr:
    """x = n*pi/2 + r by three-part subtraction in f64 (Cody and Waite 1980); the quadrant picks sine or cosine of r."""
    wide = k if k.double else k.wider()
    big = x if k.double else wide.let(Cast(DType.F64, x))
    n = wide.f(Fn.ROUND, wide.f(Fn.MUL, big, tables.TWO_OVER_PI))
    r = big
    for part in tables.HALF_PI_F64:
        r = wide.f(Fn.FMA, n, -part, r)
    r = clamp(wide, r, -0.7854, 0.7854)
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


def sin(k: Kit, x: Expr) -> Expr:
    return k.pick(k.test(Fn.EQ, x, 0.0), x, _quadrant(k, x, cosine=False))  # of zero the sign is kept


def cos(k: Kit, x: Expr) -> Expr:
    return _quadrant(k, x, cosine=True)


def rsqrt(k: Kit, x: Expr) -> Expr:
    return k.f(Fn.DIV, 1.0, k.f(Fn.SQRT, x))
