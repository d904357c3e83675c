"""x ** y as a sequence of primitives (accuracy: `mathlib`)."""

from __future__ import annotations

from ..ir.dtypes import DType
from ..ir.expr import Cast, Const, Expr, Fn
from . import math_tables as tables
from .math_functions import log_edges, split_log
from .math_kit import Kit, call, clamp


def power(k: Kit, x: Expr, y: Expr) -> Expr:
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
    main = clamp(wide, product, -1200.0, 1200.0)
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


def _is_infinite(k: Kit, x: Expr) -> Expr:
    return call(Fn.EQ, call(Fn.ABS, x), k.c(float("inf")))


def _log2_pair(k: Kit, a: Expr) -> tuple[Expr, Expr]:
    """log2(a) as an unevaluated sum of two f64, for a >= 0 (-inf at 0, inf at inf), about 2**-65 of itself."""
    m, e = split_log(k, a)
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
    total = log_edges(k, a, total)
    usual = k.let(call(Fn.AND, call(Fn.GT, a, k.c(0.0)), call(Fn.LT, a, k.c(float("inf")))), DType.BOOL)
    return total, k.pick(usual, lost, 0.0)
