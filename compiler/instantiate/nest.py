"""Write out one nest: its loops, definitions, folds with their accumulators, and stores."""

from __future__ import annotations

from dataclasses import replace

from ...ir.dtypes import DType
from ...ir.errors import InternalError
from ...ir.expr import Call, Const, Expr, Fn, Param, Read, Ref, Var, const, reads, rewrite
from ...ir.gir import Compute, Reduce, Stmt, Store
from ...ir.op import Axis, Component, Definition, Pointwise, Reduction
from ..plan import AxisTile, Fold, Map, Nest, Step, step_definitions
from ..planner.facts import shared_ends
from ..planner.scans import Scanned, scanned
from .reading import ZERO, Reader
from .scope import Range, add, conjunction, even, floordiv, minimum, mul, sub
from .values import apply_monoid, combine, identity, typed
from .view import KernelView, Source


class NestWriter(Reader):
    """Writes one nest into statements. `kernel` supplies names, sources, ranges and definitions."""

    def __init__(self, kernel: KernelView, nest: Nest, ranges: dict[str, Range]) -> None:
        super().__init__(kernel, nest, ranges)
        self.carried_target = ""
        self.scan: tuple[str, Scanned, Ref] | None = None  # definition, what it is, the fold of all vectors before

    def write(self) -> list[Stmt]:
        reversed_axes = self.kernel.reversed_axes(self.nest)
        for tile in self.nest.loops:
            if tile is self.nest.loops[-1]:
                self.carry(tile, -1 if tile.axis not in reversed_axes else 1)
                self.begin_scan(tile)
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
        axis = next(a for a in definition.axes if a.name == tile.axis)
        bounds = self.loop_range(tile.axis)
        if bounds.lo != axis.lo if step < 0 else bounds.hi != axis.hi:
            return  # part of the axis: what stands before its first element is in memory
        target = definition.targets[0]
        shape = self.shape_of_axes([a.name for a in definition.axes])
        dtype = target.dtype.arithmetic
        zero = Const(False if dtype is DType.BOOL else 0.0 if dtype.is_float else 0, dtype)
        self.carried = {r: self.mutable(zero, shape, target.name) for r in reads[:1]}
        self.carried |= dict.fromkeys(reads[1:], self.carried[reads[0]])
        self.carried_target = target.name

    def begin_scan(self, tile: AxisTile) -> None:
        """A scan along the lanes starts with what stands before its first element."""
        first = self.nest.body[0] if self.nest.body else None
        if tile.size == 1 or tile.axis != self.nest.lanes or not isinstance(first, Map):
            return
        definition = self.kernel.definition(first.definition)
        found = scanned(definition)
        if found is None or found.axis != tile.axis:
            return
        dtype = definition.targets[0].dtype
        start = self.convert(typed(self.expr(found.initial), dtype), dtype)
        shape = self.shape_of_axes([a.name for a in definition.axes if a.name != tile.axis])
        self.scan = definition.name, found, self.mutable(start, shape, definition.name)

    def scanned(self, definition: Definition, found: Scanned, cell: Ref) -> None:
        """The folds up to each lane, joined to the fold of all vectors before."""
        dtype = definition.targets[0].dtype
        shape = self.shape_of_axes([a.name for a in definition.axes])
        addend = self.compute(self.convert(self.expr(found.addend), dtype), shape, "addend")
        axes = (self.dims[found.axis],)
        up_to, all_of_it = (self.kernel.fresh(f"{definition.name}_{what}") for what in ("scan", "all"))
        self.emit(Reduce(up_to, found.fn, addend.name, axes, self.location, running=True))
        self.note(up_to, shape, dtype)
        self.emit(Reduce(all_of_it, found.fn, addend.name, axes, self.location))
        self.note(all_of_it, self.shapes[cell.name], dtype)
        self.define(definition, 0, Call(found.fn, (cell, Ref(up_to))))
        value = Call(found.fn, (cell, Ref(all_of_it)))
        self.emit(Compute(cell.name, self.shapes[cell.name], value, dtype, self.location))

    def steps(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            match step:
                case Map(name):
                    self.map(self.kernel.definition(name))
                case Fold():
                    self.fold(step)

    def map(self, definition: Definition) -> None:
        self.location = definition.location
        body = definition.body
        if not isinstance(body, Pointwise):
            raise InternalError(f"'{definition.name}' cannot be a map")
        if self.scan is not None and self.scan[0] == definition.name:
            self.scanned(definition, *self.scan[1:])
            return
        needed = self.kernel.needed_where(definition.name)
        if needed is None:
            self.define(definition, 0, self.expr(body.expr))
        else:  # `select(needed, value, constant)`: the constant is never used
            self.define(definition, 0, self.expr(body.expr.children[1]), self.expr(needed))

    def define(self, definition: Definition, component: int, value: Expr, where: Expr | None = None) -> None:
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
            places = [self.position[a.name] for a in definition.axes]
            self.store(source, places, ref, shape, definition.axes, where)

    def store(
        self,
        source: Source,
        index: list[Expr],
        value: Expr,
        shape: tuple[int, ...],
        axes: tuple[Axis, ...],
        where: Expr | None = None,
    ) -> None:
        terms = [*([self.tail(a.name) for a in axes] if source.whole else []), where]
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
        if fold.pairs:
            self.paired(fold, definitions[0], accumulators[0][0])
        else:
            self.open_fold(fold, definitions)
            self.steps(fold.body)
            for definition, cells in zip(definitions, accumulators, strict=True):
                self.accumulate(definition, cells, fold)
            for _ in fold.loops:
                self.close()
        for definition, cells, defer in zip(definitions, accumulators, deferred, strict=True):
            self.finish(definition, cells, defer, fold)

    def paired(self, fold: Fold, definition: Definition, cell: Ref) -> None:
        """Products of pairs along one axis; where their number is odd, the last element by itself."""
        body = definition.body
        assert isinstance(body, Reduction)
        bounds = self.loop_range(fold.pairs)
        length = sub(bounds.hi, bounds.lo)
        for tile in fold.loops:
            if tile.axis == fold.pairs:
                self.open_pairs(tile.axis, bounds, floordiv(length, 2))
            else:
                self.open(tile, self.loop_range(tile.axis))
        bits = [self.pair(r) for r in body.args[0].children if isinstance(r, Read)]
        value = Call(Fn.DOT2_BF16, (*bits, cell))
        self.emit(Compute(cell.name, self.shapes[cell.name], value, self.dtypes[cell.name], self.location))
        for _ in fold.loops:
            self.close()
        if even(bounds, self.kernel.facts):
            return
        for tile in fold.loops:
            whole = self.loop_range(tile.axis)
            if tile.axis == fold.pairs:
                whole = Range(add(bounds.lo, mul(const(2), floordiv(length, 2))), bounds.hi, bounds.end)
            self.open(tile, whole)
        self.accumulate(definition, [cell], fold)
        for _ in fold.loops:
            self.close()

    def pair(self, read: Read) -> Expr:
        index = [self.expr(i) for i in read.index]
        source = self.kernel.require_source(read.tensor)
        return self.read_source(read.tensor, source, index, converted=True, pairs=True)

    def open_fold(self, fold: Fold, definitions: list[Definition]) -> None:
        kept = any(self.kernel.source(n) is not None for n in step_definitions(fold.body))
        for tile in fold.loops:
            bounds = self.loop_range(tile.axis)
            if not kept:
                bounds = self.kernel.restrict(bounds, tile.axis, definitions, self.box())
                bounds = self.ended(bounds, tile.axis, definitions)
            self.open(tile, bounds)

    def ended(self, bounds: Range, axis: str, definitions: list[Definition]) -> Range:
        """The range up to where tensors say that the axis ends, which is loaded for it."""
        known = {a for a in self.position if self.sizes.get(a, 1) == 1}
        for end in shared_ends(definitions, axis, known):
            self.ends |= {r: found for r in reads(end) if isinstance(found := self.bound(r), Ref)}
            hi = self.bound(end)
            if hi != bounds.hi:
                bounds = replace(bounds, hi=minimum(bounds.hi, hi))
        return bounds

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
        rows = [t.axis for t in fold.loops if t.size > 1 and t.axis != self.nest.lanes]
        across = tuple(sorted(self.dims[axis] for axis in rows))
        if across and body.monoid.fn is not None:
            # rows of the register tile are folded at once, so that the accumulator stays one row
            value = arguments[0]
            if where is not None:
                value = Call(Fn.SELECT, (where, value, identity(body.monoid, 0, dtypes[0])))
                where = None
            # as many elements as there are rows, also where they are all the same: each of them counts
            shape = self.shape_of_axes([*self.axes_in([value]), *rows])
            wide = self.compute(value, shape, definition.name)
            name = self.kernel.fresh(f"{definition.name}_row")
            self.emit(Reduce(name, body.monoid.fn, wide.name, across, self.location))
            self.note(name, tuple(1 if d in across else n for d, n in enumerate(shape)), dtypes[0])
            arguments = [Ref(name)]
        if body.monoid.fn is not None:
            new = [combine(body.monoid.fn, cells[0], arguments[0], dtypes[0])]
        else:
            # every argument is named first, since a combine may use it several times
            shape = self.shapes[cells[0].name]
            named = [self.compute(a, self.shape_of_parts([a]), "v") for a in arguments]
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
