"""The memory of the GIR interpreter: buffers whose undefined content is visible, and the detection of races.

Races. Every access carries its *context*: for each enclosing parallel loop that is running, which run of the loop it
belongs to, which iteration, and how many syncs that run has passed. Two accesses of one element, one of them a write,
race when their contexts first part at two iterations of the same run with the same number of syncs. Each buffer
remembers per element the last writer and two concurrent readers; two suffice, as whoever writes is not both of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .dtypes import DType
from .gir import Level
from .scalar_functions import Array

NOBODY = -1


@dataclass
class ParallelRun:
    """One execution of a parallel loop. Syncs at `sram` order only what happens in `sram`."""

    number: int
    syncs: dict[Level, int] = field(default_factory=lambda: {Level.SRAM: 0, Level.DRAM: 0})


Step = tuple[int, int, int, int]  # run, iteration, syncs at sram, syncs at dram


class Contexts:
    """The contexts seen so far, by number."""

    def __init__(self) -> None:
        self._stacks: list[tuple[Step, ...]] = [()]
        self._known: dict[tuple[int, int, Level], bool] = {}

    def enter(self, stack: list[tuple[ParallelRun, int]]) -> int:
        """The number of the context of the iterations in `stack` (outer first), now."""
        self._stacks.append(tuple((r.number, i, r.syncs[Level.SRAM], r.syncs[Level.DRAM]) for r, i in stack))
        return len(self._stacks) - 1

    def concurrent(self, a: int, b: int, level: Level) -> bool:
        key = (a, b, level)
        if key not in self._known:
            self._known[key] = self._concurrent(self._stacks[a], self._stacks[b], level)
        return self._known[key]

    @staticmethod
    def _concurrent(a: tuple[Step, ...], b: tuple[Step, ...], level: Level) -> bool:
        which = 2 if level is Level.SRAM else 3
        for x, y in zip(a, b, strict=False):
            if x[0] != y[0]:
                return False
            if x[1] != y[1]:
                return x[which] == y[which]
        return False

    def clash(self, others: Array, mine: int, level: Level) -> bool:
        """Whether any context of `others` is concurrent with `mine`."""
        first = others.flat[0] if others.size else NOBODY
        candidates = [int(first)] if others.size and (others == first).all() else np.unique(others).tolist()
        return any(o not in (NOBODY, mine) and self.concurrent(o, mine, level) for o in candidates)


class Race(Exception):
    """Two concurrent accesses of one element; `what` says which kinds, `where` the flat element."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def undefined(shape: tuple[int, ...], dtype: DType) -> Array:
    """Content nobody may rely on: NaN, or a bit pattern that no program computes by chance."""
    if dtype.is_float:
        return np.full(shape, np.nan, dtype=dtype.numpy)
    if dtype is DType.BOOL:
        return np.ones(shape, dtype=dtype.numpy)
    raw: Array = np.full((*shape, dtype.bytes), 0xA5, dtype=np.uint8)
    return raw.view(dtype.numpy).reshape(shape)


class Buffer:
    """Elements at one level, stored flat; `depth` is the number of parallel loops that enclose its allocation."""

    def __init__(self, name: str, content: Array, dtype: DType, level: Level, depth: int, tracked: bool) -> None:
        self.name = name
        self.shape = content.shape
        self.data = content.reshape(-1)
        self.dtype = dtype
        self.level = level
        self.depth = depth
        self.written = np.zeros(self.data.size, dtype=bool)
        self._tracked = tracked
        self._marks: tuple[Array, Array, Array] | None = None  # writer, two readers

    def marks(self) -> tuple[Array, Array, Array]:
        if self._marks is None:
            a, b, c = (np.full(self.data.size, NOBODY, dtype=np.int64) for _ in range(3))
            self._marks = (a, b, c)
        return self._marks

    def read(self, flat: Array, context: int, depth: int, contexts: Contexts) -> Any:
        """The elements at the flat indices. Raises Race."""
        if self._tracked and depth > self.depth and flat.size:
            writer, one, two = self.marks()
            if contexts.clash(writer[flat], context, self.level):
                raise Race("reads what another iteration of a parallel loop wrote, with no sync between")
            now = one[flat]
            others = [o for o in np.unique(now).tolist() if o not in (NOBODY, context)]
            rivals = [o for o in others if contexts.concurrent(o, context, self.level)]
            beside = np.isin(now, rivals) if rivals else np.zeros(now.shape, dtype=bool)
            two[flat] = np.where(beside, context, np.where(now == context, two[flat], NOBODY))
            one[flat] = np.where(beside, now, context)
        return self.data[flat]

    def write(self, flat: Array, values: Array, context: int, depth: int, contexts: Contexts) -> None:
        """Store values at the flat indices. Raises Race."""
        if self._tracked and depth > self.depth and flat.size:
            writer, one, two = self.marks()
            if contexts.clash(writer[flat], context, self.level):
                raise Race("writes what another iteration of a parallel loop wrote too, with no sync between")
            if any(contexts.clash(r[flat], context, self.level) for r in (one, two)):
                raise Race("writes what another iteration of a parallel loop read, with no sync between")
            writer[flat] = context
            one[flat] = NOBODY
            two[flat] = NOBODY
        self.data[flat] = values
        self.written[flat] = True
