"""Every intermediate at one level: what the search's freedom to choose levels is compared with."""

from __future__ import annotations

from ...ir.op import Op
from ..lower_options import Levels as Levels
from ..planner import Choices


def starting_choices(op: Op, levels: Levels) -> Choices:
    """The default choices under which the intermediates of `op` are at these levels."""
    names = frozenset(d.name for d in op.definitions)
    match levels:
        case Levels.CHOSEN:
            return Choices()
        case Levels.SRAM:
            return Choices(unfused=names)
        case Levels.DRAM:
            return Choices(cuts=names)


def keeps_levels(choices: Choices, start: Choices, levels: Levels) -> bool:
    """Whether these choices leave the levels that `start` fixed as they are."""
    if levels is Levels.CHOSEN:
        return True
    fixed = (choices.cuts, choices.joins, choices.recompute) == (start.cuts, start.joins, start.recompute)
    return fixed and choices.unfused == start.unfused
