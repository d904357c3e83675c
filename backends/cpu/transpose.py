"""Loads and stores whose lanes are strided while their rows are contiguous: whole blocks through registers.

A block of n rows and n lanes is n contiguous vectors the other way round; log2(n) rounds of interleaving transpose it.
"""

from __future__ import annotations

from ...ir.expr import Coord, Expr, Ref, rewrite, walk
from .access import Reach, masked, masked_store
from .context import Context
from .expressions import evaluate
from .llvm_text import Code, Value, type_name
from .tiles import Spot


def is_transposed(reach: Reach, shape: tuple[int, ...]) -> bool:
    """Whether rows are contiguous in memory and lanes are not."""
    if len(shape) < 2 or reach.base is None or reach.lane_stride is None or shape[-1] == 1:
        return False
    return reach.lane_stride.constant not in (0, reach.unit) and reach.axis_strides[-2].constant == reach.unit


def block_start(spot: Spot) -> int | None:
    """The first row of the square block that holds a spot, or None where it does not fit in the tile."""
    first = spot.row[-1] // spot.width * spot.width
    return first if spot.width > 1 and first + spot.width <= spot.shape[-2] else None


class Guard:
    """A predicate as seen along the rows of a block: the masks of its contiguous vectors."""

    def __init__(self, ctx: Context, predicate: Expr | None) -> None:
        self.ctx, self.predicate = ctx, predicate
        tiles = [ctx.tile(n.name) for n in walk(predicate) if isinstance(n, Ref)] if predicate is not None else []
        self.follows = not any(t.has_lanes or any(t.wide) for t in tiles)  # else its tiles would have to be transposed

    def mask(self, spot: Spot, first: int, lane: int) -> Value | None:
        """For rows first .. first + width at one lane of `spot`; None where all are on."""
        if self.predicate is None:
            return None
        *others, rows, lanes = spot.shape
        rank = len(spot.shape)
        swap = {rank - 1: rank - 2, rank - 2: rank - 1}
        turned = rewrite(self.predicate, lambda e: Coord(swap.get(e.axis, e.axis)) if isinstance(e, Coord) else None)
        along = Spot((*others, lanes, rows), (*spot.row[:-1], spot.start + lane), first, spot.width)
        mask = evaluate(self.ctx, turned, along)
        if mask.constant is not None and mask.constant:
            return None
        return self.ctx.code.splat(mask, spot.width)


def load_block(reach: Reach, spot: Spot, first: int, guard: Guard) -> list[Value]:
    """Stored bits of rows first .. first + width at the lanes of `spot`; anything where the guard is off."""
    code, elem, n = reach.ctx.code, reach.elem, spot.width
    vectors = []
    for lane in range(n):
        pointer = reach.pointer(Spot(spot.shape, (*spot.row[:-1], first), spot.start + lane, 1))
        mask = guard.mask(spot, first, lane)
        if mask is not None:
            vectors.append(masked(reach, "load", pointer, "p0", mask, n))
            continue
        align = f"align {reach.storage.bits // 8}{reach.buffer.scope}"
        vectors.append(code.op(f"load {type_name(elem, n)}, {pointer.typed}, {align}", elem, n))
    return transpose(code, vectors)


def store_block(reach: Reach, spot: Spot, rows: list[Value], guard: Guard) -> None:
    """Store the bits of the rows of a block that begins at `spot`, where the guard is on."""
    code, elem, n = reach.ctx.code, reach.elem, spot.width
    for lane, vector in enumerate(transpose(code, rows)):
        pointer = reach.pointer(Spot(spot.shape, spot.row, spot.start + lane, 1))
        mask = guard.mask(spot, spot.row[-1], lane)
        if mask is not None:
            masked_store(reach, "store", vector, pointer, "p0", mask)
            continue
        align = f"align {reach.storage.bits // 8}{reach.buffer.scope}"
        code.do(f"store {type_name(elem, n)} {vector.text}, {pointer.typed}, {align}")


def transpose(code: Code, vectors: list[Value]) -> list[Value]:
    """n vectors of n lanes, n a power of two."""
    n = len(vectors)
    halves = [range(n // 2), range(n // 2, n)]
    masks = [", ".join(f"i32 {k}, i32 {k + n}" for k in half) for half in halves]
    for _ in range(n.bit_length() - 1):
        mixed = []
        for a, b in zip(vectors[: n // 2], vectors[n // 2 :], strict=True):
            for mask in masks:
                mixed.append(code.op(f"shufflevector {a.typed}, {b.typed}, <{n} x i32> <{mask}>", a.elem, n))
        vectors = mixed
    return vectors
