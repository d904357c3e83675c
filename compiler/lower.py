"""Op -> scheduled GIR: rewrite the mathematics, search for a plan, write the plan out, rewrite the result."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from ..backends.machine import Machine
from ..ir import gir
from ..ir.op import Op
from .assumed import assumed_symbols
from .axes import unify_axes
from .cost.model import CostReport, analyse
from .instantiate import instantiate
from .lower_options import LowerOptions as LowerOptions
from .passes.base import run_passes
from .passes.inline import recomputed
from .pipeline import OP_PASSES, gir_passes
from .plan import Plan
from .planner import Choices, make_plan
from .search.best_first import FINALISTS, SLACK, SearchReport, search
from .search.levels import starting_choices
from .versions import merged, versions

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


def write_out(
    op: Op, machine: Machine, choices: Choices, plan: Plan | None = None, monotone: bool = True
) -> LowerResult:
    """One plan of a rewritten op as GIR, after the GIR passes."""
    op = recomputed(op, choices.recompute)
    plan = plan or make_plan(op, machine, choices)
    program: gir.Program = run_passes(instantiate(op, plan, machine.sram_bytes), gir_passes(plan, machine, monotone))
    return LowerResult(op, plan, choices, program, machine)


def lower(op: Op, machine: Machine, options: LowerOptions) -> LowerResult:
    """Schedule an op (some symbols may be bound) for a machine. With open extents the program holds several versions
    (versions.py); the rest of the result is that of the last one, which serves all extents."""
    if not op.symbols:
        return _lower(op, machine, options)
    searched: dict[tuple[tuple[str, int], ...], LowerResult] = {}
    found: list[tuple[Op, LowerResult]] = []
    for version in reversed(versions(op, machine)):  # those that assume the same are planned once
        assumed = tuple(assumed_symbols(version).items())
        if assumed in searched:
            like = searched[assumed]
            same = replace(like.op, symbols=version.symbols, facts=version.facts)
            result = write_out(same, machine, like.choices, like.plan, options.monotone)
        else:
            result = searched[assumed] = _lower(version, machine, options)
        found.insert(0, (version, result))
    last = found[-1][1]
    kept = [(v, r) for v, r in found if r is last or _differs(r, last)]
    return replace(last, program=merged(op, [(v, r.program) for v, r in kept]))


def _differs(special: LowerResult, last: LowerResult) -> bool:
    """The version is another way of computing, or streams what the last one cannot."""
    if (special.plan, special.op.definitions) != (last.plan, last.op.definitions):
        return True
    return any(isinstance(s, gir.Store) and s.streaming for k in special.program.kernels for s in gir.walk(k.body))


def _lower(op: Op, machine: Machine, options: LowerOptions) -> LowerResult:
    if not options.search:
        rewritten = rewrite_op(op)
        return write_out(rewritten, machine, starting_choices(rewritten, options.levels), monotone=options.monotone)
    nodes = min(options.nodes, max(FEWEST_NODES, DEFINITIONS_COSTED // max(1, len(op.definitions))))
    report = search(op, machine, assumed_symbols(op), nodes, levels=options.levels)
    finished = []
    for candidate in report.best(FINALISTS):
        written = write_out(candidate.op, machine, candidate.choices, candidate.plan, options.monotone)
        finished.append(LowerResult(written.op, written.plan, written.choices, written.program, machine, report))
    fastest = min(r.cost.predicted_seconds for r in finished)
    return next(r for r in finished if r.cost.predicted_seconds <= fastest * SLACK)
