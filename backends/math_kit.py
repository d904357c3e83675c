"""A builder of straight-line sequences of primitive functions in one precision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..ir.dtypes import DType
from ..ir.expr import Call, Const, Expr, Fn, Ref


@dataclass(frozen=True)
class Step:
    """`name` = `expr` over `Ref`s of the arguments (`x`, `y`) and earlier steps; `dtype` is its arithmetic type."""

    name: str
    expr: Expr
    dtype: DType


class Wide(Enum):
    """What AVX-512 does in one instruction on 16 f32; `wide` sequences use these beside the primitives of `Fn`.

    The integer operand of LOOKUP may hold anything above its low bits."""

    LOOKUP = "lookup"  # table[i mod 16] or table[i mod 32]; its argument is an i32
    EXPONENT = "exponent"  # floor(log2|x|), subnormals too; -inf for 0, inf for +-inf
    MANTISSA = "mantissa"  # m in [3/4, 3/2) with x = m * 2**whole; 1 for +-0 and inf; NaN below zero
    RSQRT = "rsqrt"  # 1/sqrt(x) to 14 bits; exact at 0 and inf, NaN below zero
    SCALE = "scale"  # x * 2**floor(n), rounded once
    COPYSIGN = "copysign"  # |x| with the sign of y
    FLIP = "flip"  # x, negated where y's sign is set
    BEYOND = "beyond"  # y, but where x > limit what `steps` make of x: out of line, since it is rare

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Instruction(Expr):
    """`op` of f32 arguments, which are names of earlier steps or literals. `table` has BEYOND's limit."""

    op: Wide
    args: tuple[Expr, ...]
    table: tuple[float, ...] = ()
    steps: tuple[Step, ...] = ()
    name: str = ""  # of `steps`

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.args

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return Instruction(self.op, children, self.table, self.steps, self.name)


class Kit:
    """Collects steps in one precision. Methods name primitive functions; numbers become literals of the precision."""

    def __init__(self, double: bool) -> None:
        self.double = double
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

    def wide(self, op: Wide, *args: Expr, table: tuple[float, ...] = ()) -> Expr:
        return self.let(Instruction(op, args, table))

    def polynomial(self, coefficients: tuple[float, ...], x: Expr) -> Expr:
        """Horner's rule."""
        value: Expr = self.c(coefficients[-1])
        for c in reversed(coefficients[:-1]):
            value = self.f(Fn.FMA, value, x, c)
        return value

    def wider(self) -> Kit:
        """The same steps continued in f64."""
        kit = Kit(True)
        kit.steps = self.steps
        return kit


def call(fn: Fn, *args: Expr) -> Expr:
    return Call(fn, args)


def clamp(k: Kit, x: Expr, low: float, high: float) -> Expr:
    return k.f(Fn.MIN, high, k.f(Fn.MAX, low, x))
