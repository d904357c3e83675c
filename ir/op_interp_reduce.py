"""Reductions on a grid: ragged ranges and guards as masks, the built-in monoids by NumPy, all others by a tree of
`combine` in index order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .expr import const
from .op import Monoid, Reduction
from .op_interp_grid import Array, Grid, evaluate
from .scalar_functions import reduce

MAX_BOX = 1 << 22  # elements of a grid that are folded at once


def reduction(r: Reduction, grid: Grid) -> list[Array]:
    """The state of every component over the grid's (free) axes."""
    inner = replace(grid, ranges=dict(grid.ranges))
    for axis in r.axes:
        lo, hi = (evaluate(end, inner) for end in (axis.lo, axis.hi))
        first, last = _extremes(lo, hi, inner)
        mask = None if inner.mask is None else inner.mask[..., None]
        inner = replace(inner, ranges={**inner.ranges, axis.name: (first, last)}, mask=mask)
        if lo.size > 1 or hi.size > 1:  # ragged: bounds of later axes count only where this axis has an element
            own = inner.axis(axis.name)
            inside = (own >= _wide(lo)) & (own < _wide(hi))
            inner.mask = inside if mask is None else mask & inside
    return _fold(r, replace(inner, mask=None), len(grid.ranges))


def _wide(values: Array) -> Array:
    return values[..., None] if values.ndim else values


def _extremes(lo: Array, hi: Array, grid: Grid) -> tuple[int, int]:
    """The smallest range that holds the axis everywhere on the grid so far."""
    lo, hi, counted = np.broadcast_arrays(lo, hi, True if grid.mask is None else grid.mask)
    if not np.any(counted):
        return 0, 0
    first = int(np.min(lo[counted]))
    return first, max(first, int(np.max(hi[counted])))


def _fold(r: Reduction, grid: Grid, free: int) -> list[Array]:
    names = list(grid.ranges)[free:]
    size = int(np.prod([max(n, 0) for n in grid.shape], dtype=np.int64))
    if size == 0:
        return _identity(r.monoid, grid, free)
    long = next((n for n in names if grid.ranges[n][1] - grid.ranges[n][0] > 1), None)
    if size > MAX_BOX and long is not None:
        lo, hi = grid.ranges[long]
        middle = (lo + hi) // 2
        first = _fold(r, replace(grid, ranges={**grid.ranges, long: (lo, middle)}), free)
        second = _fold(r, replace(grid, ranges={**grid.ranges, long: (middle, hi)}), free)
        return _combine(r.monoid, first, second, grid)
    mask = _mask(r, grid)
    inside = replace(grid, mask=mask)
    state = []
    for arg, identity in zip(r.args, r.monoid.identity, strict=True):
        values = np.broadcast_to(evaluate(arg, inside), grid.shape)
        if mask is not None:
            nothing = evaluate(identity, grid)
            values = np.where(mask, values, nothing.astype(values.dtype))
        state.append(np.asarray(values))
    fn = r.monoid.fn
    if fn is not None and len(state) == 1:
        folded = reduce(fn, state[0], tuple(range(free, len(grid.ranges))))
        return [folded.reshape(grid.shape[:free])]
    return _tree(r.monoid, [s.reshape(*grid.shape[:free], -1) for s in state], grid)


def _mask(r: Reduction, grid: Grid) -> Array | None:
    """Where an element takes part: inside every axis's own bounds, and the guard holds. None is everywhere."""
    mask: Array | None = grid.mask
    for axis in r.axes:
        if axis.lo == const(grid.ranges[axis.name][0]) and axis.hi == const(grid.ranges[axis.name][1]):
            continue
        bounded = replace(grid, mask=mask)
        own = grid.axis(axis.name)
        inside = (own >= evaluate(axis.lo, bounded)) & (own < evaluate(axis.hi, bounded))
        if not np.all(inside):
            mask = inside if mask is None else mask & inside
    if r.guard is not None:
        guard = evaluate(r.guard, replace(grid, mask=mask))
        mask = guard if mask is None else mask & guard
    return mask


def _identity(monoid: Monoid, grid: Grid, free: int) -> list[Array]:
    return [np.broadcast_to(evaluate(e, grid), grid.shape[:free]) for e in monoid.identity]


def _combine(monoid: Monoid, a: list[Array], b: list[Array], grid: Grid) -> list[Array]:
    params = {f"a.{n}": v for n, v in zip(monoid.components, a, strict=True)}
    params.update({f"b.{n}": v for n, v in zip(monoid.components, b, strict=True)})
    inner = replace(grid, params=params, ranges={}, mask=None)
    shapes = [v.shape for v in a]
    return [np.broadcast_to(evaluate(e, inner), s) for e, s in zip(monoid.combine, shapes, strict=True)]


def _tree(monoid: Monoid, state: list[Array], grid: Grid) -> list[Array]:
    """Folded along the last dimension by combining neighbours, which keeps their order."""
    while (n := state[0].shape[-1]) > 1:
        pairs = n // 2
        left = [s[..., 0 : 2 * pairs : 2] for s in state]
        right = [s[..., 1 : 2 * pairs : 2] for s in state]
        joined = _combine(monoid, left, right, grid)
        rest = [s[..., 2 * pairs :] for s in state]
        state = [np.concatenate([j, t], axis=-1) for j, t in zip(joined, rest, strict=True)]
    return [s[..., 0] for s in state]
