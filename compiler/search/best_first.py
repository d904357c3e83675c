"""The search: which plan of which alternative of an op is fastest by the cost model.

Best first over `Choices`: a node is an alternative with choices, its neighbours change one choice. Plans met before are
not costed again. It stops when the node budget is spent or when the best plan is within `SLACK` of the lower bound
(compulsory bytes over bandwidth). No clock is read: the same input gives the same plan.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ...backends.machine import Machine
from ...ir.errors import WeftError
from ...ir.op import Op
from ..assumed import typical
from ..cost.model import analyse
from ..instantiate import instantiate
from ..passes.base import run_passes
from ..passes.inline import recomputed
from ..pipeline import finishing_passes
from ..plan import Plan
from ..planner import Choices, make_plan
from .alternatives import Alternative, alternatives
from .canonical import canonical_hash
from .levels import Levels, keeps_levels, starting_choices
from .neighbours import nearby, neighbours
from .refusals import refusal, scratch_refusal
from .wording import words

SLACK = 1.03
EXPANDED = 2  # alternatives that are searched further than their default plan
TRIES = 8  # plans made for each that may be costed: most of the others were met before
PATIENCE = 14  # plans in a row that are no faster than the best by GAIN: the ones after them matter less
GAIN = 1.01
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


def search(
    op: Op,
    machine: Machine,
    symbols: Mapping[str, int],
    nodes: int,
    exhaust: bool = False,
    levels: Levels = Levels.CHOSEN,
) -> SearchReport:
    """Cost up to `nodes` plans. `symbols` values stand for extents that are still open. `exhaust`: go on to plans that
    the model does not prefer, while there are any: they are to be measured. `levels` may fix where values live."""
    report = SearchReport()
    runner = _Search(machine, dict(symbols), report, nodes)
    starts: list[Candidate] = []
    by_label: dict[str, Alternative] = {}
    for alternative in alternatives(op, machine):
        by_label[alternative.label] = alternative
        candidate = runner.cost(alternative, starting_choices(alternative.op, levels))
        if candidate is not None:
            starts.append(candidate)
    if not starts:
        raise_refused(report)
    starts.sort(key=lambda c: c.seconds)
    queue: list[tuple[float, int, Candidate]] = []
    for candidate in starts if exhaust else starts[:EXPANDED]:
        heapq.heappush(queue, (candidate.seconds, len(queue), candidate))
    runner.explore(queue, by_label, neighbours if exhaust else nearby, levels, exhaust)
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
        self.seen: set[tuple[str, frozenset[str], Plan]] = set()
        self.programs: set[str] = set()

    @property
    def goes_on(self) -> bool:
        return self.left > 0 and self.tries > 0

    def explore(
        self,
        queue: list[tuple[float, int, Candidate]],
        by_label: Mapping[str, Alternative],
        steps: Callable[[Candidate], Iterator[Choices]],
        levels: Levels,
        exhaust: bool,
    ) -> None:
        """Best first, until the nodes are spent or, unless all are asked for, patience is."""
        serial = len(queue)
        best, idle = min((seconds for seconds, *_ in queue), default=0.0), 0
        while queue and self.goes_on:
            _, _, candidate = heapq.heappop(queue)
            if candidate.seconds <= self.report.lower_bound * SLACK and not exhaust:
                break
            alternative = by_label[candidate.alternative]
            start = starting_choices(alternative.op, levels)
            for choices in steps(candidate):
                if not self.goes_on:
                    break
                if not keeps_levels(choices, start, levels):
                    continue
                if idle >= PATIENCE and not exhaust:
                    return
                found = self.cost(alternative, choices)
                if found is not None:
                    idle += 1
                    if found.seconds * GAIN < best:
                        best, idle = found.seconds, 0
                if found is not None and (exhaust or found.seconds < candidate.seconds):
                    serial += 1
                    heapq.heappush(queue, (found.seconds, serial, found))

    def cost(self, alternative: Alternative, choices: Choices) -> Candidate | None:
        """The candidate, or None where the plan was met before or cannot be written out."""
        self.tries -= 1
        op = recomputed(alternative.op, choices.recompute)
        plan = make_plan(op, self.machine, choices)
        met = (alternative.label, choices.recompute, plan)
        if met in self.seen:
            self.report.repeated += 1
            return None
        self.seen.add(met)
        reason = refusal(op, plan, choices, self.machine)
        program = instantiate(typical(op), plan, self.machine.sram_bytes) if reason is None else None
        if program is not None and choices != Choices():
            reason = scratch_refusal(program, self.machine)
        if program is None or reason is not None:
            self.report.refused.append((words(alternative.label, choices), reason or ""))
            return None
        program = run_passes(program, finishing_passes(plan, self.machine))
        digest = canonical_hash(program)
        if digest in self.programs:
            self.report.repeated += 1
            return None
        self.programs.add(digest)
        self.left -= 1
        costed = analyse(program, self.machine, self.symbols)
        self.report.lower_bound = max(self.report.lower_bound, costed.least_seconds)
        out = Candidate(
            alternative.label,
            choices,
            plan,
            op,
            costed.predicted_seconds,
            costed.dram_bytes,
            str(costed.bound),
        )
        self.report.candidates.append(out)
        return out
