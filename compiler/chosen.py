"""A plan that was chosen before (by measuring), written out again without a search."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from ..backends.machine import Machine
from ..ir.errors import ScheduleError, UserError
from ..ir.op import Op
from ..ir.op_printer import print_op
from .lower import LowerResult, write_out
from .lower_options import Chosen
from .passes.inline import recomputed
from .plain_data import from_plain, to_plain
from .plan import Plan
from .planner import Choices, make_plan
from .search.alternatives import alternatives


class StalePlan(ScheduleError):
    """A chosen plan that this weft, or this machine description, makes differently or not at all."""


def plan_digest(op: Op, plan: Plan) -> str:
    """Canonical: equal where the rewritten op and the plan, which together give the program, are equal."""
    text = json.dumps([print_op(op), to_plain(plan)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def as_chosen(alternative: str, op: Op, choices: Choices, plan: Plan) -> Chosen:
    """`op` is that of the alternative."""
    plain = to_plain(replace(choices, notes=()))
    return Chosen(alternative, json.dumps(plain, sort_keys=True), plan_digest(op, plan))


def read_choices(text: str) -> Choices:
    """Raises StalePlan where the text is no `Choices` of this version."""
    try:
        return from_plain(Choices, json.loads(text))
    except (ValueError, RecursionError, UserError) as error:
        raise StalePlan(f"the choices of a plan cannot be read: {error}") from None


def lower_chosen(op: Op, machine: Machine, chosen: Chosen) -> LowerResult:
    """The chosen plan of an op with its symbols bound, written out. Raises StalePlan."""
    choices = read_choices(chosen.choices)
    for alternative in alternatives(op, machine):
        if alternative.label == chosen.alternative:
            prepared = recomputed(alternative.op, choices.recompute)
            plan = make_plan(prepared, machine, choices)
            if plan_digest(prepared, plan) == chosen.plan:
                return write_out(prepared, machine, choices, plan)
            break
    raise StalePlan(
        f"'{op.name}' has no such plan any more (alternative '{chosen.alternative}')", remedy="tune it again"
    )
