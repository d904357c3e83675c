"""The passes in the order in which a program goes through them, each with the reason it stands where it does.

op text / Python -> OP_PASSES -> plan and instantiate (the search) -> gir_passes -> target
"""

from __future__ import annotations

from ..backends.machine import Machine
from .passes.base import Pass
from .passes.dce import DeadCode
from .passes.factor import Factor
from .passes.guards import Guards
from .passes.monotone import Monotone
from .passes.normal import NORMAL
from .passes.prefetch import Prefetching
from .passes.streaming import Streaming
from .passes.streaming_stores import StreamingStores
from .passes.whole_ranges import WholeRanges
from .plan import Plan

FINISH: tuple[Pass, ...] = (
    WholeRanges(),  # a part of an axis and the whole are one axis from here on
    Factor(),  # inlining for streams leaves costly subexpressions in deep loops: name them again
    DeadCode(),
)

OP_PASSES: tuple[Pass, ...] = (
    *NORMAL,  # equal things are one thing, and streams are found, before anything is scheduled
    *FINISH,
)

STORED_PASSES: tuple[Pass, ...] = (
    *(p for p in NORMAL if not isinstance(p, Streaming)),  # intermediates stay definitions: kept, not recomputed
    *FINISH,
)


def gir_passes(plan: Plan, machine: Machine, monotone: bool = True) -> tuple[Pass, ...]:
    """What a scheduled program goes through, with or without the monotone rewrites."""
    return (
        Guards(),  # first: predicates that fall away open loads for everything after
        *((Monotone(room=machine.sram_bytes),) if monotone else ()),  # to a fixpoint: what only ever saves bytes
        *finishing_passes(plan, machine),
    )


def finishing_passes(plan: Plan, machine: Machine) -> tuple[Pass, ...]:
    """The last of them, which only mark and add, as the plan wants them and for the caches of a machine."""
    stores = StreamingStores(machine.l3_bytes, machine.line_bytes, plain=plan.plain)  # only what is left matters
    hints = Prefetching(machine.l2_bytes, machine.line_bytes)  # last: adds hints that the others need not know
    return (stores, hints) if plan.prefetch else (stores,)
