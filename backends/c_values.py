"""C texts of values, with what is needed to combine them: type, number of lanes, precedence."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.dtypes import DType
from .c_helpers import Helpers
from .c_types import SCALAR, literal, vector

# Precedence of C operators, tightest last.
TERNARY, OR, AND, BITOR, BITAND, EQUALITY, RELATION, SUM, TERM, UNARY, ATOM = range(11)


@dataclass(frozen=True)
class Value:
    """`text` of an arithmetic type. `lanes` is 1 for a scalar; a bool vector is a mask of `mask`-byte integers."""

    text: str
    dtype: DType
    lanes: int = 1
    precedence: int = ATOM
    mask: int = 0

    def at(self, precedence: int) -> str:
        """The text, in parentheses where it binds less tightly than `precedence`."""
        return self.text if self.precedence >= precedence else f"({self.text})"

    @property
    def element(self) -> str:
        """The element name of the vector type that holds it."""
        return f"i{8 * self.mask}" if self.dtype is DType.BOOL else self.dtype.value


class Converter:
    """Changes types and lanes of values, recording the helpers that takes."""

    def __init__(self, helpers: Helpers, word: int) -> None:
        self.helpers = helpers
        self.word = word  # bytes of a lane of stored masks

    def vector_type(self, dtype: DType, lanes: int) -> str:
        """The C type of a tile's element or vector."""
        if lanes == 1:
            return SCALAR[dtype]
        return self.helpers.use(vector(f"i{8 * self.word}" if dtype is DType.BOOL else dtype.value, lanes))

    def splat(self, value: Value, lanes: int) -> Value:
        """A scalar in every lane."""
        if value.lanes == lanes:
            return value
        if value.dtype is DType.BOOL:
            v = vector(f"i{8 * self.word}", lanes)
            return Value(f"{self.helpers.use(v + '_set')}(-{value.at(ATOM)})", DType.BOOL, lanes, ATOM, self.word)
        v = vector(value.dtype.value, lanes)
        return Value(f"{self.helpers.use(v + '_set')}({value.text})", value.dtype, lanes)

    def mask(self, value: Value, width: int, lanes: int) -> Value:
        """A bool vector whose mask is `width` bytes per lane."""
        value = self.splat(value, lanes)
        if value.mask == width:
            return value
        name = self.helpers.use(f"i{8 * width}x{lanes}_widen{8 * value.mask}")
        return Value(f"{name}({value.text})", DType.BOOL, lanes, ATOM, width)

    def canonical(self, value: Value, lanes: int) -> Value:
        """As a tile stores it."""
        value = self.splat(value, lanes)
        return self.mask(value, self.word, lanes) if value.dtype is DType.BOOL and lanes > 1 else value

    def cast(self, value: Value, dtype: DType) -> Value:
        """The semantics of `Cast`: rounds to narrow types, saturates from float to integer, wraps between integers."""
        if value.dtype is dtype:
            return value
        if dtype is DType.BOOL:
            return self._to_bool(value)
        target = dtype.arithmetic
        if value.dtype is DType.BOOL:
            return self.cast(self._from_bool(value, target), dtype)
        if dtype is target:
            return self._plain(value, target)
        return self._narrow(value, dtype)

    def _to_bool(self, value: Value) -> Value:
        zero = literal(0, value.dtype)
        text = f"{value.at(RELATION)} != {zero}"
        return Value(text, DType.BOOL, value.lanes, EQUALITY, value.dtype.bytes if value.lanes > 1 else 0)

    def _from_bool(self, value: Value, target: DType) -> Value:
        if value.lanes == 1:
            return Value(f"({SCALAR[target]}){value.at(UNARY)}", target, 1, UNARY)
        one = Value(f"{self.mask(value, target.bytes, value.lanes).at(UNARY)} & 1", DType.I32, value.lanes, BITAND)
        integer = DType.I32 if target.bytes == 4 else DType.I64
        return self._plain(Value(one.text, integer, value.lanes, BITAND), target)

    def _plain(self, value: Value, target: DType) -> Value:
        if value.dtype is target:
            return value
        saturates = value.dtype.is_float and target.is_int
        if value.lanes == 1:
            if saturates:
                name = self.helpers.use(f"weft_{target}_from_{value.dtype}")
                return Value(f"{name}({value.text})", target)
            return Value(f"({SCALAR[target]}){value.at(UNARY)}", target, 1, UNARY)
        name = self.helpers.use(f"{vector(target.value, value.lanes)}_from_{value.dtype}")
        return Value(f"{name}({value.text})", target, value.lanes)

    def _narrow(self, value: Value, dtype: DType) -> Value:
        if dtype.is_float:
            if value.dtype.is_int:  # through f64, which is exact for i32
                value = self._plain(value, DType.F64)
            return self._narrow_float(value, dtype)
        if value.lanes == 1:
            if value.dtype.is_float:
                name = self.helpers.use(f"weft_{dtype}_from_{value.dtype}")
                return Value(f"(int32_t){name}({value.text})", DType.I32, 1, UNARY)
            storage = {DType.I8: "int8_t", DType.I16: "int16_t", DType.U8: "uint8_t"}[dtype]
            return Value(f"(int32_t)({storage}){value.at(UNARY)}", DType.I32, 1, UNARY)
        v = vector("i32", value.lanes)
        saturates = value.dtype.is_float
        value = self._plain(value, DType.I32)
        if saturates:
            low, high = {DType.I8: (-128, 127), DType.I16: (-32768, 32767), DType.U8: (0, 255)}[dtype]
            use = self.helpers.use
            inner = f"{use(v + '_max')}({value.text}, {use(v + '_set')}({low}))"
            return Value(f"{use(v + '_min')}({inner}, {use(v + '_set')}({high}))", DType.I32, value.lanes)
        return Value(f"{self.helpers.use(f'{v}_from_{dtype}')}({value.text})", DType.I32, value.lanes)

    def _narrow_float(self, value: Value, dtype: DType) -> Value:
        if value.lanes == 1:
            inner = self.helpers.use(f"weft_{dtype}_from_{value.dtype}")
            return Value(f"{self.helpers.use(f'weft_f32_from_{dtype}')}({inner}({value.text}))", DType.F32)
        name = self.helpers.use(f"{vector(value.dtype.value, value.lanes)}_from_{dtype}")
        return self._plain(Value(f"{name}({value.text})", value.dtype, value.lanes), DType.F32)
