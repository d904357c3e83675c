"""Folds of register tiles: reductions to one element, and scans, which keep the fold up to each element."""

from __future__ import annotations

from ...ir.expr import Fn
from ...ir.gir import Reduce
from . import arith
from .context import Context
from .llvm_text import Value
from .tiles import LazyTile, MutableTile, Spot, Tile, pieces, rows, spots


def reduce(ctx: Context, stmt: Reduce, source: Tile) -> LazyTile:
    """The tile of a Reduce that is no scan; of what a scan has just folded the last element."""
    shape = stmt.folded(source.shape)
    last = len(shape) - 1
    features, code = ctx.options.features, ctx.code
    done = ctx.names.get(scan_name(stmt))
    if isinstance(done, Scan) and done.source is source:
        return done.last(ctx)

    found: dict[tuple[int, ...], Value] = {}

    def compute(spot: Spot) -> Value:
        if spot.row in found:
            return found[spot.row]
        chosen = belonging(spot.row)
        if last not in stmt.axes:
            return _tree(ctx, stmt.fn, [source.piece(code, r, spot.start) for r in chosen])
        together = _beside(rows(shape), spot.row, ctx.options.lanes)
        if len(together) > 1 and source.shape[-1] % ctx.options.lanes == 0 and isinstance(source, MutableTile):
            # their values are in registers already: fold the lanes of several rows at once
            starts = range(0, source.shape[-1], ctx.options.lanes)
            vectors = [
                _tree(ctx, stmt.fn, [source.piece(code, r, s) for r in belonging(row) for s in starts])
                for row in together
            ]
            all_of_them = arith.fold_vectors(code, features, stmt.fn, vectors)
            for lane, row in enumerate(together):
                found[row] = arith.slice_lanes(code, all_of_them, lane, 1)
            return found[spot.row]
        by_width: dict[int, list[Value]] = {}
        for piece in spots(source.shape[-1:], ctx.options.lanes):
            for r in chosen:
                value = code.splat(source.piece(code, r, piece.start), piece.width)
                by_width.setdefault(piece.width, []).append(value)
        parts = [arith.fold_lanes(code, features, stmt.fn, _tree(ctx, stmt.fn, v)) for v in by_width.values()]
        return _tree(ctx, stmt.fn, parts)

    def belonging(row: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The rows of the source that are folded into a row of the result."""
        return [r for r in rows(source.shape) if all(k in stmt.axes or r[k] == row[k] for k in range(last))]

    return LazyTile(shape, source.elem, compute, _looks_at(stmt, source), ctx.options.lanes)


def _beside(all_rows: tuple[tuple[int, ...], ...], row: tuple[int, ...], lanes: int) -> tuple[tuple[int, ...], ...]:
    """The rows, a power of two of them and at most `lanes`, that are folded together with this one."""
    number, start = all_rows.index(row), 0
    while True:
        count = lanes
        while count > len(all_rows) - start:
            count //= 2
        if number < start + count:
            return all_rows[start : start + count]
        start += count


def scan_name(stmt: Reduce) -> str:
    """Under which a scan is known to reductions of the same tile by the same function."""
    return f"scan {stmt.fn} {stmt.source} over {stmt.axes}"


class Scan(LazyTile):
    """The folds up to each element along `axis`: pieces by shuffles, each completed by the last lane before it."""

    def __init__(self, ctx: Context, stmt: Reduce, source: Tile) -> None:
        super().__init__(source.shape, source.elem, self._scanned, _looks_at(stmt, source), ctx.options.lanes)
        self.ctx, self.fn, self.source = ctx, stmt.fn, source
        self.axis = stmt.axes[0]

    def _scanned(self, spot: Spot) -> Value:
        code, features = self.ctx.code, self.ctx.options.features
        value = self.source.piece(code, spot.row, spot.start)
        if self.axis < len(spot.row):
            at = spot.row[self.axis]
            if at == 0:
                return value
            row = (*spot.row[: self.axis], at - 1, *spot.row[self.axis + 1 :])
            return arith.apply(code, features, self.fn, [self.piece(code, row, spot.start), value])
        value = arith.scan_lanes(code, features, self.fn, value)
        if spot.start == 0:
            return value
        before = next(s for s, w in pieces(self.shape[-1], self.ctx.options.lanes) if s + w == spot.start)
        carried = code.splat(_last_lane(self.ctx, self.piece(code, spot.row, before)), spot.width)
        return arith.apply(code, features, self.fn, [carried, value])

    def last(self, ctx: Context) -> LazyTile:
        """What a reduction over the axis gives."""
        shape = tuple(1 if k == self.axis else n for k, n in enumerate(self.shape))
        end = self.shape[self.axis] - 1

        def compute(spot: Spot) -> Value:
            if self.axis < len(spot.row):
                row = (*spot.row[: self.axis], end, *spot.row[self.axis + 1 :])
                return self.piece(ctx.code, row, spot.start)
            final = pieces(self.shape[-1], ctx.options.lanes)[-1][0]
            return _last_lane(ctx, self.piece(ctx.code, spot.row, final))

        return LazyTile(shape, self.elem, compute, self.reads, ctx.options.lanes)


def _last_lane(ctx: Context, value: Value) -> Value:
    return value if value.lanes == 1 else arith.slice_lanes(ctx.code, value, value.lanes - 1, 1)


def _looks_at(stmt: Reduce, source: Tile) -> frozenset[str]:
    return frozenset({stmt.source}) if isinstance(source, MutableTile) else frozenset()


def _tree(ctx: Context, fn: Fn, values: list[Value]) -> Value:
    """Fold values pairwise; a few chains in flight are enough, so long lists are first folded eight wide."""
    features, code = ctx.options.features, ctx.code
    while len(values) > 1:
        if len(values) > 8:
            values, rest = values[:8], values[8:]
            for k, value in enumerate(rest):
                values[k % 8] = arith.apply(code, features, fn, [values[k % 8], value])
            continue
        odd = [values[-1]] if len(values) % 2 else []
        values = [arith.apply(code, features, fn, [a, b]) for a, b in zip(values[::2], values[1::2], strict=False)]
        values += odd
    return values[0]
