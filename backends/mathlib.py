"""Mathematical functions as straight-line sequences of primitive functions (see the next revision's table)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ..ir.dtypes import DType
from ..ir.expr import Call, Const, Expr, Fn, Ref

LIBRARY = frozenset(
    {Fn.EXP, Fn.EXP2, Fn.EXPM1, Fn.LOG, Fn.LOG2, Fn.LOG1P, Fn.TANH, Fn.SIGMOID, Fn.ERF, Fn.SIN, Fn.COS, Fn.POW}
    | {Fn.RSQRT}
)


@dataclass(frozen=True)
class Step:
    """`name` = `expr` over `Ref`s of the arguments (`x`, `y`) and earlier steps."""

    name: str
    expr: Expr


@cache
def sequence(fn: Fn, double: bool, saturating: bool) -> tuple[Step, ...]:
    one = Const(1.0, DType.F64 if double else DType.F32)
    return (Step("r", Call(Fn.DIV, (one, Call(Fn.SQRT, (Ref("x"),))))),)
