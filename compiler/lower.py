"""Op -> scheduled GIR: rewrite the mathematics, plan, write the plan out, rewrite the result."""

from __future__ import annotations

from dataclasses import dataclass

from ..backends.machine import Machine
from ..ir import gir
from ..ir.op import Op
from .axes import unify_axes
from .instantiate import instantiate
from .passes.base import run_passes
from .pipeline import GIR_PASSES, OP_PASSES
from .plan import Plan
from .planner import Choices, make_plan


@dataclass(frozen=True)
class LowerOptions:
    """`search`: compare candidates by modelled time (else the default plan is taken)."""

    search: bool = True


@dataclass(frozen=True)
class LowerResult:
    """What lowering made: the op after its rewrites, the plan, and the scheduled program."""

    op: Op
    plan: Plan
    choices: Choices
    program: gir.Program


def rewrite_op(op: Op) -> Op:
    """The op after the op-level passes."""
    out: Op = run_passes(op, OP_PASSES)
    return unify_axes(out)


def write_out(op: Op, machine: Machine, choices: Choices) -> LowerResult:
    """One plan of a rewritten op as GIR, after the GIR passes."""
    plan = make_plan(op, machine, choices)
    program: gir.Program = run_passes(instantiate(op, plan, machine.sram_bytes), GIR_PASSES)
    return LowerResult(op, plan, choices, program)


def lower(op: Op, machine: Machine, options: LowerOptions) -> LowerResult:
    """Schedule an op (some symbols may be bound) for a machine."""
    del options
    return write_out(rewrite_op(op), machine, Choices())
