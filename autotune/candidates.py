"""The plans that are worth measuring: the search's ranking, the plan that compile() takes by itself first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..backends.machine import Machine
from ..compiler.assumed import assumed_symbols
from ..compiler.chosen import as_chosen, read_choices
from ..compiler.lower import lower, write_out
from ..compiler.lower_options import Chosen, LowerOptions
from ..compiler.search.alternatives import alternatives
from ..compiler.search.best_first import search
from ..ir.binding import specialise
from ..ir.errors import WeftError
from ..ir.gir_printer import print_program
from ..ir.op import Op

WIDER = 2  # plans that are costed per trial


@dataclass(frozen=True)
class Trial:
    """A candidate. `program` gives its scheduled text; `small` that of the same choices at the smaller extents of the
    reference, None where they do not apply there. Both raise WeftError where it cannot be written out."""

    chosen: Chosen
    program: Callable[[], str]
    small: Callable[[], str | None] = lambda: None
    predicted: float = 0.0
    dram_bytes: float = 0.0
    bound: str = ""
    default: bool = False


def best_trials(
    op: Op, bindings: Mapping[str, int], smaller: Mapping[str, int] | None, machine: Machine, count: int
) -> list[Trial]:
    """Up to `count` candidates, distinct by plan: the default one, then by predicted time. `smaller`: other values of
    the symbols, for `Trial.small`. Raises WeftError where the op has no plan at all."""
    nodes = max(LowerOptions().nodes, WIDER * count)
    bound = specialise(op, dict(bindings))
    usual = lower(bound, machine, LowerOptions())
    report = search(bound, machine, assumed_symbols(bound), nodes, exhaust=True)
    considered = [*usual.report.candidates, *report.candidates]  # the first hold the default plan
    found: dict[str, Trial] = {}
    for candidate in sorted(considered, key=lambda c: c.seconds):
        chosen = as_chosen(candidate.alternative, candidate.op, candidate.choices, candidate.plan)
        if chosen.plan in found:
            continue
        found[chosen.plan] = Trial(
            chosen,
            lambda c=candidate: print_program(write_out(c.op, machine, c.choices, c.plan).program),  # type: ignore[misc]
            lambda c=chosen: None if smaller is None else _elsewhere(op, smaller, machine, c),  # type: ignore[misc]
            candidate.seconds,
            candidate.dram_bytes,
            candidate.bound,
            candidate.plan == usual.plan and candidate.op == usual.op,
        )
    return sorted(found.values(), key=lambda t: not t.default)[:count]


def _elsewhere(op: Op, bindings: Mapping[str, int], machine: Machine, chosen: Chosen) -> str | None:
    """The alternative and the choices of a plan at other extents; None where they make no program there."""
    try:
        bound = specialise(op, dict(bindings))
        choices = read_choices(chosen.choices)
        found = next((a for a in alternatives(bound, machine) if a.label == chosen.alternative), None)
        if found is None:
            return None
        return print_program(write_out(found.op, machine, choices).program)
    except WeftError:
        return None
