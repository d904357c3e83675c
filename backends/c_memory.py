"""Loads and stores: contiguous, broadcast, strided or gathered, guarded or not."""

from __future__ import annotations

import math

from ..ir.dtypes import DType
from ..ir.errors import ScheduleError
from ..ir.expr import Const, Coord, Ref, walk
from ..ir.gir import Access, Load, Prefetch, Store
from .c_expr import At, Scope, Tile
from .c_index import Poly, offset
from .c_predicates import Lanes, PredicatePrinter
from .c_tile_base import Buffer
from .c_types import STORAGE, vector
from .c_values import ATOM, OR, SUM, TERNARY, Value
from .c_vector_memory import scalar_load, scalar_store
from .c_writer import Writer


class MemoryPrinter(PredicatePrinter):
    """Prints loads and stores."""

    def address(self, access: Access, several: bool, scope: Scope, w: Writer, writes: bool) -> tuple[Buffer, str, Poly]:
        """`(buffer, base, rest)`: the part of the offset that no tile coordinate enters becomes a pointer."""
        if access.buffer not in self.buffers:
            raise ScheduleError(f"there is no buffer '{access.buffer}' here", remedy="allocate it, or declare a tensor")
        buffer = self.buffers[access.buffer]
        if len(access.index) != len(buffer.shape):
            raise ScheduleError(
                f"'{access.buffer}' has {len(buffer.shape)} dimensions and is indexed with {len(access.index)}",
                remedy="one index per dimension",
            )
        fixed, moving = offset(access.index, buffer.shape).split(
            lambda f: any(isinstance(e, Coord | Ref) for e in walk(f))
        )
        if not several or fixed.value is not None:
            return buffer, buffer.name, fixed + moving
        name = self.fresh(f"{buffer.name}_at")
        kind = STORAGE[buffer.dtype] if writes else f"const {STORAGE[buffer.dtype]}"
        w.line(f"{kind} *const {name} = {buffer.name} + {self.printer.poly(fixed, At(), scope).at(SUM)};")
        return buffer, name, moving

    def flat(self, form: Poly, at: At, scope: Scope) -> Value:
        return self.printer.poly(form.at(self.printer.coordinates(at)), at, scope)

    def load(self, s: Load, scope: Scope, w: Writer) -> None:
        lanes = self.lanes(s.shape[-1]) if s.shape else 1
        several = math.prod(s.shape) // lanes > 1
        outer = scope.inner()
        buffer, base, rest = self.address(s.source, several, outer, w, writes=False)
        tile, head = self.declare(s.tile, s.shape, s.dtype(buffer.dtype), scope, w)
        stride = rest.stride(len(s.shape) - 1, self.moves_lane(s.shape, outer)) if lanes > 1 else Poly(())
        with self.elements(s.shape, lanes, w) as places:
            for at in places:
                admitted = self.admitted(s.predicate, at, s.shape, outer)
                fill = self._fill(s, buffer, at, outer)
                value = self._direct(buffer, s.pairs, base, rest, stride, admitted, fill, at, outer)
                target = self.place(tile, at, scope)
                if value is not None:
                    w.line(f"{head}{target} = {self.result(value, tile).text};")
                else:
                    self._by_lane(s, tile, target, bool(head), buffer, base, rest, fill, at, outer, w)

    def _fill(self, s: Load, buffer: Buffer, at: At, scope: Scope) -> Value | None:
        if s.predicate is None:
            return None
        arithmetic = s.dtype(buffer.dtype)
        value = self.printer.value(s.fill if s.fill is not None else Const(0, arithmetic), at, scope, arithmetic)
        return self.printer.convert.cast(value, arithmetic)

    def _direct(
        self,
        buffer: Buffer,
        pairs: bool,
        base: str,
        rest: Poly,
        stride: Poly | None,
        admitted: Lanes,
        fill: Value | None,
        at: At,
        scope: Scope,
    ) -> Value | None:
        """The loaded value as one expression, or None where it takes a loop over lanes."""
        convert, helpers = self.printer.convert, self.printer.helpers
        dtype = DType.I32 if pairs else buffer.dtype.arithmetic
        if stride is None or admitted.general or stride.value not in (0, 2 if pairs else 1):
            return None
        if admitted.bits and (pairs or stride.value == 0):
            return None
        if at.lanes == 1 or stride.value == 0:
            element = self.element(buffer, base, self.flat(rest, At(at.coords), scope), pairs)
            if admitted.uniform and fill is not None:
                if fill.lanes > 1:
                    element, fill = convert.canonical(element, at.lanes), convert.canonical(fill, at.lanes)
                text = f"{_test(admitted.uniform)} ? {element.at(OR)} : {fill.at(OR)}"
                return Value(text, dtype, element.lanes, TERNARY, element.mask)
            return element
        where = self.flat(rest, At(at.coords), scope)
        pointer = base if where.text == "0" else f"{base} + {where.at(SUM)}"
        name = vector("i32" if pairs else buffer.dtype.value, at.lanes)
        mask = 4 if dtype is DType.BOOL else 0
        if admitted.bits and fill is not None:
            filled = convert.splat(fill, at.lanes)
            if mask:
                filled = convert.mask(filled, 4, at.lanes)
            call = f"{helpers.use(name + '_load_part')}({pointer}, {admitted.bits}, {filled.text})"
            return Value(call, dtype, at.lanes, ATOM, mask)
        call = helpers.use(name + ("_pairs" if pairs else "_load"))
        value = Value(f"{call}({pointer})", dtype, at.lanes, ATOM, mask)
        if admitted.uniform and fill is not None:
            value, filled = convert.canonical(value, at.lanes), convert.canonical(fill, at.lanes)
            text = f"{_test(admitted.uniform)} ? {value.text} : {filled.at(OR)}"
            return Value(text, dtype, at.lanes, TERNARY, value.mask)
        return value

    def element(self, buffer: Buffer, base: str, where: Value, pairs: bool = False) -> Value:
        """One element of a buffer, read; with `pairs` the bits of it and the next one."""
        if pairs:
            return Value(f"{self.printer.helpers.use('weft_pair')}({base} + {where.at(SUM)})", DType.I32)
        helper, form = scalar_load(buffer.dtype.value)
        if helper:
            self.printer.helpers.use(helper)
        text = form.format(f"{base}[{where.text}]")
        return Value(text, buffer.dtype.arithmetic, 1, 5 if buffer.dtype is DType.BOOL else ATOM)

    def _by_lane(
        self,
        s: Load,
        tile: Tile,
        target: str,
        declares: bool,
        buffer: Buffer,
        base: str,
        rest: Poly,
        fill: Value | None,
        at: At,
        scope: Scope,
        w: Writer,
    ) -> None:
        """Lane by lane, into a vector of its own (the tile may be read by the index)."""
        convert = self.printer.convert
        lane = At(at.coords, 1, "lane")
        value = self.element(buffer, base, self.flat(rest, lane, scope), s.pairs)
        c = convert.vector_type(s.dtype(buffer.dtype), at.lanes)
        own = target if declares else self.fresh("gathered")
        start = "{0}" if fill is None else convert.canonical(fill, at.lanes).text
        w.line(f"{c} {own} = {start};")
        test = "" if s.predicate is None else f"if ({self.condition(s.predicate, lane, scope).text})"
        text = f"-{value.at(ATOM)}" if value.dtype is DType.BOOL else value.text
        self._lane_loop(at.lanes, test, f"{own}[lane] = {text};", w)
        if not declares:
            held = Value(own, s.dtype(buffer.dtype), at.lanes, ATOM, convert.word if tile.dtype is DType.BOOL else 0)
            w.line(f"{target} = {self.result(held, tile).text};")

    def _lane_loop(self, lanes: int, test: str, body: str, w: Writer) -> None:
        w.line(f"for (int64_t lane = 0; lane < {lanes}; ++lane)")
        with w.indented():
            if test:
                w.line(test)
                with w.indented():
                    w.line(body)
            else:
                w.line(body)

    def store(self, s: Store, scope: Scope, w: Writer) -> None:
        lanes = self.lanes(s.shape[-1]) if s.shape else 1
        several = math.prod(s.shape) // lanes > 1
        buffer, base, rest = self.address(s.target, several, scope, w, writes=True)
        stride = rest.stride(len(s.shape) - 1, self.moves_lane(s.shape, scope)) if lanes > 1 else Poly(())
        with self.elements(s.shape, lanes, w) as places:
            for at in places:
                self._store_at(s, buffer, base, rest, stride, at, scope, w)

    def _store_at(
        self, s: Store, buffer: Buffer, base: str, rest: Poly, stride: Poly | None, at: At, scope: Scope, w: Writer
    ) -> None:
        helpers = self.printer.helpers
        admitted = self.admitted(s.predicate, at, s.shape, scope)
        value = self.stored(self.printer.value(s.value, at, scope, buffer.dtype.arithmetic), buffer.dtype)
        if at.lanes == 1:
            text = self.assignment(buffer, base, self.flat(rest, at, scope), value)
            self._guarded(admitted.uniform, text, w)
            return
        value = self.printer.convert.splat(value, at.lanes)
        if value.dtype is DType.BOOL:
            value = self.printer.convert.mask(value, 4, at.lanes)
        if stride is None or stride.value != 1 or admitted.general:
            name = self.fresh("stored")
            element = vector("i32" if value.dtype is DType.BOOL else value.dtype.value, at.lanes)
            lane = At(at.coords, 1, "lane")
            one = Value(f"{name}[lane]", value.dtype)
            if value.dtype is DType.BOOL:
                one = Value(f"{name}[lane] & 1", DType.BOOL, 1, 4)
            with w.block(""):
                w.line(f"const {helpers.use(element)} {name} = {value.text};")
                test = "" if s.predicate is None else f"if ({self.condition(s.predicate, lane, scope).text})"
                text = self.assignment(buffer, base, self.flat(rest, lane, scope), one)
                self._lane_loop(at.lanes, test, text, w)
            return
        where = self.flat(rest, At(at.coords), scope)
        pointer = base if where.text == "0" else f"{base} + {where.at(SUM)}"
        name = vector(buffer.dtype.value, at.lanes)
        if admitted.bits:
            w.line(f"{helpers.use(name + '_store_part')}({pointer}, {admitted.bits}, {value.text});")
            return
        plain = buffer.dtype.arithmetic is buffer.dtype and buffer.dtype is not DType.BOOL
        how = "_stream" if s.streaming and plain else "_store"
        self._guarded(admitted.uniform, f"{helpers.use(name + how)}({pointer}, {value.text});", w)

    def prefetch(self, s: Prefetch, scope: Scope, w: Writer) -> None:
        """Addresses are computed as integers: a hint may look past the end of its tensor."""
        buffer, base, rest = self.address(s.source, False, scope, w, writes=False)
        where = self.flat(rest, At(()), scope)
        helper, size = self.printer.helpers.use("weft_prefetch"), buffer.dtype.bytes
        w.line(f"{helper}({base}, {where.at(ATOM)} * {size}, {s.count * size}, {self.printer.line});")

    def stored(self, value: Value, dtype: DType) -> Value:
        """A value in the arithmetic type of a buffer, such that narrowing it is the store's rounding."""
        convert = self.printer.convert
        if value.dtype is dtype.arithmetic:
            return value
        if value.dtype.is_int and dtype.is_int:
            return convert.cast(value, dtype.arithmetic)  # wraps, then wraps again
        return convert.cast(value, dtype)

    def assignment(self, buffer: Buffer, base: str, where: Value, value: Value) -> str:
        """The statement that writes one element."""
        helper, form = scalar_store(buffer.dtype.value)
        if helper:
            self.printer.helpers.use(helper)
        text = value.text if form == "{}" or helper else value.at(ATOM)
        return f"{base}[{where.text}] = {form.format(text)};"

    def _guarded(self, condition: str, text: str, w: Writer) -> None:
        if condition:
            w.line(f"if ({condition})")
            with w.indented():
                w.line(text)
        else:
            w.line(text)


def _test(condition: str) -> str:
    return condition if condition.isidentifier() else f"({condition})"
