"""What every instruction on register tiles needs: the loop over a tile, and where results go.

The last axis of a tile is chopped into vectors where it is long enough; the loop over elements or vectors is written
out while that is short (so that the compiler keeps the tile in registers), and is a loop otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..ir.dtypes import DType
from ..ir.expr import Call, Expr, Fn, Var, const
from .c_expr import At, ExprPrinter, Scope, Tile
from .c_names import Names
from .c_values import Value
from .c_writer import Writer

UNROLL = 64  # elements or vectors of an instruction that are written out
UNROLL_INNER = 16  # the same inside of loops over the rest


@dataclass(frozen=True)
class Buffer:
    """A `dram` or `sram` buffer: C name, element type, extents."""

    name: str
    dtype: DType
    shape: tuple[Expr, ...]


class TileBase:
    """Declares tiles and walks over them. `widest` is the number of lanes of a full vector."""

    def __init__(self, printer: ExprPrinter, names: Names, widest: int) -> None:
        self.printer = printer
        self.names = names
        self.widest = widest
        self.buffers: dict[str, Buffer] = {}
        self.counter = 0

    def lanes(self, size: int) -> int:
        """Lanes of the vectors into which a last axis of `size` is chopped: the widest power of two that divides it."""
        lanes = self.widest
        while lanes > 1 and size % lanes:
            lanes //= 2
        return lanes if lanes >= 4 or lanes == self.widest or size == lanes else 1

    def fresh(self, wanted: str) -> str:
        """A C name of our own."""
        self.counter += 1
        return self.names.get(("fresh", self.counter), wanted)

    @contextmanager
    def elements(self, shape: tuple[int, ...], lanes: int, w: Writer) -> Iterator[list[At]]:
        """The places of a tile; opens loops over the leading axes where there are too many to write out."""
        counts = [*shape[:-1], shape[-1] // lanes] if shape else []
        total = math.prod(counts)
        unrolled, looped = len(counts), 0
        if total > UNROLL:
            inner = 1
            while unrolled > 0 and inner * counts[unrolled - 1] <= UNROLL_INNER:
                unrolled -= 1
                inner *= counts[unrolled]
            looped = unrolled
        coords: list[list[Expr]] = [[]]
        depth = 0
        for axis, count in enumerate(counts):
            step = lanes if axis == len(counts) - 1 else 1
            if axis < looped and count > 1:
                name = f"c{axis}"
                w.line(f"for (int64_t {name} = 0; {name} < {count}; ++{name}) {{")
                w.depth += 1
                depth += 1
                place: Expr = Var("%" + name)
                choices: list[Expr] = [place if step == 1 else Call(Fn.MUL, (place, const(step)))]
            else:
                choices = [const(k * step) for k in range(count)]
            coords = [[*c, choice] for c in coords for choice in choices]
        yield [At(tuple(c), lanes) for c in coords]
        for _ in range(depth):
            w.depth -= 1
            w.line("}")

    def declare(self, name: str, shape: tuple[int, ...], dtype: DType, scope: Scope, w: Writer) -> tuple[Tile, str]:
        """The tile that an instruction assigns, and the head of its assignment where that also declares it."""
        known = scope.tiles.get(name)
        if known is not None and known.mutable:
            return known, ""
        tile = Tile(self.names.get(name, name), shape, dtype, self.lanes(shape[-1]) if shape else 1)
        c = self.printer.convert.vector_type(dtype, tile.lanes)
        scope.tiles[name] = tile
        if tile.vectors == 1:
            return tile, f"const {c} "
        w.line(f"{c} {tile.name}[{tile.vectors}];")
        return tile, ""

    def place(self, tile: Tile, at: At, scope: Scope) -> str:
        """The element or vector of `tile` at `at`, as something to assign to."""
        return tile.name if tile.vectors == 1 else f"{tile.name}[{self.printer.position(tile, at, scope)}]"

    def result(self, value: Value, tile: Tile) -> Value:
        """`value` as `tile` holds it."""
        value = self.printer.convert.cast(value, tile.dtype)
        if tile.storage is not None:
            value = self.printer.convert.cast(
                Value(value.text, value.dtype, value.lanes, value.precedence, value.mask), tile.storage
            )
        return self.printer.convert.canonical(value, tile.lanes)
