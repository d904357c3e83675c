"""Op-level alternatives: other ways to write the same mathematics that the search compares.

Each is made by rules that know nothing of the operator: without streams (intermediates kept instead of recomputed),
long reductions with few results split into partial results, linear recurrences in chunks, sweeps over two axes along
their diagonals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from ...backends.machine import Machine
from ...ir.errors import WeftError
from ...ir.op import Definition, Op, Reduction
from ..assumed import assumed
from ..axes import unify_axes
from ..passes.base import run_passes
from ..passes.chunking import chunk_recurrence
from ..passes.linear_recurrence import linear_recurrence
from ..passes.normal import NORMAL
from ..passes.split_reduction import split_reduction
from ..passes.wavefront import find_front, skew_recurrence
from ..pipeline import FINISH, OP_PASSES, STORED_PASSES
from ..planner.facts import bound_axes, extents, front_axes, sweep_axes


@dataclass(frozen=True)
class Alternative:
    """A rewritten op and, in words, what was done to it."""

    label: str
    op: Op


FEW_RESULTS = 8  # a reduction with fewer results per unit than this is worth splitting
CHUNKS = (64, 128)


def alternatives(op: Op, machine: Machine) -> Iterator[Alternative]:
    """The alternatives, the default first. Each is ready to be planned (its axes unified)."""
    streamed = _prepared(op, OP_PASSES)
    yield Alternative("streams", streamed)
    stored = _prepared(op, STORED_PASSES)
    if stored != streamed:
        yield Alternative("stored", stored)
    for chunk in CHUNKS:
        chunked = _chunk_all(op, chunk, machine)
        if chunked is not None:
            yield Alternative(f"chunk {chunk}", _prepared(chunked, OP_PASSES))
    skewed = _skew_all(op, machine)
    if skewed is not None:
        yield Alternative("wavefront", _prepared(skewed, OP_PASSES))
    # before anything is factored out: between the reductions of a stream there is nothing then that has to be split too
    split = _split_all(_prepared(op, NORMAL), machine)
    if split is not None:
        yield Alternative("split", _prepared(split, FINISH))


def _prepared(op: Op, passes: tuple[object, ...]) -> Op:
    out: Op = run_passes(op, passes)  # type: ignore[arg-type]
    return unify_axes(out)


def _sizes(likely: Op, definition: Definition) -> Mapping[str, int]:
    """The lengths of a definition's axes in the op with assumed extents."""
    found = likely.definition_of(definition.name)
    return extents(definition if found is None else found)


def _chunk_all(op: Op, chunk: int, machine: Machine) -> Op | None:
    """Every linear recurrence over a long axis in chunks; None where there is none."""
    found = False
    likely = assumed(op)
    for definition in op.definitions:
        linear = linear_recurrence(definition)
        if linear is None or not definition.self_reads:
            continue
        sizes = _sizes(likely, definition)
        if max(sizes[a.name] for a in definition.axes) < 2 * chunk:
            continue
        lines = prod(sizes[a.name] for a in definition.axes if a.name not in sweep_axes(definition))
        read_out = any(
            isinstance(d.body, Reduction) and any(r.tensor == definition.name for r in d.reads) for d in op.definitions
        )
        if lines >= FEW_RESULTS * machine.units * machine.lanes(4) and not read_out:
            continue  # enough independent lines to run as they are
        try:
            op = chunk_recurrence(op, definition.name, chunk)
        except WeftError:
            continue
        found = True
    return op if found else None


def _skew_all(op: Op, machine: Machine) -> Op | None:
    """Every sweep over two axes whose other axes do not fill the machine along its diagonals; None where there is
    none."""
    found = False
    likely = assumed(op)
    for definition in op.definitions:
        front = find_front(definition)
        if front is None or front_axes(definition)[0]:
            continue
        sizes = _sizes(likely, definition)
        lines = prod(sizes[a.name] for a in definition.axes if a.name not in sweep_axes(definition))
        short = min(sizes[definition.axes[k].name] for k in (front.across, front.along))
        if lines >= machine.units * machine.lanes(4) or short < machine.lanes(4):
            continue
        try:
            op = skew_recurrence(op, definition.name)
        except WeftError:
            continue
        found = True
    return op if found else None


def _split_all(op: Op, machine: Machine) -> Op | None:
    """Every reduction with few results and a long axis as partial results and a merge; None where there is none."""
    found = False
    streamed = {c.target: s for s in op.streams for c in s.components}
    done: set[str] = set()
    likely = assumed(op)
    for definition in op.definitions:
        body = definition.body
        if not isinstance(body, Reduction) or definition.name in done or bound_axes(definition):
            continue
        sizes = _sizes(likely, definition)
        results = prod(sizes[a.name] for a in definition.axes)
        long = max(body.axes, key=lambda a: sizes[a.name])
        if results >= FEW_RESULTS * machine.units or sizes[long.name] < 8192:
            continue
        parts = max(2, 4 * machine.units)
        factor = -(-sizes[long.name] // parts // 64) * 64
        try:
            op = split_reduction(op, definition.name, factor, long.name)
        except WeftError:
            continue
        found = True
        stream = streamed.get(definition.name)
        done |= {c.target for c in stream.components} if stream is not None else {definition.name}
    return op if found else None
