"""What the planner asks about a definition: strides, reuse, contractions, extents."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from enum import IntEnum
from math import prod

from ...ir.affine import affine
from ...ir.expr import Call, Expr, Fn, Read, Var, as_int, conjuncts, reads, variables, walk
from ...ir.op import Compact, Definition, Op, Reduction, Sort
from ...ir.recurrence import offsets, sweep_direction
from ..axes import all_axes, reduction_axes
from ..op_types import op_dtype
from ..remembered import positions, remembered

UNKNOWN_EXTENT = 1024  # stands for the length of an axis whose ends are read from tensors


class Stride(IntEnum):
    """How an access moves along an axis."""

    INVARIANT = 0
    CONTIGUOUS = 1
    STRIDED = 2


def extent(expr: Expr) -> int:
    value = as_int(expr)
    return UNKNOWN_EXTENT if value is None else value


@remembered
def extents(definition: Definition) -> Mapping[str, int]:
    return {a.name: extent(a.hi) if as_int(a.lo) == 0 else UNKNOWN_EXTENT for a in all_axes(definition)}


def work(definition: Definition) -> int:
    """Points of its iteration space."""
    return prod(max(1, n) for n in extents(definition).values())


def stride(read: Read, axis: str) -> Stride:
    found = Stride.INVARIANT
    for dim, index in enumerate(read.index):
        if axis not in variables(index):
            continue
        form = affine(index)
        last = dim == len(read.index) - 1
        if form is not None and form.coefficients.get(axis) == 1 and last and not found:
            found = Stride.CONTIGUOUS
        else:
            found = Stride.STRIDED
    return found


@remembered
def strides(definition: Definition) -> tuple[Mapping[str, Stride], ...]:
    """Of each of its reads, in order: the stride along every axis that the read moves along."""
    return tuple(
        {name: stride(read, name) for name in sorted({v for i in read.index for v in variables(i)})}
        for read in definition.reads
    )


def is_ragged(definition: Definition) -> bool:
    """Some bound of a reduction axis is read from a tensor."""
    return any(reads(a.lo) or reads(a.hi) for a in reduction_axes(definition))


def data_end(term: Expr, axis: str) -> Expr | None:
    """The `e`, read from a tensor, of a condition `axis < e`."""
    match term:
        case Call(Fn.LT, (Var(name), end)) if name == axis and reads(end):
            return end
    return None


def shared_ends(definitions: list[Definition], axis: str, known: set[str]) -> list[Expr]:
    """What tensors say of where the axis ends: the `e` of guards `axis < e` that all of the reductions carry, with
    indices that are known."""
    found: list[list[Expr]] = []
    for definition in definitions:
        body = definition.body
        terms = conjuncts(body.guard) if isinstance(body, Reduction) else []
        found.append([e for t in terms if (e := data_end(t, axis)) is not None and variables(e) <= known])
    return [e for e in found[0] if all(e in other for other in found[1:])] if found else []


@remembered
def bound_axes(definition: Definition) -> frozenset[str]:
    """Axes that bounds of reduction axes depend on: their register tile must be 1."""
    axes = {a.name for a in all_axes(definition)}
    return frozenset({v for a in reduction_axes(definition) for e in (a.lo, a.hi) for v in variables(e)} & axes)


@remembered
def sweep_axes(definition: Definition) -> frozenset[str]:
    """Axes along which a recurrence reads itself at an offset."""
    out: set[str] = set()
    for read in definition.self_reads:
        for axis, index in zip(definition.axes, read.index, strict=True):
            if index != Var(axis.name):
                out.add(axis.name)
    return frozenset(out)


@remembered
def front_axes(definition: Definition) -> tuple[str, frozenset[str]]:
    """The outermost ordered axis of a recurrence, and the ordered axes inside of it that it carries: along these the
    recurrence only reads itself together with an offset along the outermost one, so that for one value of that all of
    them are independent. ("", nothing) where there are none."""
    moved = [
        [a.name for a, index in zip(definition.axes, read.index, strict=True) if index != Var(a.name)]
        for read in definition.self_reads
    ]
    first = next((a.name for a in definition.axes if any(a.name in m for m in moved)), "")
    carried = {axis for m in moved for axis in m} - {axis for m in moved if first not in m for axis in m} - {first}
    return (first, frozenset(carried)) if carried else ("", frozenset())


def goes_back(definition: Definition, axis: str, most: int) -> bool:
    """The recurrence reads itself only behind, or at, where it stands along the axis, and at most so far: tiles of the
    axis can follow each other as a whole."""
    sign = sweep_direction(definition)
    at = [a.name for a in definition.axes].index(axis)
    return all(0 <= -sign * offset[at] <= most for offset in offsets(definition))


@remembered
def blocked_axes(definition: Definition) -> frozenset[str]:
    """Axes whose elements must be computed one after the other, or one by one: neither lanes nor register tiles."""
    return (sweep_axes(definition) - front_axes(definition)[1]) | bound_axes(definition)


def is_special(definition: Definition) -> bool:
    return isinstance(definition.body, Compact | Sort)


def keeps_type(op: Op, definition: Definition) -> bool:
    """What a reduction accumulates in has the type of its results: its state may live where they do."""
    body = definition.body
    if not isinstance(body, Reduction):
        return True
    kinds = [body.accumulate.arithmetic if body.accumulate is not None else op_dtype(a, op) for a in body.args]
    return all(t.dtype is kind for t, kind in zip(definition.targets, kinds, strict=True))


@remembered
def is_contraction(definition: Definition) -> bool:
    """A sum of products in which every factor is used for many results: worth a register tile."""
    body = definition.body
    if not isinstance(body, Reduction) or body.monoid.fn is not Fn.ADD:
        return False
    factors = reads(body.args[0])
    free = {a.name for a in definition.axes}
    touched = [{v for i in r.index for v in variables(i)} & free for r in factors]
    union = {v for t in touched for v in t}
    has_product = any(isinstance(e, Call) and e.fn is Fn.MUL for e in walk(body.args[0]))
    return has_product and sum(t != union for t in touched) >= 1 and len(factors) >= 2


@remembered
def depth(definition: Definition) -> int:
    """Operations one after the other, at most, from what it reads to its value."""
    level, height = list(definition.expressions), 0
    while level:
        height += 1
        level = [c for e in level for c in e.children]
    return height


def is_plain(read: Read) -> bool:
    """Every index is a whole axis, each used once."""
    names = [i.name for i in read.index if isinstance(i, Var)]
    return len(names) == len(read.index) == len(set(names))


@remembered
def _producers(op: Op) -> Mapping[str, Mapping[str, frozenset[str]]]:
    """By definition: the definitions that it reads, itself included, and of each the axes at which it reads it
    elsewhere than at this very value of the axis."""
    out: dict[str, Mapping[str, frozenset[str]]] = {}
    for definition in op.definitions:
        found: dict[str, frozenset[str]] = {}
        for read in definition.reads:
            producer = op.definition_of(read.tensor)
            if producer is not None:
                other = {own.name for dim, own in enumerate(producer.axes) if read.index[dim] != Var(own.name)}
                found[producer.name] = found.get(producer.name, frozenset()) | other
        out[definition.name] = found
    return out


@remembered
def _dependencies(op: Op) -> Mapping[str, frozenset[str]]:
    return {name: frozenset(found) - {name} for name, found in _producers(op).items()}


def dependencies(op: Op, definition: Definition) -> frozenset[str]:
    """Names of the other definitions that it reads."""
    return _dependencies(op)[definition.name]


def aligned(op: Op, definition: Definition, axis: str, group: Container[str]) -> bool:
    """The definition reads the group's values only at this very value of the axis."""
    return not any(axis in elsewhere and name in group for name, elsewhere in _producers(op)[definition.name].items())


def members(op: Op, names: Iterable[str]) -> list[Definition]:
    """The definitions of these names, in the order of the op."""
    place = positions(op)
    return [op.definitions[n] for n in sorted({place[name] for name in names})]
