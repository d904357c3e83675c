"""Write out one nest: loops over register tiles, loads, expressions, accumulators and stores.

Every tile of a nest has the nest's full rank: one tile axis per loop whose register tile is larger than 1, the lanes
axis last. A value that does not vary along an axis has size 1 there and broadcasts. Loads of data that the nest does
not write are placed in the outermost loop in which all they depend on is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...ir.affine import affine
from ...ir.dtypes import DType
from ...ir.errors import NOWHERE, InternalError, Location
from ...ir.expr import (
    Boundary,
    Call,
    Cast,
    Const,
    Coord,
    Expr,
    Fn,
    Param,
    Read,
    Ref,
    Var,
    const,
    refs,
    rewrite,
    walk,
)
from ...ir.gir import Access, Alloc, Compute, Level, Load, Loop, LoopKind, Reduce, Stmt, Store
from ...ir.op import Axis, Component, Definition, Monoid, Pointwise, Reduction
from ..plan import AxisTile, Fold, Map, Nest, Step, step_definitions, step_loops
from .scope import Range, add, conjunction, dtype_of, less, maximum, minimum, mul, sub
from .view import KernelView, Source

ZERO = const(0)


@dataclass
class Open:
    """One open loop body: its statements, and what is known in it."""

    body: list[Stmt] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    loads: dict[tuple[object, ...], Ref] = field(default_factory=dict)
    header: tuple[str, Expr, Expr, int] | None = None


class NestWriter:
    """Writes one nest into statements. `kernel` supplies names, sources, ranges and definitions."""

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
        self.values: dict[str, Ref] = {}
        self.shapes: dict[str, tuple[int, ...]] = dict.fromkeys(kernel.scalars, ())
        self.dtypes: dict[str, DType] = dict(kernel.scalars)
        self.carried: dict[Read, Ref] = {}
        self.carried_target = ""
        self.location: Location = NOWHERE
        self.guard: Expr | None = None
        self.nest = nest
        for axis, bounds in ranges.items():
            if bounds.span == 1:
                self.position[axis] = self.start[axis] = bounds.lo
        for name in step_definitions(nest.body):
            self.written.update(kernel.definition(name).target_names)

    # -- running -----------------------------------------------------------------------------------------------------

    def write(self) -> list[Stmt]:
        reversed_axes = self.kernel.reversed_axes(self.nest)
        for tile in self.nest.loops:
            if tile is self.nest.loops[-1]:
                self.carry(tile, -1 if tile.axis not in reversed_axes else 1)
            self.open(tile, self.loop_range(tile.axis), tile.axis in reversed_axes)
        self.steps(self.nest.body)
        for _ in self.nest.loops:
            self.close()
        return self.levels[0].body

    def carry(self, tile: AxisTile, step: int) -> None:
        """A recurrence that reads itself one step back along the innermost loop keeps that value in registers."""
        if tile.size > 1 or not self.nest.body or not isinstance(self.nest.body[0], Map):
            return
        definition = self.kernel.definition(self.nest.body[0].definition)
        back = tuple(add(Var(a.name), const(step)) if a.name == tile.axis else Var(a.name) for a in definition.axes)
        reads = [r for r in definition.self_reads if tuple(sub(i, ZERO) for i in r.index) == back]
        if not reads or any(t.axis != tile.axis and t.size > 1 and t.axis not in self.dims for t in self.nest.loops):
            return
        target = definition.targets[0]
        shape = self.shape_of_axes([a.name for a in definition.axes])
        dtype = target.dtype.arithmetic
        zero = Const(False if dtype is DType.BOOL else 0.0 if dtype.is_float else 0, dtype)
        self.carried = {r: self.mutable(zero, shape, target.name) for r in reads[:1]}
        self.carried |= dict.fromkeys(reads[1:], self.carried[reads[0]])
        self.carried_target = target.name

    def loop_range(self, axis: str) -> Range:
        if axis in self.ranges:
            return self.ranges[axis]
        found = self.kernel.axis(axis)
        lo, hi = self.bound(found.lo), self.bound(found.hi)
        return Range(lo, hi, hi)

    def bound(self, expr: Expr) -> Expr:
        """A loop bound; reads in it become rank-0 loads."""
        rank, dims = self.rank, self.dims
        self.rank, self.dims = 0, {}
        out = self.expr(expr)
        self.rank, self.dims = rank, dims
        return out

    def open(self, tile: AxisTile, bounds: Range, backwards: bool = False) -> None:
        var = self.kernel.fresh(tile.axis)
        self.levels.append(Open(names={var}, header=(var, bounds.lo, bounds.hi, tile.size)))
        start: Expr = Var(var)
        if backwards:
            start = sub(sub(add(bounds.lo, bounds.hi), const(1)), start)
        self.start[tile.axis] = start
        self.position[tile.axis] = add(start, Coord(self.dims[tile.axis])) if tile.size > 1 else start
        self.ranges[tile.axis] = bounds

    def close(self) -> None:
        level = self.levels.pop()
        assert level.header is not None
        var, lo, hi, step = level.header
        self.levels[-1].body.append(Loop(var, lo, hi, step, LoopKind.SERIAL, tuple(level.body), self.location))

    def steps(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            match step:
                case Map(name):
                    self.map(self.kernel.definition(name))
                case Fold():
                    self.fold(step)

    # -- definitions -------------------------------------------------------------------------------------------------

    def map(self, definition: Definition) -> None:
        self.location = definition.location
        body = definition.body
        if not isinstance(body, Pointwise):
            raise InternalError(f"'{definition.name}' cannot be a map")
        value = self.expr(body.expr)
        self.define(definition, 0, value)

    def define(self, definition: Definition, component: int, value: Expr) -> None:
        """Name the value of one target and store it where somebody outside needs it."""
        target = definition.targets[component]
        value = self.convert(value, target.dtype)
        shape = self.shape_of_axes([a.name for a in definition.axes])
        ref = self.compute(value, shape, hint=target.name)
        self.values[target.name] = ref
        if target.name == self.carried_target:
            cell = next(iter(self.carried.values()))
            self.emit(Compute(cell.name, self.shapes[cell.name], ref, self.dtypes[cell.name], self.location))
        source = self.kernel.source(target.name)
        if source is not None:
            self.store(source, [self.position[a.name] for a in definition.axes], ref, shape, definition.axes)

    def store(
        self, source: Source, index: list[Expr], value: Expr, shape: tuple[int, ...], axes: tuple[Axis, ...]
    ) -> None:
        terms = [self.tail(a.name) for a in axes] if source.whole else []
        access = self.access(source, index)
        self.emit(Store(access, shape, value, conjunction(terms), False, self.location))

    def fold(self, fold: Fold) -> None:
        definitions = [self.kernel.definition(n) for n in fold.definitions]
        accumulators: list[list[Ref]] = []
        deferred: list[bool] = []
        for definition in definitions:
            self.location = definition.location
            body = definition.body
            assert isinstance(body, Reduction)
            inner = [t.axis for t in fold.loops if t.size > 1 and t.axis == self.nest.lanes]
            shape = self.shape_of_axes([a.name for a in definition.axes] + inner)
            defer = bool(inner)
            state = self.state(definition)
            kinds = [self.kernel.accumulator_dtype(definition, k) for k in range(len(definition.targets))]
            initial = [identity(body.monoid, k, t) for k, t in enumerate(kinds)]
            if state is not None and not defer:
                initial = state
            accumulators.append(
                [self.mutable(v, shape, t.name) for v, t in zip(initial, definition.targets, strict=True)]
            )
            deferred.append(defer)
        self.open_fold(fold, definitions)
        self.steps(fold.body)
        for definition, cells in zip(definitions, accumulators, strict=True):
            self.accumulate(definition, cells, fold)
        for _ in fold.loops:
            self.close()
        for definition, cells, defer in zip(definitions, accumulators, deferred, strict=True):
            self.finish(definition, cells, defer, fold)

    def open_fold(self, fold: Fold, definitions: list[Definition]) -> None:
        kept = any(self.kernel.source(n) is not None for n in step_definitions(fold.body))
        for tile in fold.loops:
            bounds = self.loop_range(tile.axis)
            if not kept:
                bounds = self.kernel.restrict(bounds, tile.axis, definitions, self.box())
            self.open(tile, bounds)

    def box(self) -> dict[str, tuple[Expr, Expr]]:
        """The first and last value of every axis in the current register tile."""
        return {axis: (start, add(start, const(self.sizes.get(axis, 1) - 1))) for axis, start in self.start.items()}

    def accumulate(self, definition: Definition, cells: list[Ref], fold: Fold) -> None:
        body = definition.body
        assert isinstance(body, Reduction)
        self.location = definition.location
        guard = self.expr(body.guard) if body.guard is not None else None
        self.guard = guard
        arguments = [self.expr(a) for a in body.args]
        self.guard = None
        dtypes = [self.dtypes[c.name] for c in cells]
        arguments = [self.convert(a, t) for a, t in zip(arguments, dtypes, strict=True)]
        where = conjunction([*(self.tail(t.axis) for t in fold.loops), guard])
        across = tuple(sorted(self.dims[t.axis] for t in fold.loops if t.size > 1 and t.axis != self.nest.lanes))
        if across and body.monoid.fn is not None:
            # rows of the register tile are folded at once, so that the accumulator stays one row
            value = arguments[0]
            if where is not None:
                value = Call(Fn.SELECT, (where, value, identity(body.monoid, 0, dtypes[0])))
                where = None
            wide = self.compute(value, self.shape_of_parts([value]), definition.name)
            if any(self.shapes[wide.name][dim] > 1 for dim in across):
                name = self.kernel.fresh(f"{definition.name}_row")
                self.emit(Reduce(name, body.monoid.fn, wide.name, across, self.location))
                shape = tuple(1 if d in across else n for d, n in enumerate(self.shapes[wide.name]))
                self.note(name, shape, dtypes[0])
                arguments = [Ref(name)]
        if body.monoid.fn is not None:
            new = [combine(body.monoid.fn, cells[0], arguments[0], dtypes[0])]
        else:
            # every argument is named first, since a combine may use it several times
            shape = self.shapes[cells[0].name]
            named = [self.compute(a, self.shape_of(a, shape), "v") for a in arguments]
            new = list(apply_monoid(body.monoid, list(cells), list(named)))
            new = [self.compute(v, shape, "c") for v in new]
        for cell, value in zip(cells, new, strict=True):
            if where is not None:
                value = Call(Fn.SELECT, (where, value, cell))
            self.emit(Compute(cell.name, self.shapes[cell.name], value, self.dtypes[cell.name], self.location))

    def finish(self, definition: Definition, cells: list[Ref], deferred: bool, fold: Fold) -> None:
        body = definition.body
        assert isinstance(body, Reduction)
        self.location = definition.location
        results: list[Expr] = list(cells)
        if deferred:
            fn = body.monoid.fn
            assert fn is not None, "tuple monoids are folded over register tiles of size 1"
            axes = (self.dims[self.nest.lanes or ""],)
            name = self.kernel.fresh(f"{definition.name}_all")
            self.emit(Reduce(name, fn, cells[0].name, axes, self.location))
            self.note(name, self.shape_of_axes([a.name for a in definition.axes]), self.dtypes[cells[0].name])
            results = [Ref(name)]
            state = self.state(definition)
            if state is not None:
                results = [combine(fn, state[0], results[0], self.dtypes[cells[0].name])]
        for component, value in enumerate(results):
            self.define(definition, component, value)

    def state(self, definition: Definition) -> list[Expr] | None:
        """The value so far of a definition whose reduction goes on over an enclosing tile loop, repaired."""
        if not self.kernel.is_carried(definition):
            return None
        index: list[Expr] = [Var(a.name) for a in definition.axes]
        old = [self.read_source(t.name, self.kernel.state_source(t.name), index) for t in definition.targets]
        component = self.kernel.component(definition.name)
        if component is None or component.repair is None:
            return list(old)
        return [self.repaired(component, definition)]

    def repaired(self, component: Component, definition: Definition) -> Expr:
        assert component.repair is not None

        def rule(expr: Expr) -> Expr | None:
            if not isinstance(expr, Param):
                return None
            when, _, target = expr.name.partition(".")
            producer = self.kernel.definition_of(target)
            index: list[Expr] = [Var(a.name) for a in producer.axes]
            before = when == "old" and target not in definition.target_names
            source = self.kernel.old_source(target) if before else self.kernel.state_source(target)
            return self.read_source(f"{when}.{target}", source, index)

        return rewrite(component.repair, rule)

    # -- expressions -------------------------------------------------------------------------------------------------

    def expr(self, expr: Expr) -> Expr:
        """An op expression as a GIR expression at the current place (loads are emitted on the way)."""
        match expr:
            case Var(name):
                return self.position.get(name, expr)
            case Read():
                return self.read(expr)
            case Call(Fn.ADD | Fn.SUB as fn, (a, b)):
                return self._sum(fn, self.expr(a), self.expr(b), expr)
        children = expr.children
        if not children:
            return expr
        return expr.with_children(tuple(self.expr(c) for c in children))

    def _sum(self, fn: Fn, a: Expr, b: Expr, original: Expr) -> Expr:
        """Index arithmetic is kept in affine normal form."""
        out = Call(fn, (a, b))
        form = affine(out)
        return form.to_expr() if form is not None else out

    def read(self, read: Read) -> Expr:
        known = self.values.get(read.tensor)
        producer = self.kernel.maybe_definition_of(read.tensor)
        if known is not None and producer is not None and read.index == tuple(Var(a.name) for a in producer.axes):
            return known
        index = [self.expr(i) for i in read.index]
        source = self.kernel.require_source(read.tensor)
        inside: list[Expr | None] = []
        if read.boundary is not Boundary.NONE:
            extents = self.kernel.extents(read.tensor)
            for dim, (position, extent) in enumerate(zip(index, extents, strict=True)):
                if self.plain(read.index[dim], extent):
                    continue
                if read.boundary is Boundary.PAD:
                    inside += [Call(Fn.LE, (ZERO, position)), less(position, extent)]
                else:
                    index[dim] = outside(read.boundary, position, extent)
        fill = read.fill if read.boundary is Boundary.PAD else None
        if read in self.carried and read.boundary in (Boundary.NONE, Boundary.PAD):
            before: Expr = self.carried[read]
            where = conjunction(inside)
            return before if where is None or fill is None else Call(Fn.SELECT, (where, before, self.expr(fill)))
        loaded = self.read_source(read.tensor, source, index, conjunction(inside), fill, converted=True)
        return loaded

    def plain(self, index: Expr, extent: Expr) -> bool:
        """The index is an axis that runs inside 0..extent."""
        return isinstance(index, Var) and self.kernel.axis_extent(index.name) == extent

    def read_source(
        self,
        tensor: str,
        source: Source,
        index: list[Expr],
        inside: Expr | None = None,
        fill: Expr | None = None,
        converted: bool = False,
    ) -> Expr:
        if not converted:
            index = [self.expr(i) for i in index]
        axes = self.axes_in(index)
        gathered = any(refs(i) for i in index)
        terms: list[Expr | None] = [inside]
        if source.whole or gathered:
            terms += [self.tail(a) for a in axes]
        if self.guard is not None and (gathered or not self.in_bounds_without_guard(index)):
            terms.append(self.guard)
        predicate = conjunction(terms)
        dtype = source.dtype.arithmetic
        literal = Const(False, DType.BOOL) if dtype is DType.BOOL else Const(0.0 if dtype.is_float else 0, dtype)
        filler: Expr | None = None
        if predicate is not None:
            filler = _typed(fill, dtype) if isinstance(fill, Const) else literal
        access = self.access(source, index)
        loaded = self.load(access, predicate, filler, source, dtype)
        if fill is not None and not isinstance(fill, Const) and inside is not None:
            return Call(Fn.SELECT, (inside, loaded, self.expr(fill)))
        return loaded

    def in_bounds_without_guard(self, index: list[Expr]) -> bool:
        """Every index is one axis (plus its coordinate), so it stays inside by the axis's own range."""
        starts = set(self.position.values())
        return all(i in starts for i in index)

    def access(self, source: Source, index: list[Expr]) -> Access:
        return Access(
            source.buffer, tuple(sub(index[d], off) for d, off in zip(source.order, source.offsets, strict=True))
        )

    def load(self, access: Access, predicate: Expr | None, fill: Expr | None, source: Source, dtype: DType) -> Ref:
        parts = [*access.index, *([predicate] if predicate is not None else [])]
        shape = self.shape_of_parts(parts)
        mutable = source.buffer in self.kernel.buffers_of(self.written)
        key = (access, predicate, fill)
        depth = len(self.levels) - 1 if mutable else self.depth_of(parts)
        level = self.levels[depth]
        if key in level.loads and not mutable:
            return level.loads[key]
        name = self.kernel.fresh(f"{access.buffer.split('$')[0]}_v")
        level.body.append(Load(name, shape, access, predicate, fill, self.location))
        self.note(name, shape, dtype, level)
        ref = Ref(name)
        level.loads[key] = ref
        return ref

    def depth_of(self, parts: list[Expr]) -> int:
        """The outermost open level in which every name in `parts` is known."""
        needed = {e.name for p in parts for e in walk(p) if isinstance(e, Var | Ref)}
        for depth in range(len(self.levels) - 1, 0, -1):
            if self.levels[depth].names & needed:
                return depth
        return 0

    # -- tiles -------------------------------------------------------------------------------------------------------

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

    def shape_of(self, value: Expr, at_most: tuple[int, ...]) -> tuple[int, ...]:
        return self.shape_of_parts([value])

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
                return _typed(value, dtype) if dtype.arithmetic is dtype else Cast(dtype, value)
            return Cast(dtype, value)
        return value

    def note(self, name: str, shape: tuple[int, ...], dtype: DType, level: Open | None = None) -> None:
        self.shapes[name] = shape
        self.dtypes[name] = dtype
        (level or self.levels[-1]).names.add(name)

    def emit(self, stmt: Stmt) -> None:
        self.levels[-1].body.append(stmt)


def identity(monoid: Monoid, component: int, dtype: DType) -> Expr:
    return _typed(monoid.identity[component], dtype)


def _typed(value: Expr, dtype: DType) -> Expr:
    if isinstance(value, Const):
        number = value.value
        if dtype.is_float:
            number = float(number)
        elif dtype is DType.BOOL:
            number = bool(number)
        elif isinstance(number, float):
            number = _extreme(number, dtype)
        return Const(number, dtype)
    return Cast(dtype, value) if not isinstance(value, Call | Cast) else value


def _extreme(value: float, dtype: DType) -> int:
    """An infinite identity in an integer type is its extreme value."""
    import numpy as np

    info = np.iinfo(dtype.numpy)
    if value == float("inf"):
        return int(info.max)
    if value == float("-inf"):
        return int(info.min)
    return int(value)


def combine(fn: Fn, cell: Expr, value: Expr, dtype: DType) -> Expr:
    """`fn(cell, value)`, with a product under a floating-point sum as one fused multiply-add."""
    if fn is Fn.ADD and dtype.is_float and isinstance(value, Call) and value.fn is Fn.MUL:
        return Call(Fn.FMA, (*value.args, cell))
    return Call(fn, (cell, value))


def apply_monoid(monoid: Monoid, a: list[Expr], b: list[Expr]) -> list[Expr]:
    """`combine(a, b)` of a tuple monoid."""
    values = {f"a.{c}": v for c, v in zip(monoid.components, a, strict=True)}
    values |= {f"b.{c}": v for c, v in zip(monoid.components, b, strict=True)}
    return [rewrite(e, lambda x: values.get(x.name) if isinstance(x, Param) else None) for e in monoid.combine]


def outside(boundary: Boundary, index: Expr, extent: Expr) -> Expr:
    """The index that a boundary maps `index` to."""
    last = sub(extent, const(1))
    match boundary:
        case Boundary.CLAMP:
            return minimum(maximum(index, ZERO), last)
        case Boundary.WRAP:
            return Call(Fn.MOD, (index, extent))
        case Boundary.REFLECT:
            period = maximum(mul(const(2), last), const(1))
            folded = Call(Fn.MOD, (index, period))
            return minimum(folded, sub(period, folded))
    return index
