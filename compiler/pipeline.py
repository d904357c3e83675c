"""The passes in the order in which a program goes through them, each with the reason it stands where it does.

op text / Python -> OP_PASSES -> plan and instantiate (the search) -> GIR_PASSES -> target
"""

from __future__ import annotations

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

OP_PASSES: tuple[Pass, ...] = (
    *NORMAL,  # equal things are one thing, and streams are found, before anything is scheduled
    WholeRanges(),  # a part of an axis and the whole are one axis from here on
    Factor(),  # inlining for streams leaves costly subexpressions in deep loops: name them again
    DeadCode(),
)

STORED_PASSES: tuple[Pass, ...] = (
    *(p for p in NORMAL if not isinstance(p, Streaming)),  # intermediates stay definitions: kept, not recomputed
    WholeRanges(),
    Factor(),
    DeadCode(),
)

GIR_PASSES: tuple[Pass, ...] = (
    Guards(),  # first: predicates that fall away open loads for everything after
    Monotone(),  # to a fixpoint: what only ever saves bytes
    StreamingStores(),  # only what is left of the stores matters
    Prefetching(),  # last: adds hints that the others need not know
)


def finishing_passes(plan: Plan) -> tuple[Pass, ...]:
    """The last of `GIR_PASSES`, which only mark and add, as the plan wants them."""
    stores = StreamingStores(plain=plan.plain)
    return (stores, Prefetching()) if plan.prefetch else (stores,)


def gir_passes(plan: Plan, monotone: bool = True) -> tuple[Pass, ...]:
    """`GIR_PASSES` as the plan wants them, with or without the monotone rewrites."""
    return (*GIR_PASSES[: 2 if monotone else 1], *finishing_passes(plan))
