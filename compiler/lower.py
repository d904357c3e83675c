"""Op -> scheduled GIR: rewrite the mathematics, search for a plan, write the plan out, rewrite the result."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from ..backends.machine import Machine
from ..ir import gir
from ..ir.op import Op
from .axes import unify_axes
from .cost import CostReport, analyse
from .instantiate import instantiate
from .lower_options import LowerOptions as LowerOptions
from .passes.base import run_passes
from .pipeline import GIR_PASSES, OP_PASSES
from .plan import Plan
from .planner import Choices, make_plan
from .search import FINALISTS, SLACK, SearchReport, assumed_symbols, search

DEFINITIONS_COSTED = 960  # of all plans together, so that time grows with the op and not with its square
FEWEST_NODES = 4


@dataclass(frozen=True)
class LowerResult:
    """What lowering made: the op after its rewrites, the plan, and the scheduled program."""

    op: Op
    plan: Plan
    choices: Choices
    program: gir.Program
    machine: Machine
    report: SearchReport = field(default_factory=SearchReport, compare=False)

    @cached_property
    def cost(self) -> CostReport:
        return analyse(self.program, self.machine, assumed_symbols(self.op))


def rewrite_op(op: Op) -> Op:
    """The op after the op-level passes."""
    out: Op = run_passes(op, OP_PASSES)
    return unify_axes(out)


def write_out(op: Op, machine: Machine, choices: Choices, plan: Plan | None = None) -> LowerResult:
    """One plan of a rewritten op as GIR, after the GIR passes."""
    plan = plan or make_plan(op, machine, choices)
    program: gir.Program = run_passes(instantiate(op, plan, machine.sram_bytes), GIR_PASSES)
    return LowerResult(op, plan, choices, program, machine)


def lower(op: Op, machine: Machine, options: LowerOptions) -> LowerResult:
    """Schedule an op (some symbols may be bound) for a machine."""
    if not options.search:
        return write_out(rewrite_op(op), machine, Choices())
    nodes = min(options.nodes, max(FEWEST_NODES, DEFINITIONS_COSTED // max(1, len(op.definitions))))
    report = search(op, machine, assumed_symbols(op), nodes)
    finished = []
    for candidate in report.best(FINALISTS):
        written = write_out(candidate.op, machine, candidate.choices, candidate.plan)
        finished.append(LowerResult(written.op, written.plan, written.choices, written.program, machine, report))
    fastest = min(r.cost.predicted_seconds for r in finished)
    return next(r for r in finished if r.cost.predicted_seconds <= fastest * SLACK)
