"""The cost model's walk over a kernel: every statement, loop and body gets its footprint, traffic, work and cycles.

The formulas are those of cost.py (issue, parallel) and footprint.py (bytes); this file applies them to the tree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ...backends.machine import Machine
from ...ir.affine import COORD, affine
from ...ir.expr import Call, Expr, Fn, Ref, refs, variables
from ...ir.expr import walk as walk_expr
from ...ir.gir import (
    Access,
    Alloc,
    Branch,
    Compute,
    Level,
    Load,
    Loop,
    LoopKind,
    Move,
    Prefetch,
    Program,
    Reduce,
    Stmt,
    Store,
    Sync,
    walk,
)
from ...ir.gir_sites import accesses, both
from ...ir.gir_tools import coordinates, tile_written, tiles_read, variables_read
from .conflicts import conflicts
from .footprint import (
    Buffer,
    Entry,
    Footprint,
    Kind,
    Traffic,
    entry_of,
    evaluate,
    fold,
    lines,
    merge,
    once,
    reach_of,
    resident,
    run_of,
    sizes,
    trip_of,
)
from .issue import TRANSCENDENTAL, Work, by_elements, vectors, work_of
from .phases import Phase, in_sequence, repeated

ASSUMED_TRIPS = 64  # of a loop bounded by data that no dimension bounds
_FIT = 0.75  # share of a cache that a working set may fill
_NO_END = 1e15  # larger than any extent
_FILLED = 0.8  # of an axis that data ends: a plan that stops there is better than one that goes on
_ITERATION_CYCLES = 2.0
STREAM_LOST = 80.0  # `run_lost_bytes` of stores past the caches, which nothing waits for (a page of dram is opened)
EVICTED = 16.0  # vectors that travel for each one too many: they are used in a cycle
SPARE = (0.75, 0.25, 0.25)  # of the sets that a footprint falls into, at every cache: what it may take
WRITTEN_BACK = 3.0  # how much more often a line that was written to travels where it left a cache too early
HINTED = 0.6  # of what the end of a run of neighbouring addresses costs, where prefetches ask for the next one
STREAMS = 0.1  # by how much more each doubling of rows that are read side by side takes
CROWDED = 0.15  # the same of a tile of function values beyond what registers hold while it is computed
OPENED = 0.4  # what is lost at least: another page of dram is opened
BESIDE = 0.25  # by how much each further run that is asked for at the same time divides it
PAGE_BYTES = 4096
PAGE_LOST = 128.0  # bytes of dram time lost where what is touched soon ends, in whatever order (a page is opened)


@dataclass(slots=True)
class Node:
    """One execution of a statement or body: footprint, traffic beyond L1, L2 and L3, work, and time on one unit."""

    footprint: Footprint
    bytes: Traffic  # of the footprint, outer indices in the middle
    traffic: tuple[Traffic, Traffic, Traffic]
    work: Work
    cycles: float  # on the critical path
    busy: float  # of all units together
    fma: float  # cycles, on the critical path
    overhead: float  # cycles, on the critical path
    forks: float
    phases: list[Phase]


class NestModel:
    """Walks the kernels of one program; `symbols` holds the value of every symbol."""

    def __init__(self, program: Program, machine: Machine, symbols: Mapping[str, float]) -> None:
        self.machine, self.symbols = machine, symbols
        self.buffers: dict[str, Buffer] = {}
        for t in program.tensors:
            self.declare(t.name, t.shape, t.dtype.bytes, False)
        self.tensors = dict(self.buffers)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.mutable: set[str] = set()
        self.follows: dict[str, frozenset[str]] = {}  # the loop indices that a tile's value depends on
        self.by_elements: set[str] = set()  # buffers that some access goes through lane by lane
        self.spans: dict[str, tuple[float, frozenset[str]]] = {}  # of each loop, for `reach_of`
        self.stretch: dict[tuple[str, Kind], float] = {}  # factors on dram traffic that comes in short runs
        self.capacity = tuple(_FIT * c for c in (machine.l1_bytes, machine.l2_bytes, machine.l3_bytes))

    def declare(self, name: str, shape: tuple[Expr, ...], element: int, scratch: bool) -> None:
        extents = tuple(max(0.0, evaluate(e, self.symbols) or float(ASSUMED_TRIPS)) for e in shape)
        if any(evaluate(e, self.symbols) == 0 for e in shape):
            extents = tuple(0.0 for _ in shape)
        line = self.machine.line_bytes
        size = math.ceil(math.prod(extents) * element / line) * line
        self.buffers[name] = Buffer(extents, element, scratch, size)

    def enter(self, body: tuple[Stmt, ...]) -> None:
        """Note the tiles and scratch buffers of a kernel."""
        self.buffers, self.shapes, self.mutable = dict(self.tensors), {}, set()
        self.stretch, self.follows, self.by_elements = {}, {}, set()
        for s in walk(body):
            name = tile_written(s)
            if name is not None:
                used = frozenset(v for n in tiles_read(s) for v in self.follows.get(n, ()))
                self.follows[name] = self.follows.get(name, frozenset()) | used | variables_read(s)
            match s:
                case Alloc() if s.level is Level.REG:
                    self.mutable.add(s.name)
                    self.shapes[s.name] = tuple(int(evaluate(e, self.symbols) or 1) for e in s.shape)
                case Alloc():
                    self.declare(s.name, s.shape, s.dtype.bytes, True)
                case Load() | Compute():
                    self.shapes[s.tile] = s.shape
                case Reduce():
                    self.shapes[s.tile] = s.folded(self.shapes.get(s.source, ()))
        self.types = {n: (b.element, b.scratch, b.extents) for n, b in self.buffers.items()}

    # -- the tree ----------------------------------------------------------------------------------------------------

    def body(
        self,
        body: tuple[Stmt, ...],
        middle: Mapping[str, float],
        outer: Mapping[str, tuple[float, float]],
        parallel: bool,
    ) -> Node:
        line = self.machine.line_bytes
        hints = frozenset(s.source.buffer for s in body if isinstance(s, Prefetch))
        here = Work()
        footprint: Footprint = {}
        nested: list[Node] = []
        for stmt in body:
            match stmt:
                case Alloc():
                    continue
                case Loop():
                    nested.append(self.loop(stmt, middle, outer, parallel))
                case Branch():
                    nested.extend(self.branch(stmt, middle, outer, parallel))
                case Sync():
                    here.sync_count += 1
                case _:
                    here.add(work_of(stmt, self.shapes, self.types, self.machine, middle))
                    followed = any(_goes_on(h, stmt) for h in body if isinstance(h, Prefetch))
                    self.touch(stmt, footprint, middle, tuple(outer), hints, followed)
        own = sizes(footprint, self.buffers, middle, line) if footprint else {}
        scattered = sum(self.element_by_element(stmt, middle) for stmt in body if isinstance(stmt, Load | Store))
        spill = self.spills(body)
        here.loads += spill
        here.stores += 2 * spill  # spilled chains wait for their own stores
        cycles = here.cycles(self.machine) * self.crowding(body) + scattered
        flat = Node(
            footprint, own, (own, own, own), here, cycles, cycles, here.fma / self.machine.fma_per_cycle, 0.0, 0.0, []
        )
        if not nested:
            flat.traffic = self.fitting(own, (own, own, own), parallel)
        l1, l2, l3 = flat.traffic
        jumps = self.jumps(body, tuple(outer), hints)
        rates = {name: size / cycles for name, size in jumps.items()} if cycles else {}
        flat.phases = [Phase(cycles, (dict(l1), dict(l2), dict(l3)), hints, rates)]
        if not nested:
            return flat
        parts = [flat, *nested] if here.load_count or here.store_count or here.compute_count or footprint else nested
        return self.join(parts, middle, parallel)

    def jumps(self, body: tuple[Stmt, ...], loops: tuple[str, ...], hints: frozenset[str]) -> dict[str, float]:
        """Bytes of the lines that loads of tensors read, by tensor, in runs that jump from one iteration to the next;
        without those that are asked for early."""
        out: dict[str, float] = {}
        for s in body:
            if not isinstance(s, Load) or s.source.buffer not in self.tensors or s.source.buffer in hints:
                continue
            buffer, shape = self.buffers[s.source.buffer], tuple(map(float, s.shape))
            if run_of(s.source, shape, loops, self.symbols, buffer.extents) < math.inf:
                row = math.ceil((shape or (1.0,))[-1] * buffer.element / self.machine.line_bytes)
                size = math.prod(shape[:-1]) * row * self.machine.line_bytes
                out[s.source.buffer] = out.get(s.source.buffer, 0.0) + size
        return out

    def join(self, parts: list[Node], middle: Mapping[str, float], parallel: bool) -> Node:
        out = _nothing()
        for p in parts:
            for full, entry in p.footprint.items():
                merge(out.footprint, full[:2], entry)
            for mine, theirs in zip(out.traffic, p.traffic, strict=True):
                _add(mine, theirs, 1.0)
            out.work.add(p.work)
            out.cycles += p.cycles
            out.busy += p.busy
            out.fma += p.fma
            out.overhead += p.overhead
            out.forks += p.forks
            out.phases += p.phases
        if len(parts) > 1:
            out.bytes = sizes(out.footprint, self.buffers, middle, self.machine.line_bytes)
            out.traffic = self.fitting(out.bytes, out.traffic, parallel)
        else:
            out.bytes = parts[0].bytes
        out.phases = in_sequence(out.phases, out.traffic, self.machine.window_cycles)
        return out

    def fitting(
        self,
        bytes_: Traffic,
        otherwise: tuple[Traffic, Traffic, Traffic],
        parallel: bool,
    ) -> tuple[Traffic, Traffic, Traffic]:
        """The footprint where it fits in a cache, the given traffic where it does not."""
        need, fits = resident(bytes_), once(bytes_, self.buffers)
        l1, l2, l3 = (fits if need <= c else t for c, t in zip(self.capacities(parallel), otherwise, strict=True))
        return l1, l2, l3

    def capacities(self, parallel: bool) -> tuple[float, float, float]:
        l1, l2, l3 = self.capacity
        return l1, l2, max(l2, l3 / self.machine.units if parallel else l3)

    def loop(
        self, loop: Loop, middle: Mapping[str, float], outer: Mapping[str, tuple[float, float]], parallel: bool
    ) -> Node:
        middle = {**middle, **self.data_ends(loop, middle)}
        trip = trip_of(loop, middle, outer, ASSUMED_TRIPS)
        self.spans[loop.var] = (trip.count * loop.step, frozenset(variables(loop.lo)))
        first = trip.first + sum(f * middle[n] for n, f in trip.first_by.items())
        last = trip.last + sum(f * middle[n] for n, f in trip.last_by.items())
        inner_middle = {**middle, loop.var: (first + last) / 2}
        is_parallel = loop.kind.is_parallel and trip.count > 1  # a single iteration leaves it to the loops inside
        body = self.body(loop.body, inner_middle, {**outer, loop.var: (first, last)}, parallel or is_parallel)
        n = trip.count
        if n <= 0:
            return _nothing()
        footprint: Footprint = {}
        for full, entry in body.footprint.items():
            name = full[0]
            assert isinstance(name, str)
            merge(footprint, full[:2], fold(entry, loop.var, trip, self.buffers[name].extents))
        inside = resident(body.bytes)
        bytes_ = sizes(footprint, self.buffers, middle, self.machine.line_bytes)
        all_of_it, need = once(bytes_, self.buffers), resident(bytes_)
        traffic: list[Traffic] = []
        for k, t in enumerate(body.traffic):
            reused = inside <= self.capacities(parallel or is_parallel)[k] or need <= self.capacities(parallel)[k]
            traffic.append(all_of_it if reused else _add({}, t, n))
        work = Work()
        work.add(body.work, n)
        units = 1.0
        if is_parallel and not parallel:
            pieces = max(n * self.pieces(loop, middle, outer), 1.0)  # where a loop inside is empty there are none
            units = pieces / math.ceil(pieces / min(float(self.machine.units), pieces))
        rounds = n / units
        waited, beside = self.fetched_again(body, all_of_it, n, parallel or is_parallel, inner_middle)
        step = max(body.cycles + waited / n, beside / n, self.latency(loop))
        per_iteration = 0.0 if loop.kind is LoopKind.UNROLL else _ITERATION_CYCLES
        whole = (traffic[0], traffic[1], traffic[2])
        longer = rounds * (step / body.cycles if body.cycles else 1.0)
        return Node(
            footprint,
            bytes_,
            whole,
            work,
            step * rounds,
            (body.busy + step - body.cycles) * n,
            body.fma * rounds,
            (body.overhead + per_iteration) * rounds,
            body.forks * n + (1 if units > 1 else 0),
            repeated(body.phases, longer, whole),
        )

    def fetched_again(
        self, body: Node, wanted: Traffic, n: float, parallel: bool, middle: Mapping[str, float]
    ) -> tuple[float, float]:
        """Cycles, in all iterations together, to fetch lines that would stay in a cache between two of them if they did
        not fall into the same few sets: those that are waited for, since lanes are put together one by one, and those
        that go on beside other work."""
        m = self.machine
        waited = beside = 0.0
        if n <= 1:
            return 0.0, 0.0
        inside = resident(body.bytes)
        for full, entry in body.footprint.items():
            name, kind = full[0], full[1]
            assert isinstance(name, str) and isinstance(kind, Kind)
            buffer = self.buffers[name]
            if buffer.scratch or len(entry) < 2:
                continue
            for k, capacity in enumerate(self.capacities(parallel)):
                repeated_ = n * body.traffic[k].get((name, kind), 0.0) - wanted.get((name, kind), 0.0)
                if inside <= capacity and repeated_ > 0:
                    cycles = repeated_ / m.line_bytes * self.conflict_cycles(entry, buffer, kind, middle, k)
                    waited += cycles if name in self.by_elements else 0.0
                    beside += cycles if name not in self.by_elements else 0.0
        return waited, beside

    def element_by_element(self, stmt: Load | Store, middle: Mapping[str, float]) -> float:
        """Cycles lost by an access that goes through its elements lane by lane and comes back to lines that left."""
        access = stmt.source if isinstance(stmt, Load) else stmt.target
        buffer, shape = self.buffers[access.buffer], tuple(map(float, stmt.shape))
        lanes = self.machine.lanes(buffer.element)
        if isinstance(stmt, Load) and stmt.pairs:
            return 0.0
        if buffer.scratch or 0.0 in buffer.extents or not by_elements(access, shape, lanes):
            return 0.0
        self.by_elements.add(access.buffer)
        entry = entry_of(access, shape, self.symbols, buffer.extents, self.follows)
        again = math.prod(shape) - lines(entry, buffer, middle, self.machine.line_bytes) / self.machine.line_bytes
        kind = Kind.READ if isinstance(stmt, Load) else Kind.WRITE
        return again * self.conflict_cycles(entry, buffer, kind, middle, 0) if again > 0 else 0.0

    def conflict_cycles(
        self, entry: Entry, buffer: Buffer, kind: Kind, middle: Mapping[str, float], level: int
    ) -> float:
        """Cycles lost with each line of a footprint that is looked for again in cache number `level`; a line that was
        written to also has to be written back and fetched."""
        m = self.machine
        size, ways, lost = (
            (m.l1_bytes, m.l1_ways, m.l1_conflict_cycles),
            (m.l2_bytes, m.l2_ways, m.l2_conflict_cycles),
            (m.l3_bytes, m.l3_ways, m.l3_conflict_cycles),
        )[level]
        share = conflicts(entry, buffer, middle, m.line_bytes, size, ways, SPARE[level])
        return lost * share * (1.0 if kind is Kind.READ else WRITTEN_BACK)

    def pieces(self, loop: Loop, middle: Mapping[str, float], outer: Mapping[str, tuple[float, float]]) -> float:
        """Iterations, in each of this loop's, of the parallel loops that it consists of: all are handed out."""
        match loop.body:
            case (Loop() as inner,) if inner.kind.is_parallel:
                own = trip_of(inner, {**middle, **self.data_ends(inner, middle)}, outer, ASSUMED_TRIPS).count
                return own * self.pieces(inner, middle, outer)
        return 1.0

    def data_ends(self, loop: Loop, known: Mapping[str, float]) -> dict[str, float]:
        """Values to assume for tiles that say where a loop ends: a share of what its other bounds allow, or else of the
        largest dimension that the loop runs along."""
        unknown = sorted((refs(loop.lo) | refs(loop.hi)) - known.keys())
        if not unknown:
            return {}
        most = evaluate(loop.hi, {**known, **dict.fromkeys(unknown, _NO_END)})
        if most is None or most >= _NO_END / 2:
            found = [
                self.buffers[access.buffer].extents[dim]
                for s in walk(loop.body)
                for access, *_ in accesses(s)
                for dim, index in enumerate(access.index)
                if access.buffer in self.buffers and loop.var in variables(index)
            ]
            most = max(found, default=float(ASSUMED_TRIPS * loop.step))
        first = evaluate(loop.lo, known) or 0.0
        return dict.fromkeys(unknown, math.floor(first + _FILLED * (most - first)))

    def branch(
        self, branch: Branch, middle: Mapping[str, float], outer: Mapping[str, tuple[float, float]], parallel: bool
    ) -> list[Node]:
        share = _share(branch.condition, middle, outer)
        out = []
        for body, weight in ((branch.then, share), (branch.otherwise, 1.0 - share)):
            if body and weight > 0:
                node = self.body(body, middle, outer, parallel)
                out.append(node if weight == 1.0 else _scaled(node, weight))
        return out

    # -- statements --------------------------------------------------------------------------------------------------

    def touch(
        self,
        stmt: Stmt,
        footprint: Footprint,
        middle: Mapping[str, float],
        loops: tuple[str, ...],
        hints: frozenset[str],
        followed: bool,
    ) -> None:
        """Note what a statement touches; `followed`: a hint asks for what comes after it, so that its run goes on."""

        def note(access: Access, shape: tuple[float, ...], kind: Kind) -> None:
            buffer = self.buffers[access.buffer]
            if 0.0 not in buffer.extents:
                merge(
                    footprint,
                    (access.buffer, kind),
                    entry_of(access, shape, self.symbols, buffer.extents, self.follows),
                )
            if not buffer.scratch:
                window = self.machine.l2_bytes / 4 / buffer.element
                run = run_of(access, shape, loops, self.symbols, buffer.extents) * buffer.element
                reach = reach_of(access, shape, loops, self.symbols, buffer.extents, self.spans, window)
                run = math.inf if followed and kind is Kind.READ else run
                key = (access.buffer, kind)
                streamed = kind is Kind.STREAM
                lost = STREAM_LOST if streamed else self.machine.run_lost_bytes
                lost /= run + self.machine.line_bytes
                along = coordinates(access.index[-1]) if access.index else set()
                rows = math.prod(n for k, n in enumerate(shape) if k not in along)
                if not streamed:
                    seen = (HINTED if access.buffer in hints else 1.0) / (1.0 + BESIDE * (rows - 1.0))
                    lost *= max(seen, OPENED)
                pages = PAGE_LOST / (reach * buffer.element + self.machine.line_bytes)
                # as the first access goes: others find what it brought, or are tails
                factor = (1.0 + lost + pages) * (1.0 + STREAMS * math.log2(max(rows, 1.0)))
                self.stretch.setdefault(key, 1.0 if streamed and _in_one_page(access, buffer) else factor)

        match stmt:
            case Load():
                source, box = both(stmt) if stmt.pairs else (stmt.source, stmt.shape)
                note(source, tuple(map(float, box)), Kind.READ)
            case Store():
                kind = Kind.STREAM if stmt.streaming else Kind.WRITE
                note(stmt.target, tuple(map(float, stmt.shape)), kind)
            case Move():
                shape = tuple(max(1.0, evaluate(e, middle) or 1.0) for e in stmt.shape)
                note(stmt.source, shape, Kind.READ)
                note(stmt.target, shape, Kind.WRITE)

    def spills(self, body: tuple[Stmt, ...]) -> float:
        """Vectors that travel because the tiles live together in a straight-line body exceed the registers."""
        live: dict[str, float] = {}
        largest = 0.0
        for s in body:
            if isinstance(s, Compute):
                for n in refs(s.expr) & self.mutable:
                    live[n] = self.vectors(n)
                if s.tile in self.mutable:
                    live[s.tile] = self.vectors(s.tile)
                else:
                    largest = max(largest, self.vectors(s.tile))
        # two operands at least beside what stays
        excess = sum(live.values()) + min(max(largest, 2.0), 4.0) - self.machine.vector_registers
        if not live or excess <= 0:
            return 0.0
        return min(sum(live.values()), EVICTED * excess)

    def crowding(self, body: tuple[Stmt, ...]) -> float:
        """How much longer a body takes because a tile's function values are computed together, each with several
        vectors of its own, and do not fit in the registers."""
        at_once = [
            vectors(tuple(map(float, s.shape)), self.machine.lanes(4))
            for s in body
            if isinstance(s, Compute | Store)
            for e in walk_expr(s.expr if isinstance(s, Compute) else s.value)
            if isinstance(e, Call) and e.fn in TRANSCENDENTAL
        ]
        fitting = self.machine.vector_registers / 4
        return 1.0 + CROWDED * max(0.0, math.log2(max(at_once, default=1.0) / fitting))

    def vectors(self, tile: str) -> float:
        return vectors(tuple(map(float, self.shapes.get(tile, ()))), self.machine.lanes(4))

    def latency(self, loop: Loop) -> float:
        """Cycles of the longest chain from a mutable tile's value before an iteration to its value after it."""
        if loop.kind.is_parallel:
            return 0.0
        steps: dict[str, dict[str, int]] = {}  # tile -> operations since the start, by the mutable tile they start from
        for s in loop.body:
            if isinstance(s, Compute):
                known = {n: steps.get(n, {n: 0} if n in self.mutable else {}) for n in refs(s.expr)}
                steps[s.tile] = _longest(s.expr, known)
        longest = max((found.get(name, 0) for name, found in steps.items() if name in self.mutable), default=0)
        return float(longest * self.machine.fma_latency)

    def sequence(self, nodes: list[Node]) -> tuple[Footprint, list[tuple[Traffic, Traffic, Traffic]]]:
        """The footprint of all kernels, and the traffic of each given what the one before left in the last cache."""
        whole: Footprint = {}
        shares = []
        before: Traffic = {}
        for node in nodes:
            tensors = {full: e for full, e in node.footprint.items() if full[0] in self.tensors}
            for full, entry in tensors.items():
                merge(whole, full[:2], entry)
            bytes_ = sizes(tensors, self.tensors, self.symbols, self.machine.line_bytes)
            l1, l2, l3 = node.traffic
            if before and resident(_add(dict(before), bytes_, 1.0)) <= self.capacity[2]:
                held = {n: max(before.get((n, k), 0.0) for k in Kind) for n, _ in before}
                l3 = {(n, k): max(0.0, v - held.get(n, 0.0)) if k is Kind.READ else v for (n, k), v in l3.items()}
            shares.append((l1, l2, l3))
            before = bytes_
        return whole, shares


def _in_one_page(access: Access, buffer: Buffer) -> bool:
    """The rows of a tile lie so close together that most of them fall into one page of dram."""
    for dim in range(len(access.index) - 2, -1, -1):
        if coordinates(access.index[dim]):
            return math.prod(buffer.extents[dim + 1 :]) * buffer.element <= PAGE_BYTES / 8
    return False


def _goes_on(hint: Prefetch, stmt: Stmt) -> bool:
    """The hint asks for a later part of the row whose part the load's first row reads."""
    if not isinstance(stmt, Load) or stmt.source.buffer != hint.source.buffer:
        return False
    apart = []
    for now, later in zip(stmt.source.index, hint.source.index, strict=True):
        a, b = affine(now), affine(later)
        if a is None or b is None:
            return False
        apart.append(b - a.drop({name for name, _ in a.terms if name.startswith(COORD)}))
    return all(not d.terms for d in apart) and all(not d.constant for d in apart[:-1]) and apart[-1].constant > 0


def _nothing() -> Node:
    return Node({}, {}, ({}, {}, {}), Work(), 0.0, 0.0, 0.0, 0.0, 0.0, [])


def _add(into: Traffic, other: Traffic, times: float) -> Traffic:
    for k, v in other.items():
        into[k] = into.get(k, 0.0) + v * times
    return into


def _scaled(node: Node, weight: float) -> Node:
    work = Work()
    work.add(node.work, weight)
    l1, l2, l3 = (_add({}, t, weight) for t in node.traffic)
    return Node(
        node.footprint, node.bytes, (l1, l2, l3), work, node.cycles * weight, node.busy * weight, node.fma * weight,
        node.overhead * weight, node.forks * weight, repeated(node.phases, weight, (l1, l2, l3)),
    )  # fmt: skip


def _share(condition: Expr, middle: Mapping[str, float], outer: Mapping[str, tuple[float, float]]) -> float:
    """How often a condition holds, by eight samples of the innermost loop index in it."""
    used = [n for n in outer if n in variables(condition)]
    if not used:
        value = evaluate(condition, middle)
        return 0.5 if value is None else float(bool(value))
    first, last = outer[used[-1]]
    samples = [math.floor(first + (last - first) * (k + 0.5) / 8) for k in range(8)] if last > first else [first]
    values = [evaluate(condition, {**middle, used[-1]: float(v)}) for v in samples]
    return sum(0.5 if v is None else float(bool(v)) for v in values) / len(values)


def _longest(expr: Expr, known: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Operations on the longest way from each starting tile through the expression; a choice is no operation."""
    if isinstance(expr, Ref):
        return dict(known.get(expr.name, {}))
    out: dict[str, int] = {}
    for child in expr.children:
        for name, steps in _longest(child, known).items():
            out[name] = max(out.get(name, 0), steps)
    works = isinstance(expr, Call) and expr.fn is not Fn.SELECT
    return {name: steps + works for name, steps in out.items()}
