"""Op -> scheduled GIR: rewrite, plan, instantiate, rewrite; the search compares plans by the cost model."""

from __future__ import annotations

from dataclasses import dataclass

from ..backends.machine import Machine
from ..ir import gir
from ..ir.op import Op
from .axes import unify_axes
from .instantiate import instantiate
from .plan import Plan
from .planner import Choices, make_plan


@dataclass(frozen=True)
class LowerOptions:
    """`choices` pins the plan's decisions; `search` compares candidates by modelled time."""

    choices: Choices | None = None
    search: bool = True


@dataclass(frozen=True)
class LowerResult:
    op: Op
    plan: Plan
    program: gir.Program


def lower_with(op: Op, machine: Machine, choices: Choices) -> LowerResult:
    """One plan, written out."""
    unified = unify_axes(op)
    plan = make_plan(unified, machine, choices)
    return LowerResult(unified, plan, instantiate(unified, plan, machine.sram_bytes))
