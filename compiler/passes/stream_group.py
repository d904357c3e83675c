"""The reductions of a stream under common names for their axes."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...ir.expr import Boundary, Expr, Var, substitute
from ...ir.op import Axis, Component, Definition, Reduction
from .compose import same_integer
from .names import fresh, rename_axes


@dataclass
class Group:
    """A stream being built: definitions in dependence order, with common axis names, and what to put beside them."""

    bound: tuple[Axis, ...]
    guard: Expr | None
    free: tuple[Axis, ...]
    members: dict[str, Definition] = field(default_factory=dict)
    components: list[Component] = field(default_factory=list)

    @property
    def bound_names(self) -> frozenset[str]:
        return frozenset(a.name for a in self.bound)


def align(d: Definition, group: Group, refers: bool, taken: set[str]) -> Definition | None:
    """`d` with the group's names for its axes, or None where the ranges, guards or references do not match."""
    assert isinstance(d.body, Reduction)
    if len(d.body.axes) != len(group.bound):
        return None
    free = {a.name for a in d.axes}
    new: dict[str, str] = {a.name: b.name for a, b in zip(d.body.axes, group.bound, strict=True)}
    pairs: list[tuple[Expr, str]] = []
    if refers:
        for r in d.reads:
            if r.tensor in group.members:
                if r.boundary is not Boundary.NONE:
                    return None
                pairs += zip(r.index, (a.name for a in group.members[r.tensor].axes), strict=True)
    else:
        shared = _shared_read(d, new, group)
        if shared is None or len(d.axes) != len(group.free):
            return None
        pairs = [(a, b.name) for a, b in zip(*shared, strict=True) if isinstance(b, Var)]
        pairs = [(a, b) for a, b in pairs if b not in group.bound_names]
    for e, name in pairs:
        if not isinstance(e, Var) or e.name not in free or new.setdefault(e.name, name) != name:
            return None
    if not {a.name for a in group.free} <= set(new.values()) or len(set(new.values())) != len(new):
        return None
    for a in d.axes:
        if a.name not in new:
            clash = a.name in new.values() or a.name in {b.name for b in group.free} | group.bound_names
            new[a.name] = fresh(a.name, taken) if clash else a.name
    out = rename_axes(d, new)
    assert isinstance(out.body, Reduction)
    mine = {a.name: a for a in out.axes}
    same = all(same_integer(mine[a.name].hi, a.hi) for a in group.free) and all(
        same_integer(a.lo, b.lo) and same_integer(a.hi, b.hi) for a, b in zip(out.body.axes, group.bound, strict=True)
    )
    return out if same and out.body.guard == group.guard else None


def _shared_read(
    d: Definition, bound: dict[str, str], group: Group
) -> tuple[tuple[Expr, ...], tuple[Expr, ...]] | None:
    """Indices of a read of `d` and of a member that can be the same element, moving along the stream's axes."""
    for r in d.reads:
        for m in group.members.values():
            for other in m.reads:
                if r.tensor != other.tensor or r.boundary is not other.boundary or r.fill != other.fill:
                    continue
                named = {a.name: b for a, b in zip(r.index, other.index, strict=True) if isinstance(a, Var)}
                if any(named.get(a) != Var(b) for a, b in bound.items()):
                    continue
                if tuple(substitute(e, named) for e in r.index) == other.index:
                    return r.index, other.index
    return None
