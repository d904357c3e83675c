"""Choices that differ from a candidate's in one decision: the steps of the search.

`nearby` are those that usually matter, most important first; `farther` vary what the planner's defaults decide well on
most machines: thread partition, register tiles of single nests, loop order, recomputation, hints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from math import prod
from typing import TYPE_CHECKING

from ...ir.op import Op
from ..passes.inline import inlinable
from ..plan import Block, Nest, Tile, block_definitions, step_definitions, step_loops
from ..planner import Choices
from ..planner.facts import extents, is_contraction
from ..planner.lanes import NO_LANES, lane_candidates, tile_axes

if TYPE_CHECKING:
    from .best_first import Candidate

PARTS = (1, 4, 16, 64, 256, 1024, 4096, 0)  # elements of a root axis per parallel iteration; 0: all of them
VECTORS = (1, 2, 4, 8)  # along lanes
ROWS = (1, 2, 4, 8)  # along another axis
SHORT_ROOT = 64
MOST_VECTORS = 32  # in the register tile of one nest


def neighbours(candidate: Candidate) -> Iterator[Choices]:
    """All steps from a candidate, those that matter most first."""
    yield from nearby(candidate)
    yield from farther(candidate)


def nearby(candidate: Candidate) -> Iterator[Choices]:
    """Fusion, tiles of streams and contractions, lanes, packing."""
    choices, op = candidate.choices, candidate.op
    heavy = any(is_contraction(d) for d in op.definitions)
    firsts = {next(iter(block_definitions(k.body))) for k in candidate.plan.kernels}
    for definition in op.definitions[1:]:
        if definition.name in firsts:
            yield replace(choices, cuts=choices.cuts - {definition.name}, joins=choices.joins | {definition.name})
        else:
            yield replace(choices, cuts=choices.cuts | {definition.name}, joins=choices.joins - {definition.name})
    for definition in op.definitions[1:]:
        yield replace(choices, unfused=choices.unfused ^ {definition.name})
    if op.streams or heavy:
        sizes = (96, 48, 192, 384, 0) if choices.stream != 0 else (96,)
        yield from (replace(choices, stream=n) for n in sizes if n != choices.stream)
    if heavy:
        for vectors, rows in ((4, 6), (2, 8), (4, 4), (2, 12), (1, 14), (2, 6)):
            if (vectors, rows) != (choices.vectors, choices.rows):
                yield replace(choices, vectors=vectors, rows=rows)
        yield from (replace(choices, root_rows=n) for n in (24, 48, 96, 384) if n != choices.root_rows)
        yield from _whole(candidate)
        yield from (replace(choices, block=n) for n in (1024, 0) if n != choices.block)
    else:
        yield from (replace(choices, vectors=n) for n in (1, 2, 8) if n != choices.vectors)
    given = choices.lanes_of
    for definition in op.definitions:
        for axis in lane_candidates(definition) + (NO_LANES,) * definition.is_recurrence:
            if given.get(definition.name) != axis:
                lanes = tuple(sorted({**given, definition.name: axis}.items()))
                yield replace(choices, lanes=lanes)
    if heavy:
        for tensor in op.inputs:
            yield replace(choices, unpacked=choices.unpacked ^ {tensor.name})
    yield from (replace(choices, chunk=n) for n in (1024, 16384) if n != choices.chunk)


def _whole(candidate: Candidate) -> Iterator[Choices]:
    """A short root axis inside, so that what lies beside each other is worked on together."""
    given = dict(candidate.choices.parallel)
    sizes = dict(chain.from_iterable(extents(d).items() for d in candidate.op.definitions))
    for kernel in candidate.plan.kernels:
        for axis, part in list(_roots(kernel.body))[1:]:
            if 1 < sizes.get(axis, 1) <= SHORT_ROOT and part < sizes[axis] and given.get(axis) != 0:
                yield replace(candidate.choices, parallel=tuple(sorted({**given, axis: 0}.items())))


def farther(candidate: Candidate) -> Iterator[Choices]:
    """Recomputation, loop order, register tiles of single nests, thread partition, stores and hints."""
    choices, op = candidate.choices, candidate.op
    outputs = {t.name for t in op.outputs}
    for definition in op.definitions:
        if inlinable(definition) and definition.name not in outputs:
            yield replace(choices, recompute=choices.recompute | {definition.name})
    nests = [n for k in candidate.plan.kernels for n in _nests(k.body)]
    for nest in nests:
        yield from _orders(choices, nest)
    for nest in nests:
        yield from _tiles(choices, op, nest)
    roots = [r for k in candidate.plan.kernels for r in _roots(k.body)]
    sizes = dict(chain.from_iterable(extents(d).items() for d in op.definitions))
    given = dict(choices.parallel)
    for axis in dict.fromkeys(axis for axis, _ in roots):
        now = {n for a, n in roots if a == axis}
        for part in PARTS:
            fits = part < sizes.get(axis, 1) if part else len(roots) > 1
            if fits and part not in now:
                yield replace(choices, parallel=tuple(sorted({**given, axis: part}.items())))
    for axis in dict.fromkeys(axis for axis, _ in roots[1:]):
        if axis != choices.outer:
            yield replace(choices, outer=axis)
    for name in sorted(outputs):
        yield replace(choices, plain=choices.plain ^ {name})
    yield replace(choices, prefetch=not choices.prefetch)


def _nests(blocks: tuple[Block, ...]) -> Iterator[Nest]:
    for block in blocks:
        if isinstance(block, Nest):
            yield block
        elif isinstance(block, Tile):
            yield from _nests(block.body)


def _roots(blocks: tuple[Block, ...]) -> Iterator[tuple[str, int]]:
    """The parallel loops of a kernel, outermost first."""
    for block in blocks:
        if isinstance(block, Tile) and block.kind.is_parallel:
            yield block.axis, block.size
            yield from _roots(block.body)


def _orders(choices: Choices, nest: Nest) -> Iterator[Choices]:
    first = next(step_definitions(nest.body))
    for loop in nest.loops[:-1]:
        yield replace(choices, inner=tuple(sorted({**dict(choices.inner), first: loop.axis}.items())))


def _tiles(choices: Choices, op: Op, nest: Nest) -> Iterator[Choices]:
    """Another extent of the nest's register tile along one axis: in vectors along the lanes, else in elements."""
    first = next(step_definitions(nest.body))
    definition = op.definition_of(first)
    if definition is None or nest.lanes is None:
        return
    given = choices.tiles_of(first)
    now = {t.axis: t.size for t in (*nest.loops, *step_loops(nest.body))}
    now[nest.lanes] = given.get(nest.lanes, choices.vectors)
    for axis in tile_axes(definition):
        if axis not in now:
            continue
        rest = prod(size for other, size in now.items() if other != axis)
        for n in VECTORS if axis == nest.lanes else ROWS:
            if n != now[axis] and n * rest <= MOST_VECTORS:
                kept = tuple(t for t in choices.tiles if t[:2] != (first, axis))
                yield replace(choices, tiles=tuple(sorted((*kept, (first, axis, n)))))
