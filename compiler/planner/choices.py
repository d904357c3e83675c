"""The decisions a plan follows; the search varies them. What is not decided gets a default."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Choices:
    """Deterministic, hashable and printable.

    cuts: definitions that begin a new kernel. joins: definitions that join the previous kernel against the default.
    lanes: (definition, axis) pairs. vectors: register tile along lanes, in vectors. rows: register tile along another
    axis of a contraction. stream: elements of a stream's tile, 0 for no streaming. chunk: elements of a lanes axis
    per parallel iteration. unfused: definitions that begin a new nest. unpacked: tensors that are not packed.
    """

    cuts: frozenset[str] = frozenset()
    joins: frozenset[str] = frozenset()
    lanes: tuple[tuple[str, str], ...] = ()
    vectors: int = 4
    rows: int = 6
    stream: int | None = None
    chunk: int = 4096
    root_rows: int = 0
    unfused: frozenset[str] = frozenset()
    unpacked: frozenset[str] = frozenset()
    enough_parallelism: int = 64
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def lanes_of(self) -> dict[str, str]:
        return dict(self.lanes)
