"""The decisions a plan follows; the search varies them. What is not decided gets a default."""

from __future__ import annotations

from dataclasses import dataclass, field

PIECES_PER_UNIT = 16  # so that the last ones to finish leave the others idle for little


@dataclass(frozen=True)
class Choices:
    """Deterministic, hashable and printable.

    cuts: definitions that begin a new kernel. joins: definitions that join the previous kernel against the default.
    lanes: (definition, axis) pairs. vectors: register tile along lanes, in vectors. rows: register tile along another
    axis of a contraction. stream: elements of a stream's tile, 0 for no streaming. block: elements of the reduced
    axis of a contraction that are summed up before the others, 0 for all of them. pairs: products of bf16
    are taken two at a time where the machine can. chunk: elements of a lanes axis
    per parallel iteration. unfused: definitions that begin a new nest. unpacked: tensors that are not packed.

    parallel: (root axis, its elements per parallel iteration; 0: it is not split over units). outer: the root axis
    whose parallel loop is outermost. tiles: (definition, axis, its register tile along it: in vectors along its lanes,
    else in elements). inner: (definition, axis whose loop is innermost in the nest that the definition begins).
    recompute: pointwise definitions that are computed again wherever they are read. plain: outputs whose stores go
    through the caches. prefetch: hints.
    enough_parallelism: independent pieces of work below which nothing is fused that would leave fewer; 0 for
    `PIECES_PER_UNIT` on every unit.
    """

    cuts: frozenset[str] = frozenset()
    joins: frozenset[str] = frozenset()
    lanes: tuple[tuple[str, str], ...] = ()
    vectors: int = 4
    rows: int = 6
    stream: int | None = None
    block: int | None = None
    pairs: bool = True
    chunk: int = 4096
    root_rows: int = 0
    unfused: frozenset[str] = frozenset()
    unpacked: frozenset[str] = frozenset()
    parallel: tuple[tuple[str, int], ...] = ()
    outer: str = ""
    tiles: tuple[tuple[str, str, int], ...] = ()
    inner: tuple[tuple[str, str], ...] = ()
    recompute: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()
    prefetch: bool = True
    enough_parallelism: int = 0
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def lanes_of(self) -> dict[str, str]:
        return dict(self.lanes)

    def tiles_of(self, definition: str) -> dict[str, int]:
        return {axis: elements for name, axis, elements in self.tiles if name == definition}
