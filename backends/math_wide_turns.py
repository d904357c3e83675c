"""Sine and cosine of one f32 with the instructions of `Wide`, right for every argument."""

from __future__ import annotations

from ..ir.dtypes import DType
from ..ir.expr import Cast, Expr, Fn, Ref
from . import math_tables
from . import math_wide_tables as tables
from .math_kit import Instruction, Kit, Wide, call

NEAR = 100000.0  # up to here three parts of pi/2 are enough
WHOLE = 1.5 * 2.0**23  # adding it leaves the nearest whole number in the low bits


def sin(k: Kit, x: Expr) -> Expr:
    return k.wide(Wide.FLIP, _turned(k, k.f(Fn.ABS, x), cosine=False), x)


def cos(k: Kit, x: Expr) -> Expr:
    return _turned(k, k.f(Fn.ABS, x), cosine=True)


def _turned(k: Kit, a: Expr, cosine: bool) -> Expr:
    """a = n*pi/2 + r by three-part subtraction (Cody and Waite 1980); n's products with the parts are exact."""
    shifted = k.f(Fn.FMA, a, math_tables.TWO_OVER_PI, WHOLE)
    n = k.f(Fn.SUB, shifted, WHOLE)
    r = a
    for part in tables.HALF_PI:
        r = k.f(Fn.FMA, n, -part, r)
    value = _of_rest(k, r, k.whole(Fn.FLOAT_BITS, shifted), cosine)
    far = Kit(False)
    far.let(_far(far, Ref("x"), cosine))
    name = "far_cosine" if cosine else "far_sine"
    return k.let(Instruction(Wide.BEYOND, (a, value), (NEAR,), tuple(far.steps), name))


def _of_rest(k: Kit, r: Expr, turns: Expr, cosine: bool) -> Expr:
    """Of r plus so many quarter turns, of which the two low bits count."""
    z = k.f(Fn.MUL, r, r)
    sine = k.f(Fn.MUL, z, k.polynomial(math_tables.SIN_F32, z))
    sine = k.f(Fn.FMA, sine, r, r)
    other = k.f(Fn.FMA, k.polynomial((-0.5, *math_tables.COS_F32), z), z, 1.0)
    odd = k.let(call(Fn.NE, k.whole(Fn.MOD, turns, k.i(2)), k.i(0)), DType.BOOL)
    value = k.pick(odd, sine, other) if cosine else k.pick(odd, other, sine)
    if cosine:
        turns = k.whole(Fn.ADD, turns, k.i(1))
    sign = k.let(call(Fn.BITS_FLOAT, k.whole(Fn.MUL, turns, k.i(1 << 30))))
    return k.wide(Wide.FLIP, value, sign)


def _far(k: Kit, x: Expr, cosine: bool) -> Expr:
    """For x > 2: x * 2/pi mod 4 in f64, from the bits of 2/pi that count for x's exponent. NaN at infinity.

    The products are exact (24 by 24 bits). Without multiples of 4, the first two have a sum of 48 bits, exact too; its
    fraction takes the small products, to 2**-63 of a turn."""
    index = k.whole(Fn.FLOORDIV, k.whole(Fn.FLOAT_BITS, x), k.i(1 << 26))
    rows = [k.wide(Wide.LOOKUP, index, table=row) for row in tables.FAR]
    wide = k.wider()
    scaled = wide.f(Fn.MUL, wide.let(Cast(DType.F64, x)), 2.0**-96)
    products = [wide.f(Fn.MUL, scaled, wide.let(Cast(DType.F64, row))) for row in rows]
    reduced = []
    for product in products[:2]:
        fours = wide.f(Fn.ROUND, wide.f(Fn.MUL, product, 0.25))
        reduced.append(wide.f(Fn.FMA, fours, -4.0, product))
    total = wide.f(Fn.ADD, reduced[0], reduced[1])
    n = wide.f(Fn.ROUND, total)
    rest = wide.f(Fn.ADD, wide.f(Fn.ADD, wide.f(Fn.SUB, total, n), products[2]), products[3])
    r = k.let(Cast(DType.F32, wide.f(Fn.MUL, rest, 1.5707963267948966)))
    return _of_rest(k, r, k.let(Cast(DType.I32, n), DType.I32), cosine)
