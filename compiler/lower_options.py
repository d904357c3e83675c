"""What a user may say about scheduling; apart from `lower`, whose imports a kernel from the cache does without."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Levels(Enum):
    """Where intermediates live. `CHOSEN`: the search decides; `SRAM`: every definition has a nest of its own and passes
    its value on in scratch (`dram` where that is too large); `DRAM`: every definition is a kernel of its own."""

    CHOSEN = "chosen"
    SRAM = "sram"
    DRAM = "dram"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Chosen:
    """One plan, named as data: the alternative it belongs to, its `Choices` as JSON text with sorted keys, and
    `plan_digest` of what they gave when it was chosen (compiler/chosen.py)."""

    alternative: str
    choices: str
    plan: str


@dataclass(frozen=True)
class LowerOptions:
    """`search`: compare plans by modelled time, else the default plan is taken. `nodes`: how many plans to cost.
    `chosen`: write out this plan and search for none; a ScheduleError where it does not come out as it did then.
    `monotone`: run the monotone rewrites on the program. `levels`: fix where intermediates live."""

    search: bool = True
    nodes: int = 48
    chosen: Chosen | None = None
    monotone: bool = True
    levels: Levels = Levels.CHOSEN
