"""Values of accumulators: identities, combining steps, and literals of the right type."""

from __future__ import annotations

import numpy as np

from ...ir.dtypes import DType
from ...ir.expr import Call, Cast, Const, Expr, Fn, Param, rewrite
from ...ir.op import Monoid


def identity(monoid: Monoid, component: int, dtype: DType) -> Expr:
    return typed(monoid.identity[component], dtype)


def typed(value: Expr, dtype: DType) -> Expr:
    if isinstance(value, Const):
        number = value.value
        if dtype.is_float:
            number = float(number)
        elif dtype is DType.BOOL:
            number = bool(number)
        elif isinstance(number, float):
            number = _extreme(number, dtype)
        return Const(number, dtype)
    return Cast(dtype, value) if not isinstance(value, Call | Cast) else value


def _extreme(value: float, dtype: DType) -> int:
    """An infinite identity in an integer type is its extreme value."""
    info = np.iinfo(dtype.numpy)
    if value == float("inf"):
        return int(info.max)
    if value == float("-inf"):
        return int(info.min)
    return int(value)


def combine(fn: Fn, cell: Expr, value: Expr, dtype: DType) -> Expr:
    """`fn(cell, value)`, with a product under a floating-point sum as one fused multiply-add."""
    if fn is Fn.ADD and dtype.is_float and isinstance(value, Call) and value.fn is Fn.MUL:
        return Call(Fn.FMA, (*value.args, cell))
    return Call(fn, (cell, value))


def apply_monoid(monoid: Monoid, a: list[Expr], b: list[Expr]) -> list[Expr]:
    """`combine(a, b)` of a tuple monoid."""
    values = {f"a.{c}": v for c, v in zip(monoid.components, a, strict=True)}
    values |= {f"b.{c}": v for c, v in zip(monoid.components, b, strict=True)}
    return [rewrite(e, lambda x: values.get(x.name) if isinstance(x, Param) else None) for e in monoid.combine]
