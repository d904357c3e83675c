"""Functions of one f32 as sequences with the instructions of `Wide`: polynomials whose coefficients are looked up in
registers (accuracy: `mathlib`).

On AVX-512 a lookup is a permutation of one register (16 entries) or two (32), as cheap as a multiply-add; so an
interval can have a polynomial of its own, and neither division nor exponential is left.
"""

from __future__ import annotations

from ..ir.expr import Expr, Fn
from . import math_functions, math_tables
from . import math_wide_tables as tables
from .math_kit import Kit, Wide

WHOLE = 2.0**23  # adding it to 0 <= x < 2**22 leaves the nearest whole number in the low bits
SIXTEENTH = 1.5 * 2.0**19  # the same for sixteenths, of either sign


def _bits(k: Kit, x: Expr) -> Expr:
    return k.whole(Fn.FLOAT_BITS, x)


def _piece(k: Kit, x: Expr, step: float, limit: float) -> tuple[Expr, Expr]:
    """|x| = n * step + d, with x beyond the limit taken as the limit: (n in the low bits of an integer, d)."""
    a = k.f(Fn.MIN, limit, k.f(Fn.ABS, x))
    shifted = k.f(Fn.FMA, a, 1.0 / step, WHOLE)
    n = k.f(Fn.SUB, shifted, WHOLE)
    return _bits(k, shifted), k.f(Fn.FMA, n, -step, a)


def _lookup(k: Kit, table: tuple[float, ...], index: Expr) -> Expr:
    return k.wide(Wide.LOOKUP, index, table=table)


def _horner(k: Kit, rows: tuple[tuple[float, ...], ...], index: Expr, d: Expr) -> Expr:
    value = _lookup(k, rows[-1], index)
    for row in reversed(rows[:-1]):
        value = k.f(Fn.FMA, value, d, _lookup(k, row, index))
    return value


def erf(k: Kit, x: Expr) -> Expr:
    """2/sqrt(pi) is badly off in f32; what it lacks times d comes with the constant term."""
    index, d = _piece(k, x, tables.ERF_STEP, tables.ERF_LIMIT)
    slope = _horner(k, tables.ERF[1:], index, d)
    start = k.f(Fn.FMA, d, tables.ERF_LOW, _lookup(k, tables.ERF[0], index))
    return k.wide(Wide.COPYSIGN, k.f(Fn.FMA, slope, d, start), x)


def tanh(k: Kit, x: Expr) -> Expr:
    """Intervals of relative width by the exponent and two bits of the mantissa of 2 + scale*|x|."""
    a = k.f(Fn.MIN, tables.TANH_LIMIT, k.f(Fn.ABS, x))
    index = k.whole(Fn.FLOORDIV, _bits(k, k.f(Fn.FMA, a, tables.TANH_SCALE, 2.0)), k.i(1 << 21))
    d = k.f(Fn.SUB, a, _lookup(k, tables.TANH_CENTRE, index))
    return k.wide(Wide.COPYSIGN, _horner(k, tables.TANH, index, d), x)


def exp(k: Kit, x: Expr) -> Expr:
    """2**n * 2**(j/16) * (1 + r*(1 + r*P(r))), |r| <= ln(2)/32."""
    base, _, p, n = _exp_parts(k, k.f(Fn.MIN, 89.0, k.f(Fn.MAX, -110.0, x)))
    return k.wide(Wide.SCALE, k.f(Fn.FMA, base, p, base), n)


def _exp_parts(k: Kit, x: Expr) -> tuple[Expr, Expr, Expr, Expr]:
    """exp(x) = 2**floor(n) * base * (1 + p), and the index of the base in its table."""
    shifted = k.f(Fn.FMA, x, math_tables.LOG2E_F64[0], SIXTEENTH)
    n = k.f(Fn.SUB, shifted, SIXTEENTH)
    high, low = math_tables.LN2_F32
    r = k.f(Fn.FMA, n, -low, k.f(Fn.FMA, n, -high, x))
    index = _bits(k, shifted)
    base = _lookup(k, tables.EXP, index)
    p = k.f(Fn.FMA, tables.EXP_TAIL[1], r, tables.EXP_TAIL[0])
    return base, index, k.f(Fn.FMA, k.f(Fn.MUL, r, r), p, r), n


def expm1(k: Kit, x: Expr) -> Expr:
    return k.wide(Wide.COPYSIGN, math_functions.unsigned_expm1(k, x), x)


def sigmoid(k: Kit, x: Expr) -> Expr:
    """1 - q or e - e*q with q = e / (1 + e) and e = exp(-|x|): the errors of q count for little where e is small.

    e itself may lose a bit there, so its base has a low part. Nothing overflows, and results may be subnormal."""
    base, index, p, n = _exp_parts(k, k.f(Fn.MAX, -110.0, k.f(Fn.NEG, k.f(Fn.ABS, x))))
    low = k.f(Fn.FMA, base, p, _lookup(k, tables.EXP_LOW, index))
    e = k.wide(Wide.SCALE, k.f(Fn.ADD, base, low), n)
    q = k.f(Fn.DIV, e, k.f(Fn.ADD, e, 1.0))
    above = k.pick(k.test(Fn.LT, x, 0.0), e, 1.0)
    return k.f(Fn.FMA, k.f(Fn.NEG, above), q, above)


def rsqrt(k: Kit, x: Expr) -> Expr:
    """One step of Newton's; where it makes 0 * inf the estimate is exact."""
    y = k.wide(Wide.RSQRT, x)
    rest = k.f(Fn.FMA, k.f(Fn.NEG, k.f(Fn.MUL, x, y)), y, 1.0)
    better = k.f(Fn.FMA, k.f(Fn.MUL, y, 0.5), rest, y)
    return k.pick(k.test(Fn.EQ, rest, rest), better, y)


Logarithm = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
NATURAL: Logarithm = (tables.LOG_INVERSE, tables.LOG_VALUE, tables.LOG_TAIL)
BINARY: Logarithm = (tables.LOG2_INVERSE, tables.LOG2_VALUE, tables.LOG2_TAIL)


def _reduce_log(k: Kit, x: Expr, of: Logarithm) -> tuple[Expr, Expr, Expr, Expr]:
    """x = 2**e * c * (1 + r): (e, 1/c, log(c), r); zero, infinity, NaN and arguments below zero come out right if e
    and r are added."""
    m = k.wide(Wide.MANTISSA, x)
    e = k.f(Fn.SUB, k.wide(Wide.EXPONENT, x), k.wide(Wide.EXPONENT, m))
    index = k.whole(Fn.FLOORDIV, _bits(k, m), k.i(1 << 19))
    inverse = _lookup(k, of[0], index)
    return e, inverse, _lookup(k, of[1], index), k.f(Fn.FMA, m, inverse, -1.0)


def log(k: Kit, x: Expr) -> Expr:
    e, _, value, r = _reduce_log(k, x, NATURAL)
    return _natural(k, e, value, r)


def _natural(k: Kit, e: Expr, value: Expr, r: Expr) -> Expr:
    tail = k.f(Fn.FMA, k.f(Fn.MUL, r, r), k.polynomial(tables.LOG_TAIL, r), r)
    return k.f(Fn.ADD, k.f(Fn.FMA, e, 0.6931471805599453, value), tail)


def log2(k: Kit, x: Expr) -> Expr:
    e, _, value, r = _reduce_log(k, x, BINARY)
    slope = k.f(Fn.FMA, k.polynomial(tables.LOG2_TAIL, r), r, math_tables.LOG2E_F64[0])
    return k.f(Fn.ADD, k.f(Fn.ADD, e, value), k.f(Fn.MUL, r, slope))


def log1p(k: Kit, x: Expr) -> Expr:
    """The logarithm of u = 1 + x rounded, whose rounding error enters r."""
    u = k.f(Fn.ADD, x, 1.0)
    lost = k.f(Fn.SUB, x, k.f(Fn.SUB, u, 1.0))
    e, inverse, value, r = _reduce_log(k, u, NATURAL)
    mended = k.f(Fn.FMA, k.wide(Wide.SCALE, lost, k.f(Fn.NEG, e)), inverse, r)
    usual = k.test(Fn.LT, k.f(Fn.ABS, e), float("inf"))
    return k.wide(Wide.COPYSIGN, _natural(k, e, value, k.pick(usual, mended, r)), x)
