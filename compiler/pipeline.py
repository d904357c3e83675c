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
