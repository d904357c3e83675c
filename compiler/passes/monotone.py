"""The monotone set: rewrites that cannot raise the bytes at any level, run until nothing changes.

No search is needed for these, and their order does not matter for the traffic that is left (a property test says so);
the order below reaches the fixpoint in few rounds. Streaming stores come last: they only mark what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.gir import Program
from .base import Pass
from .dead_store import DeadStore
from .duplicate_load import DuplicateLoad
from .hoist_invariant import HoistInvariant
from .move_chain import MoveChain
from .promote_level import UNLIMITED, PromoteLevel
from .redundant_sync import RedundantSync
from .store_to_load_forwarding import StoreToLoadForwarding
from .view_folding import ViewFolding

REWRITES: tuple[Pass, ...] = (
    ViewFolding(),  # copies first: what follows then sees the original
    MoveChain(),
    StoreToLoadForwarding(),  # leaves stores without readers
    PromoteLevel(),
    DeadStore(),
    HoistInvariant(),  # brings loads of sibling loops together
    DuplicateLoad(),
    RedundantSync(),
)


@dataclass(frozen=True)
class Monotone:
    """`max_rounds` bounds the work on programs that nobody would write by hand; `room`: see `PromoteLevel`."""

    max_rounds: int = 12
    room: int = UNLIMITED

    name: ClassVar[str] = "monotone"
    form: ClassVar[str] = "gir"

    def run(self, program: Program) -> Program:
        return fixpoint(program, self.rewrites, self.max_rounds)

    @property
    def rewrites(self) -> tuple[Pass, ...]:
        return tuple(replace(p, room=self.room) if isinstance(p, PromoteLevel) else p for p in REWRITES)


def fixpoint(program: Program, passes: Sequence[Pass], max_rounds: int) -> Program:
    """All passes in turn, until a round changes nothing."""
    for _ in range(max_rounds):
        before = program
        for p in passes:
            program = p.run(program)
        if program == before:
            break
    return program
