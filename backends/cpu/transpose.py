"""Loads and stores whose lanes are strided while their rows are contiguous: whole blocks through registers.

A block of n rows and n lanes is n contiguous vectors the other way round; log2(n) rounds of interleaving transpose it.
"""

from __future__ import annotations

from .access import Reach
from .llvm_text import Code, Value, type_name
from .tiles import Spot


def is_transposed(reach: Reach, shape: tuple[int, ...]) -> bool:
    """Whether rows are contiguous in memory and lanes are not."""
    if len(shape) < 2 or reach.base is None or reach.lane_stride is None or shape[-1] == 1:
        return False
    return reach.lane_stride.constant not in (0, 1) and reach.axis_strides[-2].constant == 1


def block_start(spot: Spot) -> int | None:
    """The first row of the square block that holds a spot, or None where it does not fit in the tile."""
    first = spot.row[-1] // spot.width * spot.width
    return first if spot.width > 1 and first + spot.width <= spot.shape[-2] else None


def load_block(reach: Reach, spot: Spot, first: int) -> list[Value]:
    """Stored bits of rows first .. first + width at the lanes of `spot`."""
    code, elem, n = reach.ctx.code, reach.storage, spot.width
    vectors = []
    for lane in range(n):
        pointer = reach.pointer(Spot(spot.shape, (*spot.row[:-1], first), spot.start + lane, 1))
        align = f"align {elem.bits // 8}{reach.buffer.scope}"
        vectors.append(code.op(f"load {type_name(elem, n)}, {pointer.typed}, {align}", elem, n))
    return transpose(code, vectors)


def store_block(reach: Reach, spot: Spot, rows: list[Value]) -> None:
    """Store the bits of the rows of a block that begins at `spot`."""
    code, elem, n = reach.ctx.code, reach.storage, spot.width
    for lane, vector in enumerate(transpose(code, rows)):
        pointer = reach.pointer(Spot(spot.shape, spot.row, spot.start + lane, 1))
        code.do(
            f"store {type_name(elem, n)} {vector.text}, {pointer.typed}, align {elem.bits // 8}{reach.buffer.scope}"
        )


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
