"""Write out a whole plan: kernels, tile loops, packed copies, states of carried reductions, buffers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ...ir.affine import affine
from ...ir.dtypes import DType
from ...ir.errors import InternalError
from ...ir.expr import (
    Call,
    Const,
    Coord,
    Expr,
    Fn,
    Param,
    Read,
    Ref,
    Var,
    as_int,
    conjuncts,
    const,
    reads,
    substitute,
    walk,
)
from ...ir.gir import (
    Access,
    Alloc,
    Kernel,
    Level,
    Loop,
    Move,
    Program,
    Role,
    Stmt,
    Tensor,
)
from ...ir.op import Axis, Compact, Component, Definition, Op, Pointwise, Reduction, Sort
from ...ir.recurrence import sweep_direction
from ..axes import all_axes, reduction_axes
from ..needed import needed_where
from ..op_types import op_dtype
from ..plan import (
    AxisTile,
    Block,
    KernelPlan,
    Map,
    Nest,
    Pack,
    Plan,
    Tile,
    block_definitions,
    step_definitions,
    walk_tiles,
)
from ..planner.facts import front_axes, shared_ends, sweep_axes
from .buffers import Buffer, Layout, Path, lay_out, pack_dimensions, tiles_along
from .nest import NestWriter
from .scope import Range, add, conjunction, divides, less, maximum, minimum, mul, sub
from .special import write_compact, write_sort
from .values import identity
from .view import Source


def instantiate(op: Op, plan: Plan, sram_bytes: int) -> Program:
    """GIR of `op` (after `unify_axes`) under `plan`. Values that cross kernels, or are larger than `sram_bytes`, become
    temporary `dram` tensors."""
    names = _Names(op)
    tensors: dict[str, Tensor] = {t.name: Tensor(t.name, t.dtype, t.shape, Role.INPUT) for t in op.inputs}
    tensors |= {t.name: Tensor(t.name, t.dtype, t.shape, Role.OUTPUT) for t in op.outputs}
    kernel_of = {d: k for k, kernel in enumerate(plan.kernels) for d in block_definitions(kernel.body)}
    external = {t.name for t in op.outputs}
    for definition in op.definitions:
        for read in definition.reads:
            producer = op.definition_of(read.tensor)
            if producer is not None and kernel_of[producer.name] != kernel_of[definition.name]:
                external.add(read.tensor)
    kernels: list[Kernel] = []
    needed = needed_where(op)
    for kernel in plan.kernels:
        writer = KernelWriter(op, kernel, names, external, sram_bytes, needed)
        kernels.append(Kernel(kernel.name, tuple(writer.write()), op.location))
        for buffer in writer.layout.buffers.values():
            if buffer.level is Level.DRAM and buffer.name not in tensors:
                tensors[buffer.name] = Tensor(buffer.name, buffer.dtype, buffer.shape, Role.TEMP)
    return Program(op.name, op.symbols, tuple(tensors.values()), tuple(kernels), op.facts, op.location)


class _Names:
    """Names that are new in the whole program: `hint`, then `hint$1`, `hint$2` ..."""

    def __init__(self, op: Op) -> None:
        self.used: set[str] = set(op.tensors) | {s.name for s in op.symbols}
        self.next: dict[str, int] = {}

    def fresh(self, hint: str) -> str:
        hint = hint.split("$")[0]
        count = self.next.get(hint, 0)
        while True:
            name = f"{hint}${count}" if count or hint in self.used else hint
            count += 1
            if name not in self.used:
                self.next[hint] = count
                self.used.add(name)
                return name


@dataclass
class _Scope:
    """An open tile loop (or the kernel's body): what is known inside of it."""

    ranges: dict[str, Range] = field(default_factory=dict)
    packs: dict[str, Source] = field(default_factory=dict)
    tiles: dict[str, Expr] = field(default_factory=dict)  # axis -> tile start
    turns: dict[str, Expr] = field(default_factory=dict)  # axis of a tile loop with lagging tiles -> its turn
    ends: dict[Read, Ref] = field(default_factory=dict)  # what was loaded to end an enclosing tile loop


class KernelWriter:
    """Writes one kernel; the `KernelView` of its nests."""

    def __init__(
        self,
        op: Op,
        plan: KernelPlan,
        names: _Names,
        external: set[str],
        sram_bytes: int,
        needed: Mapping[str, Expr],
    ) -> None:
        self.op = op
        self.needed = needed
        self.plan = plan
        self.facts = op.facts
        self.names = names
        self.layout: Layout = lay_out(op, plan, external, sram_bytes)
        mine = set(block_definitions(plan.body))
        self.definitions = {d.name: d for d in op.definitions if d.name in mine}
        self.by_target = {t.name: d for d in op.definitions for t in d.targets}
        self.axes = {a.name: a for d in self.definitions.values() for a in all_axes(d)}
        self.buffer_names: dict[str, str] = {}
        self.old_names: dict[str, str] = {}
        self.scopes = [_Scope()]
        self.scalars: dict[str, DType] = {}  # rank-0 tiles that bound loops
        self.components = {c.target: c for s in op.streams for c in s.components}

    def write(self) -> list[Stmt]:
        return self.blocks(self.plan.body, ())

    # -- blocks ------------------------------------------------------------------------------------------------------

    def blocks(self, blocks: tuple[Block, ...], path: Path) -> list[Stmt]:
        out: list[Stmt] = []
        for name, buffer in self.layout.buffers.items():
            if buffer.level is Level.SRAM and buffer.scope == path:
                out.append(self.alloc(name, buffer))
        for number, block in enumerate(blocks):
            here = (*path, number)
            match block:
                case Tile():
                    out += self.tile(block, here)
                case Pack():
                    out += self.pack(block, here)
                case Nest():
                    out += self.nest(block)
        return out

    def alloc(self, target: str, buffer: Buffer) -> Stmt:
        name = self.names.fresh(f"{target}_buf")
        self.buffer_names[target] = name
        return Alloc(name, buffer.dtype, buffer.shape, Level.SRAM)

    def nest(self, nest: Nest) -> list[Stmt]:
        names = list(step_definitions(nest.body))
        first = self.definitions[names[0]]
        if isinstance(first.body, Compact | Sort):
            writer = NestWriter(self, nest, self.scopes[-1].ranges)
            return write_compact(writer, first) if isinstance(first.body, Compact) else write_sort(writer, first)
        return NestWriter(self, nest, self.scopes[-1].ranges).write()

    def turns(self, tile: Tile, lagging: Tile, path: Path) -> list[Stmt]:
        """A loop over the turns of a tile loop in which another one lags."""
        last = self.count(tile) + self.count(lagging) - 1
        turn = self.names.fresh(f"{tile.axis}_turn")
        outer = self.scopes[-1]
        known = {**outer.turns, tile.axis: Var(turn)}
        self.scopes.append(replace(outer, packs=dict(outer.packs), turns=known))
        body = self.blocks(tile.body, path)
        self.scopes.pop()
        return [Loop(turn, const(0), const(max(last, 0)), 1, tile.kind, tuple(body))]

    def count(self, tile: Tile) -> int:
        """How many tiles there are, of an axis of known extent."""
        extent = as_int(self.axes[tile.axis].hi)
        assert extent is not None, "an axis of lagging tiles has a known extent"
        return -(-extent // tile.size)

    def lagging(self, tile: Tile, leader: Tile, path: Path) -> list[Stmt]:
        """Tile number k of this loop works on tile number `turn - k` of the leading axis, where there is one; a
        backward sweep counts both from the end."""
        outer = self.scopes[-1]
        turn, leaders, own = outer.turns[leader.axis], self.count(leader), self.count(tile)
        k = self.names.fresh(f"{tile.axis}_t")
        place: Expr = Var(k)
        ahead = sub(turn, place)
        if leader.axis in self._run_down(block_definitions(tile.body)):
            place, ahead = sub(const(own - 1), place), sub(const(leaders - 1), ahead)
        ranges, tiles = dict(outer.ranges), dict(outer.tiles)
        for t, number in ((leader, ahead), (tile, place)):
            start, end = mul(number, const(t.size)), self.axes[t.axis].hi
            stop = add(start, const(t.size))
            exact = (as_int(end) or 0) % t.size == 0
            ranges[t.axis] = Range(start, stop if exact else minimum(stop, end), end, t.size)
            tiles[t.axis] = start
        self.scopes.append(replace(outer, ranges=ranges, packs=dict(outer.packs), tiles=tiles))
        body = self.blocks(tile.body, path)
        self.scopes.pop()
        first = maximum(const(0), sub(turn, const(leaders - 1)))
        return [Loop(k, first, minimum(add(turn, const(1)), const(own)), 1, tile.kind, tuple(body))]

    def tile(self, tile: Tile, path: Path) -> list[Stmt]:
        behind = [b for b in walk_tiles(tile.body) if b.lag == tile.axis]
        if behind:
            return self.turns(tile, behind[0], path)
        if tile.lag:
            leader = next(b for b in tiles_along(self.plan, path) if b.axis == tile.lag)
            return self.lagging(tile, leader, path)
        inside = [self.definitions[n] for n in block_definitions(tile.body)]
        carried = [d for d in inside if tile.axis in {a.name for a in reduction_axes(d)} and self._outermost(d, path)]
        out: list[Stmt] = []
        for definition in carried:
            out += self.initial_state(definition)
        axis = self.axes[tile.axis]
        outer = self.scopes[-1]
        reducing = [d for d in inside if tile.axis in {a.name for a in reduction_axes(d)}]
        reader = NestWriter(self, Nest((), None, ()), outer.ranges)
        first, last = reader.bound(axis.lo), reader.bound(axis.hi)
        out += reader.levels[0].body
        self.scalars |= reader.dtypes
        bounds = Range(first, last, last)
        ends: dict[Read, Ref] = {}
        if reducing and not any(self._escapes(d, tile.axis, path) for d in inside):
            bounds = self.restrict(bounds, tile.axis, reducing, self.box())
            before = len(reader.levels[0].body)
            for end in shared_ends(reducing, tile.axis, {a for a, r in outer.ranges.items() if r.span == 1}):
                ends |= {r: found for r in reads(end) if isinstance(found := reader.bound(r), Ref)}
                bounds = Range(bounds.lo, minimum(bounds.hi, reader.bound(end)), bounds.end, bounds.span)
            out += reader.levels[0].body[before:]
            self.scalars |= reader.dtypes
        var = self.names.fresh(f"{tile.axis}_t" if tile.size > 1 else tile.axis)
        start: Expr = Var(var)
        if tile.axis in self._run_down(block_definitions(tile.body)):
            start = sub(sub(add(bounds.lo, bounds.hi), const(1)), start)
        stop = add(start, const(tile.size))
        extent = as_int(last)
        exact = extent is not None and as_int(first) == 0 and extent % tile.size == 0
        inner = Range(start, stop if exact or tile.size == 1 else minimum(stop, bounds.hi), last, tile.size)
        self.scopes.append(
            _Scope(
                {**outer.ranges, tile.axis: inner},
                dict(outer.packs),
                {**outer.tiles, tile.axis: start},
                dict(outer.turns),
                outer.ends | ends,
            )
        )
        body: list[Stmt] = []
        for definition in carried:
            body += self.keep_old(definition)
        body += self.blocks(tile.body, path)
        self.scopes.pop()
        out.append(Loop(var, bounds.lo, bounds.hi, tile.size, tile.kind, tuple(body)))
        return out

    def _escapes(self, definition: Definition, axis: str, path: Path) -> bool:
        """Somebody outside of the tile loop at `path` reads values that it computes along its axis."""
        if axis not in {a.name for a in definition.axes}:
            return False
        buffers = [self.layout.buffers.get(t) for t in definition.target_names]
        return any(b is not None and (b.level is Level.DRAM or len(b.scope) < len(path)) for b in buffers)

    def _outermost(self, definition: Definition, path: Path) -> bool:
        """This tile is the outermost one over an axis that the definition reduces over."""
        reduced = {a.name for a in reduction_axes(definition)}
        blocks: tuple[Block, ...] = self.plan.body
        for depth, number in enumerate(path):
            block = blocks[number]
            if not isinstance(block, Tile):
                break
            if block.axis in reduced:
                return depth == len(path) - 1
            blocks = block.body
        return False

    def initial_state(self, definition: Definition) -> list[Stmt]:
        """Fill the state of a carried reduction with the identity."""
        body = definition.body
        assert isinstance(body, Reduction)
        out: list[Stmt] = []
        for component, target in enumerate(definition.targets):
            value = identity(body.monoid, component, self.accumulator_dtype(definition, component))
            out += self._fill(definition, target.name, value)
        return out

    def _fill(self, definition: Definition, target: str, value: Expr) -> list[Stmt]:
        nest = self._lane_nest(definition)
        writer = NestWriter(self, nest, self.scopes[-1].ranges)
        for tile in nest.loops:
            writer.open(tile, writer.loop_range(tile.axis))
        shape = writer.shape_of_axes([a.name for a in definition.axes])
        index = [writer.position[a.name] for a in definition.axes]
        writer.store(self.state_source(target), index, value, shape, definition.axes)
        for _ in nest.loops:
            writer.close()
        return writer.levels[0].body

    def keep_old(self, definition: Definition) -> list[Stmt]:
        """Copy a state that some repair refers to as `old`, before this tile changes it."""
        out: list[Stmt] = []
        for target in definition.target_names:
            repairs = [c.repair for c in self.components.values() if c.target != target and c.repair is not None]
            if not any(isinstance(e, Param) and e.name == f"old.{target}" for r in repairs for e in walk(r)):
                continue
            source = self.state_source(target)
            buffer = self.layout.buffers[target]
            name = self.names.fresh(f"{target}_old")
            self.old_names[target] = name
            if buffer.level is Level.DRAM:  # too large for scratch, and so is its copy
                self.layout.buffers[name] = replace(buffer, name=name)
            else:
                out.append(Alloc(name, source.dtype, buffer.shape, Level.SRAM))
            nest = self._lane_nest(definition)
            writer = NestWriter(self, nest, self.scopes[-1].ranges)
            writer.written.add(target)
            for tile in nest.loops:
                writer.open(tile, writer.loop_range(tile.axis))
            index: list[Expr] = [Var(a.name) for a in definition.axes]
            value = writer.read_source(target, source, index)
            shape = writer.shape_of_axes([a.name for a in definition.axes])
            places = [writer.position[a.name] for a in definition.axes]
            writer.store(self.old_source(target), places, value, shape, definition.axes)
            for _ in nest.loops:
                writer.close()
            out += writer.levels[0].body
        return out

    def _lane_nest(self, definition: Definition) -> Nest:
        """A nest over the definition's free axes with the register tile of the nest that computes it."""
        owner = self._owner(definition.name)
        sizes = {t.axis: t.size for t in owner.loops}
        ranges = self.scopes[-1].ranges
        held = {axis for axis, bounds in ranges.items() if bounds.span == 1}
        loops = [AxisTile(a.name, sizes.get(a.name, 1)) for a in definition.axes if a.name not in held]
        loops.sort(key=lambda t: t.axis == owner.lanes)
        return Nest(tuple(loops), owner.lanes, (Map(definition.name),))

    def _owner(self, name: str) -> Nest:
        path = self.layout.nest_of[name]
        block: Block | None = None
        blocks = self.plan.body
        for number in path:
            block = blocks[number]
            blocks = block.body if isinstance(block, Tile) else ()
        assert isinstance(block, Nest)
        return block

    def pack(self, pack: Pack, path: Path) -> list[Stmt]:
        tensor = self.op.tensors[pack.tensor]
        read = self._pack_read(pack)
        dims = pack_dimensions(self.op, self.plan, path, pack)
        name = self.names.fresh(f"{pack.tensor}_pack")
        shape = tuple(extent for _, extent, _ in dims)
        tiles = self.scopes[-1].tiles
        offset = {axis: tiles[tile] if tile is not None else const(0) for axis, _, tile in dims}
        index = {axis: k for k, (axis, _, _) in enumerate(dims)}
        source_index: list[Expr] = []
        inside: list[Expr | None] = []
        fixed: list[Expr] = []
        for dim, expr in enumerate(read.index):
            if isinstance(expr, Var) and expr.name in index:
                coordinate: Expr = Coord(index[expr.name])
                extent = tensor.shape[dim]
                whole = as_int(extent)
                size = as_int(shape[index[expr.name]])
                if expr.name == pack.pairs:
                    coordinate, size = mul(const(2), coordinate), size and 2 * size
                place = add(offset[expr.name], coordinate)
                source_index.append(add(place, Coord(len(dims))) if expr.name == pack.pairs else place)
                if expr.name == pack.pairs and not divides(2, extent, self.facts):
                    place = source_index[-1]
                if not (whole is not None and size and whole % size == 0):
                    inside.append(less(place, extent))
            else:
                here = substitute(expr, dict(tiles))
                source_index.append(here)
                fixed.append(here)
        predicate = conjunction(inside)
        dtype = tensor.dtype.arithmetic
        fill = Const(0.0 if dtype.is_float else 0, dtype) if predicate is not None else None
        shape += (const(2),) if pack.pairs else ()
        target = Access(name, tuple(Coord(k) for k in range(len(shape))))
        move = Move(target, Access(pack.tensor, tuple(source_index)), shape, predicate, fill)
        order = tuple(
            next(d for d, e in enumerate(read.index) if isinstance(e, Var) and e.name == axis) for axis, _, _ in dims
        )
        self.scopes[-1].packs[pack.tensor] = Source(
            name,
            order,
            tuple(offset[a] for a, _, _ in dims),
            tensor.dtype,
            False,
            index[pack.pairs] if pack.pairs else None,
        )
        return [Alloc(name, tensor.dtype, shape, Level.SRAM), move]

    def _pack_read(self, pack: Pack) -> Read:
        for definition in self.definitions.values():
            for read in definition.reads:
                if read.tensor == pack.tensor:
                    return read
        raise InternalError(f"nothing in the kernel reads '{pack.tensor}'")

    # -- KernelView --------------------------------------------------------------------------------------------------

    def fresh(self, hint: str) -> str:
        return self.names.fresh(hint)

    def definition(self, name: str) -> Definition:
        return self.definitions[name]

    def definition_of(self, tensor: str) -> Definition:
        return self.by_target[tensor]

    def maybe_definition_of(self, tensor: str) -> Definition | None:
        return self.by_target.get(tensor)

    def axis(self, name: str) -> Axis:
        return self.axes[name]

    def loaded(self, read: Read) -> Ref | None:
        """The rank-0 tile that holds what is read, where an enclosing tile loop ends by it."""
        return self.scopes[-1].ends.get(read)

    def axis_extent(self, name: str) -> Expr | None:
        axis = self.axes.get(name)
        return axis.hi if axis is not None and as_int(axis.lo) == 0 else None

    def extents(self, tensor: str) -> tuple[Expr, ...]:
        return self.op.tensors[tensor].shape

    def source(self, target: str) -> Source | None:
        return self._buffer_source(target) if target in self.layout.buffers else None

    def state_source(self, target: str) -> Source:
        return self._buffer_source(target)

    def old_source(self, target: str) -> Source:
        source = self._buffer_source(target)
        return replace(source, buffer=self.old_names[target])

    def require_source(self, tensor: str) -> Source:
        for scope in reversed(self.scopes):
            if tensor in scope.packs:
                return scope.packs[tensor]
        if tensor in self.layout.buffers:
            return self._buffer_source(tensor)
        declared = self.op.tensors[tensor]
        rank = len(declared.shape)
        return Source(tensor, tuple(range(rank)), (const(0),) * rank, declared.dtype, True)

    def _buffer_source(self, target: str) -> Source:
        buffer = self.layout.buffers[target]
        name = self.buffer_names.get(target, target)
        tiles = self.scopes[-1].tiles
        offsets: list[Expr] = []
        for dim in buffer.order:
            axis = buffer.offsets[dim]
            offsets.append(tiles[axis] if axis is not None else const(0))
        return Source(name, buffer.order, tuple(offsets), buffer.dtype, buffer.level is Level.DRAM)

    def buffers_of(self, targets: set[str]) -> set[str]:
        return {self.buffer_names.get(t, t) for t in targets}

    def needed_where(self, target: str) -> Expr | None:
        return self.needed.get(target)

    def is_carried(self, definition: Definition) -> bool:
        return any(a.name in self.scopes[-1].tiles for a in reduction_axes(definition))

    def component(self, target: str) -> Component | None:
        return self.components.get(target)

    def accumulator_dtype(self, definition: Definition, component: int) -> DType:
        body = definition.body
        assert isinstance(body, Reduction)
        if body.accumulate is not None:
            return body.accumulate.arithmetic
        return op_dtype(body.args[component], self.op)

    def reversed_axes(self, nest: Nest) -> set[str]:
        """The axes that a backward sweep in this nest runs down."""
        return self._run_down(step_definitions(nest.body))

    def _run_down(self, names: Iterable[str]) -> set[str]:
        out: set[str] = set()
        for name in names:
            definition = self.definitions[name]
            if isinstance(definition.body, Pointwise) and definition.is_recurrence and sweep_direction(definition) < 0:
                out |= sweep_axes(definition) - front_axes(definition)[1]
        return out

    def box(self) -> dict[str, tuple[Expr, Expr]]:
        ranges = self.scopes[-1].ranges
        return {a: (r.lo, sub(add(r.lo, const(r.span)) if r.span else r.hi, const(1))) for a, r in ranges.items()}

    def restrict(
        self, bounds: Range, axis: str, definitions: list[Definition], box: dict[str, tuple[Expr, Expr]]
    ) -> Range:
        """Shrink a reduction's loop to where some guard can hold, by the affine guards that all of them carry."""
        symbols = {s.name for s in self.op.symbols}
        limits: list[list[Expr]] = []
        for definition in definitions:
            body = definition.body
            guard = body.guard if isinstance(body, Reduction) else None
            limits.append([x for c in conjuncts(guard) if (x := _limit(c, axis, box, symbols)) is not None])
        shared = [x for x in limits[0] if all(x in other for other in limits[1:])] if limits else []
        hi = bounds.hi
        for value in shared:
            hi = minimum(hi, value)
        return Range(bounds.lo, hi, bounds.end, bounds.span)


def _limit(term: Expr, axis: str, box: dict[str, tuple[Expr, Expr]], symbols: set[str]) -> Expr | None:
    """The u such that the term holds for no `axis >= u` anywhere in the box of the other axes."""
    match term:
        case Call(Fn.LT | Fn.LE | Fn.GT | Fn.GE as fn, (a, b)):
            left, right = affine(a), affine(b)
        case _:
            return None
    if left is None or right is None:
        return None
    form = left - right  # form < 0, or <= 0
    if fn in (Fn.GT, Fn.GE):
        form = form * -1
    slack = 1 if fn in (Fn.LE, Fn.GE) else 0
    coefficients = form.coefficients
    if coefficients.pop(axis, 0) != 1:
        return None
    # axis < -(rest) + slack, for the smallest rest
    limit: Expr = const(slack - form.constant)
    for name, factor in coefficients.items():
        if name not in box and name not in symbols:
            return None  # an axis whose loop is further in
        lo, hi = box.get(name, (Var(name), Var(name)))
        value = lo if factor > 0 else hi
        product = Call(Fn.MUL, (value, const(-factor)))
        limit = add(limit, product)
    return limit
