"""Mathematical functions as straight-line sequences of primitive functions, shared by the CPU targets.

Errors in units in the last place: at most 1 for exp, exp2, log and pow; 1.2 for log2 and erf; 1.5 for log1p and rsqrt;
1.6 for sigmoid; 1.8 for tanh, sin and cos; 2 for expm1; in f32 as in f64. `wide` sequences of f32: 1 for exp, 1.1 for
tanh and rsqrt, 1.6 for the rest.
NaN, infinities, signs of overflow, domain errors and the signs of zeros are as in IEEE 754. Arguments and results may
be subnormal. sin and cos reduce in double precision and hold to |x| about 1e9 in f32 and 1e7 in f64; beyond, the
reduction loses its digits and the result is only bounded (`wide`: they hold everywhere, to 1.6). All of this with fused
multiply-add; without it a few units more, and sin and cos hold to about 1e5.

`wide` sequences use the instructions of AVX-512 named in `math_kit.Wide`, on any number of lanes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ..ir.errors import InternalError
from ..ir.expr import Expr, Fn, Ref
from . import math_functions, math_wide, math_wide_turns
from .math_kit import Kit, Step
from .math_power import power

_FUNCTIONS: dict[Fn, Callable[[Kit, Expr], Expr]] = {
    Fn.EXP: math_functions.exp,
    Fn.EXP2: math_functions.exp2,
    Fn.EXPM1: math_functions.expm1,
    Fn.LOG: math_functions.log,
    Fn.LOG2: math_functions.log2,
    Fn.LOG1P: math_functions.log1p,
    Fn.TANH: math_functions.tanh,
    Fn.SIGMOID: math_functions.sigmoid,
    Fn.ERF: math_functions.erf,
    Fn.SIN: math_functions.sin,
    Fn.COS: math_functions.cos,
    Fn.RSQRT: math_functions.rsqrt,
}
_WIDE: dict[Fn, Callable[[Kit, Expr], Expr]] = {
    Fn.ERF: math_wide.erf,
    Fn.TANH: math_wide.tanh,
    Fn.SIGMOID: math_wide.sigmoid,
    Fn.LOG: math_wide.log,
    Fn.LOG2: math_wide.log2,
    Fn.LOG1P: math_wide.log1p,
    Fn.RSQRT: math_wide.rsqrt,
    Fn.SIN: math_wide_turns.sin,
    Fn.COS: math_wide_turns.cos,
    Fn.EXP: math_wide.exp,
    Fn.EXPM1: math_wide.expm1,
}
LIBRARY = frozenset({*_FUNCTIONS, Fn.POW})


@cache
def sequence(fn: Fn, double: bool, wide: bool = False) -> tuple[Step, ...]:
    """The steps of `fn` for f64 or f32; the last one is the result. `wide`: of f32 with the instructions of `Wide`
    where that is shorter. Raises InternalError for a primitive function."""
    if fn not in LIBRARY:
        raise InternalError(f"{fn} is not a library function")
    kit = Kit(double)
    x = Ref("x")
    if fn is Fn.POW:
        result = power(kit, x, Ref("y"))
    elif wide and not double and fn in _WIDE:
        result = _WIDE[fn](kit, x)
    else:
        result = _FUNCTIONS[fn](kit, x)
    kit.let(result)
    return tuple(kit.steps)


def has_wide(fn: Fn) -> bool:
    """Whether `sequence` has a wide form of `fn` of f32."""
    return fn in _WIDE


__all__ = ["LIBRARY", "Step", "has_wide", "sequence"]
