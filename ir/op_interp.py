"""The interpreter of the op form: slow, obvious NumPy, the meaning of a program in the sense of docs/language.md.

A definition is evaluated on the grid of its axes, one array dimension per axis, in boxes small enough for memory. A
recurrence walks its ordered axis (of several, their wavefronts) and is evaluated whole along the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .binding import bind_symbols, value_of
from .dtypes import DType, from_numpy
from .errors import CallError
from .expr import Expr, const
from .op import Axis, Compact, Definition, Op, Pointwise, Reduction, Sort, Tensor
from .op_interp_grid import POINTS, Array, Grid, Ranges, evaluate
from .op_interp_reduce import reduction
from .recurrence import offsets, ordered_axes, sweep_direction
from .scalar_functions import to_storage

MAX_BOX = 1 << 21  # elements of a grid that are evaluated at once


def interpret(
    op: Op,
    inputs: Mapping[str, Array],
    symbols: Mapping[str, int] | None = None,
    float64: bool = False,
    targets: bool = False,
) -> dict[str, Array]:
    """The outputs of an op (with `targets`, all of its targets), by name.

    With `float64` every float is read, computed and kept in f64: the reference for any precision. Integers and bools
    have their declared types in either case. Raises BindError for shapes that do not fit, CallError for missing or
    unfit arrays and for gathered indices out of range.
    """
    arrays = {t.name: _input(op, t, inputs, float64) for t in op.inputs}
    values = bind_symbols(op, {n: a.shape for n, a in arrays.items()}, symbols)
    run = _Run(op, values, float64)
    run.tensors.update(arrays)
    for definition in op.definitions:
        run.define(definition)
    names = [t.name for d in op.definitions for t in d.targets] if targets else [t.name for t in op.outputs]
    return {n: run.tensors[n] for n in names}


def _input(op: Op, tensor: Tensor, inputs: Mapping[str, Array], float64: bool) -> Array:
    if tensor.name not in inputs:
        needed = ", ".join(t.name for t in op.inputs)
        raise CallError(f"the input `{tensor.name}` is missing", tensor.location, f"`{op.name}` takes {needed}")
    array = np.asarray(inputs[tensor.name])
    found = from_numpy(array.dtype)
    kinds = found is not None and (found.is_float, found.is_int) == (tensor.dtype.is_float, tensor.dtype.is_int)
    if not kinds:
        raise CallError(f"`{tensor.name}` is {tensor.dtype}, the array is {array.dtype}", tensor.location, "convert it")
    return storage(array, tensor.dtype, float64)


def storage(value: Array, dtype: DType, float64: bool) -> Array:
    """A value as a tensor of this type keeps it."""
    if float64 and dtype.is_float:
        return np.asarray(value).astype(np.float64)
    return to_storage(value, dtype)


def fronts(d: Definition, extents: list[int]) -> list[Array]:
    """The points of a sweep's ordered axes, as [axis, point], in groups whose elements do not depend on each other.

    The groups are the hyperplanes of a schedule vector t, t . offset < 0 for every (forward) offset (L. Lamport, "The
    parallel execution of DO loops", CACM 1974); their order is one in which every element finds what it reads.
    """
    names = [a.name for a in d.axes]
    kept = [names.index(a.name) for a in ordered_axes(d)]
    step = sweep_direction(d)
    found = [tuple(step * o[k] for k in kept) for o in offsets(d)]
    candidates = sorted(itertools.product(range(4), repeat=len(kept)), key=sum)
    row_major = tuple(int(np.prod(extents[k + 1 :], dtype=np.int64)) for k in range(len(kept)))
    schedule = next((t for t in candidates if all(np.dot(t, o) < 0 for o in found)), row_major)
    points = np.indices(extents, dtype=np.int64).reshape(len(kept), -1)
    level = step * np.tensordot(np.array(schedule, dtype=np.int64), points, axes=1)
    order = np.argsort(level, kind="stable")
    cuts = np.flatnonzero(np.diff(level[order])) + 1
    return [group for group in np.split(points[:, order], cuts, axis=1) if group.size]


class _Run:
    def __init__(self, op: Op, symbols: dict[str, int], float64: bool) -> None:
        self.op = op
        self.symbols = symbols
        self.float64 = float64
        self.tensors: dict[str, Array] = {}

    def extent(self, expr: Expr) -> int:
        found = value_of(expr, self.symbols)
        assert found is not None, "extents of free axes hold symbols alone"
        return max(int(found), 0)

    def grid(self, ranges: Ranges) -> Grid:
        return Grid(ranges, self.symbols, self.tensors, self.float64)

    def define(self, d: Definition) -> None:
        for t in d.targets:
            wide = self.float64 and t.dtype.is_float
            shape = tuple(self.extent(e) for e in t.shape)
            made = np.zeros(shape, dtype=np.float64 if wide else t.dtype.numpy)
            if t.dtype.is_float:
                made[...] = np.nan  # a read before its write shows
            self.tensors[t.name] = made
        whole: Ranges = {a.name: (0, self.extent(a.hi)) for a in d.axes}
        if d.is_recurrence:
            self.recurrence(d, whole)
        elif all(hi > lo for lo, hi in whole.values()):
            self.boxes(d, whole)

    def recurrence(self, d: Definition, whole: Ranges) -> None:
        ordered = [a.name for a in ordered_axes(d)]
        step = sweep_direction(d)
        if len(ordered) == 1:
            for p in range(*whole[ordered[0]])[::step]:
                self.box(d, {**whole, ordered[0]: (p, p + 1)})
            return
        assert isinstance(d.body, Pointwise)
        rest = {n: r for n, r in whole.items() if n not in ordered}
        for points in fronts(d, [whole[n][1] for n in ordered]):
            coordinates = dict(zip(ordered, points, strict=True))
            grid = replace(self.grid({POINTS: (0, len(points[0])), **rest}), points=coordinates)
            at = tuple(grid.axis(a.name) for a in d.axes)
            value = storage(evaluate(d.body.expr, grid), d.targets[0].dtype, self.float64)
            self.tensors[d.name][at] = np.broadcast_to(value, grid.shape)

    def boxes(self, d: Definition, ranges: Ranges) -> None:
        """The box, in halves along its longest axis while it is too large."""
        size = int(np.prod([hi - lo for lo, hi in ranges.values()], dtype=np.int64)) * self.inner_size(d)
        longest = max(ranges, key=lambda n: ranges[n][1] - ranges[n][0], default=None)
        if size <= MAX_BOX or longest is None or ranges[longest][1] - ranges[longest][0] < 2:
            self.box(d, ranges)
            return
        lo, hi = ranges[longest]
        middle = (lo + hi) // 2
        self.boxes(d, {**ranges, longest: (lo, middle)})
        self.boxes(d, {**ranges, longest: (middle, hi)})

    def inner_size(self, d: Definition) -> int:
        """The (largest) number of elements behind one element of a target."""
        match d.body:
            case Reduction(axes=axes):
                size = 1
                for axis in axes:
                    hi = value_of(axis.hi, self.symbols)
                    size *= max(int(hi), 1) if hi is not None else 64
                return size
            case Compact(axis=axis) | Sort(axis=axis):
                return max(self.extent(axis.hi), 1)
        return 1

    def box(self, d: Definition, ranges: Ranges) -> None:
        at = tuple(slice(*ranges[a.name]) for a in d.axes)
        shape = tuple(hi - lo for lo, hi in ranges.values())
        match d.body:
            case Pointwise(expr):
                values = [evaluate(expr, self.grid(ranges))]
            case Reduction() as r:
                values = reduction(r, self.grid(ranges))
            case Compact(axis, guard):
                values = self.compact(axis, guard, ranges)
                shape += (self.extent(axis.hi),)
            case Sort(axis, key, descending):
                values = [self.sort(axis, key, descending, ranges)]
                shape += (self.extent(axis.hi),)
        for target, value in zip(d.targets, values, strict=True):
            stored = storage(np.asarray(value), target.dtype, self.float64)
            self.tensors[target.name][at] = np.broadcast_to(stored, shape[: len(target.shape)])

    def listed(self, axis: Axis, expr: Expr, ranges: Ranges) -> Array:
        """The expression over the free axes and, last, the axis of a list."""
        assert axis.lo == const(0)
        full: Ranges = {**ranges, axis.name: (0, self.extent(axis.hi))}
        shape = tuple(hi - lo for lo, hi in full.values())
        return np.broadcast_to(np.asarray(evaluate(expr, self.grid(full))), shape)

    def compact(self, axis: Axis, guard: Expr, ranges: Ranges) -> list[Array]:
        chosen = self.listed(axis, guard, ranges)
        order = np.argsort(~chosen, axis=-1, kind="stable")
        count = np.asarray(np.sum(chosen, axis=-1, dtype=np.int64))
        return [np.where(np.arange(chosen.shape[-1]) < count[..., None], order, -1), count]

    def sort(self, axis: Axis, key: Expr, descending: bool, ranges: Ranges) -> Array:
        values = self.listed(axis, key, ranges)
        if descending:
            values = -values if values.dtype.kind == "f" else ~values
        return np.asarray(np.argsort(values, axis=-1, kind="stable"))


__all__ = ["interpret", "storage"]
