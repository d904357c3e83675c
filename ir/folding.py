"""Constant folding that changes no bit: only exact rules, NaN and signed zeros respected (`x * 0`, `x - x` stay).

Integers: everything, with floor division, division by zero giving 0, and wrapping at the type's width; `x + 0`,
`x * 1`, `x // 1`, `x * 0` too. Floats: comparisons of literals that their type holds exactly, `select` and the sign;
arithmetic is left to the target, which rounds in its own type.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .dtypes import DType
from .expr import Call, Cast, Const, Expr, Fn, as_int, rewrite


def fold(expr: Expr) -> Expr:
    """The expression with constant parts computed. Types must have been elaborated."""
    return rewrite(expr, _rule)


def wrap(value: int, dtype: DType) -> int:
    """An integer wrapped to the width of a signed type (u8 is unsigned)."""
    bits = 8 * dtype.bytes
    value &= (1 << bits) - 1
    return value - (1 << bits) if dtype is not DType.U8 and value >> (bits - 1) else value


_INT: dict[Fn, Callable[[int, int], int]] = {
    Fn.ADD: lambda a, b: a + b,
    Fn.SUB: lambda a, b: a - b,
    Fn.MUL: lambda a, b: a * b,
    Fn.FLOORDIV: lambda a, b: a // b if b else 0,
    Fn.MOD: lambda a, b: a % b if b else 0,
    Fn.MAX: max,
    Fn.MIN: min,
}
_COMPARE: dict[Fn, Callable[[float, float], bool]] = {
    Fn.EQ: lambda a, b: a == b,
    Fn.NE: lambda a, b: a != b,
    Fn.LT: lambda a, b: a < b,
    Fn.LE: lambda a, b: a <= b,
    Fn.GT: lambda a, b: a > b,
    Fn.GE: lambda a, b: a >= b,
}


def _rule(expr: Expr) -> Expr | None:
    match expr:
        case Call(Fn.SELECT, (Const(condition), a, b)):
            return a if condition else b
        case Call(Fn.NOT, (Const(bool() as value),)):
            return Const(not value, DType.BOOL)
        case Call(Fn.AND | Fn.OR as fn, (a, b)):
            return _logical(fn, a, b)
        case Call(Fn.NEG, (Const(value, dtype),)) if dtype is not None and not isinstance(value, bool):
            return Const(wrap(-value, dtype), dtype) if isinstance(value, int) else Const(-value, dtype)
        case Call(Fn.ABS, (Const(int() as value, dtype),)) if dtype is not None and dtype.is_int:
            return Const(wrap(abs(value), dtype), dtype)
        case Call(fn, (Const(a, dtype), Const(b, other))) if dtype is not None and dtype is other:
            if fn in _COMPARE and not (dtype.is_float and dtype is not DType.F64 and _rounds(a, b, dtype)):
                return Const(_COMPARE[fn](a, b), DType.BOOL)
            if fn in _INT and dtype.is_int:
                return Const(wrap(_INT[fn](int(a), int(b)), dtype), dtype)
        case Call(fn, (a, b)):
            return _identity(fn, a, b)
        case Cast(dtype, Const(int() as value, source)) if source is not None and source.is_int and dtype.is_int:
            return Const(wrap(value, dtype), dtype.arithmetic)
    return None


def _rounds(a: float, b: float, dtype: DType) -> bool:
    """Whether either literal changes when rounded to the type, so that comparing as written could differ."""
    return any(not math.isnan(v) and float(dtype.numpy.type(v)) != v for v in (a, b))


def _logical(fn: Fn, a: Expr, b: Expr) -> Expr | None:
    for one, other in ((a, b), (b, a)):
        if isinstance(one, Const):
            if fn is Fn.AND:
                return other if one.value else one
            return one if one.value else other
    return None


def _identity(fn: Fn, a: Expr, b: Expr) -> Expr | None:
    left, right = as_int(a), as_int(b)
    if fn is Fn.ADD and left == 0:
        return b
    if fn in (Fn.ADD, Fn.SUB) and right == 0:
        return a
    if fn is Fn.MUL and left == 1:
        return b
    if fn in (Fn.MUL, Fn.FLOORDIV) and right == 1:
        return a
    if fn is Fn.MUL and (left == 0 or right == 0):
        return a if left == 0 else b
    if fn is Fn.MOD and right == 1 and isinstance(b, Const):
        return Const(0, b.dtype)
    return None
