"""Expressions of the op form on a grid: one array dimension per axis, in the order of `Grid.ranges`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .affine import affine
from .dtypes import DType
from .errors import CallError, InternalError
from .expr import Boundary, Call, Cast, Const, Expr, Param, Read, Var
from .scalar_functions import apply, cast, from_storage

Array = np.ndarray[Any, np.dtype[Any]]
Ranges = dict[str, tuple[int, int]]
POINTS = "*"  # no axis has this name


@dataclass
class Grid:
    """The axes' ranges, what can be read there, and where reads count (`mask`; None is everywhere).

    The dimension named POINTS runs over a list of points; `points` gives their coordinates along some other axes.
    """

    ranges: Ranges
    symbols: Mapping[str, int]
    tensors: Mapping[str, Array]
    float64: bool
    mask: Array | None = None
    params: Mapping[str, Array] = field(default_factory=dict)
    points: Mapping[str, Array] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(hi - lo for lo, hi in self.ranges.values())

    def axis(self, name: str) -> Array:
        """The values of an axis, along its own dimension."""
        position = list(self.ranges).index(POINTS if name in self.points else name)
        shape = [1] * len(self.ranges)
        shape[position] = -1
        if name in self.points:
            return self.points[name].reshape(shape)
        return np.arange(*self.ranges[name], dtype=np.int64).reshape(shape)

    def kept(self, dtype: DType) -> DType:
        return DType.F64 if self.float64 and dtype.is_float else dtype


def evaluate(expr: Expr, grid: Grid) -> Array:
    """The values on the grid; dimensions along which they do not vary may have size 1."""
    match expr:
        case Const(value, dtype):
            if dtype is None:
                raise InternalError("a literal without a type in an elaborated expression")
            return np.asarray(value, dtype=grid.kept(dtype).numpy)
        case Var(name):
            if name in grid.ranges or name in grid.points:
                return grid.axis(name)
            return np.asarray(grid.symbols[name], dtype=np.int64)
        case Param(name):
            return grid.params[name]
        case Read():
            return _read(expr, grid)
        case Cast(dtype, arg):
            return cast(evaluate(arg, grid), grid.kept(dtype))
        case Call(fn, args):
            return np.asarray(apply(fn, [evaluate(a, grid) for a in args]))
    raise InternalError(f"no value for {type(expr).__name__}")


def _read(read: Read, grid: Grid) -> Array:
    array = grid.tensors[read.tensor]
    direct = _slice(read, array, grid)
    if direct is not None:
        return from_storage(direct)
    index = [evaluate(e, grid) for e in read.index]
    outside: Array = np.zeros((1,) * len(grid.ranges), dtype=np.bool_)
    places = []
    for position, extent in zip(index, array.shape, strict=True):
        position = np.asarray(position, dtype=np.int64)
        outside = outside | (position < 0) | (position >= extent)
        places.append(_place(position, extent, read.boundary))
    if read.boundary is Boundary.NONE:
        counted = outside if grid.mask is None else outside & grid.mask
        if np.any(counted):
            raise CallError(
                f"`{read.tensor}` of shape {array.shape} is read outside",
                read.location,
                "pass indices inside the tensor, or give the read a boundary: `.clamp[...]`, `.pad(0)[...]`",
            )
    if array.size == 0:  # nothing can be taken: every position that counts is outside
        values = np.zeros(np.broadcast_shapes(*(p.shape for p in places)), dtype=array.dtype)
    else:
        values = array[tuple(places)] if places else array
    values = from_storage(values)
    if read.boundary is not Boundary.PAD or read.fill is None or not np.any(outside):
        return values
    fill = evaluate(read.fill, grid)
    return np.asarray(np.where(outside, fill.astype(values.dtype), values))


def _place(position: Array, extent: int, boundary: Boundary) -> Array:
    """Where a position lies inside, by the boundary (clipped where it has no meaning)."""
    if extent <= 0:
        return np.zeros_like(position)
    if boundary is Boundary.WRAP:
        return position % extent
    if boundary is Boundary.REFLECT:
        period = max(2 * (extent - 1), 1)
        folded = position % period
        return np.minimum(folded, period - folded) if extent > 1 else np.zeros_like(position)
    return np.clip(position, 0, extent - 1)


def _slice(read: Read, array: Array, grid: Grid) -> Array | None:
    """The read as a view, where every index is an axis of its own plus a constant and nothing lies outside."""
    names = list(grid.ranges)
    used: list[int] = []
    slices = []
    for expr, extent in zip(read.index, array.shape, strict=True):
        form = affine(expr)
        if form is None or len(form.terms) != 1 or form.terms[0][1] != 1 or form.terms[0][0] not in grid.ranges:
            return None
        name = form.terms[0][0]
        lo, hi = (end + form.constant for end in grid.ranges[name])
        if names.index(name) in used or lo < 0 or hi > extent:
            return None
        used.append(names.index(name))
        slices.append(slice(lo, hi))
    if not used:
        return None
    view = array[tuple(slices)].transpose(np.argsort(used))
    shape = [1] * len(names)
    for position, size in zip(sorted(used), view.shape, strict=True):
        shape[position] = size
    return view.reshape(shape)


__all__ = ["POINTS", "Array", "Grid", "Ranges", "evaluate"]
