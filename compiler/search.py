"""The search: which plan of which alternative of an op is fastest by the cost model.

Best first over `Choices`: a node is an alternative with choices, its neighbours change one choice. Plans met before are
not costed again. It stops when the node budget is spent or when the best plan is within `SLACK` of the lower bound
(compulsory bytes over bandwidth). No clock is read: the same input gives the same plan.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..backends.machine import Machine
from ..ir.errors import WeftError
from ..ir.op import Op
from .alternatives import Alternative, alternatives
from .cost import CostReport, analyse
from .instantiate import instantiate
from .passes.prefetch import Prefetching
from .passes.streaming_stores import StreamingStores
from .plan import Plan, block_definitions
from .planner import Choices, make_plan
from .planner.facts import UNKNOWN_EXTENT, is_contraction
from .planner.lanes import NO_LANES, lane_candidates

SLACK = 1.03
EXPANDED = 2  # alternatives that are searched further than their default plan
TRIES = 8  # plans made for each that may be costed: most of the others were met before
FINALISTS = 3  # plans that go through all passes before the last comparison


@dataclass(frozen=True)
class Candidate:
    """A plan the search looked at, with what the model says of it."""

    alternative: str
    choices: Choices
    plan: Plan
    op: Op
    seconds: float
    dram_bytes: float
    bound: str


@dataclass
class SearchReport:
    """What was considered: candidates in the order in which they were costed, and how many were refused or repeated."""

    candidates: list[Candidate] = field(default_factory=list)
    repeated: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    lower_bound: float = 0.0

    def best(self, count: int) -> list[Candidate]:
        """The candidates to take further: those within SLACK of the fastest, fewest kernels and dram bytes first."""
        fastest = min(c.seconds for c in self.candidates)
        level = [c for c in self.candidates if c.seconds <= fastest * SLACK]
        return sorted(level, key=preference)[:count]


def preference(candidate: Candidate) -> tuple[int, float, float]:
    """What decides between plans that the model cannot tell apart."""
    return len(candidate.plan.kernels), candidate.dram_bytes, candidate.seconds


def search(op: Op, machine: Machine, symbols: Mapping[str, int], nodes: int, exhaust: bool = False) -> SearchReport:
    """Cost up to `nodes` plans. `symbols` values stand for extents that are still open. `exhaust`: go on to plans that
    the model does not prefer, while there are any: they are to be measured."""
    report = SearchReport()
    runner = _Search(machine, dict(symbols), report, nodes)
    starts: list[Candidate] = []
    by_label: dict[str, Alternative] = {}
    for alternative in alternatives(op, machine):
        by_label[alternative.label] = alternative
        candidate = runner.cost(alternative, Choices())
        if candidate is not None:
            starts.append(candidate)
    if not starts:
        raise_refused(report)
    starts.sort(key=lambda c: c.seconds)
    queue: list[tuple[float, int, Candidate]] = []
    for candidate in starts if exhaust else starts[:EXPANDED]:
        heapq.heappush(queue, (candidate.seconds, len(queue), candidate))
    serial = len(queue)
    while queue and runner.goes_on:
        _, _, candidate = heapq.heappop(queue)
        if candidate.seconds <= report.lower_bound * SLACK and not exhaust:
            break
        for choices in neighbours(candidate):
            if not runner.goes_on:
                break
            found = runner.cost(by_label[candidate.alternative], choices)
            if found is not None and (exhaust or found.seconds < candidate.seconds):
                serial += 1
                heapq.heappush(queue, (found.seconds, serial, found))
    return report


def raise_refused(report: SearchReport) -> None:
    label, reason = report.refused[0]
    raise WeftError(f"no plan of '{label}' could be written out: {reason}")


class _Search:
    def __init__(self, machine: Machine, symbols: dict[str, int], report: SearchReport, nodes: int) -> None:
        self.machine = machine
        self.symbols = symbols
        self.report = report
        self.left = nodes
        self.tries = TRIES * nodes
        self.seen: set[tuple[str, Plan]] = set()

    @property
    def goes_on(self) -> bool:
        return self.left > 0 and self.tries > 0

    def cost(self, alternative: Alternative, choices: Choices) -> Candidate | None:
        """The candidate, or None where the plan was met before or cannot be written out."""
        self.tries -= 1
        plan = make_plan(alternative.op, self.machine, choices)
        if (alternative.label, plan) in self.seen:
            self.report.repeated += 1
            return None
        self.seen.add((alternative.label, plan))
        self.left -= 1
        program = instantiate(alternative.op, plan, self.machine.sram_bytes)
        costed = analyse(Prefetching().run(StreamingStores().run(program)), self.machine, self.symbols)
        self.report.lower_bound = max(self.report.lower_bound, lower_bound(costed, self.machine))
        out = Candidate(
            alternative.label,
            choices,
            plan,
            alternative.op,
            costed.predicted_seconds,
            costed.dram_bytes,
            str(costed.bound),
        )
        self.report.candidates.append(out)
        return out


def lower_bound(cost: CostReport, machine: Machine) -> float:
    """Seconds below which no schedule can go: inputs and outputs once through dram."""
    return cost.compulsory_bytes / (machine.dram_gbs_all * 1e9)


def neighbours(candidate: Candidate) -> Iterator[Choices]:
    """Choices that differ in one decision, those that matter most first."""
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


def assumed_symbols(op: Op) -> dict[str, int]:
    """Values that stand for open extents when plans are compared: the default, else 1024."""
    return {s.name: s.default if s.default is not None else UNKNOWN_EXTENT for s in op.symbols}
