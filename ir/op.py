"""The op form: index notation, no order, no memory.

An `Op` is a list of definitions in dependence order. A definition gives every element of its targets over its free
axes (each from 0 to its extent), pointwise, as a reduction over a monoid, as a list of indices (`Compact`), or as a
permutation (`Sort`). A pointwise definition that reads its own target is a recurrence: every such read is at a
constant offset, and all offsets are lexicographically negative (a forward sweep) or all positive (a backward sweep)
in the order of the free axes; elements are computed in that lexicographic order.

Semantics that need saying: a reduction over nothing yields the identity; the guard of a reduction is tested before
its summand is read; targets are stored with their dtype and read back rounded; `Stream` annotations never change the
result, they state that the named reductions can share one ordered pass over their axis with the given repairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from .dtypes import DType
from .errors import NOWHERE, Location
from .expr import Expr, Fn, Read, as_int, const, reads


@dataclass(frozen=True)
class Tensor:
    """An input, an output or a target: element type and extents (integers or expressions over symbols)."""

    name: str
    dtype: DType
    shape: tuple[Expr, ...]
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Symbol:
    """An extent or integer parameter, known at compile time or at the call. `default` binds it if nothing else does."""

    name: str
    default: int | None = None
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Axis:
    """A half-open range `lo..hi`. Free axes start at 0; a reduction axis may read tensors in its bounds (ragged)."""

    name: str
    lo: Expr
    hi: Expr
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Monoid:
    """An associative `combine` with its identity, over a state of one or more components.

    `identity[k]` is a constant expression; `combine[k]` an expression over `Param("a.<name>")`, `Param("b.<name>")`.
    `fn` is set for the single-component built-ins that a target may have an instruction for.
    A monoid that is not `commutative` is combined in index order.
    """

    name: str
    components: tuple[str, ...]
    identity: tuple[Expr, ...]
    combine: tuple[Expr, ...]
    fn: Fn | None = None
    commutative: bool = True
    dtypes: tuple[DType | None, ...] = ()
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Pointwise:
    expr: Expr


@dataclass(frozen=True)
class Reduction:
    """`monoid[axes where guard] args`, one argument per component; `accumulate` overrides the accumulation type."""

    monoid: Monoid
    axes: tuple[Axis, ...]
    args: tuple[Expr, ...]
    guard: Expr | None = None
    accumulate: DType | None = None


@dataclass(frozen=True)
class Compact:
    """Targets `(list, count)`: the indices of `axis` where `guard` holds, ascending, and how many; the rest is -1."""

    axis: Axis
    guard: Expr


@dataclass(frozen=True)
class Sort:
    """Target: the stable permutation that orders `key` along `axis` (NaN last); its last dimension is the axis."""

    axis: Axis
    key: Expr
    descending: bool = False


Body = Pointwise | Reduction | Compact | Sort


@dataclass(frozen=True)
class Definition:
    """`targets[axes] = body`. Every target has one dimension per free axis, except that `Compact`'s list and `Sort`'s
    permutation have one more (their axis)."""

    targets: tuple[Tensor, ...]
    axes: tuple[Axis, ...]
    body: Body
    location: Location = field(default=NOWHERE, compare=False)

    @property
    def name(self) -> str:
        return self.targets[0].name

    @cached_property
    def target_names(self) -> tuple[str, ...]:
        return tuple(t.name for t in self.targets)

    @cached_property
    def expressions(self) -> tuple[Expr, ...]:
        """The body's expressions (bounds and guards of its axes included)."""
        match self.body:
            case Pointwise(expr):
                return (expr,)
            case Reduction(axes=axes, args=args, guard=guard):
                bounds = tuple(e for a in axes for e in (a.lo, a.hi))
                return args + ((guard,) if guard is not None else ()) + bounds
            case Compact(axis, guard):
                return (guard, axis.lo, axis.hi)
            case Sort(axis, key):
                return (key, axis.lo, axis.hi)

    def with_expressions(self, new: tuple[Expr, ...]) -> Definition:
        """The same definition with `expressions` replaced, in the same order."""
        match self.body:
            case Pointwise():
                return replace(self, body=Pointwise(new[0]))
            case Reduction() as r:
                n = len(r.args)
                guard = new[n] if r.guard is not None else None
                rest = new[n + (r.guard is not None) :]
                axes = tuple(replace(a, lo=rest[2 * k], hi=rest[2 * k + 1]) for k, a in enumerate(r.axes))
                return replace(self, body=replace(r, args=new[:n], guard=guard, axes=axes))
            case Compact() as c:
                return replace(self, body=Compact(replace(c.axis, lo=new[1], hi=new[2]), new[0]))
            case Sort() as s:
                return replace(self, body=replace(s, key=new[0], axis=replace(s.axis, lo=new[1], hi=new[2])))

    @cached_property
    def reads(self) -> tuple[Read, ...]:
        return tuple(r for e in self.expressions for r in reads(e))

    @cached_property
    def self_reads(self) -> tuple[Read, ...]:
        own = set(self.target_names)
        return tuple(r for r in self.reads if r.tensor in own)

    @property
    def is_recurrence(self) -> bool:
        return bool(self.self_reads)


@dataclass(frozen=True)
class Component:
    """One reduction of a stream. `repair` gives its state for a new value of the earlier components, an expression
    over `Param("old.<target>")` and `Param("new.<target>")`; None where it does not depend on them."""

    target: str
    repair: Expr | None = None


@dataclass(frozen=True)
class Stream:
    """Reductions over one axis that can be done in a single pass (docs/rules.md, section 1)."""

    axis: str
    components: tuple[Component, ...]


@dataclass(frozen=True)
class Op:
    """An operator. `facts` are boolean expressions over symbols that callers promise (checked when bound)."""

    name: str
    symbols: tuple[Symbol, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    definitions: tuple[Definition, ...]
    facts: tuple[Expr, ...] = ()
    streams: tuple[Stream, ...] = ()
    location: Location = field(default=NOWHERE, compare=False)

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """Every tensor by name: inputs first, then targets in definition order."""
        out = {t.name: t for t in self.inputs}
        out.update({t.name: t for d in self.definitions for t in d.targets})
        return out

    @cached_property
    def _owners(self) -> Mapping[str, Definition]:
        return {t.name: d for d in reversed(self.definitions) for t in d.targets}

    def definition_of(self, tensor: str) -> Definition | None:
        return self._owners.get(tensor)


def constant_offset(read: Read, axes: tuple[Axis, ...]) -> tuple[int, ...] | None:
    """The offsets of a read whose every index is `axis + constant`, one per axis in order; None for other reads."""
    from .affine import affine

    if len(read.index) != len(axes):
        return None
    offsets = []
    for index, axis in zip(read.index, axes, strict=True):
        form = affine(index)
        if form is None or form.terms != ((axis.name, 1),):
            return None
        offsets.append(form.constant)
    return tuple(offsets)


__all__ = [name for name in dir() if name[0].isupper()] + ["as_int", "const", "constant_offset"]
