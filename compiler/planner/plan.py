"""Make one plan from an op (after `unify_axes`) and the choices to follow."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property
from math import prod

from ...backends.machine import Machine
from ...ir.expr import Boundary, Var, as_int, variables
from ...ir.gir import LoopKind
from ...ir.op import Definition, Op
from ..assumed import assumed
from ..axes import all_axes, reduction_axes
from ..plan import Block, Fold, KernelPlan, Nest, Pack, Plan, Step, Tile, folds, step_definitions
from .choices import PIECES_PER_UNIT, Choices
from .facts import (
    Stride,
    bound_axes,
    dependencies,
    extents,
    goes_back,
    is_contraction,
    is_plain,
    is_ragged,
    is_special,
    keeps_type,
    members,
    shared_ends,
    strides,
)
from .groups import Passed, fronts, make_groups, root_axes, shared_passes
from .lanes import choose_lanes, register_tile
from .nests import NestBuilder
from .pairs import pair_axis

PIECE_LINES = 8  # of results that are written through the caches from blocks of a line
THIN_ROWS = 8  # rows that a contraction which waits for memory reads at a time
PANEL_SHARE = 0.67  # of the scratch of a unit, for the part of an operand that every row uses
CONTRACTION_PIECES = 4  # parallel iterations of a contraction for each unit
FRONT_TILES = 2  # tiles in flight, per unit, of a recurrence that runs front by front


def make_plan(op: Op, machine: Machine, choices: Choices) -> Plan:
    """A legal plan: every definition once, in dependence order. It is legal for all extents of the op, and made for
    those that are assumed where some are open."""
    exact, op = op, assumed(op)
    if not choices.enough_parallelism:
        choices = replace(choices, enough_parallelism=PIECES_PER_UNIT * machine.units)
    groups = make_groups(op, choices)
    where = {name: number for number, group in enumerate(groups) for name in group}
    external = {t.name for t in op.outputs}
    for definition in op.definitions:
        for name in dependencies(op, definition):
            if where[name] != where[definition.name]:
                external.add(name)
    kernels = []
    for number, group in enumerate(groups):
        planner = KernelPlanner(op, group, external, machine, choices, exact)
        kernels.append(KernelPlan(f"{op.name}_{number}", planner.plan()))
    return Plan(tuple(kernels), tuple(sorted(choices.plain)), choices.prefetch)


class KernelPlanner:
    """Plans one group of definitions."""

    def __init__(
        self, op: Op, group: list[str], external: set[str], machine: Machine, choices: Choices, exact: Op
    ) -> None:
        """`exact`: the op with its open extents, which `op` has values for."""
        self.op = op
        self.exact = exact
        self.group = group
        self.external = external
        self.machine = machine
        self.line = max(1, machine.line_bytes // 4)  # elements of four bytes in a cache line
        self.choices = choices
        self.definitions = members(op, group)
        self.names = set(group)
        self.readings = Counter(r.tensor for d in self.definitions for r in d.reads)  # how often each tensor is read
        self.sizes: dict[str, int] = {}
        for definition in self.definitions:
            self.sizes |= extents(definition)
        self.order = list(dict.fromkeys(a.name for d in self.definitions for a in all_axes(d)))
        self.serial, self.independent = fronts(op, group, choices.enough_parallelism)
        self.roots = root_axes(op, group) + self.independent
        self.goes_along = self.as_read()
        self.lanes_of = choose_lanes(op, group, external, self.roots, choices)
        found = shared_passes(op, group) if choices.stream != 0 else []
        wanted = [p for p in found if choices.stream is not None or self._stream_pays(p.members)]
        self.tiles = {
            d.name: register_tile(d, self.lanes_of[d.name], choices, self._lane_count(d), self.sizes, external)
            for d in self.definitions
        }
        self.thin = {d.name: axis for d in self.definitions if (axis := self._thin_along(d))}
        for name, axis in self.thin.items():
            self.tiles[name].setdefault(axis, THIN_ROWS)
        wide = {axis for tile in self.tiles.values() for axis in tile}
        self.passes = [p for p in wanted if self._held(p) <= set(self.roots) - wide]
        self.held = {axis for p in self.passes for axis in self._held(p) | self._better_held(p) - wide}
        blocked = self._blocked()
        self.blocks = {p.axis: p.size for p in blocked}
        self.passes += blocked

    def _thin_along(self, definition: Definition) -> str:
        """The reduced axis of a contraction that uses each element of what it reads along the lanes for one result or
        two, where that lies in rows along the lanes, or nothing. It waits for memory: rows are read a few at a time,
        from end to end, and the results wait in a cache."""
        lanes, reduced = self.lanes_of[definition.name], reduction_axes(definition)
        if not is_contraction(definition) or lanes is None or len(reduced) != 1 or as_int(reduced[0].lo) != 0:
            return ""
        axis = reduced[0].name
        shared = sum(axis in {a.name for a in all_axes(d)} for d in self.definitions) > 1
        if shared or axis == lanes or is_ragged(definition) or self.sizes[axis] < 16 * THIN_ROWS:
            return ""
        if not keeps_type(self.op, definition) or self.op.streams or self.choices.block is not None:
            return ""
        along = [s for s in strides(definition) if s.get(lanes)]
        if len(along) != 1 or along[0].get(lanes) is not Stride.CONTIGUOUS or not along[0].get(axis):
            return ""
        uses = prod(self.sizes[a.name] for a in definition.axes if not along[0].get(a.name))
        return axis if uses <= 2 else ""

    def _blocked(self) -> list[Passed]:
        """Contractions whose reduced axis runs in blocks: of what they read along the lanes, the part that belongs to
        one block fits in the second cache beside the rest, where all of it would not."""
        out = []
        streamed = {c.target for s in self.op.streams for c in s.components}  # these are repaired from tile to tile
        for definition in self.definitions:
            lanes, reduced = self.lanes_of[definition.name], reduction_axes(definition)
            if not is_contraction(definition) or lanes is None or len(reduced) != 1 or as_int(reduced[0].lo) != 0:
                continue
            axis = reduced[0].name
            taken = any(definition.name in p.members or p.axis == axis for p in self.passes)
            alone = sum(axis in {a.name for a in all_axes(d)} for d in self.definitions) == 1
            if (
                taken
                or not alone
                or lanes == axis
                or definition.name in streamed
                or is_ragged(definition)
                or bound_axes(definition)
                or not keeps_type(self.op, definition)
            ):
                continue
            size = self._block(definition, axis, lanes)
            if 0 < size < self.sizes[axis]:
                out.append(Passed(axis, frozenset((definition.name,)), size))
        return out

    def _block(self, definition: Definition, axis: str, lanes: str) -> int:
        """Elements of the reduced axis per block, 0 for all of them."""
        if self.choices.block is not None:
            return self.choices.block
        if definition.name in self.thin:
            return self.tiles[definition.name][axis]
        element = max((self.op.tensors[r.tensor].dtype.bytes for r in definition.reads), default=4)
        row = self.tiles[definition.name].get(lanes, 1) * element
        most = int(self.machine.sram_bytes * PANEL_SHARE) // row
        return 1 << most.bit_length() - 1 if most < self.sizes[axis] else 0

    def as_read(self) -> list[str]:
        """The root axes in the order in which the largest input lies in memory, where that is not the order of the
        results and nothing is reduced or ordered; else none. What is read on and on is fetched ahead by the processor,
        while results that go past the caches in whole lines wait for nothing, wherever they go."""
        if any(reduction_axes(d) or d.is_recurrence or is_special(d) for d in self.definitions):
            return []
        orders: list[tuple[int, list[str]]] = []
        for definition in self.definitions:
            for read, along in zip(definition.reads, strides(definition), strict=True):
                producer = self.op.definition_of(read.tensor)
                if (producer is None or producer.name not in self.names) and is_plain(read):
                    axes = [i.name for i in read.index if isinstance(i, Var)]
                    orders.append((prod(self.sizes[a] for a in along), axes))
        largest = max((size for size, _ in orders), default=0)
        wanted = [order for size, order in orders if size == largest]
        if not wanted or self.roots in wanted or sorted(wanted[0]) != sorted(self.roots):
            return []
        return wanted[0]

    def _held(self, passed: Passed) -> frozenset[str]:
        """Axes that the ends of the pass depend on: one iteration of each must hold all of it."""
        inside = [d for d in self.definitions if d.name in passed.members]
        return frozenset(axis for d in inside for axis in bound_axes(d))

    def _better_held(self, passed: Passed) -> frozenset[str]:
        """Axes that a tensor's word on where the pass ends depends on: one iteration of each, and it ends there."""
        inside = [d for d in self.definitions if d.name in passed.members]
        ends = [e for d in inside for a in reduction_axes(d) for e in shared_ends([d], a.name, set(self.sizes))]
        return frozenset({v for e in ends for v in variables(e)} & set(self.roots))

    def _lane_count(self, definition: Definition) -> int:
        widest = max(t.dtype.arithmetic.bytes for t in definition.targets)
        return self.machine.lanes(max(4, widest) if not definition.targets[0].dtype.is_int else 4)

    def _stream_pays(self, members: frozenset[str]) -> bool:
        """Streaming is the default where the stream holds contractions: their results are never stored whole."""
        return any(is_contraction(d) for d in self.definitions if d.name in members)

    # -- tiles -------------------------------------------------------------------------------------------------------

    def plan(self) -> tuple[Block, ...]:
        root_tiles = self.root_tiles
        turns = self.turns(dict(root_tiles))
        fixed = {a for a, n in root_tiles if n == 1} | ({self.serial} if turns <= 1 else set())
        body = self.inside(self.definitions, self.passes, fixed)
        body = self.with_packs(body)
        for axis, size in reversed(root_tiles):
            lag = self.serial if turns > 1 and axis in self.independent else ""
            body = (Tile(axis, size, LoopKind.UNIT, body, lag),)
        return (Tile(self.serial, turns, LoopKind.SERIAL, body),) if self.serial else body

    def turns(self, tiles: dict[str, int]) -> int:
        """The tile of the serial axis of fronts: 1, with a fork and a join at every step; or more, where the tiles of
        the independent axis may follow each other, each one tile behind."""
        if len(self.independent) != 1 or self.independent[0] not in tiles:
            return 1
        definition, axis = self.definitions[0], self.independent[0]
        bounds = [as_int(a.hi) for a in members(self.exact, self.group)[0].axes if a.name in (axis, self.serial)]
        if None in bounds or not goes_back(definition, axis, tiles[axis]):
            return 1
        size = self.sizes[self.serial] // (4 * FRONT_TILES * self.machine.units)
        return min(max(self.line, size), max(1, self.sizes[self.serial]))

    @cached_property
    def root_tiles(self) -> list[tuple[str, int]]:
        """(axis, tile size) of the parallel loops, outermost first."""
        if any(is_special(d) for d in self.definitions):
            return [(r, 1) for r in self.roots]
        needed = dict.fromkeys(self.roots, 1)
        for register in self.tiles.values():
            for axis, size in register.items():
                if axis in needed:
                    needed[axis] = max(needed[axis], size)
        for axis in self.roots:
            iterations = prod(self.sizes[r] // needed[r] for r in self.roots)
            enough = iterations >= self.line * self.machine.units * 4
            if needed[axis] == 1 and enough and self._needs_line(axis):
                needed[axis] = self.line
        heavy = any(is_contraction(d) and d.name not in self.thin for d in self.definitions)
        lane_axes = {self.lanes_of[d.name] for d in self.definitions} - {None}
        order, long = self.roots, dict[str, int]()
        if self.goes_along:
            order = self.goes_along
            if needed[order[-1]] > 1:
                lane_axes = {order[-1]}
                long = self.long_pieces(needed)
        out: list[tuple[str, int]] = []
        others = prod(self.sizes[r] for r in self.roots if r not in lane_axes)
        given = {} if self.serial else dict(self.choices.parallel)
        for axis in sorted(order, key=lambda r: r != self.choices.outer):
            size = self.sizes[axis]
            tile = needed[axis]
            if axis in self.held:
                tile = 1
            elif axis in given:
                if not given[axis]:
                    continue  # not split over units
                tile = -(-given[axis] // tile) * tile
            elif tile == 1:
                if heavy and self.choices.root_rows and size > 1:
                    tile = self.choices.root_rows
            elif axis in lane_axes:
                tile = self._lane_chunk(axis, tile, others, heavy, lane_axes == {axis})
                if tile >= size and others >= self.choices.enough_parallelism:
                    continue  # the whole axis stays inside
            elif heavy:
                tile = self._row_chunk(axis, tile, needed)
                if tile >= size and len(self.roots) > 1:
                    continue
            elif axis in long:
                tile = long[axis]
            out.append((axis, min(tile, self._rounded(axis, needed[axis])) if size else 1))
        return [(a, n) for a, n in out if n >= 1]

    def long_pieces(self, needed: dict[str, int]) -> dict[str, int]:
        """Tiles along which results are contiguous: pieces of many lines have few that are shared with the next piece,
        which another unit may write at the same time; and a line that goes through the caches leaves them once, with
        all that belongs to it."""
        out = {}
        for definition in self.definitions:
            axis = definition.axes[-1].name if definition.axes else ""
            if definition.name not in self.external or needed.get(axis, 1) == 1:
                continue
            beside = [r for r in needed if r not in (axis, self.goes_along[-1])]
            tile = PIECE_LINES * needed[axis]
            pieces = self.sizes[axis] // tile * prod(-(-self.sizes[r] // needed[r]) for r in beside)
            if self.sizes[axis] > tile and pieces + 1 >= self.choices.enough_parallelism:
                out[axis] = tile
        return out

    def _rounded(self, axis: str, step: int) -> int:
        return max(step, -(-self.sizes[axis] // step) * step)

    def _lane_chunk(self, axis: str, tile: int, others: int, heavy: bool, alone: bool) -> int:
        if heavy or self.serial:
            return tile
        size = self.sizes[axis]
        if self.thin:
            return max(tile, -(-size // self.machine.units // tile) * tile)
        maps = not any(reduction_axes(d) for d in self.definitions)
        if others >= self.choices.enough_parallelism and maps and alone:
            return size
        share = max(tile, -(-size // (self.machine.units * 4) // tile) * tile)
        return max(tile, min(self.choices.chunk // tile * tile, share))

    def _row_chunk(self, axis: str, tile: int, needed: dict[str, int]) -> int:
        """Rows of a contraction per parallel iteration: many, so that what is packed inside is reused."""
        if self.choices.root_rows:
            return max(tile, self.choices.root_rows // tile * tile)
        if len(self.passes) > len(self.blocks) or sum(bool(reduction_axes(d)) for d in self.definitions) > 1:
            return max(tile, 192 // tile * tile)  # what lives from pass to pass, for each row, stays in scratch
        others = prod(-(-self.sizes[r] // max(1, needed[r])) for r in self.roots if r != axis)
        parts = -(-CONTRACTION_PIECES * self.machine.units // max(1, others))
        return max(tile, -(-self.sizes[axis] // parts // tile) * tile)

    def _needs_line(self, axis: str) -> bool:
        """Some dram access runs contiguously along this axis while other lanes are chosen."""
        for definition in self.definitions:
            lanes = self.lanes_of[definition.name]
            stored = definition.name in self.external and bool(definition.axes)
            if stored and definition.axes[-1].name == axis and lanes != axis:
                return True
            for read, along in zip(definition.reads, strides(definition), strict=True):
                producer = self.op.definition_of(read.tensor)
                if producer is not None and producer.name in self.names:
                    continue
                if lanes is None or lanes == axis or along.get(axis) is not Stride.CONTIGUOUS:
                    continue
                if along.get(lanes) is Stride.STRIDED:
                    return True
        return False

    # -- bodies ------------------------------------------------------------------------------------------------------

    def inside(self, definitions: list[Definition], passes: list[Passed], fixed: set[str]) -> tuple[Block, ...]:
        """Blocks of definitions in order, each of the shared passes as one tile loop."""
        blocks: list[Block] = []
        left = [p for p in passes if any(d.name in p.members for d in definitions)]
        while left:
            axis, in_pass = left[0].axis, left[0].members
            before: list[Definition] = []
            after: list[Definition] = []
            reached = set(in_pass)
            for definition in definitions:
                if definition.name in in_pass:
                    continue
                if dependencies(self.op, definition) & reached:
                    after.append(definition)
                    reached.add(definition.name)
                else:
                    before.append(definition)
            within = [d for d in definitions if d.name in in_pass]
            blocks += self.inside(before, left[1:], fixed)
            size = self._stream_tile(within, axis, left[0].size or self.choices.stream or 96)
            inner = self.with_packs(tuple(self.nests(within, fixed)))
            outside = tuple(b for b in inner if isinstance(b, Pack) and axis not in b.axes)
            blocks += outside
            blocks.append(Tile(axis, size, LoopKind.SERIAL, tuple(b for b in inner if b not in outside)))
            definitions = after
            left = [p for p in left[1:] if any(d.name in p.members for d in definitions)]
        return (*blocks, *self.nests(definitions, fixed))

    def _stream_tile(self, within: list[Definition], axis: str, size: int) -> int:
        steps = {self.tiles[d.name].get(axis, 1) for d in within}
        step = max(steps)
        for other in steps:
            if step % other:
                step *= other
        return max(step, min(size, self._rounded(axis, step)) // step * step)

    def nests(self, definitions: list[Definition], fixed: set[str]) -> list[Nest]:
        builder = NestBuilder(self.op, fixed, self.lanes_of, self.choices.unfused)
        for definition in definitions:
            builder.add(definition, {a: n for a, n in self.tiles[definition.name].items() if a not in fixed})
        inner = dict(self.choices.inner)
        return [d.finish(self.order, inner) for d in builder.drafts]

    # -- packs -------------------------------------------------------------------------------------------------------

    def with_packs(self, body: tuple[Block, ...]) -> tuple[Block, ...]:
        """Put copies in front of the nests that read an input across its rows (or re-read a large panel of it)."""
        packs: list[Pack] = []
        for block in body:
            if not isinstance(block, Nest) or block.lanes is None:
                continue
            for definition in members(self.op, step_definitions(block.body)):
                if self.lanes_of[definition.name] != block.lanes or not is_contraction(definition):
                    continue
                if definition.name in self.thin:
                    continue
                alone = any(f.definitions == (definition.name,) and not f.body for f in folds(block.body))
                for pack in self._packs_of(definition, block.lanes, alone):
                    room = self.machine.sram_bytes * 3 // 4 - sum(self._panel_bytes(p) for p in packs)
                    wanted = pack.tensor not in self.choices.unpacked and pack not in packs
                    if wanted and self._panel_bytes(pack) <= room:
                        packs.append(pack)
        return (*packs, *self.in_pairs(body, packs)) if packs else body

    def in_pairs(self, body: tuple[Block, ...], packs: list[Pack]) -> tuple[Block, ...]:
        """The same blocks, sums of products of what is packed in pairs taking two at a time."""
        axes = {p.tensor: p.pairs for p in packs if p.pairs}

        def changed(block: Block) -> Block:
            if not isinstance(block, Nest) or not axes:
                return block
            return replace(block, body=tuple(self._paired(s, axes) for s in block.body))

        return tuple(changed(b) for b in body)

    def _paired(self, step: Step, axes: dict[str, str]) -> Step:
        if not isinstance(step, Fold):
            return step
        if step.body or len(step.definitions) > 1:
            return replace(step, body=tuple(self._paired(s, axes) for s in step.body))
        reads = members(self.op, step.definitions)[0].reads
        return replace(step, pairs=next((axes[r.tensor] for r in reads if r.tensor in axes), ""))

    def _packs_of(self, definition: Definition, lanes: str, alone: bool) -> list[Pack]:
        """`alone`: its fold is one that may run in pairs."""
        out = []
        for read, along in zip(definition.reads, strides(definition), strict=True):
            producer = self.op.definition_of(read.tensor)
            if producer is not None and producer.name in self.names:
                continue
            if is_ragged(definition) or bound_axes(definition) or read.boundary is not Boundary.NONE:
                continue
            if self.readings[read.tensor] != 1 or not is_plain(read) or not along.get(lanes):
                continue
            fixed = {r for r in self.roots if self._is_unit(r)}
            axes = [i.name for i in read.index if isinstance(i, Var) and i.name not in fixed]
            if lanes not in axes:
                continue
            if along[lanes] is Stride.CONTIGUOUS and len(axes) < 2:
                continue
            axes.remove(lanes)
            pairs = self._pairs_of(definition, lanes, read.tensor, axes) if alone else ""
            out.append(Pack(read.tensor, (*axes, lanes), pairs))
        return out

    def _pairs_of(self, definition: Definition, lanes: str, tensor: str, axes: list[str]) -> str:
        """The axis in pairs of which a packed tensor is multiplied, or nothing."""
        axis, packed = pair_axis(self.op, definition, lanes, self.machine, self.names)
        single = self.tiles[definition.name].get(axis, 1) == 1
        return axis if self.choices.pairs and packed == tensor and axis in axes and single else ""

    def _is_unit(self, root: str) -> bool:
        return dict(self.root_tiles).get(root) == 1

    def _panel_bytes(self, pack: Pack) -> int:
        tiles = dict(self.root_tiles) | self.blocks
        element = self.op.tensors[pack.tensor].dtype.bytes
        return element * prod(tiles.get(a, self.sizes[a]) for a in pack.axes)


__all__ = ["KernelPlanner", "make_plan"]
