"""Reads whose index comes from the caller's data, and their check at a call.

An index that holds a read of an input tensor, or an axis whose bounds do, cannot be proved in bounds when compiling:
`find` lists such reads, `prepare` does what extents decide, `verify` proves the rest for the arrays of one call. The
largest value of an index tensor, or intervals of an expression, settle the usual case at the cost of one pass over the
index tensors; only where they do not is the index evaluated at every point, with guards, so that an element that is
never read may hold anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.errors import CallError, Location
from ..ir.expr import Boundary, Call, Cast, Const, Expr, Fn, Read, Var, const, reads, rewrite, variables
from ..ir.op import Axis, Compact, Definition, Op, Reduction, Sort
from ..ir.scalar_functions import Value, evaluate
from .extents import evaluate as extent_of
from .extents import text

Array = np.ndarray[Any, np.dtype[Any]]
Interval = tuple[int, int]  # both ends included
MAX_POINTS = 1 << 25  # of an exact check; above, only intervals are used
_largest = np.maximum.reduce
_SAFE = 1 << 31  # intervals beyond this are not trusted: 32-bit index arithmetic wraps


@dataclass(frozen=True)
class Gather:
    """`tensor[.., index, ..]` in `dimension`, read at every point of `axes` where all `conditions` hold."""

    tensor: str
    dimension: int
    index: Expr
    extent: Expr
    axes: tuple[Axis, ...]
    conditions: tuple[Expr, ...]
    location: Location


def find(op: Op) -> tuple[Gather, ...]:
    """The gathers of an op whose indices come from inputs, indices of indices before what they index."""
    inputs = {t.name for t in op.inputs}
    shapes = {name: t.shape for name, t in op.tensors.items()}
    found: list[Gather] = []

    def visit(expr: Expr, axes: tuple[Axis, ...], conditions: tuple[Expr, ...]) -> None:
        for child in expr.children:
            visit(child, axes, conditions)
        if isinstance(expr, Read) and expr.boundary is Boundary.NONE:
            for dimension, index in enumerate(expr.index):
                sources = {r.tensor for r in _data(index, axes)}
                if sources and sources <= inputs:
                    extent = shapes[expr.tensor][dimension]
                    found.append(Gather(expr.tensor, dimension, index, extent, axes, conditions, expr.location))

    for definition in op.definitions:
        axes, guards = _context(definition)
        own = len(definition.axes)
        for k, axis in enumerate(axes[own:]):
            visit(axis.lo, axes[: own + k], ())
            visit(axis.hi, axes[: own + k], ())
        for guard in guards:
            visit(guard, axes, ())
        # A guard is tested before the summand is read. (A conditional expression is no guard: both sides are read.)
        for expr in _summands(definition):
            visit(expr, axes, tuple(c for g in guards for c in _conjuncts(g)))
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Check:
    """A gather whose extent is known. `source`: the tensor whose elements, as they are, are the indices ("" where an
    index is anything else). If all of them, as numbers of type `unsigned`, lie below `limit`, all are in bounds."""

    gather: Gather
    extent: int
    source: str
    unsigned: np.dtype[Any]
    limit: int


def prepare(
    gathers: Sequence[Gather], bindings: Mapping[str, int], dtypes: Mapping[str, np.dtype[Any]]
) -> tuple[Check, ...]:
    """What is left to check in calls with these extents, for inputs of these types."""
    out: list[Check] = []
    for gather in gathers:
        extent = extent_of(gather.extent, bindings)
        if any(not reads(e) and extent_of(e, bindings) <= 0 for e in _plain_sizes(gather.axes)):
            continue
        source = _source(gather.index, dtypes)
        dtype = dtypes[source] if source else np.dtype(np.int64)
        positive = 1 << (8 * dtype.itemsize - (dtype.kind == "i"))  # above lie the negative ones
        out.append(Check(gather, extent, source, np.dtype(f"u{dtype.itemsize}"), min(extent, _SAFE, positive)))
    return tuple(out)


def _source(index: Expr, dtypes: Mapping[str, np.dtype[Any]]) -> str:
    """The tensor that an index reads, if that is all it does."""
    while isinstance(index, Cast) and index.dtype.is_int and index.dtype.bytes >= 4:
        index = index.arg
    match index:
        case Read(tensor, _, Boundary.NONE) if dtypes[tensor].kind in "iu":
            return tensor
    return ""


def verify(checks: Sequence[Check], bindings: Mapping[str, int], arrays: Mapping[str, Array]) -> None:
    """Raises CallError naming the index tensor, the position and the value of an index outside what it indexes."""
    for item in checks:
        if item.source:
            array = arrays[item.source]
            if array.size and _largest(array.view(item.unsigned), None) < item.limit:
                continue
        gather = item.gather
        bounds = _interval(gather.index, gather.axes, bindings, arrays)
        if bounds is None or bounds[0] < 0 or bounds[1] >= item.extent:
            _check_points(gather, item.extent, bindings, arrays)


def verifier(checks: Sequence[Check], bindings: Mapping[str, int], arrays: Mapping[str, Array]) -> Callable[[], None]:
    """`verify` for arrays that stay: as little as possible is left to each time."""
    views = [(arrays[c.source].view(c.unsigned), c.limit) for c in checks if c.source and arrays[c.source].size]
    enough = len(views) == len(checks)

    def run() -> None:
        for view, limit in views:
            if not _largest(view, None) < limit:
                break
        else:
            if enough:
                return
        verify(checks, bindings, arrays)

    return run


def check(gathers: Sequence[Gather], bindings: Mapping[str, int], arrays: Mapping[str, Array]) -> None:
    """`prepare` and `verify` in one."""
    verify(prepare(gathers, bindings, {n: a.dtype for n, a in arrays.items()}), bindings, arrays)


def _context(definition: Definition) -> tuple[tuple[Axis, ...], tuple[Expr, ...]]:
    match definition.body:
        case Reduction(axes=axes, guard=guard):
            return definition.axes + axes, (guard,) if guard is not None else ()
        case Compact(axis=axis) | Sort(axis=axis):
            return (*definition.axes, axis), ()
    return definition.axes, ()


def _summands(definition: Definition) -> tuple[Expr, ...]:
    match definition.body:
        case Reduction(args=args):
            return args
        case Compact(guard=guard):
            return (guard,)
        case Sort(key=key):
            return (key,)
    return definition.expressions


def _conjuncts(expr: Expr) -> tuple[Expr, ...]:
    if isinstance(expr, Call) and expr.fn is Fn.AND:
        return tuple(c for a in expr.args for c in _conjuncts(a))
    return (expr,)


def _data(index: Expr, axes: tuple[Axis, ...]) -> list[Read]:
    """The reads that an index depends on: its own and those in the bounds of its axes."""
    found = reads(index)
    names = variables(index)
    for axis in axes:
        if axis.name in names:
            found += reads(axis.lo) + reads(axis.hi)
    return found


def _plain_sizes(axes: tuple[Axis, ...]) -> list[Expr]:
    """`hi - lo` of the axes whose bounds are over symbols only."""
    names = {a.name for a in axes}
    sizes: list[Expr] = []
    for axis in axes:
        bounds = (axis.lo, axis.hi)
        if not any(reads(b) or variables(b) & names for b in bounds):
            sizes.append(Call(Fn.SUB, (axis.hi, axis.lo)))
    return sizes


def _interval(
    expr: Expr, axes: tuple[Axis, ...], bindings: Mapping[str, int], arrays: Mapping[str, Array]
) -> Interval | None:
    """Bounds of an integer expression over all points, or None where intervals cannot tell."""

    def bounds(e: Expr) -> Interval | None:
        out: Interval | None = None
        match e:
            case Const(value):
                out = (int(value), int(value))
            case Var(name):
                axis = next((a for a in axes if a.name == name), None)
                if axis is None:
                    out = (bindings[name], bindings[name])
                else:
                    lo, hi = bounds(axis.lo), bounds(axis.hi)
                    out = None if lo is None or hi is None else (lo[0], hi[1] - 1)
            case Read(tensor, _, Boundary.NONE) if arrays[tensor].dtype.kind in "iu":
                array = arrays[tensor]
                out = (int(array.min()), int(array.max())) if array.size else None
            case Cast(dtype, arg) if dtype.is_int and dtype.bytes >= 4:
                out = bounds(arg)
            case Call():
                parts = [bounds(a) for a in e.args]
                known = [p for p in parts if p is not None]
                out = _combine(e, known) if len(known) == len(parts) else None
        return out if out is not None and out[0] >= -_SAFE and out[1] < _SAFE else None

    return bounds(expr)


def _combine(expr: Expr, args: list[Interval]) -> Interval | None:
    """Interval arithmetic of one call."""
    if not isinstance(expr, Call):
        return None
    match expr.fn, args:
        case Fn.NEG, [(lo, hi)]:
            return -hi, -lo
        case Fn.ADD, [(a, b), (c, d)]:
            return a + c, b + d
        case Fn.SUB, [(a, b), (c, d)]:
            return a - d, b - c
        case Fn.MUL, [(a, b), (c, d)]:
            products = (a * c, a * d, b * c, b * d)
            return min(products), max(products)
        case Fn.FLOORDIV, [(a, b), (c, d)] if c == d and c > 0:
            return a // c, b // c
        case Fn.MOD, [_, (c, d)] if c == d and c > 0:
            return 0, c - 1
        case Fn.MAX, [(a, b), (c, d)]:
            return max(a, c), max(b, d)
        case Fn.MIN, [(a, b), (c, d)]:
            return min(a, c), min(b, d)
    return None


def _check_points(gather: Gather, extent: int, bindings: Mapping[str, int], arrays: Mapping[str, Array]) -> None:
    """Evaluate the index at every point where it is read, over the axes that it and its conditions depend on."""
    wanted = gather.index, *(c for c in gather.conditions if all(r.tensor in arrays for r in reads(c)))
    grid = _Grid(gather.axes, wanted, bindings, arrays)
    conditions = wanted[1:]
    if grid.points > MAX_POINTS:  # leave out the guards, which can only make the check stricter
        grid = _Grid(gather.axes, wanted[:1], bindings, arrays)
        conditions = tuple(c for c in conditions if variables(c) & {a.name for a in gather.axes} <= grid.axes.keys())
    source = next(iter(_data(gather.index, gather.axes)))
    allowed = f"dimension {gather.dimension} of '{gather.tensor}' has extent {extent}"
    if grid.points > MAX_POINTS:
        raise CallError(
            f"cannot prove that '{_readable(gather.index)}' stays inside: {allowed}, and '{source.tensor}' has values "
            f"from {arrays[source.tensor].min()} to {arrays[source.tensor].max()}",
            gather.location,
        )
    if grid.points == 0:
        return
    index = np.asarray(grid.value(gather.index))
    bad = np.asarray((index < 0) | (index >= extent)) & grid.mask
    for condition in conditions:
        bad = bad & (np.asarray(grid.value(condition)) != 0)
    where = np.argwhere(np.broadcast_to(bad, grid.shape))
    if not len(where):
        return
    at = tuple(int(k) for k in where[0])
    value = int(np.broadcast_to(index, grid.shape)[at])
    if isinstance(gather.index, Read):
        position = ", ".join(str(int(np.broadcast_to(grid.value(e), grid.shape)[at])) for e in gather.index.index)
        what = f"{gather.index.tensor}[{position}] is {value}"
    else:
        point = ", ".join(f"{name} = {int(np.broadcast_to(a, grid.shape)[at])}" for name, a in grid.axes.items())
        what = f"the index '{_readable(gather.index)}' (from '{source.tensor}') is {value} at {point}"
    raise CallError(f"{what}, but {allowed}", gather.location, remedy=f"values from 0 to {extent - 1}")


def _readable(expr: Expr) -> str:
    """The index as the user wrote it: without the conversions and literal types that typing adds."""

    def plain(e: Expr) -> Expr | None:
        if isinstance(e, Cast):
            return e.arg
        return const(e.value) if isinstance(e, Const) and isinstance(e.value, int) else None

    return text(rewrite(expr, plain))


class _Grid:
    """The box of all points of the axes that some expressions depend on, one array dimension per axis."""

    def __init__(
        self, axes: tuple[Axis, ...], exprs: Sequence[Expr], bindings: Mapping[str, int], arrays: Mapping[str, Array]
    ) -> None:
        self.bindings, self.arrays = bindings, arrays
        names = {n for e in exprs for n in variables(e)}
        for axis in reversed(axes):  # bounds depend on earlier axes only
            if axis.name in names:
                names |= variables(axis.lo) | variables(axis.hi)
        used = [a for a in axes if a.name in names]
        self.axes: dict[str, Array] = {}
        self.points = 1
        self.mask: Array = np.asarray(True)
        for k, axis in enumerate(used):
            lo, hi = np.asarray(self.value(axis.lo)), np.asarray(self.value(axis.hi))
            first, last = (int(lo.min()), int(hi.max())) if lo.size and hi.size else (0, 0)
            size = max(0, last - first)
            self.points *= size
            if self.points > MAX_POINTS or not self.points:
                return
            along = np.arange(first, first + size, dtype=np.int64).reshape((-1,) + (1,) * (len(used) - 1 - k))
            self.axes[axis.name] = along
            if lo.size * hi.size > 1:
                self.mask = self.mask & (along >= lo) & (along < hi)
        self.shape = tuple(a.size for a in self.axes.values())

    def value(self, expr: Expr) -> Value:
        return evaluate(expr, self._leaf)

    def _leaf(self, expr: Expr) -> Value:
        match expr:
            case Var(name):
                return self.axes[name] if name in self.axes else np.asarray(self.bindings[name], np.int64)
            case Read(tensor, index, boundary, fill):
                array = self.arrays[tensor]
                places = [np.asarray(self.value(e)) for e in index]
                inside = np.asarray(True)
                for place, extent in zip(places, array.shape, strict=True):
                    inside = inside & (place >= 0) & (place < extent)
                if not array.size:
                    picked = np.zeros(inside.shape, array.dtype)
                else:
                    folded = [_fold(p, n, boundary) for p, n in zip(places, array.shape, strict=True)]
                    picked = np.asarray(array[tuple(folded)])
                if boundary is Boundary.PAD and fill is not None:
                    return np.asarray(np.where(inside, picked, self.value(fill)))
                return picked
        raise TypeError(f"{type(expr).__name__} in an index")


def _fold(place: Array, extent: int, boundary: Boundary) -> Array:
    """Positions brought inside; where no boundary is declared, what lies outside was refused before or is masked."""
    match boundary:
        case Boundary.WRAP:
            return np.asarray(place % extent)
        case Boundary.REFLECT if extent > 1:
            period = 2 * (extent - 1)
            turned = place % period
            return np.asarray(np.where(turned < extent, turned, period - turned))
    return np.asarray(np.clip(place, 0, extent - 1))
