"""The frame of a nest: open loops, positions of axes, register tiles and their shapes.

Every tile of a nest has the nest's full rank: one tile axis per loop whose register tile is larger than 1, the lanes
axis last. A value that does not vary along an axis has size 1 there and broadcasts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...ir.dtypes import DType
from ...ir.errors import NOWHERE, Location
from ...ir.expr import Call, Cast, Const, Coord, Expr, Fn, Ref, Var, const, refs, walk
from ...ir.gir import Alloc, Compute, Level, Loop, LoopKind, Stmt
from ..plan import AxisTile, Nest, step_definitions, step_loops
from .scope import Range, add, dtype_of, maximum, minimum, mul, sub
from .values import typed
from .view import KernelView


@dataclass
class Open:
    """One open loop body: its statements, and what is known in it."""

    body: list[Stmt] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    loads: dict[tuple[object, ...], Ref] = field(default_factory=dict)
    header: tuple[str, Expr, Expr, int] | None = None


class TileWriter:
    """Statements of a nest, level by level."""

    def __init__(self, kernel: KernelView, nest: Nest, ranges: dict[str, Range]) -> None:
        self.kernel = kernel
        self.ranges = dict(ranges)
        loops = [*nest.loops, *step_loops(nest.body)]
        wide = [t for t in loops if t.size > 1]
        wide.sort(key=lambda t: t.axis == nest.lanes)
        self.dims = {t.axis: k for k, t in enumerate(wide)}
        self.sizes = {t.axis: t.size for t in loops}
        self.rank = len(wide)
        self.written: set[str] = set()
        self.levels: list[Open] = [Open()]
        self.position: dict[str, Expr] = {}  # axis -> expression of its value, coordinates included
        self.start: dict[str, Expr] = {}  # axis -> first value in the register tile
        self.shapes: dict[str, tuple[int, ...]] = dict.fromkeys(kernel.scalars, ())
        self.dtypes: dict[str, DType] = dict(kernel.scalars)
        self.location: Location = NOWHERE
        self.nest = nest
        for axis, bounds in ranges.items():
            if bounds.span == 1:
                self.position[axis] = self.start[axis] = bounds.lo
        for name in step_definitions(nest.body):
            self.written.update(kernel.definition(name).target_names)

    def open(self, tile: AxisTile, bounds: Range, backwards: bool = False) -> None:
        if bounds.span is not None and bounds.span <= tile.size and not backwards:
            # one register tile covers the enclosing tile: a loop of one iteration is none
            self.levels.append(Open())
            self.start[tile.axis] = bounds.lo
            self.position[tile.axis] = add(bounds.lo, Coord(self.dims[tile.axis])) if tile.size > 1 else bounds.lo
            self.ranges[tile.axis] = bounds
            return
        var = self.kernel.fresh(tile.axis)
        start: Expr = Var(var)
        lo, hi = bounds.lo, bounds.hi
        if backwards:  # counted from the end of the axis
            start = sub(sub(bounds.end, const(1)), start)
            lo, hi = _reflected(hi, bounds.end), _reflected(lo, bounds.end)
        self.levels.append(Open(names={var}, header=(var, lo, hi, tile.size)))
        self.start[tile.axis] = start
        self.position[tile.axis] = add(start, Coord(self.dims[tile.axis])) if tile.size > 1 else start
        self.ranges[tile.axis] = bounds

    def open_pairs(self, axis: str, bounds: Range, count: Expr) -> None:
        """A loop over `count` pairs of the axis; the position is the first of each."""
        var = self.kernel.fresh(axis)
        self.levels.append(Open(names={var}, header=(var, const(0), count, 1)))
        self.start[axis] = self.position[axis] = add(bounds.lo, mul(const(2), Var(var)))
        self.ranges[axis] = bounds

    def close(self) -> None:
        level = self.levels.pop()
        if level.header is None:
            self.levels[-1].body += level.body
            self.levels[-1].names |= level.names
            return
        var, lo, hi, step = level.header
        self.levels[-1].body.append(Loop(var, lo, hi, step, LoopKind.SERIAL, tuple(level.body), self.location))

    def box(self) -> dict[str, tuple[Expr, Expr]]:
        """The first and last value of every axis in the current register tile."""
        return {axis: (start, add(start, const(self.sizes.get(axis, 1) - 1))) for axis, start in self.start.items()}

    def depth_of(self, parts: list[Expr]) -> int:
        """The outermost open level in which every name in `parts` is known."""
        needed = {e.name for p in parts for e in walk(p) if isinstance(e, Var | Ref)}
        for depth in range(len(self.levels) - 1, 0, -1):
            if self.levels[depth].names & needed:
                return depth
        return 0

    def tail(self, axis: str) -> Expr | None:
        if self.sizes.get(axis, 1) == 1 or axis not in self.ranges or axis not in self.position:
            return None
        return self.ranges[axis].tail(self.position[axis], self.sizes[axis], self.kernel.facts)

    def axes_in(self, exprs: list[Expr]) -> list[str]:
        """The wide axes whose coordinate occurs in the expressions."""
        coords = {e.axis for x in exprs for e in walk(x) if isinstance(e, Coord)}
        for x in exprs:
            for name in refs(x):
                coords |= {k for k, n in enumerate(self.shapes[name]) if n > 1}
        return [axis for axis, dim in self.dims.items() if dim in coords]

    def shape_of_axes(self, axes: list[str]) -> tuple[int, ...]:
        wide = {self.dims[a]: self.sizes[a] for a in axes if a in self.dims}
        return tuple(wide.get(k, 1) for k in range(self.rank))

    def shape_of_parts(self, parts: list[Expr]) -> tuple[int, ...]:
        return self.shape_of_axes(self.axes_in(parts)) if self.rank else ()

    def compute(self, value: Expr, shape: tuple[int, ...], hint: str) -> Ref:
        if isinstance(value, Ref) and self.shapes[value.name] == shape:
            return value
        name = self.kernel.fresh(hint)
        dtype = dtype_of(value, self.dtypes)
        self.emit(Compute(name, shape, value, dtype, self.location))
        self.note(name, shape, dtype)
        return Ref(name)

    def mutable(self, value: Expr, shape: tuple[int, ...], hint: str) -> Ref:
        name = self.kernel.fresh(f"{hint}_acc")
        dtype = dtype_of(value, self.dtypes)
        self.emit(Alloc(name, dtype, tuple(const(n) for n in shape), Level.REG, self.location))
        self.note(name, shape, dtype)
        self.emit(Compute(name, shape, value, dtype, self.location))
        return Ref(name)

    def convert(self, value: Expr, dtype: DType) -> Expr:
        """Round to a narrow type, or widen, where the value has another type."""
        if dtype.arithmetic is not dtype or dtype_of(value, self.dtypes) is not dtype:
            if isinstance(value, Const):
                return typed(value, dtype) if dtype.arithmetic is dtype else Cast(dtype, value)
            return Cast(dtype, value)
        return value

    def note(self, name: str, shape: tuple[int, ...], dtype: DType, level: Open | None = None) -> None:
        self.shapes[name] = shape
        self.dtypes[name] = dtype
        (level or self.levels[-1]).names.add(name)

    def emit(self, stmt: Stmt) -> None:
        self.levels[-1].body.append(stmt)


def _reflected(bound: Expr, end: Expr) -> Expr:
    """`end - bound`, smaller where the bound is larger."""
    match bound:
        case Call(Fn.MIN, (a, b)):
            return maximum(_reflected(a, end), _reflected(b, end))
        case Call(Fn.MAX, (a, b)):
            return minimum(_reflected(a, end), _reflected(b, end))
    return sub(end, bound)
