"""Instructions on register tiles as C: arithmetic and folds here, memory in `c_memory.py`."""

from __future__ import annotations

import math

from ..ir.dtypes import DType
from ..ir.errors import ScheduleError
from ..ir.expr import Call, Expr, Fn, Var, const
from ..ir.gir import Compute, Reduce
from .c_expr import At, Scope, Tile
from .c_index import poly
from .c_memory import MemoryPrinter
from .c_tile_base import UNROLL
from .c_types import vector
from .c_values import ATOM, Value
from .c_writer import Writer


class TilePrinter(MemoryPrinter):
    """Prints every instruction that makes or takes a register tile."""

    def compute(self, s: Compute, scope: Scope, w: Writer) -> None:
        lanes = self.lanes(s.shape[-1]) if s.shape else 1
        outer = scope.inner()
        tile, head = self.declare(s.tile, s.shape, s.dtype.arithmetic, scope, w)
        with self.elements(s.shape, lanes, w) as places:
            for at in places:
                value = self.printer.convert.cast(self.printer.value(s.expr, at, outer, s.dtype), s.dtype.arithmetic)
                w.line(f"{head}{self.place(tile, at, scope)} = {self.result(value, tile).text};")

    def reduce(self, s: Reduce, scope: Scope, w: Writer) -> None:
        if s.source not in scope.tiles:
            raise ScheduleError(f"tile '{s.source}' is not in scope", s.location, "assign it before it is reduced")
        source = scope.tiles[s.source]
        if s.running:
            self._scan(s, source, scope, w)
            return
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

    def _scan(self, s: Reduce, source: Tile, scope: Scope, w: Writer) -> None:
        """Element by element, or vector by vector, along the axis: each is completed by the one before it."""
        (axis,) = s.axes
        across = axis == len(source.shape) - 1
        step = source.lanes if across else 1
        count = source.shape[axis] // step
        tile, head = self.declare(s.tile, source.shape, source.dtype, scope, w)
        first = tuple(step if k == axis else n for k, n in enumerate(source.shape))
        with self.elements(first, source.lanes, w) as places:
            for at in places:
                if count <= UNROLL:
                    for k in range(count):
                        self._scanned(s.fn, source, tile, head, at, (axis, const(k * step), step), scope, w)
                    continue
                self._scanned(s.fn, source, tile, head, at, (axis, const(0), step), scope, w)
                name = self.fresh("k")
                far = Call(Fn.MUL, (Var("%" + name), const(step)))
                with w.block(f"for (int64_t {name} = 1; {name} < {count}; ++{name})"):
                    self._scanned(s.fn, source, tile, head, at, (axis, far, step), scope, w)

    def _scanned(
        self,
        fn: Fn,
        source: Tile,
        tile: Tile,
        head: str,
        at: At,
        where: tuple[int, Expr, int],
        scope: Scope,
        w: Writer,
    ) -> None:
        """One element or vector of a scan: `where` is its axis, the place on it, and the distance to the one before."""
        axis, place, step = where

        def beside(target: Tile, shift: Expr) -> Value:
            return self._read(target, at, tuple(shift if k == axis else const(0) for k in range(len(at.coords))), scope)

        value = beside(source, place)
        across = axis == len(at.coords) - 1 and source.lanes > 1
        if across:
            helper = self.printer.helpers.use(f"{vector(value.element, source.lanes)}_scan_{fn}")
            value = Value(f"{helper}({value.text})", value.dtype, value.lanes, ATOM, value.mask)
        if place != const(0):
            before = beside(tile, Call(Fn.SUB, (place, const(step))))
            if across:
                truth = " != 0" if before.dtype is DType.BOOL else ""
                last = Value(f"({before.text}[{source.lanes - 1}]{truth})", before.dtype)
                before = self.printer.convert.splat(last, source.lanes)
            value = self.printer.apply(fn, [before, value])
        here = At(
            tuple((poly(c) + poly(place)).to_expr() if k == axis else c for k, c in enumerate(at.coords)), at.lanes
        )
        w.line(f"{head}{self.place(tile, here, scope)} = {self.result(value, tile).text};")

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


def _box(counts: list[int], lanes: int) -> list[tuple[Expr, ...]]:
    out: list[tuple[Expr, ...]] = [()]
    for axis, n in enumerate(counts):
        step = lanes if axis == len(counts) - 1 else 1
        out = [(*c, const(k * step)) for c in out for k in range(n)]
    return out
