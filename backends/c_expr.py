"""Scalar expressions of GIR as C, for one element or one vector of elements of a tile.

`At` says which: the tile coordinates (constants where the loop over them is written out), and whether the last axis
lies across the lanes of a vector, or is one lane of it. Literals without a type take that of what they meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..ir.dtypes import DType
from ..ir.errors import InternalError, VerifyError
from ..ir.expr import COMPARISONS, LOGICAL, Call, Cast, Const, Coord, Expr, Fn, Ref, Var, const
from .c_apply import INFIX, Applier
from .c_index import Poly, is_bounded, poly, ref_free, substitute_coords, uses_coord
from .c_types import SCALAR, literal, vector
from .c_values import (
    ATOM,
    EQUALITY,
    RELATION,
    SUM,
    UNARY,
    Value,
)

_RELATION = {
    Fn.EQ: ("==", EQUALITY),
    Fn.NE: ("!=", EQUALITY),
    Fn.LT: ("<", RELATION),
    Fn.LE: ("<=", RELATION),
    Fn.GT: (">", RELATION),
    Fn.GE: (">=", RELATION),
}
_RANK = (DType.BOOL, DType.I32, DType.I64, DType.F32, DType.F64)


@dataclass(frozen=True)
class Tile:
    """A register tile: `name` is its C name, `lanes` the lanes of the vectors its last axis is chopped into.

    A tile of one element or vector is a plain variable; others are arrays of them, row-major."""

    name: str
    shape: tuple[int, ...]
    dtype: DType
    lanes: int
    mutable: bool = False
    storage: DType | None = None  # a mutable tile of a narrow type rounds what is assigned

    @property
    def vectors(self) -> int:
        """How many elements or vectors it has."""
        total = 1
        for n in self.shape:
            total *= n
        return total // self.lanes


@dataclass(frozen=True)
class At:
    """Where in the tile: one coordinate per axis; the last is the first lane's where `lanes` > 1 or `lane` is set."""

    coords: tuple[Expr, ...] = ()
    lanes: int = 1  # across which an expression is evaluated at once
    lane: str = ""  # the C variable of one lane, in a loop over lanes


class Scope:
    """What names mean: C names of integers, tiles, and the names whose arithmetic cannot overflow."""

    def __init__(self, integers: Mapping[str, str], bounded: frozenset[str]) -> None:
        self.integers: dict[str, str] = dict(integers)
        self.tiles: dict[str, Tile] = {}
        self.bounded = bounded

    def inner(self) -> Scope:
        out = Scope(self.integers, self.bounded)
        out.tiles = dict(self.tiles)
        return out


class ExprPrinter(Applier):
    """Prints expressions in a scope. `register` is the number of bytes of a vector register, `line` of a cache line."""

    register = 64
    line = 64

    # ---- types

    def dtype(self, expr: Expr, scope: Scope) -> DType | None:
        """The arithmetic type of an expression; None for literals without one."""
        match expr:
            case Const(value, None):
                return DType.BOOL if isinstance(value, bool) else None
            case Const(dtype=DType() as dtype) | Cast(dtype):
                return dtype.arithmetic
            case Var() | Coord():
                return DType.I64
            case Ref(name):
                return self._tile(name, scope).dtype
            case Call(fn, args):
                if fn in COMPARISONS or fn in LOGICAL or fn is Fn.ISNAN:
                    return DType.BOOL
                met = self.common(args[1:] if fn is Fn.SELECT else args, scope)
                if fn is Fn.FLOAT_BITS:
                    return DType.I64 if met is DType.F64 else DType.I32
                if fn is Fn.BITS_FLOAT:
                    return DType.F64 if met is DType.I64 else DType.F32
                return DType.F32 if fn is Fn.DOT2_BF16 else met
        raise InternalError(f"{type(expr).__name__} inside GIR")

    def common(self, args: tuple[Expr, ...], scope: Scope) -> DType | None:
        """The type in which the arguments meet; where a literal bool meets numbers it is a number."""
        found = [d for d in (self.dtype(a, scope) for a in args) if d is not None]
        return max(found, key=_RANK.index) if found else None

    def _tile(self, name: str, scope: Scope) -> Tile:
        if name not in scope.tiles:
            raise VerifyError(f"tile '{name}' is not in scope", remedy="assign it before it is read")
        return scope.tiles[name]

    # ---- values

    def value(self, expr: Expr, at: At, scope: Scope, want: DType | None = None) -> Value:
        """The text of `expr`; literals without a type become `want` (by default i64 or f32)."""
        match expr:
            case Const(value, dtype):
                return self._const(value, dtype if dtype is not None else want)
            case Var() | Coord():
                return self.integer(expr, at, scope)
            case Ref(name):
                return self._ref(self._tile(name, scope), at, scope)
            case Cast(dtype, arg):
                if isinstance(arg, Const) and arg.dtype is None and dtype is not DType.BOOL:
                    kind = DType.F64 if isinstance(arg.value, float) else DType.I64
                    return self.convert.cast(self._const(arg.value, kind), dtype)
                if dtype.arithmetic.bytes == 4 and self._too_wide((arg,), at, scope):
                    return self._by_halves(expr, at, scope)
                return self.convert.cast(self.value(arg, at, scope), dtype)
            case Call(fn, args):
                if fn in (Fn.ADD, Fn.SUB, Fn.MUL, Fn.NEG) and is_bounded(expr, scope.bounded):
                    return self.integer(expr, at, scope)
                return self._call(fn, args, at, scope, want)
        raise InternalError(f"{type(expr).__name__} inside GIR")

    def _const(self, value: int | float | bool, dtype: DType | None) -> Value:
        if dtype is None:
            dtype = DType.BOOL if isinstance(value, bool) else DType.F32 if isinstance(value, float) else DType.I64
        text = literal(value, dtype)
        return Value(text, dtype.arithmetic, 1, UNARY if text.startswith("-") else ATOM)

    def _ref(self, tile: Tile, at: At, scope: Scope) -> Value:
        text = tile.name
        wide = tile.lanes > 1
        if wide and at.lanes == 1 and not at.lane:  # one element of a tile of vectors, anywhere
            element = "int64_t" if self.convert.word == 8 else "int32_t"
            c = element if tile.dtype is DType.BOOL else SCALAR[tile.dtype]
            flat = Tile(tile.name, tile.shape, tile.dtype, 1)
            text = f"((const {c} *)&{text})[{self.position(flat, at, scope)}]"
            return (
                Value(f"{text} != 0", DType.BOOL, 1, EQUALITY) if tile.dtype is DType.BOOL else Value(text, tile.dtype)
            )
        if tile.vectors > 1:
            text += f"[{self.position(tile, at, scope)}]"
        if not wide:
            return Value(text, tile.dtype)
        mask = self.convert.word if tile.dtype is DType.BOOL else 0
        if at.lane:
            return Value(f"{text}[{at.lane}]" + (" != 0" if mask else ""), tile.dtype, 1, EQUALITY if mask else ATOM)
        return Value(text, tile.dtype, tile.lanes, ATOM, mask)

    def position(self, tile: Tile, at: At, scope: Scope) -> str:
        """The index of the element or vector of a tile that lies at `at`; sizes of 1 broadcast."""
        out = Poly(())
        skip = len(at.coords) - len(tile.shape)
        for axis, size in enumerate(tile.shape):
            last = axis == len(tile.shape) - 1
            count = size // tile.lanes if last else size
            if axis + skip < 0 or size == 1:
                coordinate = Poly(())
            else:
                coordinate = poly(at.coords[axis + skip])
                if last and tile.lanes > 1:
                    coordinate = Poly(tuple((m, c // tile.lanes) for m, c in coordinate.terms))
            out = out * Poly((((), count),)) + coordinate
        return self.poly(out, At(), scope).text

    # ---- integers

    def integer(self, expr: Expr, at: At, scope: Scope) -> Value:
        """An i64 expression in which nothing overflows, put in order."""
        last = len(at.coords) - 1
        if at.lanes > 1 and uses_coord(expr, last):
            v = vector("i64", at.lanes)
            iota = f"{self.helpers.use(v + '_iota')}()"
            form = poly(expr)
            stride = form.stride(last, lambda f: f == Coord(last) or uses_coord(f, last))
            if form.terms == (((Coord(last),), 1),) and poly(at.coords[last]).value == 0:
                return Value(iota, DType.I64, at.lanes)
            if stride is not None:
                base = self.poly(form.at(dict(enumerate(at.coords))), at, scope)
                step = self.poly(stride.at(dict(enumerate(at.coords))), at, scope)
                scaled = iota if step.text == "1" else f"{iota} * {step.at(UNARY)}"
                return Value(f"{base.at(SUM)} + {scaled}", DType.I64, at.lanes, SUM)
            assert isinstance(expr, Call)
            return self._call(expr.fn, expr.args, at, scope, DType.I64)
        return self.poly(poly(substitute_coords(expr, self.coordinates(at))), at, scope)

    def coordinates(self, at: At) -> dict[int, Expr]:
        """Tile coordinates as expressions; inside a loop over lanes the last one includes the lane."""
        out = dict(enumerate(at.coords))
        if at.lane:
            last = len(at.coords) - 1
            out[last] = Call(Fn.ADD, (out[last], Var("%" + at.lane)))
        return out

    def poly(self, form: Poly, at: At, scope: Scope) -> Value:
        """A polynomial; factors that are not names are printed as expressions of their own."""
        return self._plain(form.to_expr(), at, scope)

    def _plain(self, expr: Expr, at: At, scope: Scope) -> Value:
        match expr:
            case Const():
                return self._const(expr.value, DType.I64)
            case Var(name):
                if name.startswith("%"):
                    return Value(name[1:], DType.I64)
                if name not in scope.integers:
                    raise VerifyError(f"'{name}' has no value here", expr.location, "declare it as a symbol or a loop")
                return Value(scope.integers[name], DType.I64)
            case Call(Fn.ADD | Fn.SUB | Fn.MUL as fn, (a, b)):
                symbol, level = INFIX[fn]
                left, right = self._plain(a, at, scope), self._plain(b, at, scope)
                return Value(f"{left.at(level)} {symbol} {right.at(level + 1)}", DType.I64, 1, level)
            case Call(Fn.NEG, (a,)):
                return Value(f"-{self._plain(a, at, scope).at(ATOM)}", DType.I64, 1, UNARY)
            case Call(fn, args):
                return self.convert.cast(self._call(fn, args, at, scope, DType.I64), DType.I64)
        return self.convert.cast(self.value(expr, at, scope, DType.I64), DType.I64)

    # ---- calls

    def _call(self, fn: Fn, args: tuple[Expr, ...], at: At, scope: Scope, want: DType | None) -> Value:
        if fn in LOGICAL:
            return self.logical(fn, [self.convert.cast(self.value(a, at, scope), DType.BOOL) for a in args])
        if fn is Fn.SELECT:
            condition = self.convert.cast(self.value(args[0], at, scope), DType.BOOL)
            yes, no = self._operands(args[1:], at, scope, want)
            return self.select(condition, yes, no)
        if fn in COMPARISONS:
            return self._compare(fn, args, at, scope)
        if fn is Fn.DOT2_BF16:
            kinds = (DType.I32, DType.I32, DType.F32)
            given = zip(args, kinds, strict=True)
            return self.dot2_bf16([self.convert.cast(self.value(a, at, scope, t), t) for a, t in given])
        values = self._operands(args, at, scope, want)
        return self.apply(fn, values)

    def _operands(self, args: tuple[Expr, ...], at: At, scope: Scope, want: DType | None) -> list[Value]:
        """The arguments in the type in which they meet."""
        dtype = self.common(args, scope)
        if dtype is None or (dtype is DType.BOOL and any(self.dtype(a, scope) is None for a in args)):
            dtype = want or (DType.F32 if any(_is_float(a) for a in args) else DType.I64)
        return [self.convert.cast(self.value(a, at, scope, dtype), dtype) for a in args]

    def _too_wide(self, args: tuple[Expr, ...], at: At, scope: Scope) -> bool:
        """Whether index arithmetic across lanes would take vectors of two registers (i64 beside 4-byte tiles)."""
        wide = self.convert.word == 4 and 8 * at.lanes > self.register and self.common(args, scope) is DType.I64
        return wide and all(ref_free(a) for a in args) and any(uses_coord(a, len(at.coords) - 1) for a in args)

    def _by_halves(self, expr: Expr, at: At, scope: Scope) -> Value:
        """A value of 4 bytes per lane, evaluated for the lower and the upper half of the lanes."""
        half = at.lanes // 2
        upper = (*at.coords[:-1], Call(Fn.ADD, (at.coords[-1], const(half))))
        parts = [
            self.convert.canonical(self.value(expr, At(coords, half), scope), half) for coords in (at.coords, upper)
        ]
        name = self.helpers.use(f"{vector(parts[0].element, at.lanes)}_join")
        text = f"{name}({parts[0].text}, {parts[1].text})"
        return Value(text, parts[0].dtype, at.lanes, ATOM, parts[0].mask)

    def _compare_lanes(self, fn: Fn, args: tuple[Expr, ...], at: At, scope: Scope) -> Value | None:
        """Comparison of index expressions linear in the lane: the lane number against one bound, in 4-byte integers.

        The bound is clamped to their range, which the lane number times its factor never reaches."""
        last = len(at.coords) - 1
        if not all(is_bounded(a, scope.bounded) for a in args):
            return None
        form = poly(args[0]) - poly(args[1])
        stride = form.stride(last, lambda f: uses_coord(f, last))
        step = None if stride is None else stride.value
        if step is None or not 0 < abs(step) <= 1 << 20:
            return None
        use, v = self.helpers.use, vector("i32", at.lanes)
        bound = self.poly(-form.at(dict(enumerate(at.coords))), at, scope)
        lane = f"{use(v + '_iota')}()" if step == 1 else f"{use(v + '_iota')}() * {step}"
        symbol, level = _RELATION[fn]
        text = f"{lane} {symbol} {use(v + '_set')}({use('weft_clamp')}({bound.text}))"
        return Value(text, DType.BOOL, at.lanes, level, 4)

    def _compare(self, fn: Fn, args: tuple[Expr, ...], at: At, scope: Scope) -> Value:
        if self._too_wide(args, at, scope):
            direct = self._compare_lanes(fn, args, at, scope)
            return direct if direct is not None else self._by_halves(Call(fn, args), at, scope)
        dtype = self.common(args, scope)
        if dtype is not None and not dtype.is_float and any(_is_float(a) for a in args):
            dtype = DType.F64  # `i < 2.5` must not round the literal
            values = [self.convert.cast(self.value(a, at, scope, dtype), dtype) for a in args]
        else:
            values = self._operands(args, at, scope, None)
        symbol, level = _RELATION[fn]
        a, b = values
        lanes = max(a.lanes, b.lanes)
        if a.dtype is DType.BOOL:
            values = [self.convert.cast(v, DType.I32) for v in values]
            a, b = values
        if lanes > 1:
            a, b = (self.convert.splat(v, lanes) if v.dtype is DType.I64 else v for v in values)
        text = f"{a.at(level + 1)} {symbol} {b.at(level + 1)}"
        return Value(text, DType.BOOL, lanes, level, a.dtype.bytes if lanes > 1 else 0)


def _is_float(expr: Expr) -> bool:
    return isinstance(expr, Const) and expr.dtype is None and isinstance(expr.value, float)
