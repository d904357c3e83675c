"""Common definitions: two that say the same thing, up to the names of their axes, become one.

    a[i] = sum[j] x[i, j];  b[p] = sum[q] x[p, q]     -->   a[i] = sum[j] x[i, j], and b's readers read a

Outputs keep their names: a second equal output becomes a copy of the first. Within an expression equal reads are shared
by structure already. Runs after simplification, which brings equal things into equal forms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.expr import Expr, Read, Var, rewrite
from ...ir.op import Definition, Op, Pointwise
from .dce import surviving
from .names import axes_of, rename_axes


@dataclass(frozen=True)
class CommonDefinitions:
    """Merges equal definitions."""

    name: ClassVar[str] = "cse"
    form: ClassVar[str] = "op"

    def run(self, op: Op) -> Op:
        apart: set[str] = set()
        while True:
            out, gone = self._merged(op, apart)
            torn = {t for s in op.streams for t in _torn([c.target for c in s.components], gone)}
            if not torn:
                return out
            apart |= torn

    def _merged(self, op: Op, apart: set[str]) -> tuple[Op, set[str]]:
        """The op without what is there twice, except for definitions of `apart`; and what went."""
        outputs = {t.name for t in op.outputs}
        seen: dict[Definition, Definition] = {}
        new_name: dict[str, str] = {}
        kept: list[Definition] = []
        for d in op.definitions:
            d = _redirect(d, new_name)
            if d.name in apart:
                kept.append(d)
                continue
            key = _anonymous(d)
            first = seen.get(key)
            if first is None:
                seen[key] = d
                kept.append(d)
                continue
            for mine, other in zip(d.targets, first.targets, strict=True):
                new_name[mine.name] = other.name
                if mine.name in outputs:
                    kept.append(_copy(mine.name, d, other.name))
        if not new_name:
            return op, set()
        live = {t for d in kept for t in d.target_names}
        return replace(op, definitions=tuple(kept), streams=surviving(op.streams, live)), set(new_name)


def _torn(components: list[str], gone: set[str]) -> list[str]:
    """What went of a stream that stays: the repairs of its other components refer to it."""
    return [t for t in components if t in gone] if any(t not in gone for t in components) else []


def _redirect(d: Definition, new_name: dict[str, str]) -> Definition:
    def rule(e: Expr) -> Expr | None:
        return replace(e, tensor=new_name[e.tensor]) if isinstance(e, Read) and e.tensor in new_name else None

    return d.with_expressions(tuple(rewrite(e, rule) for e in d.expressions)) if new_name else d


def _anonymous(d: Definition) -> Definition:
    """The definition with positional names for its axes and targets; equal keys mean equal values."""
    own = {t.name: f"${k}" for k, t in enumerate(d.targets)}
    d = rename_axes(d, {a.name: f"${k}" for k, a in enumerate(axes_of(d))})
    return replace(_redirect(d, own), targets=tuple(replace(t, name=own[t.name]) for t in d.targets))


def _copy(name: str, d: Definition, source: str) -> Definition:
    """`name[axes] = source[axes]`: only one-dimension-per-axis targets get here unequal in name alone."""
    target = next(t for t in d.targets if t.name == name)
    axes = d.axes
    if len(target.shape) > len(axes):
        axes = axes_of(d)
        axes = tuple(replace(a, hi=extent) for a, extent in zip(axes, target.shape, strict=True))
    index = tuple(Var(a.name) for a in axes)
    return Definition((target,), axes, Pointwise(Read(source, index)), d.location)
