"""The cache model: how many bytes cross each level of memory when a nest of loops runs.

Footprint. For every access of a node (a statement, a loop, a body) the set of elements that one execution touches is
kept as one interval per dimension, `lo(v) <= index <= hi(v)` linear in the indices v of the loops around the node,
and a count of distinct values in it. Folding a loop replaces its index by its first and last value. Accesses of one
buffer whose intervals move alike are merged into their hull. Bytes are whole lines: runs of the contiguous dimensions
are rounded up, and elements further apart than a line cost a line each.

Traffic through a cache of capacity C of one execution of a node:

    the footprint of the node fits in C                      footprint                     (each line once)
    a loop, and the footprint of one iteration fits in C     footprint of the loop         (reuse between iterations)
    a loop, otherwise                                        iterations x traffic of the body
    a body, otherwise                                        sum over its statements

so the bytes from memory are the footprint at the outermost loop whose body fits, times the iterations of the loops
around it. What a node has written before it reads costs no read while it fits. Inside a parallel loop a shared cache
counts for one unit's share. Trip counts are averages: bounds that depend on outer loops are taken at the middle of
their range, which is exact for linear bounds. (The working-set method of cache tiling: Wolf and Lam, PLDI 1991.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ...ir.expr import Call, Cast, Const, Coord, Expr, Fn, Ref, Var, refs, variables
from ...ir.gir import Access, Loop

Coefficients = dict[str, float]


class Kind(Enum):
    READ = "read"
    WRITE = "write"
    STREAM = "stream"  # written past the caches


@dataclass(slots=True)
class Dim:
    """One dimension of a footprint."""

    lo: float
    lo_by: Coefficients
    hi: float
    hi_by: Coefficients
    count: float
    scattered: bool  # indices read from a tile: they may go anywhere
    follows: frozenset[str] = frozenset()  # loops that change what a scattered dimension reaches

    def key(self) -> tuple[object, ...]:
        if not self.lo_by and not self.hi_by:
            return (self.scattered,)
        return (tuple(sorted(self.lo_by.items())), tuple(sorted(self.hi_by.items())), self.scattered)


@dataclass(frozen=True, slots=True)
class Buffer:
    """Size of what is accessed; `scratch` for what lives in a cache by definition."""

    extents: tuple[float, ...]
    element: int
    scratch: bool
    bytes: float  # in whole lines


@dataclass(frozen=True, slots=True)
class Trip:
    """A loop in numbers: the first and last value of its index as linear functions of outer indices, iterations."""

    first: float
    first_by: Coefficients
    last: float
    last_by: Coefficients
    count: float


Entry = tuple[Dim, ...]
Footprint = dict[tuple[object, ...], Entry]  # by (buffer, kind, how each dimension moves)
Traffic = dict[tuple[str, Kind], float]


def evaluate(expr: Expr, env: Mapping[str, float]) -> float | None:
    """An index expression in numbers; None where it holds an unknown variable, or a tile of no assumed value."""
    # the innermost question of the model, so a ladder of the commonest cases first
    if isinstance(expr, Const):
        return float(expr.value)
    if isinstance(expr, Var | Ref):
        return env.get(expr.name)
    if isinstance(expr, Call):
        values: list[float] = []
        for arg in expr.args:
            value = evaluate(arg, env)
            if value is None:
                return None
            values.append(value)
        return _apply(expr.fn, values)
    return evaluate(expr.arg, env) if isinstance(expr, Cast) else None


def _apply(fn: Fn, v: list[float]) -> float | None:
    match fn:
        case Fn.ADD:
            return v[0] + v[1]
        case Fn.SUB:
            return v[0] - v[1]
        case Fn.MUL:
            return v[0] * v[1]
        case Fn.NEG:
            return -v[0]
        case Fn.FLOORDIV:
            return v[0] // v[1] if v[1] else 0.0
        case Fn.MOD:
            return v[0] % v[1] if v[1] else 0.0
        case Fn.MAX:
            return max(v)
        case Fn.MIN:
            return min(v)
        case Fn.LT:
            return float(v[0] < v[1])
        case Fn.LE:
            return float(v[0] <= v[1])
        case Fn.GT:
            return float(v[0] > v[1])
        case Fn.GE:
            return float(v[0] >= v[1])
        case Fn.EQ:
            return float(v[0] == v[1])
        case Fn.NE:
            return float(v[0] != v[1])
        case Fn.AND:
            return min(v)
        case Fn.OR:
            return max(v)
        case Fn.NOT:
            return 1.0 - v[0]
        case Fn.SELECT:
            return v[1] if v[0] else v[2]
    return None


def trip_of(loop: Loop, env: Mapping[str, float], outer: Mapping[str, tuple[float, float]], assumed: int) -> Trip:
    """`env` holds symbols and the middle of every outer index, `outer` the first and last value of each."""
    lo, hi = evaluate(loop.lo, env), evaluate(loop.hi, env)
    if lo is None or hi is None:
        start = lo or 0.0
        return Trip(start, {}, start + (assumed - 1) * loop.step, {}, float(assumed))
    lo_by, hi_by = _slopes(loop.lo, env, outer), _slopes(loop.hi, env, outer)
    # averages of rounded bounds are only exact on a lattice: a count below one iteration is kept as a fraction
    count = max(0.0, (hi - lo) / loop.step)
    if not lo_by and not hi_by:
        count = float(math.ceil(count))
    last = max(lo, hi - 1) if hi_by or lo_by else lo + max(count - 1, 0) * loop.step
    middle_lo = lo - sum(s * env[n] for n, s in lo_by.items())
    middle_last = last - sum(s * env[n] for n, s in hi_by.items())
    return Trip(middle_lo, lo_by, middle_last, hi_by, count)


def _slopes(expr: Expr, env: Mapping[str, float], outer: Mapping[str, tuple[float, float]]) -> Coefficients:
    slopes: Coefficients = {}
    used = variables(expr)
    for name, (first, last) in outer.items():
        if name in used and last > first:
            a, b = evaluate(expr, {**env, name: first}), evaluate(expr, {**env, name: last})
            if a is not None and b is not None and a != b:
                slopes[name] = (b - a) / (last - first)
    return slopes


@dataclass(slots=True)
class _Form:
    constant: float
    by: Coefficients
    axes: dict[int, float]
    scattered: bool = False


def _form(expr: Expr, env: Mapping[str, float]) -> _Form:
    match expr:
        case Const(value):
            return _Form(float(value), {}, {})
        case Var(name):
            known = env.get(name)
            return _Form(0.0, {name: 1.0}, {}) if known is None else _Form(known, {}, {})
        case Coord(axis):
            return _Form(0.0, {}, {axis: 1.0})
        case Cast(_, arg):
            return _form(arg, env)
        case Ref():
            return _Form(0.0, {}, {}, True)
        case Call(Fn.ADD | Fn.SUB as fn, (a, b)):
            return _sum(_form(a, env), _form(b, env), 1.0 if fn is Fn.ADD else -1.0)
        case Call(Fn.NEG, (a,)):
            return _sum(_Form(0.0, {}, {}), _form(a, env), -1.0)
        case Call(Fn.MUL | Fn.FLOORDIV as fn, (a, b)):
            left, right = _form(a, env), _form(b, env)
            if fn is Fn.MUL and (left.by or left.axes):
                left, right = right, left
            scale, scaled = (right, left) if fn is Fn.FLOORDIV else (left, right)
            factor = scale.constant if fn is Fn.MUL else 1.0 / scale.constant if scale.constant else 0.0
            out = _sum(_Form(0.0, {}, {}), scaled, factor)
            out.scattered |= scale.scattered
            return out
        case Call(Fn.MOD, (a, b)):
            form, modulus = _form(a, env), evaluate(b, env) or 1.0
            # wraps: within one period it moves like its argument, beyond it covers the period
            reach = sum(abs(f) for f in form.by.values())
            return form if not reach else _Form(form.constant % modulus, form.by, form.axes, form.scattered)
        case Call(_, args):  # max, min, select: moves like the argument that moves
            forms = [_form(a, env) for a in args]
            return next((f for f in forms if f.by or f.axes or f.scattered), forms[-1])
    return _Form(0.0, {}, {}, True)


def _sum(a: _Form, b: _Form, factor: float) -> _Form:
    by, axes = dict(a.by), dict(a.axes)
    for name, f in b.by.items():
        by[name] = by.get(name, 0.0) + f * factor
    for axis, f in b.axes.items():
        axes[axis] = axes.get(axis, 0.0) + f * factor
    return _Form(
        a.constant + b.constant * factor,
        {n: f for n, f in by.items() if f},
        {n: f for n, f in axes.items() if f},
        a.scattered or b.scattered,
    )


def entry_of(access: Access, shape: tuple[float, ...], env: Mapping[str, float], extents: tuple[float, ...],
             loops: Mapping[str, frozenset[str]]) -> Entry:  # fmt: skip
    """The footprint of one execution of an access by a tile. `env` holds the symbols alone; `loops` the loop indices
    that the value of a tile depends on."""
    dims = []
    forms = [_form(index, env) for index in access.index]
    others = {axis for form in forms if not form.scattered for axis in form.axes}
    for index, form, extent in zip(access.index, forms, extents, strict=True):
        lo = hi = form.constant
        count = 1.0
        for axis, factor in form.axes.items():
            reach = factor * (shape[axis] - 1) if axis < len(shape) else 0.0
            lo, hi = lo + min(reach, 0.0), hi + max(reach, 0.0)
            count *= shape[axis] if axis < len(shape) else 1
        if form.scattered:
            beside = math.prod(shape[k] for k in others if k < len(shape))  # places along the other dimensions
            count = min(extent, max(count, math.prod(shape) / max(beside, 1.0)))
            follows = frozenset(v for n in refs(index) for v in loops.get(n, ())) | variables(index)
            dims.append(Dim(0.0, {}, max(extent - 1, 0.0), {}, count, True, follows))
        else:
            dims.append(Dim(lo, form.by, hi, form.by, min(count, hi - lo + 1), False))
    return tuple(dims)


def run_of(access: Access, shape: tuple[float, ...], loops: tuple[str, ...], env: Mapping[str, float],
           extents: tuple[float, ...]) -> float:  # fmt: skip
    """Elements that are touched one after another at neighbouring addresses; infinite where the innermost loop that
    moves the access goes on where the last iteration ended. `loops` are the enclosing variables, outermost first."""
    if not access.index:
        return math.inf
    forms = [_form(i, env) for i in access.index]
    last = forms[-1]
    if last.scattered:
        return 1.0

    def covered(form: _Form) -> float:
        return math.prod(shape[k] for k, f in form.axes.items() if abs(f) == 1 and k < len(shape))

    width = math.prod(shape[k] for k, f in last.axes.items() if abs(f) == 1 and k < len(shape))
    while len(forms) > 1 and covered(last) >= extents[len(forms) - 1]:  # whole rows: they go on
        forms = forms[:-1]
        last = forms[-1]
        width *= covered(last)
    for var in reversed(loops):
        if any(f.by.get(var) for f in forms[:-1]):
            return max(1.0, width)
        if last.by.get(var):  # the tile that scatters the other dimensions is taken to come from further out
            return math.inf
    return max(1.0, width) if any(f.scattered for f in forms[:-1]) else math.inf


def reach_of(
    access: Access,
    shape: tuple[float, ...],
    loops: tuple[str, ...],
    env: Mapping[str, float],
    extents: tuple[float, ...],
    spans: Mapping[str, tuple[float, frozenset[str]]],
    window: float,
) -> float:
    """Elements at neighbouring addresses that are touched soon, in whatever order: by one execution and those innermost
    loops around it that together touch at most `window` elements (`loops`, outermost first; `spans`: the elements that
    each runs over, and the indices that its start depends on); infinite where all loops do, or where the next one goes
    on where the last has ended."""
    if not access.index:
        return math.inf
    forms = [_form(i, env) for i in access.index]
    if forms[-1].scattered:
        return 1.0
    covered = [math.prod(shape[k] for k, f in form.axes.items() if abs(f) == 1 and k < len(shape)) for form in forms]
    movers = [dict(form.by) for form in forms]
    for var in reversed(loops):
        span, start = spans.get(var, (1.0, frozenset[str]()))
        moved = [d for d, by in enumerate(movers) if by.get(var)]
        if not moved:
            continue
        more = list(covered)
        for d in moved:
            more[d] = min(max(covered[d], abs(movers[d][var]) * span), max(extents[d], 1.0))
            movers[d] |= dict.fromkeys(
                start, movers[d][var]
            )  # the loop that sets where this one starts goes on with it
        if math.prod(more) > window:
            if moved == [_first_partial(covered, extents)]:
                return math.inf  # it goes on where it ended
            break
        covered = more
    else:
        if not any(form.scattered for form in forms):
            return math.inf
    first = _first_partial(covered, extents)
    return max(1.0, math.prod(covered[max(first, 0) :]))


def _first_partial(covered: list[float], extents: tuple[float, ...]) -> int:
    """The last dimension that is not covered whole; -1 where all are."""
    return next((d for d in range(len(covered) - 1, -1, -1) if covered[d] < extents[d]), -1)


def fold(entry: Entry, var: str, trip: Trip, extents: tuple[float, ...]) -> Entry:
    """The footprint of a whole loop from that of one iteration."""
    out = []
    for dim, extent in zip(entry, extents, strict=True):
        if dim.scattered:
            # a loop that moves another dimension too comes to one place for each value of that
            elsewhere = any(not d.scattered and (d.lo_by.get(var) or d.hi_by.get(var)) for d in entry)
            times = max(trip.count, 1.0) if var in dim.follows and not elsewhere else 1.0
            out.append(Dim(dim.lo, {}, dim.hi, {}, min(dim.count * times, extent), True, dim.follows))
            continue
        low, high = dim.lo_by.get(var, 0.0), dim.hi_by.get(var, 0.0)
        if not low and not high:
            out.append(dim)
            continue
        lo, lo_by = _at(dim.lo, dim.lo_by, var, low, trip, low > 0)
        hi, hi_by = _at(dim.hi, dim.hi_by, var, high, trip, high < 0)
        count = dim.count * max(trip.count, 1.0)
        if trip.first_by or trip.last_by:
            count = math.inf  # a range that moves with outer loops fills up
        out.append(Dim(lo, lo_by, hi, hi_by, count, False))
    return tuple(out)


def _at(value: float, by: Coefficients, var: str, factor: float, trip: Trip, first: bool) -> tuple[float, Coefficients]:
    base, more = (trip.first, trip.first_by) if first else (trip.last, trip.last_by)
    rest = {n: f for n, f in by.items() if n != var}
    for name, f in more.items():
        rest[name] = rest.get(name, 0.0) + f * factor
    return value + base * factor, {n: f for n, f in rest.items() if f}


def merge(into: Footprint, key: tuple[object, ...], entry: Entry) -> None:
    """Add an entry under (buffer, kind); entries that move alike become their hull."""
    full = (*key, *(d.key() for d in entry))
    old = into.get(full)
    if old is None:
        into[full] = entry
        return
    dims = []
    for a, b in zip(old, entry, strict=True):
        lo, hi = min(a.lo, b.lo), max(a.hi, b.hi)
        same = a.lo == b.lo and a.hi == b.hi
        count = max(a.count, b.count) if same else min(a.count + b.count, hi - lo + 1)
        dims.append(Dim(lo, a.lo_by, hi, a.hi_by, count, a.scattered, a.follows | b.follows))
    into[full] = tuple(dims)


def lines(entry: Entry, buffer: Buffer, middle: Mapping[str, float], line: int) -> float:
    """Bytes of the lines that an entry touches, the loops around it in the middle of their ranges."""
    rows, run, open_run = 1.0, 1.0, True
    for dim, extent in zip(reversed(entry), reversed(buffer.extents), strict=True):
        span = min(max(span_of(dim, middle), 1.0), max(extent, 1.0))
        count = max(min(dim.count, span), 1.0)
        if not open_run:
            rows *= count
        elif count >= span * 0.99:  # dense: goes on in the next dimension where it covers this one
            run *= span
            open_run = span >= extent
        elif run == 1.0 and span / count * buffer.element < line:  # gaps within lines
            run, open_run = span, False
        else:
            rows *= count
            open_run = False
    return rows * math.ceil(run * buffer.element / line) * line


def span_of(dim: Dim, middle: Mapping[str, float]) -> float:
    """How far a dimension reaches, the loops around it in the middle of their ranges."""
    if dim.lo_by == dim.hi_by:
        return dim.hi - dim.lo + 1
    return _value(dim.hi, dim.hi_by, middle) - _value(dim.lo, dim.lo_by, middle) + 1


def _value(base: float, by: Coefficients, middle: Mapping[str, float]) -> float:
    return base + sum(f * middle.get(n, 0.0) for n, f in by.items())


def sizes(footprint: Footprint, buffers: Mapping[str, Buffer], middle: Mapping[str, float], line: int) -> Traffic:
    """Bytes by buffer and kind, no buffer counting for more than its size."""
    out: Traffic = {}
    for key, entry in footprint.items():
        name, kind = key[0], key[1]
        assert isinstance(name, str) and isinstance(kind, Kind)
        out[name, kind] = out.get((name, kind), 0.0) + lines(entry, buffers[name], middle, line)
    return {k: min(v, buffers[k[0]].bytes) for k, v in out.items()}


def resident(bytes_: Traffic) -> float:
    """What the footprint needs in a cache: reads and writes of one buffer overlap."""
    largest: dict[str, float] = {}
    for (name, _), v in bytes_.items():
        largest[name] = max(largest.get(name, 0.0), v)
    return sum(largest.values())


def once(bytes_: Traffic, buffers: Mapping[str, Buffer]) -> Traffic:
    """The traffic of a footprint that fits: reads only of what was not written here, nothing for scratch."""
    out: Traffic = {}
    for (name, kind), v in bytes_.items():
        if buffers[name].scratch:
            continue
        if kind is Kind.READ:
            v = max(0.0, v - bytes_.get((name, Kind.WRITE), 0.0))
        out[name, kind] = v
    return out
