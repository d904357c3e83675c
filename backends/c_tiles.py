"""Instructions on register tiles as C.

The last axis of a tile is chopped into vectors where it is long enough; the loop over elements or vectors is written
out while that is short (so that the compiler keeps the tile in registers), and is a loop otherwise. Every instruction
stands under its GIR text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..ir.dtypes import DType
from ..ir.errors import ScheduleError
from ..ir.expr import Call, Const, Coord, Expr, Fn, Ref, Var, const, walk
from ..ir.gir import Access, Compute, Load, Reduce, Store
from .c_expr import At, ExprPrinter, Scope, Tile
from .c_index import Poly, is_bounded, offset, poly
from .c_names import Names
from .c_types import STORAGE, vector
from .c_values import ATOM, OR, SUM, TERNARY, Value
from .c_vectors import scalar_load, scalar_store
from .c_writer import Writer

UNROLL = 64  # elements or vectors of an instruction that are written out
UNROLL_INNER = 16  # the same inside of loops over the rest


@dataclass(frozen=True)
class Buffer:
    """A `dram` or `sram` buffer: C name, element type, extents."""

    name: str
    dtype: DType
    shape: tuple[Expr, ...]


@dataclass(frozen=True)
class Lanes:
    """Which lanes of a vector a predicate admits: all or none where `uniform` holds, of those `bits` says."""

    uniform: str = ""
    bits: str = ""
    general: bool = False


class TilePrinter:
    """Prints instructions. `widest` is the number of lanes of a full vector."""

    def __init__(self, printer: ExprPrinter, names: Names, widest: int) -> None:
        self.printer = printer
        self.names = names
        self.widest = widest
        self.buffers: dict[str, Buffer] = {}
        self.counter = 0

    def lanes(self, size: int) -> int:
        """Lanes of the vectors into which a last axis of `size` is chopped: the widest power of two that divides it."""
        lanes = self.widest
        while lanes > 1 and size % lanes:
            lanes //= 2
        return lanes if lanes >= 4 or lanes == self.widest or size == lanes else 1

    def fresh(self, wanted: str) -> str:
        """A C name of our own."""
        self.counter += 1
        return self.names.get(("fresh", self.counter), wanted)

    # ---- the loop over a tile

    @contextmanager
    def elements(self, shape: tuple[int, ...], lanes: int, w: Writer) -> Iterator[list[At]]:
        """The places of a tile; opens loops over the leading axes where there are too many to write out."""
        counts = [*shape[:-1], shape[-1] // lanes] if shape else []
        total = math.prod(counts)
        unrolled, looped = len(counts), 0
        if total > UNROLL:
            inner = 1
            while unrolled > 0 and inner * counts[unrolled - 1] <= UNROLL_INNER:
                unrolled -= 1
                inner *= counts[unrolled]
            looped = unrolled
        coords: list[list[Expr]] = [[]]
        depth = 0
        for axis, count in enumerate(counts):
            step = lanes if axis == len(counts) - 1 else 1
            if axis < looped and count > 1:
                name = f"c{axis}"
                w.line(f"for (int64_t {name} = 0; {name} < {count}; ++{name}) {{")
                w.depth += 1
                depth += 1
                place: Expr = Var("%" + name)
                choices: list[Expr] = [place if step == 1 else Call(Fn.MUL, (place, const(step)))]
            else:
                choices = [const(k * step) for k in range(count)]
            coords = [[*c, choice] for c in coords for choice in choices]
        yield [At(tuple(c), lanes) for c in coords]
        for _ in range(depth):
            w.depth -= 1
            w.line("}")

    # ---- results

    def declare(self, name: str, shape: tuple[int, ...], dtype: DType, scope: Scope, w: Writer) -> tuple[Tile, str]:
        """The tile that an instruction assigns, and the head of its assignment where that also declares it."""
        known = scope.tiles.get(name)
        if known is not None and known.mutable:
            return known, ""
        tile = Tile(self.names.get(name, name), shape, dtype, self.lanes(shape[-1]) if shape else 1)
        c = self.printer.convert.vector_type(dtype, tile.lanes)
        scope.tiles[name] = tile
        if tile.vectors == 1:
            return tile, f"const {c} "
        w.line(f"{c} {tile.name}[{tile.vectors}];")
        return tile, ""

    def place(self, tile: Tile, at: At, scope: Scope) -> str:
        """The element or vector of `tile` at `at`, as something to assign to."""
        return tile.name if tile.vectors == 1 else f"{tile.name}[{self.printer.position(tile, at, scope)}]"

    def result(self, value: Value, tile: Tile) -> Value:
        """`value` as `tile` holds it."""
        value = self.printer.convert.cast(value, tile.dtype)
        if tile.storage is not None:
            value = self.printer.convert.cast(
                Value(value.text, value.dtype, value.lanes, value.precedence, value.mask), tile.storage
            )
        return self.printer.convert.canonical(value, tile.lanes)

    def compute(self, s: Compute, scope: Scope, w: Writer) -> None:
        lanes = self.lanes(s.shape[-1]) if s.shape else 1
        outer = scope.inner()
        tile, head = self.declare(s.tile, s.shape, s.dtype.arithmetic, scope, w)
        with self.elements(s.shape, lanes, w) as places:
            for at in places:
                value = self.printer.convert.cast(self.printer.value(s.expr, at, outer, s.dtype), s.dtype.arithmetic)
                w.line(f"{head}{self.place(tile, at, scope)} = {self.result(value, tile).text};")

    # ---- addresses

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

    def moves_lane(self, shape: tuple[int, ...], scope: Scope) -> Callable[[Expr], bool]:
        """Whether a factor changes along the last axis of the instruction."""
        last = len(shape) - 1

        def moves(factor: Expr) -> bool:
            for e in walk(factor):
                if isinstance(e, Coord) and e.axis == last:
                    return True
                if isinstance(e, Ref) and e.name in scope.tiles and scope.tiles[e.name].lanes > 1:
                    return True
            return False

        return moves

    def flat(self, form: Poly, at: At, scope: Scope) -> Value:
        return self.printer.poly(form.at(self.printer.coordinates(at)), at, scope)

    # ---- predicates

    def admitted(self, predicate: Expr | None, at: At, shape: tuple[int, ...], scope: Scope) -> Lanes:
        """Which lanes of the vector at `at` a predicate admits, in the cheapest form that says it."""
        if predicate is None:
            return Lanes()
        moves = self.moves_lane(shape, scope)
        uniform: list[Expr] = []
        lows: list[str] = []
        highs: list[str] = []
        last = len(shape) - 1
        for term in _conjuncts(predicate):
            if at.lanes == 1 or not moves(term):
                uniform.append(term)
                continue
            form = _difference(term, scope.bounded)
            stride = None if form is None else form.stride(last, moves)
            if form is None or stride is None or stride.value not in (1, -1):
                return Lanes(general=True)
            rest = form.at(dict(enumerate(at.coords)))  # negative at the first lane's coordinate where it holds
            if stride.value == 1:
                highs.append(self.printer.poly(-rest, at, scope).text)
            else:
                lows.append(self.printer.poly(rest + Poly((((), 1),)), at, scope).text)
        condition = ""
        if uniform:
            scalar = At(at.coords, 1, at.lane)
            texts = [self.condition(t, scalar, scope) for t in uniform]
            condition = texts[0].text if len(texts) == 1 else " && ".join(t.at(ATOM) for t in texts)
        if not lows and not highs:
            return Lanes(uniform=condition)
        low = lows[0] if lows else "0"
        for other in lows[1:]:
            low = f"{self.printer.helpers.use('weft_max_i64')}({low}, {other})"
        high = highs[0] if highs else str(at.lanes)
        for other in highs[1:]:
            high = f"{self.printer.helpers.use('weft_min_i64')}({high}, {other})"
        bits = f"{self.printer.helpers.use('weft_lanes')}({low}, {high})"
        return Lanes(bits=f"({condition}) ? {bits} : 0" if condition else bits)

    def condition(self, expr: Expr, at: At, scope: Scope) -> Value:
        return self.printer.convert.cast(self.printer.value(expr, at, scope), DType.BOOL)

    # ---- load

    def load(self, s: Load, scope: Scope, w: Writer) -> None:
        lanes = self.lanes(s.shape[-1]) if s.shape else 1
        several = math.prod(s.shape) // lanes > 1
        outer = scope.inner()
        buffer, base, rest = self.address(s.source, several, outer, w, writes=False)
        tile, head = self.declare(s.tile, s.shape, buffer.dtype.arithmetic, scope, w)
        stride = rest.stride(len(s.shape) - 1, self.moves_lane(s.shape, outer)) if lanes > 1 else Poly(())
        with self.elements(s.shape, lanes, w) as places:
            for at in places:
                admitted = self.admitted(s.predicate, at, s.shape, outer)
                fill = self._fill(s, buffer, at, outer)
                value = self._direct(buffer, base, rest, stride, admitted, fill, at, outer)
                target = self.place(tile, at, scope)
                if value is not None:
                    w.line(f"{head}{target} = {self.result(value, tile).text};")
                else:
                    self._by_lane(s, tile, target, bool(head), buffer, base, rest, fill, at, outer, w)

    def _fill(self, s: Load, buffer: Buffer, at: At, scope: Scope) -> Value | None:
        if s.predicate is None:
            return None
        arithmetic = buffer.dtype.arithmetic
        value = self.printer.value(s.fill if s.fill is not None else Const(0, arithmetic), at, scope, arithmetic)
        return self.printer.convert.cast(value, arithmetic)

    def _direct(
        self,
        buffer: Buffer,
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
        dtype = buffer.dtype.arithmetic
        if stride is None or admitted.general or stride.value not in (0, 1) or (admitted.bits and stride.value == 0):
            return None
        if at.lanes == 1 or stride.value == 0:
            element = self.element(buffer, base, self.flat(rest, At(at.coords), scope))
            if admitted.uniform and fill is not None:
                if fill.lanes > 1:
                    element, fill = convert.canonical(element, at.lanes), convert.canonical(fill, at.lanes)
                text = f"{_test(admitted.uniform)} ? {element.at(OR)} : {fill.at(OR)}"
                return Value(text, dtype, element.lanes, TERNARY, element.mask)
            return element
        where = self.flat(rest, At(at.coords), scope)
        pointer = base if where.text == "0" else f"{base} + {where.at(SUM)}"
        name = vector(buffer.dtype.value, at.lanes)
        mask = 4 if dtype is DType.BOOL else 0
        if admitted.bits and fill is not None:
            filled = convert.splat(fill, at.lanes)
            if mask:
                filled = convert.mask(filled, 4, at.lanes)
            call = f"{helpers.use(name + '_load_part')}({pointer}, {admitted.bits}, {filled.text})"
            return Value(call, dtype, at.lanes, ATOM, mask)
        value = Value(f"{helpers.use(name + '_load')}({pointer})", dtype, at.lanes, ATOM, mask)
        if admitted.uniform and fill is not None:
            value, filled = convert.canonical(value, at.lanes), convert.canonical(fill, at.lanes)
            text = f"{_test(admitted.uniform)} ? {value.text} : {filled.at(OR)}"
            return Value(text, dtype, at.lanes, TERNARY, value.mask)
        return value

    def element(self, buffer: Buffer, base: str, where: Value) -> Value:
        """One element of a buffer, read."""
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
        value = self.element(buffer, base, self.flat(rest, lane, scope))
        c = convert.vector_type(buffer.dtype.arithmetic, at.lanes)
        own = target if declares else self.fresh("gathered")
        start = "{0}" if fill is None else convert.canonical(fill, at.lanes).text
        w.line(f"{c} {own} = {start};")
        test = "" if s.predicate is None else f"if ({self.condition(s.predicate, lane, scope).text})"
        text = f"-{value.at(ATOM)}" if value.dtype is DType.BOOL else value.text
        self._lane_loop(at.lanes, test, f"{own}[lane] = {text};", w)
        if not declares:
            held = Value(own, buffer.dtype.arithmetic, at.lanes, ATOM, convert.word if tile.dtype is DType.BOOL else 0)
            w.line(f"{target} = {self.result(held, tile).text};")

    def _lane_loop(self, lanes: int, test: str, body: str, w: Writer) -> None:
        w.line(f"for (int lane = 0; lane < {lanes}; ++lane)")
        with w.indented():
            if test:
                w.line(test)
                with w.indented():
                    w.line(body)
            else:
                w.line(body)

    # ---- store

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

    # ---- reduce

    def reduce(self, s: Reduce, scope: Scope, w: Writer) -> None:
        if s.source not in scope.tiles:
            raise ScheduleError(f"tile '{s.source}' is not in scope", s.location, "assign it before it is reduced")
        source = scope.tiles[s.source]
        rank = len(source.shape)
        axes = {a % rank for a in s.axes} if rank else set()
        shape = tuple(1 if k in axes else n for k, n in enumerate(source.shape))
        across = rank > 0 and rank - 1 in axes and source.lanes > 1
        tile, head = self.declare(s.tile, shape, source.dtype, scope, w)
        lanes = 1 if across or not shape else self.lanes(shape[-1])
        steps = [n // source.lanes if k == rank - 1 else n for k, n in enumerate(source.shape)]
        counts = [steps[k] if k in axes else 1 for k in range(rank)]
        with self.elements(shape, lanes, w) as places:
            for at in places:
                if math.prod(counts) <= UNROLL:
                    offsets = _box(counts, source.lanes)
                    values = [self._read(source, at, o, scope) for o in offsets]
                    total = self._tree(s.fn, values)
                else:
                    total = self._running(s.fn, source, at, counts, scope, w)
                if across:
                    total = self._fold(s.fn, source, total)
                w.line(f"{head}{self.place(tile, at, scope)} = {self.result(total, tile).text};")

    def _read(self, source: Tile, at: At, shift: tuple[Expr, ...], scope: Scope) -> Value:
        coords = tuple((poly(c) + poly(o)).to_expr() for c, o in zip(at.coords, shift, strict=True))
        text = self.place(source, At(coords), scope)
        mask = self.printer.convert.word if source.dtype is DType.BOOL and source.lanes > 1 else 0
        return Value(text, source.dtype, source.lanes, ATOM, mask)

    def _tree(self, fn: Fn, values: list[Value]) -> Value:
        """Pairwise, so that the chain of dependent operations is short."""
        while len(values) > 1:
            paired = [self.printer.apply(fn, values[k : k + 2]) for k in range(0, len(values) - 1, 2)]
            values = paired + ([values[-1]] if len(values) % 2 else [])
        return values[0]

    def _running(self, fn: Fn, source: Tile, at: At, counts: list[int], scope: Scope, w: Writer) -> Value:
        """A running total over more elements than are written out. The first one is met twice by idempotent folds
        only, so it starts from the identity-free first element and skips it."""
        name = self.fresh("total")
        first = self._read(source, at, tuple(const(0) for _ in counts), scope)
        w.line(f"{self.printer.convert.vector_type(source.dtype, source.lanes)} {name} = {first.text};")
        total = self.fresh("k")
        count = math.prod(counts)
        shifts: list[Expr] = []
        stride = count
        for axis, n in enumerate(counts):
            stride //= n
            one: Expr = Var("%" + total)
            if stride > 1:
                one = Call(Fn.FLOORDIV, (one, const(stride)))
            if stride * n < count:
                one = Call(Fn.MOD, (one, const(n)))
            step = source.lanes if axis == len(counts) - 1 else 1
            shifts.append(Call(Fn.MUL, (one, const(step))) if n > 1 else const(0))
        with w.block(f"for (int64_t {total} = 1; {total} < {count}; ++{total})"):
            held = Value(name, source.dtype, source.lanes, ATOM, first.mask)
            value = self.printer.apply(fn, [held, self._read(source, at, tuple(shifts), scope)])
            w.line(f"{name} = {self.result(value, Tile(name, (), source.dtype, source.lanes)).text};")
        return Value(name, source.dtype, source.lanes, ATOM, first.mask)

    def _fold(self, fn: Fn, source: Tile, value: Value) -> Value:
        if value.dtype is DType.BOOL:
            value = self.printer.convert.mask(value, self.printer.convert.word, source.lanes)
            fn = {Fn.MAX: Fn.OR, Fn.ADD: Fn.OR, Fn.MIN: Fn.AND, Fn.MUL: Fn.AND}.get(fn, fn)
            call = self.printer.helpers.use(f"{vector(value.element, source.lanes)}_fold_{fn}")
            return Value(f"{call}({value.text}) != 0", DType.BOOL, 1, 5)
        call = self.printer.helpers.use(f"{vector(value.element, source.lanes)}_fold_{fn}")
        return Value(f"{call}({value.text})", value.dtype)


def _test(condition: str) -> str:
    return condition if condition.isidentifier() else f"({condition})"


def _box(counts: list[int], lanes: int) -> list[tuple[Expr, ...]]:
    out: list[tuple[Expr, ...]] = [()]
    for axis, n in enumerate(counts):
        step = lanes if axis == len(counts) - 1 else 1
        out = [(*c, const(k * step)) for c in out for k in range(n)]
    return out


def _conjuncts(expr: Expr) -> list[Expr]:
    match expr:
        case Call(Fn.AND, (a, b)):
            return _conjuncts(a) + _conjuncts(b)
    return [expr]


def _difference(term: Expr, bounded: frozenset[str]) -> Poly | None:
    """The polynomial that is negative where an integer comparison holds, or None for another term."""
    match term:
        case Call(Fn.LT | Fn.LE | Fn.GT | Fn.GE as fn, (a, b)) if is_bounded(a, bounded) and is_bounded(b, bounded):
            if fn in (Fn.GT, Fn.GE):
                a, b = b, a
            return poly(a) - poly(b) - Poly((((), 1 if fn in (Fn.LE, Fn.GE) else 0),) if fn in (Fn.LE, Fn.GE) else ())
    return None
