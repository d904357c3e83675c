"""A builder of straight-line sequences of primitive functions in one precision."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.dtypes import DType
from ..ir.expr import Call, Const, Expr, Fn, Ref


@dataclass(frozen=True)
class Step:
    """`name` = `expr` over `Ref`s of the arguments (`x`, `y`) and earlier steps; `dtype` is its arithmetic type."""

    name: str
    expr: Expr
    dtype: DType


class Kit:
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

    def wider(self) -> Kit:
        """The same steps continued in f64."""
        kit = Kit(True, self.saturating)
        kit.steps = self.steps
        return kit


def call(fn: Fn, *args: Expr) -> Expr:
    return Call(fn, args)


def clamp(k: Kit, x: Expr, low: float, high: float) -> Expr:
    return k.f(Fn.MIN, high, k.f(Fn.MAX, low, x))
