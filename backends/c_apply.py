"""Functions of values that are already C text, on scalars and vectors alike."""

from __future__ import annotations

from ..ir.dtypes import DType
from ..ir.expr import Fn
from .c_helpers import Helpers
from .c_types import SCALAR, literal, vector
from .c_values import AND, ATOM, BITAND, BITOR, EQUALITY, OR, RELATION, SUM, TERM, TERNARY, UNARY, Converter, Value

INFIX = {Fn.ADD: ("+", SUM), Fn.SUB: ("-", SUM), Fn.MUL: ("*", TERM), Fn.DIV: ("/", TERM)}


class Applier:
    """Applies functions, recording the helpers that takes. `word` is the number of bytes of a lane of stored masks."""

    def __init__(self, helpers: Helpers, word: int) -> None:
        self.helpers = helpers
        self.convert = Converter(helpers, word)

    def logical(self, fn: Fn, values: list[Value]) -> Value:
        lanes = max(v.lanes for v in values)
        if lanes == 1:
            if fn is Fn.NOT:
                return Value(f"!{values[0].at(ATOM)}", DType.BOOL, 1, UNARY)
            symbol, level = ("&&", AND) if fn is Fn.AND else ("||", OR)
            # GCC warns about && inside || without parentheses, so both bind as tightly as a comparison's operands
            texts = [v.text if v.precedence > OR and v.precedence != AND else f"({v.text})" for v in values]
            return Value(f" {symbol} ".join(texts), DType.BOOL, 1, level)
        width = next((v.mask for v in values if v.lanes > 1), self.convert.word)
        masks = [self.convert.mask(v, width, lanes) for v in values]
        if fn is Fn.NOT:
            return Value(f"~{masks[0].at(ATOM)}", DType.BOOL, lanes, UNARY, width)
        symbol, level = ("&", BITAND) if fn is Fn.AND else ("|", BITOR)
        return Value(f" {symbol} ".join(m.at(UNARY) for m in masks), DType.BOOL, lanes, level, width)

    def select(self, condition: Value, yes: Value, no: Value) -> Value:
        lanes = max(condition.lanes, yes.lanes, no.lanes)
        if lanes > 1:
            yes, no = self.convert.canonical(yes, lanes), self.convert.canonical(no, lanes)
        if condition.lanes == 1:
            text = f"{condition.at(OR)} ? {yes.at(OR)} : {no.at(OR)}"
            return Value(text, yes.dtype, lanes, TERNARY, yes.mask)
        width = yes.mask or yes.dtype.bytes
        mask = self.convert.mask(condition, width, lanes)
        name = self.helpers.use(f"{vector(yes.element, lanes)}_select")
        return Value(f"{name}({mask.text}, {yes.text}, {no.text})", yes.dtype, lanes, ATOM, yes.mask)

    def apply(self, fn: Fn, values: list[Value]) -> Value:
        """`fn` of values of one type (scalars broadcast)."""
        dtype = values[0].dtype
        lanes = max(v.lanes for v in values)
        if dtype is DType.BOOL:
            if fn in (Fn.MAX, Fn.ADD, Fn.OR, Fn.MIN, Fn.MUL, Fn.AND):
                return self.logical(Fn.OR if fn in (Fn.MAX, Fn.ADD, Fn.OR) else Fn.AND, values)
            dtype = DType.I32
            values = [self.convert.cast(v, dtype) for v in values]
        if dtype.is_float and fn in INFIX:
            symbol, level = INFIX[fn]
            return Value(f"{values[0].at(level)} {symbol} {values[1].at(level + 1)}", dtype, lanes, level)
        if fn is Fn.DIV:
            fn = Fn.FLOORDIV
        if fn is Fn.FMA and dtype.is_int:
            return self.apply(Fn.ADD, [self.apply(Fn.MUL, values[:2]), values[2]])
        if fn is Fn.NEG and dtype.is_float:
            return Value(f"-{values[0].at(ATOM)}", dtype, lanes, UNARY)
        if fn is Fn.ISNAN:
            if dtype.is_int:
                return Value("false", DType.BOOL)
            if lanes == 1:
                return Value(f"{self.helpers.use(f'weft_isnan_{dtype}')}({values[0].text})", DType.BOOL)
            text = values[0].at(RELATION)
            return Value(f"{text} != {text}", DType.BOOL, lanes, EQUALITY, dtype.bytes)
        if fn in (Fn.FLOAT_BITS, Fn.BITS_FLOAT):
            return self._bits(fn, values[0])
        if lanes > 1 and dtype.is_int and fn in (Fn.FLOORDIV, Fn.MOD) and values[1].lanes == 1:
            divisor = int(values[1].text) if values[1].text.isdecimal() else 0
            if divisor > 0 and divisor & (divisor - 1) == 0:
                symbol, by = (">>", divisor.bit_length() - 1) if fn is Fn.FLOORDIV else ("&", divisor - 1)
                return Value(f"{values[0].at(ATOM)} {symbol} {by}", dtype, lanes, BITOR)
        if dtype.is_int and fn not in (Fn.ADD, Fn.SUB, Fn.MUL, Fn.NEG, Fn.ABS, Fn.MAX, Fn.MIN, Fn.FLOORDIV, Fn.MOD):
            if fn in (Fn.FLOOR, Fn.CEIL, Fn.ROUND):
                return values[0]
            return self.apply(fn, [self.convert.cast(v, DType.F64) for v in values])
        if lanes > 1:
            if fn is Fn.RSQRT and self.helpers.libm:
                root = self.apply(Fn.SQRT, values)
                return Value(f"{literal(1, dtype)} / {root.text}", dtype, lanes, TERM)
            name = self.helpers.use(f"{vector(dtype.value, lanes)}_{fn}")
            return Value(f"{name}({', '.join(self.convert.splat(v, lanes).text for v in values)})", dtype, lanes)
        return Value(f"{self._scalar_function(fn, dtype)}({', '.join(v.text for v in values)})", dtype)

    def dot2_bf16(self, values: list[Value]) -> Value:
        """Two products of bf16 pairs (i32 bits), added to the third value."""
        lanes = max(v.lanes for v in values)
        name = "weft_dot2_bf16" if lanes == 1 else f"{vector('f32', lanes)}_dot2_bf16"
        given = ", ".join(self.convert.splat(v, lanes).text for v in values)
        return Value(f"{self.helpers.use(name)}({given})", DType.F32, lanes)

    def _bits(self, fn: Fn, value: Value) -> Value:
        """The bits of a float as an integer, and back."""
        wide = value.dtype.bytes == 8
        if fn is Fn.FLOAT_BITS:
            target = DType.I64 if wide else DType.I32
            call = f"weft_bits_from_{value.dtype}"
        else:
            target = DType.F64 if wide else DType.F32
            call = f"weft_{target}_from_bits"
        if value.lanes > 1:
            return Value(
                f"({self.convert.vector_type(target, value.lanes)}){value.at(ATOM)}", target, value.lanes, UNARY
            )
        text = f"{self.helpers.use(call)}({'' if fn is Fn.FLOAT_BITS else f'(u{SCALAR[value.dtype]})'}{value.at(ATOM)})"
        return Value(f"({SCALAR[target]}){text}" if fn is Fn.FLOAT_BITS else text, target, 1, UNARY)

    def _scalar_function(self, fn: Fn, dtype: DType) -> str:
        suffix = "f" if dtype is DType.F32 else ""
        if fn in (Fn.FMA, Fn.SQRT, Fn.FLOOR, Fn.CEIL):
            return f"{fn}{suffix}"
        if fn is Fn.ROUND:
            return "rint" + suffix
        if fn is Fn.ABS and dtype.is_float:
            return "fabs" + suffix
        return self.helpers.use(f"weft_{fn}_{dtype}")
