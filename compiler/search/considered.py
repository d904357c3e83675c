"""What the search considered, and why the winner won: the table of `weft inspect --search`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...backends.machine import Machine
from ..chosen import StalePlan, read_choices
from ..lower import LowerResult, write_out
from ..lower_options import Chosen
from ..report import count_text, table, time_text
from .best_first import FINALISTS, SLACK, Candidate, SearchReport, preference
from .wording import words


@dataclass(frozen=True)
class Row:
    """A candidate. `seconds` by the model as the search saw it; `finished` after all passes, for finalists."""

    name: str
    seconds: float
    finished: float | None
    dram_bytes: float
    bound: str
    kernels: int
    chosen: bool
    reason: str


def named(chosen: Chosen) -> str:
    """A recorded plan in the same words; choices of another version as they are."""
    try:
        return words(chosen.alternative, read_choices(chosen.choices))
    except StalePlan:
        return f"{chosen.alternative} {chosen.choices}"


def rows(result: LowerResult, machine: Machine) -> list[Row]:
    """Every candidate, fastest first by the model. `result` is what the search gave."""
    report = result.report
    fastest = min((c.seconds for c in report.candidates), default=0.0)
    finished = {
        id(c): write_out(c.op, machine, c.choices, c.plan).cost.predicted_seconds for c in report.best(FINALISTS)
    }
    quickest = min(finished.values(), default=0.0)
    winner = next((c for c in report.best(FINALISTS) if c.plan == result.plan and c.choices == result.choices), None)
    out = []
    for candidate in sorted(report.candidates, key=lambda c: c.seconds):
        done = finished.get(id(candidate))
        reason = _reason(candidate, winner, fastest, done, quickest)
        name = words(candidate.alternative, candidate.choices)
        kernels = len(candidate.plan.kernels)
        out.append(
            Row(
                name,
                candidate.seconds,
                done,
                candidate.dram_bytes,
                candidate.bound,
                kernels,
                candidate is winner,
                reason,
            )
        )
    return out


def _reason(
    candidate: Candidate, winner: Candidate | None, fastest: float, finished: float | None, quickest: float
) -> str:
    """Why it won, or at which comparison it lost (`search.SearchReport.best`, `lower.lower`)."""
    slack = f"{SLACK - 1:.0%}"
    if candidate is winner:
        return f"chosen: within {slack} of the fastest, then fewest kernels, least dram traffic, least time"
    if candidate.seconds > fastest * SLACK:
        return f"{candidate.seconds / fastest - 1:+.0%} time" if fastest else "more time"
    if finished is not None and finished > quickest * SLACK:
        return f"{finished / quickest - 1:+.0%} time after all passes" if quickest else "more time after all passes"
    if winner is None:
        return "equal"
    mine, best = preference(candidate), preference(winner)
    if mine[0] > best[0]:
        more = mine[0] - best[0]
        return f"as fast, {more} kernel{'s' * (more > 1)} more"
    if mine[1] > best[1]:
        return f"as fast, {mine[1] / best[1] - 1:+.1%} dram bytes" if best[1] else "as fast, more dram bytes"
    return "as fast" if finished is None else "as fast after all passes, came later"


def as_data(result: LowerResult, machine: Machine) -> dict[str, Any]:
    """JSON data."""
    found = rows(result, machine)
    return {
        **_totals(result.report),
        "candidates": [{f.name: getattr(r, f.name) for f in fields(Row)} for r in found],
        "refused": [{"name": name, "reason": reason} for name, reason in result.report.refused],
    }


def as_text(result: LowerResult, machine: Machine) -> str:
    """A table, the totals, and what could not be written out."""
    head = ("candidate", "time", "all passes", "dram bytes", "kernels", "bound")
    lines: list[tuple[str, ...]] = [head]
    found = rows(result, machine)
    for row in found:
        last = "" if row.finished is None else time_text(row.finished)
        mark = "* " if row.chosen else "  "
        times = (time_text(row.seconds), last, count_text(row.dram_bytes))
        lines.append((mark + row.name, *times, str(row.kernels), row.bound))
    reasons = ["", *(r.reason for r in found)]
    width = max(len(line) for line in table(lines))
    out = [f"{line:<{width}}  {reason}".rstrip() for line, reason in zip(table(lines), reasons, strict=True)]
    totals = _totals(result.report)
    out += ["", f"{totals['costed']} plans costed, {totals['repeated']} met again, {totals['refused_count']} refused"]
    bound = result.report.lower_bound
    out.append(f"lower bound {time_text(bound)}: inputs and outputs once through dram")
    out += [f"refused {name}: {reason}" for name, reason in result.report.refused]
    return "\n".join(out)


def _totals(report: SearchReport) -> Mapping[str, Any]:
    return {
        "costed": len(report.candidates),
        "repeated": report.repeated,
        "refused_count": len(report.refused),
        "lower_bound": report.lower_bound,
    }
