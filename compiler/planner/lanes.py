"""Which axis of a definition lies across lanes, and the register tile around it."""

from __future__ import annotations

from ...ir.op import Definition, Op, Reduction
from ..axes import reduction_axes
from ..remembered import remembered
from .choices import Choices
from .facts import (
    Stride,
    blocked_axes,
    bound_axes,
    extents,
    is_contraction,
    is_plain,
    is_special,
    members,
    strides,
    work,
)
from .scans import scanned

STRIDED_COST = 16.0
PACKED_COST = 2.0
MOST_ROWS = 14
NO_LANES = ""  # in choices: every lane idle but one
CARRIED_COST = 6.0  # a strided read of a scratch tile
SCAN_COST = 2.0  # shuffles and steps of a scan within vectors


@remembered
def lane_candidates(definition: Definition) -> tuple[str, ...]:
    """Axes that may lie across lanes, free ones first, then the ordered one of a scan."""
    if is_special(definition):
        return ()
    blocked = blocked_axes(definition)
    out = [a.name for a in definition.axes if a.name not in blocked]
    body = definition.body
    if isinstance(body, Reduction) and body.monoid.fn is not None:
        out += [a.name for a in body.axes if a.name not in blocked]
    scan = scanned(definition)
    if scan is not None and scan.axis not in bound_axes(definition):
        out.append(scan.axis)
    return tuple(out)


def lane_cost(
    op: Op,
    definition: Definition,
    axis: str,
    lanes_of: dict[str, str | None],
    external: set[str],
    roots: list[str],
    can_pack: bool,
) -> float:
    """Relative cost per result of putting `axis` across lanes; accesses are what it counts."""
    sizes = extents(definition)
    reduced = {a.name for a in reduction_axes(definition)}
    contraction = is_contraction(definition)
    total = 0.0
    for read, along in zip(definition.reads, strides(definition), strict=True):
        producer = op.definition_of(read.tensor)
        kind = along.get(axis, Stride.INVARIANT)
        if producer is not None and producer.name in lanes_of:
            inner = lanes_of[producer.name]
            if kind is not Stride.INVARIANT:
                total += 1.0 if inner == axis else CARRIED_COST
            continue
        if kind is Stride.CONTIGUOUS:
            total += 1.0
        elif kind is Stride.STRIDED:
            reuse = 1
            for name, size in sizes.items():
                if not along.get(name):
                    reuse = max(reuse, min(size, 64) if name in roots else size)
            packed = can_pack and is_plain(read) and reuse >= 16 and contraction
            total += PACKED_COST + 32.0 / reuse if packed else STRIDED_COST
    if axis in reduced:
        total += 8.0 * 16 / max(1, sizes[axis]) + (4.0 if contraction else 0.5)
    elif definition.name in external:
        # as far apart, results cost more than reads: in whole lines they may go past the caches
        total += 1.0 if definition.axes and definition.axes[-1].name == axis else STRIDED_COST + 1.0
    scan = scanned(definition)
    if scan is not None and scan.axis == axis:
        total += SCAN_COST
    if sizes[axis] < 16:
        total += 4.0 * 16 / max(1, sizes[axis])
    return total


def choose_lanes(
    op: Op, group: list[str], external: set[str], roots: list[str], choices: Choices
) -> dict[str, str | None]:
    """The lanes axis of every definition of a kernel, in order, each seeing the choices before it."""
    out: dict[str, str | None] = {}
    given = choices.lanes_of
    for name in group:
        definition = op.definition_of(name)
        assert definition is not None
        candidates = lane_candidates(definition)
        if given.get(name) in candidates:
            out[name] = given[name]
            continue
        if given.get(name) == NO_LANES:
            out[name] = None
            continue
        best: tuple[float, int] | None = None
        for number, axis in enumerate(candidates):
            cost = lane_cost(op, definition, axis, out, external, roots, True)
            if best is None or cost < best[0]:
                best = (cost, number)
        out[name] = candidates[best[1]] if best is not None else None
    return _follow_the_work(op, group, roots, out, given)


def _follow_the_work(
    op: Op, group: list[str], roots: list[str], lanes: dict[str, str | None], given: dict[str, str]
) -> dict[str, str | None]:
    """A definition with little work does not make a root axis a lanes axis: it takes the lanes of the definitions
    with the most work, or none."""
    points = {d.name: work(d) for d in members(op, group)}
    most = max(points.values())
    main = [lanes[name] for name in group if points[name] == most]
    out = dict(lanes)
    for name in group:
        definition = op.definition_of(name)
        assert definition is not None
        small = points[name] * 16 <= most or not reads_something(definition)
        if small and name not in given and lanes[name] in roots and lanes[name] not in main:
            usable = [axis for axis in main if axis in lane_candidates(definition)]
            out[name] = usable[0] if usable else None
    return out


def reads_something(definition: Definition) -> bool:
    return bool(definition.reads)


def register_tile(
    definition: Definition,
    lanes: str | None,
    choices: Choices,
    lane_count: int,
    sizes: dict[str, int],
    external: set[str],
) -> dict[str, int]:
    """Sizes larger than 1 of the register tile, by axis."""
    out: dict[str, int] = {}
    if lanes is None:
        return out
    size = sizes[lanes]
    vectors = max(1, min(choices.vectors, -(-size // lane_count)))
    out[lanes] = vectors * lane_count
    if out[lanes] > size >= 1 and size < lane_count:
        width = 1
        while width < size:
            width *= 2
        out[lanes] = width
    if is_contraction(definition):
        blocked = blocked_axes(definition)
        others = [a.name for a in definition.axes if a.name != lanes and a.name not in blocked and sizes[a.name] > 1]
        pair = _crossed(definition, lanes, others, sizes)
        if pair is not None:
            # both factors lie along the lanes: each is loaded once for all rows of the other
            out[lanes] = min(out[lanes], lane_count)
            out[pair[0]] = min(choices.rows, sizes[pair[0]])
            out[pair[1]] = min(choices.vectors, sizes[pair[1]])
        elif others:
            beside = [s for s in strides(definition) if s.get(lanes, Stride.INVARIANT) is not Stride.INVARIANT]
            # what is loaded along the lanes is used by every row: rows run where it stays the same
            rows = max(others, key=lambda a: (all(not s.get(a) for s in beside), sizes[a], a))
            count = choices.rows
            if vectors < choices.vectors:  # narrow results: more rows keep as many accumulators busy
                count = min(choices.rows * choices.vectors // vectors, MOST_ROWS)
            out[rows] = min(count, sizes[rows])
    else:
        across = crossing_axis(definition, lanes, external)
        if across is not None and sizes[across] > 1:
            # a square block is transposed in registers
            out[lanes] = min(out[lanes], lane_count)
            out[across] = min(lane_count, sizes[across])
    for axis, n in choices.tiles_of(definition.name).items():
        if axis not in tile_axes(definition):
            continue
        if axis != lanes:
            out[axis] = min(n, sizes[axis])
        elif size >= lane_count:
            out[axis] = min(n, -(-size // lane_count)) * lane_count
    return {axis: n for axis, n in out.items() if n > 1}


def _crossed(definition: Definition, lanes: str, others: list[str], sizes: dict[str, int]) -> tuple[str, str] | None:
    """Of two factors that both move along the lanes: a free axis along which only the one moves, and one along which
    only the other does, the longer one first."""
    factors = [s for s in strides(definition) if s.get(lanes)]
    if len(factors) != 2 or len(strides(definition)) != 2:
        return None
    alone = [[a for a in others if mine.get(a) and not other.get(a)] for mine, other in (factors, factors[::-1])]
    if not all(alone):
        return None
    first, second = (max(axes, key=lambda a: (sizes[a], a)) for axes in alone)
    return (first, second) if sizes[first] >= sizes[second] else (second, first)


def tile_axes(definition: Definition) -> list[str]:
    """Axes along which a register tile may hold several elements."""
    body = definition.body
    folded = body.axes if isinstance(body, Reduction) and body.monoid.fn is not None else ()
    blocked = blocked_axes(definition)
    return [] if is_special(definition) else [a.name for a in (*definition.axes, *folded) if a.name not in blocked]


def crossing_axis(definition: Definition, lanes: str, external: set[str]) -> str | None:
    """A free axis along which some dram access is contiguous that is strided along the lanes."""
    blocked = blocked_axes(definition)
    free = [a.name for a in definition.axes if a.name != lanes and a.name not in blocked]
    stored_along = lanes in {a.name for a in definition.axes}  # not folded away before the store
    if definition.name in external and stored_along and free and definition.axes[-1].name == free[-1]:
        return free[-1]
    for along in strides(definition):
        if along.get(lanes) is Stride.STRIDED:
            for axis in free:
                if along.get(axis) is Stride.CONTIGUOUS:
                    return axis
    return None
