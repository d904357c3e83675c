"""Splitting a reduction into partial results over chunks and a merge.

    s[i] = sum[j: N] x[i, j]   -->   s$part[c, i] = sum[r: F where c * F + r < N] x[i, c * F + r]
                                     s[i]         = sum[c: (N + F - 1) // F] s$part[c, i]

A reduction of a stream takes the whole stream along: every component gets partial states relative to its own chunk's
references, and the merge repairs each to the merged references before it adds (docs/rules.md, section 1). Split-K
products and the split decoding of weighted sums come out of it. The scheduler applies it where the free axes alone do
not keep the machine busy; it is no part of the normal pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.affine import Affine, affine
from ...ir.dtypes import DType
from ...ir.errors import ScheduleError
from ...ir.expr import Call, Expr, Fn, Param, Read, Var, as_int, const, rewrite, substitute, walk
from ...ir.folding import fold
from ...ir.op import Axis, Component, Definition, Op, Reduction, Stream, Tensor
from .compose import padded
from .elaborating import elaborated, elaborated_stream, state_types, tensor_types
from .names import fresh, used_names


@dataclass(frozen=True)
class SplitReduction:
    """`definition`: a target of the reduction; `factor`: elements of a chunk; `axis`: which axis (the first)."""

    definition: str
    factor: int = 256
    axis: str = ""
    name: ClassVar[str] = "split_reduction"
    form: ClassVar[str] = "op"

    def run(self, op: Op) -> Op:
        return split_reduction(op, self.definition, self.factor, self.axis)


@dataclass(frozen=True)
class _Chunks:
    """The chunk axis, the axis inside a chunk, and what stands for the old axis."""

    outer: Axis
    inner: Axis
    old: str
    index: Expr
    tail: Expr | None


def split_reduction(op: Op, definition: str, factor: int, axis: str = "") -> Op:
    """`op` with the reduction (and its stream) split into chunks of `factor` elements.

    Raises ScheduleError where there is no such reduction, its range is read from a tensor or depends on another axis,
    or a stream's reductions depend on each other through a definition that is no reduction.
    """
    d = op.definition_of(definition)
    if d is None or not isinstance(d.body, Reduction):
        raise ScheduleError(f"'{definition}' is no reduction", op.location, "name the target of one")
    if factor < 1:
        raise ScheduleError(f"chunks of {factor} elements", d.location, "a positive number of elements")
    stream = next((s for s in op.streams if any(c.target in d.target_names for c in s.components)), None)
    axes = {a.name: a for a in d.body.axes}
    chosen = axes.get(axis) if axis else d.body.axes[0]
    free = {a.name for a in d.axes} | set(axes)
    bounds = [e for b in (chosen.lo, chosen.hi) for e in walk(b)] if chosen is not None else []
    if chosen is None or any(isinstance(e, Read) or (isinstance(e, Var) and e.name in free) for e in bounds):
        raise ScheduleError(
            f"the axis '{axis or d.body.axes[0].name}' of '{definition}' cannot be split",
            d.location,
            f"one of {', '.join(axes)}, with a range that depends on no tensor and no other axis",
        )
    taken = used_names(op)
    chunks = _chunks(chosen, factor, taken)
    components = stream.components if stream is not None else tuple(Component(t) for t in d.target_names)
    part = {t: fresh(t, taken, "part") for c in components for t in _siblings(op, c.target)}
    tensors = op.tensors
    types = tensor_types(op)
    types |= {new: _state(op, old) for old, new in part.items()}
    repairs = {c.target: c.repair for c in components}

    out: list[Definition] = []
    for x in op.definitions:
        if x.name not in part:
            out.append(x)
            continue
        out += [
            elaborated(y, types) for y in (_partial(x, chunks, part, types, tensors), _merge(x, chunks, part, repairs))
        ]
    kept = tuple(s for s in op.streams if s is not stream)
    new = replace(op, definitions=tuple(out), streams=kept)
    if stream is not None:
        new = replace(new, streams=(*kept, elaborated_stream(_renamed(stream, chunks, part), new)))
    return new


def _siblings(op: Op, target: str) -> tuple[str, ...]:
    d = op.definition_of(target)
    return d.target_names if d is not None else ()


def _state(op: Op, target: str) -> DType:
    d = op.definition_of(target)
    assert d is not None and isinstance(d.body, Reduction)
    k = d.target_names.index(target)
    return state_types(d.body, d)[k] or d.targets[k].dtype.arithmetic


def _chunks(axis: Axis, factor: int, taken: set[str]) -> _Chunks:
    lo, hi = as_int(axis.lo), as_int(axis.hi)
    extent: Expr = axis.hi if lo == 0 else Call(Fn.SUB, (axis.hi, axis.lo))
    some = _at_least(extent)
    count: Expr = Call(Fn.FLOORDIV, (Call(Fn.ADD, (some, const(factor - 1))), const(factor)))
    whole = False
    if lo is not None and hi is not None:
        size = max(hi - lo, 0)
        extent, count, whole = const(size), const(-(-size // factor)), size % factor == 0
    outer = Axis(fresh(axis.name, taken, "chunk"), const(0), fold(count), axis.location)
    inner = Axis(fresh(axis.name, taken, "in"), const(0), const(factor), axis.location)
    place = Call(Fn.ADD, (Call(Fn.MUL, (Var(outer.name), const(factor))), Var(inner.name)))
    index = place if lo == 0 else Call(Fn.ADD, (axis.lo, place))
    return _Chunks(outer, inner, axis.name, index, None if whole else Call(Fn.LT, (place, extent)))


def _at_least(extent: Expr) -> Expr:
    """An extent no smaller than this one and never negative (a range may be written backwards, and is empty then):
    symbols count, what is subtracted from them does not."""
    form = affine(extent)
    if form is None:
        return Call(Fn.MAX, (extent, const(0)))
    return Affine(tuple(t for t in form.terms if t[1] > 0), max(form.constant, 0)).to_expr()


def _partial(
    d: Definition, chunks: _Chunks, part: Mapping[str, str], types: Mapping[str, DType], tensors: Mapping[str, Tensor]
) -> Definition:
    """The reduction inside a chunk, relative to the chunk's own references."""
    body = d.body
    assert isinstance(body, Reduction)

    def own(e: Expr) -> Expr | None:
        if isinstance(e, Read) and e.tensor in part:
            return replace(e, tensor=part[e.tensor], index=(Var(chunks.outer.name), *e.index))
        return None

    def inside(e: Expr) -> Expr:
        return substitute(rewrite(e, own), {chunks.old: chunks.index})

    guard = body.guard
    if guard is not None and chunks.tail is not None:
        # The tail test stands beside the guard, not before it: what the guard reads must be padded.
        guard = padded(guard, tensors, frozenset({chunks.old}))
    guard = None if guard is None else inside(guard)
    if chunks.tail is not None:
        guard = chunks.tail if guard is None else Call(Fn.AND, (chunks.tail, guard))
    axes = tuple(
        chunks.inner if a.name == chunks.old else replace(a, lo=inside(a.lo), hi=inside(a.hi)) for a in body.axes
    )
    targets = tuple(
        Tensor(part[t.name], types[part[t.name]], (chunks.outer.hi, *t.shape), t.location) for t in d.targets
    )
    new = replace(body, axes=axes, args=tuple(map(inside, body.args)), guard=guard)
    return replace(d, targets=targets, axes=(chunks.outer, *d.axes), body=new)


def _merge(d: Definition, chunks: _Chunks, part: Mapping[str, str], repairs: Mapping[str, Expr | None]) -> Definition:
    """The partial states, each repaired to the merged references, combined."""
    body = d.body
    assert isinstance(body, Reduction)
    here = tuple(Var(a.name) for a in d.axes)
    args = tuple(Read(part[t.name], (Var(chunks.outer.name), *here)) for t in d.targets)
    repair = repairs.get(d.name)
    merged: tuple[Expr, ...] = args
    if repair is not None:
        # The indices at which this definition refers to the others are their names for the axes (streams align them).
        index = {r.tensor: r.index for r in d.reads if r.tensor in part}
        named = {e.name.partition(".")[2] for e in walk(repair) if isinstance(e, Param)}
        through = named - {d.name, *index}
        if through:
            raise ScheduleError(
                f"'{d.name}' depends on '{min(through)}' through another definition",
                d.location,
                "split before subexpressions are named (pass 'factor'), or inline them",
            )

        def value(e: Expr) -> Expr | None:
            if not isinstance(e, Param):
                return None
            when, _, target = e.name.partition(".")
            if target == d.name:
                return args[0]
            if when == "old":
                return Read(part[target], (Var(chunks.outer.name), *index[target]))
            return Read(target, index[target])

        merged = (rewrite(repair, value),)
    return replace(d, body=replace(body, axes=(chunks.outer,), args=merged, guard=None))


def _renamed(stream: Stream, chunks: _Chunks, part: Mapping[str, str]) -> Stream:
    def rule(e: Expr) -> Expr | None:
        if not isinstance(e, Param):
            return None
        when, _, target = e.name.partition(".")
        return Param(f"{when}.{part[target]}")

    components = tuple(
        Component(part[c.target], None if c.repair is None else rewrite(c.repair, rule)) for c in stream.components
    )
    return Stream(chunks.inner.name, components)
