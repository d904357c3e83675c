"""Scalar expressions, shared by the op form and GIR.

Semantics (docs/language.md has them in full):
  - `//` and `%` floor; integer arithmetic wraps at its width; index arithmetic is i64.
  - `max` and `min` propagate NaN; comparisons with NaN are false except `!=`.
  - `select(c, a, b)` evaluates to a or b; the value not chosen has no effect, NaN included. `and`/`or` are strict.
  - A `Const` whose dtype is None is a literal that takes the type of what it meets (`typing.py` resolves it).
Integer division and modulo by zero give 0 (so that a lane that is masked away cannot trap).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from .dtypes import DType
from .errors import NOWHERE, Location


class Fn(Enum):
    """Scalar functions. The value is the name in the text form; operators print infix (text.py)."""

    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    FLOORDIV = "floordiv"
    MOD = "mod"
    NEG = "neg"
    ABS = "abs"
    MAX = "max"
    MIN = "min"
    POW = "pow"
    FMA = "fma"  # fma(a, b, c) = a * b + c, rounded once
    EXP = "exp"
    EXP2 = "exp2"
    EXPM1 = "expm1"
    LOG = "log"
    LOG2 = "log2"
    LOG1P = "log1p"
    SQRT = "sqrt"
    RSQRT = "rsqrt"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    ERF = "erf"
    SIN = "sin"
    COS = "cos"
    FLOOR = "floor"
    CEIL = "ceil"
    ROUND = "round"  # to nearest even
    EQ = "eq"
    NE = "ne"
    LT = "lt"
    LE = "le"
    GT = "gt"
    GE = "ge"
    AND = "and"
    OR = "or"
    NOT = "not"
    SELECT = "select"
    ISNAN = "isnan"
    LDEXP = "ldexp"  # x * 2**n, n a whole number of x's type; 0 for n = -inf, inf for n = inf, NaN for n = NaN
    FLOAT_BITS = "float_bits"  # the bits of an f32 as i32, of an f64 as i64
    BITS_FLOAT = "bits_float"  # and back
    # dot2_bf16(a, b, c) = c + a.low * b.low + a.high * b.high: a and b hold the bits of two bf16 in an i32 each, c is
    # f32. In any order, rounded after each step or at the end; subnormal numbers may count as zero.
    DOT2_BF16 = "dot2_bf16"

    def __str__(self) -> str:
        return self.value


ARITY: dict[Fn, int] = {
    **dict.fromkeys(Fn, 1),
    **dict.fromkeys(
        (Fn.ADD, Fn.SUB, Fn.MUL, Fn.DIV, Fn.FLOORDIV, Fn.MOD, Fn.MAX, Fn.MIN, Fn.POW, Fn.EQ, Fn.NE, Fn.LT, Fn.LE)
        + (Fn.GT, Fn.GE, Fn.AND, Fn.OR),
        2,
    ),
    Fn.LDEXP: 2,
    Fn.FMA: 3,
    Fn.DOT2_BF16: 3,
    Fn.SELECT: 3,
}
COMPARISONS = frozenset({Fn.EQ, Fn.NE, Fn.LT, Fn.LE, Fn.GT, Fn.GE})
LOGICAL = frozenset({Fn.AND, Fn.OR, Fn.NOT})
ASSOCIATIVE = frozenset({Fn.ADD, Fn.MUL, Fn.MAX, Fn.MIN, Fn.AND, Fn.OR})
FLOAT_ONLY = frozenset(
    {Fn.DIV, Fn.POW, Fn.FMA, Fn.EXP, Fn.EXP2, Fn.EXPM1, Fn.LOG, Fn.LOG2, Fn.LOG1P, Fn.SQRT, Fn.RSQRT, Fn.TANH}
    | {Fn.SIGMOID, Fn.ERF, Fn.SIN, Fn.COS, Fn.FLOOR, Fn.CEIL, Fn.ROUND, Fn.ISNAN, Fn.LDEXP}
    | {Fn.FLOAT_BITS}
)


@dataclass(frozen=True, slots=True)
class Expr:
    """Base of all expressions. Equality and hash ignore the source location."""

    @property
    def children(self) -> tuple[Expr, ...]:
        return ()

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return self


@dataclass(frozen=True, slots=True)
class Const(Expr):
    """A literal. Float NaN compares equal to NaN of the same dtype through `key`."""

    value: int | float | bool
    dtype: DType | None = None

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Const) or self.dtype is not other.dtype or type(self.value) is not type(other.value):
            return False
        return self.value == other.value if isinstance(self.value, int) else repr(self.value) == repr(other.value)

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def key(self) -> tuple[str, str, DType | None]:
        return (type(self.value).__name__, repr(self.value), self.dtype)


@dataclass(frozen=True, slots=True)
class Var(Expr):
    """An integer name: an axis of a definition, a loop index, or a symbol (extent or parameter). Its type is i64."""

    name: str
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Ref(Expr):
    """GIR only: the value of a register tile at this tile coordinate (sizes broadcast as NumPy's do)."""

    name: str
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Coord(Expr):
    """GIR only: the coordinate along tile axis `axis` (written `@axis`), type i64."""

    axis: int


@dataclass(frozen=True, slots=True)
class Param(Expr):
    """A named value of a monoid's `combine` (`a.m`, `b.m`) or of a stream's `repair` (`old.m`, `new.m`)."""

    name: str


class Boundary(Enum):
    """What a read outside the tensor gives."""

    NONE = "none"  # not allowed: proved in bounds by the verifier
    PAD = "pad"  # a value
    CLAMP = "clamp"
    WRAP = "wrap"
    REFLECT = "reflect"  # without repeating the edge


@dataclass(frozen=True, slots=True)
class Read(Expr):
    """Op form only: `tensor[index...]`. With boundary PAD, `fill` is the value outside (any expression)."""

    tensor: str
    index: tuple[Expr, ...]
    boundary: Boundary = Boundary.NONE
    fill: Expr | None = None
    location: Location = field(default=NOWHERE, compare=False)

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.index + ((self.fill,) if self.fill is not None else ())

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        n = len(self.index)
        fill = children[n] if self.fill is not None else None
        return Read(self.tensor, children[:n], self.boundary, fill, self.location)


@dataclass(frozen=True, slots=True)
class Call(Expr):
    fn: Fn
    args: tuple[Expr, ...]
    location: Location = field(default=NOWHERE, compare=False)

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.args

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return Call(self.fn, children, self.location)


@dataclass(frozen=True, slots=True)
class Cast(Expr):
    """Conversion to `dtype`: float to int truncates toward zero and saturates (NaN gives 0); to bool is `!= 0`.

    A cast to a narrow storage type rounds to it; the value then continues in `dtype.arithmetic`.
    """

    dtype: DType
    arg: Expr
    location: Location = field(default=NOWHERE, compare=False)

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.arg,)

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return Cast(self.dtype, children[0], self.location)


def walk(expr: Expr) -> Iterator[Expr]:
    """Every node, parents before children."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        children = node.children
        if children:
            stack.extend(reversed(children))


def rewrite(expr: Expr, rule: Callable[[Expr], Expr | None]) -> Expr:
    """Bottom-up: `rule` sees each node with its children already rewritten and returns a replacement or None."""
    children = expr.children
    if children:
        new = tuple([rewrite(c, rule) for c in children])
        for a, b in zip(new, children, strict=True):
            if a is not b:
                expr = expr.with_children(new)
                break
    out = rule(expr)
    return expr if out is None else out


def substitute(expr: Expr, values: dict[str, Expr]) -> Expr:
    """Replace variables by expressions, all at once."""
    if not values:
        return expr
    return rewrite(expr, lambda e: values.get(e.name) if isinstance(e, Var) else None)


def variables(expr: Expr) -> set[str]:
    return {e.name for e in walk(expr) if isinstance(e, Var)}


def conjuncts(expr: Expr | None) -> list[Expr]:
    """The terms of a chain of `and`; nothing for no condition."""
    match expr:
        case None:
            return []
        case Call(Fn.AND, (a, b)):
            return conjuncts(a) + conjuncts(b)
    return [expr]


def reads(expr: Expr) -> list[Read]:
    return [e for e in walk(expr) if isinstance(e, Read)]


def refs(expr: Expr) -> set[str]:
    return {e.name for e in walk(expr) if isinstance(e, Ref)}


def const(value: int) -> Const:
    """An i64 literal, as index arithmetic uses."""
    return Const(value, DType.I64)


def as_int(expr: Expr) -> int | None:
    """The value of an integer literal, else None."""
    if isinstance(expr, Const) and isinstance(expr.value, int) and not isinstance(expr.value, bool):
        return expr.value
    return None
