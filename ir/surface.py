"""What a front end (text, Python) says, before names are resolved, types given and nested reductions lifted.

Expressions are those of `expr.py` with two more leaves; a bare name is a `Var` whatever it turns out to mean.
`op_build.py` makes an `Op` of it, so that both fronts mean the same thing by construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .dtypes import DType
from .errors import NOWHERE, Location
from .expr import Expr
from .op import Monoid, Stream, Symbol, Tensor


@dataclass(frozen=True, slots=True)
class SurfaceAxis:
    """An axis as written; `hi` is None where the extent is to be inferred, `lo` where it is 0."""

    name: str
    lo: Expr | None = None
    hi: Expr | None = None
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class ReduceExpr(Expr):
    """`monoid<accumulate>[axes where guard] args`, anywhere inside an expression."""

    monoid: str
    axes: tuple[SurfaceAxis, ...]
    args: tuple[Expr, ...]
    guard: Expr | None = None
    accumulate: DType | None = None
    location: Location = field(default=NOWHERE, compare=False)

    @property
    def children(self) -> tuple[Expr, ...]:
        bounds = tuple(e for a in self.axes for e in (a.lo, a.hi) if e is not None)
        return self.args + ((self.guard,) if self.guard is not None else ()) + bounds

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        rest = list(children[len(self.args) :])
        guard = rest.pop(0) if self.guard is not None else None
        axes = []
        for axis in self.axes:
            lo = rest.pop(0) if axis.lo is not None else None
            hi = rest.pop(0) if axis.hi is not None else None
            axes.append(replace(axis, lo=lo, hi=hi))
        return replace(self, args=children[: len(self.args)], guard=guard, axes=tuple(axes))


@dataclass(frozen=True, slots=True)
class FnCall(Expr):
    """A call of a user's function, to be inlined."""

    name: str
    args: tuple[Expr, ...]
    location: Location = field(default=NOWHERE, compare=False)

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.args

    def with_children(self, children: tuple[Expr, ...]) -> Expr:
        return replace(self, args=children)


@dataclass(frozen=True)
class SurfaceFn:
    name: str
    parameters: tuple[str, ...]
    body: Expr
    location: Location = NOWHERE


@dataclass(frozen=True)
class SurfaceCompact:
    axis: SurfaceAxis
    guard: Expr


@dataclass(frozen=True)
class SurfaceSort:
    axis: SurfaceAxis
    key: Expr
    descending: bool = False


@dataclass(frozen=True)
class SurfaceDefinition:
    """`dtypes` is empty (inferred), one for all targets, or one per target."""

    targets: tuple[str, ...]
    axes: tuple[SurfaceAxis, ...]
    body: Expr | SurfaceCompact | SurfaceSort
    dtypes: tuple[DType, ...] = ()
    location: Location = NOWHERE


@dataclass(frozen=True)
class SurfaceOp:
    name: str
    symbols: tuple[Symbol, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    definitions: tuple[SurfaceDefinition, ...]
    facts: tuple[Expr, ...] = ()
    streams: tuple[Stream, ...] = ()
    location: Location = NOWHERE


@dataclass(frozen=True)
class SurfaceFile:
    fns: dict[str, SurfaceFn]
    monoids: dict[str, Monoid]
    ops: tuple[SurfaceOp, ...]
