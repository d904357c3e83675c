"""Register tiles: how a box of values is cut into vectors, and when its vectors are computed.

A tile of shape (d0, ..., dn) is d0*...*d(n-1) rows; a row is cut along the last axis into pieces of the machine's lane
count for 4-byte elements, the rest into smaller powers of two. All element types are cut alike, so that pieces of
different types meet lane by lane; LLVM splits what is wider than a register. A size-1 last axis is a scalar, spread
over lanes only where it meets a vector (so that a broadcast load folds into the instruction that uses it).

Tiles that are assigned once are computed piece by piece when first used: a chain of elementwise instructions then
runs depth first and holds few registers, whatever the tile's size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ...ir.dtypes import DType
from .arith import cast, convert
from .llvm_text import Code, Elem, Value, arithmetic_elem, type_name


@cache
def pieces(extent: int, lanes: int) -> tuple[tuple[int, int], ...]:
    """(first lane, width) of the pieces of a row."""
    out = []
    start = 0
    width = lanes
    while start < extent:
        while width > extent - start:
            width //= 2
        out.append((start, width))
        start += width
    return tuple(out)


@cache
def rows(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Coordinates of the rows (all axes but the last), in order."""
    out: list[tuple[int, ...]] = [()]
    for extent in shape[:-1]:
        out = [(*c, k) for c in out for k in range(extent)]
    return tuple(out)


@dataclass(frozen=True, slots=True)
class Spot:
    """One piece of a statement's box: row coordinates, first lane and width."""

    shape: tuple[int, ...]
    row: tuple[int, ...]
    start: int
    width: int


def spots(shape: tuple[int, ...], lanes: int) -> list[Spot]:
    """Every piece of a box, in order."""
    last = shape[-1] if shape else 1
    return [Spot(shape, row, start, width) for row in rows(shape) for start, width in pieces(last, lanes)]


SCALAR = Spot((), (), 0, 1)


class Tile(ABC):
    """`piece(row, start)` is the value of one piece; `start` is a lane where a piece begins."""

    def __init__(self, shape: tuple[int, ...], elem: Elem) -> None:
        self.shape = shape
        self.elem = elem
        # For every row coordinate from the right, whether it counts (size 1 does not).
        self.wide = tuple(extent != 1 for extent in shape[:-1])
        self.has_lanes = bool(shape) and shape[-1] != 1

    @abstractmethod
    def piece(self, code: Code, row: tuple[int, ...], start: int) -> Value: ...

    def at(self, code: Code, spot: Spot) -> Value:
        """The value at a spot of a statement whose box this tile broadcasts to."""
        offset = len(spot.row) - len(self.wide)
        row = tuple(spot.row[offset + k] if wide else 0 for k, wide in enumerate(self.wide))
        return self.piece(code, row, spot.start if self.has_lanes else 0)


class LazyTile(Tile):
    """Assigned once; `reads` are the mutable tiles and buffers its computation looks at."""

    def __init__(
        self, shape: tuple[int, ...], elem: Elem, compute: Callable[[Spot], Value], reads: frozenset[str], lanes: int
    ) -> None:
        super().__init__(shape, elem)
        self.compute = compute
        self.reads = reads
        self.lanes = lanes
        self.values: dict[tuple[tuple[int, ...], int], Value] = {}
        self.forced = False

    def piece(self, code: Code, row: tuple[int, ...], start: int) -> Value:
        key = (row, start)
        found = self.values.get(key)
        if found is None:
            last = self.shape[-1] if self.shape else 1
            width = next(w for s, w in pieces(last, self.lanes) if s == start)
            found = convert(code, self.compute(Spot(self.shape, row, start, width)), self.elem)
            self.values[key] = found
        return found

    def force(self, code: Code) -> None:
        """Compute what has not been used yet."""
        if not self.forced:
            self.forced = True
            for spot in spots(self.shape, self.lanes):
                self.piece(code, spot.row, spot.start)


class MutableTile(Tile):
    """Introduced by `Alloc`: one stack slot per piece, which mem2reg turns into registers. Of a narrow type it holds
    the arithmetic value, rounded or wrapped at each assignment."""

    def __init__(self, code: Code, shape: tuple[int, ...], dtype: DType, lanes: int) -> None:
        elem = arithmetic_elem(dtype)
        super().__init__(shape, elem)
        self.dtype = dtype
        self.slots: dict[tuple[tuple[int, ...], int], tuple[Value, int]] = {}
        for spot in spots(shape, lanes):
            slot = code.alloca(elem, spot.width)
            self.slots[spot.row, spot.start] = (slot, spot.width)

    def piece(self, code: Code, row: tuple[int, ...], start: int) -> Value:
        slot, width = self.slots[row, start]
        return code.op(f"load {type_name(self.elem, width)}, {slot.typed}", self.elem, width)

    def assign(self, code: Code, spot: Spot, value: Value) -> None:
        slot, width = self.slots[spot.row, spot.start]
        value = cast(code, value, self.dtype) if self.dtype.arithmetic is not self.dtype else value
        value = code.splat(convert(code, value, self.elem), width)
        code.do(f"store {value.typed}, {slot.typed}")
