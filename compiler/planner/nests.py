"""Fusion at the loop level: definitions that share a loop nest and pass values in registers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...ir.expr import Var
from ...ir.op import Definition, Op, Reduction
from ..axes import reduction_axes
from ..plan import AxisTile, Fold, Map, Nest, Step, step_definitions
from .facts import bound_axes, dependencies, depth, front_axes, is_special, sweep_axes

MOST_DEPTH = 160  # operations in a row that stay in registers: targets follow them by recursion


@dataclass
class Draft:
    """A nest being built: loop axes, lanes, steps, and the register tile by axis."""

    axes: list[str]
    lanes: str | None
    body: tuple[Step, ...]
    tile: dict[str, int]
    first: str
    names: set[str] = field(default_factory=set)
    ordered: bool = False
    chains: frozenset[str] = frozenset()  # ordered axes that are serial within a front
    special: bool = False
    ready: set[str] = field(default_factory=set)  # whose values are known after `body`, at its level
    depths: dict[str, int] = field(default_factory=dict)  # operations in a row up to each value, from loads on

    def finish(self, order: list[str], inner: Mapping[str, str]) -> Nest:
        """`inner`: by definition, the axis that is to run innermost in the nest that it begins."""
        # a recurrence runs lexicographically in the order of its own axes, whatever the other definitions' order is
        own = self.axes if self.ordered else sorted(self.axes, key=order.index)
        if self.chains:
            # a chain runs innermost, so that its last value stays in registers, over points that are independent
            own = sorted(own, key=lambda a: a in self.chains)
        # innermost: the axis along which a recurrence's values are contiguous, else the lanes
        innermost = own[-1] if self.ordered and own else self.lanes
        if not self.ordered and inner.get(self.first) in own:
            innermost = inner[self.first]
        loops = sorted(own, key=lambda a: a == innermost)
        return Nest(tuple(AxisTile(a, self.tile.get(a, 1)) for a in loops), self.lanes, self.retile(self.body))

    def retile(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        out: list[Step] = []
        for step in steps:
            if isinstance(step, Fold):
                loops = tuple(AxisTile(t.axis, self.tile.get(t.axis, 1)) for t in step.loops)
                out.append(Fold(loops, step.definitions, self.retile(step.body)))
            else:
                out.append(step)
        return tuple(out)


class NestBuilder:
    """Adds definitions in order; `fixed` are the axes held by enclosing tiles of size 1."""

    def __init__(self, op: Op, fixed: set[str], lanes_of: dict[str, str | None], unfused: frozenset[str]) -> None:
        self.op = op
        self.fixed = fixed
        self.lanes_of = lanes_of
        self.unfused = unfused
        self.drafts: list[Draft] = []

    def add(self, definition: Definition, tile: dict[str, int]) -> None:
        free = [a.name for a in definition.axes if a.name not in self.fixed]
        folded = [a.name for a in reduction_axes(definition) if a.name not in self.fixed]
        if not (self.drafts and definition.name not in self.unfused and self._fuse(definition, free, folded, tile)):
            lanes = self.lanes_of[definition.name]
            body: Step = Map(definition.name)
            if isinstance(definition.body, Reduction):
                body = Fold(tuple(AxisTile(a) for a in folded), (definition.name,))
            serial, carried = front_axes(definition)
            chains = frozenset(sweep_axes(definition) - carried - {serial} if serial else ())
            names, special = {definition.name}, is_special(definition)
            draft = Draft(
                free,
                lanes,
                (body,),
                dict(tile),
                definition.name,
                names,
                definition.is_recurrence,
                chains,
                special,
                set(names),
            )
            self.drafts.append(draft)
        self.drafts[-1].depths[definition.name] = self._depth(definition, self.drafts[-1])

    def _depth(self, definition: Definition, draft: Draft) -> int:
        """Operations in a row up to the definition's value, as part of the draft."""
        inside = (draft.depths.get(name, 0) for name in dependencies(self.op, definition))
        return depth(definition) + max(inside, default=0)

    def _fuse(self, definition: Definition, free: list[str], folded: list[str], tile: dict[str, int]) -> bool:
        draft = self.drafts[-1]
        if is_special(definition) or definition.is_recurrence or draft.special:
            return False
        if not self._identity(definition, draft) or self._depth(definition, draft) > MOST_DEPTH:
            return False
        inside = dependencies(self.op, definition) & draft.names
        ready = draft.ready
        lanes = self.lanes_of[definition.name]
        loops = set(draft.axes)
        tuple_monoid = isinstance(definition.body, Reduction) and definition.body.monoid.fn is None
        if set(free) == loops and inside <= ready:
            # at the level of the nest: a map, a fold beside others, or joined to the last fold
            if not isinstance(definition.body, Reduction):
                if lanes == draft.lanes or draft.lanes not in free or inside:
                    draft.body += (Map(definition.name),)
                    draft.names.add(definition.name)
                    ready.add(definition.name)
                    return True
                return False
            last = draft.body[-1]
            if (
                isinstance(last, Fold)
                and {t.axis for t in last.loops} == set(folded)
                and not inside & set(last.definitions)
                and lanes == draft.lanes
                and not bound_axes(definition)
            ):
                draft.body = (*draft.body[:-1], Fold(last.loops, (*last.definitions, definition.name), last.body))
                draft.names.add(definition.name)
                ready.add(definition.name)
                if not draft.ordered:
                    self._merge_tile(draft, tile)
                return True
            return False
        if (
            isinstance(definition.body, Reduction)
            and folded
            and set(free) | set(folded) == loops
            and set(free) != loops
            and inside
            and inside <= ready
            and not bound_axes(definition)
            and not (tuple_monoid and any(draft.tile.get(a, 1) > 1 for a in folded))
            and not draft.ordered
        ):
            # the nest's loops over the folded axes become a fold around what is there
            order = [a for a in draft.axes if a in folded]
            fold = Fold(tuple(AxisTile(a) for a in order), (definition.name,), draft.body)
            draft.axes = [a for a in draft.axes if a not in folded]
            draft.body = (fold,)
            draft.names.add(definition.name)
            draft.ready = {definition.name}
            return True
        return self._join_fold(definition, free, folded, draft)

    def _join_fold(self, definition: Definition, free: list[str], folded: list[str], draft: Draft) -> bool:
        """`fold j -> a [maps]` and a reduction over j of the same maps: one fold."""
        last = draft.body[-1]
        if not isinstance(last, Fold) or not isinstance(definition.body, Reduction):
            return False
        axes = {t.axis for t in last.loops}
        inside = dependencies(self.op, definition) & draft.names
        if set(folded) != axes or set(free) != set(draft.axes) or bound_axes(definition):
            return False
        if inside & set(last.definitions) or not inside <= self._at_level(last.body) | self._at_level(draft.body[:-1]):
            return False
        if definition.body.monoid.fn is None and any(draft.tile.get(a, 1) > 1 for a in folded):
            return False
        draft.body = (*draft.body[:-1], Fold(last.loops, (*last.definitions, definition.name), last.body))
        draft.names.add(definition.name)
        draft.ready.add(definition.name)
        return True

    def _merge_tile(self, draft: Draft, tile: dict[str, int]) -> None:
        for axis, size in tile.items():
            draft.tile.setdefault(axis, size)

    def _identity(self, definition: Definition, draft: Draft) -> bool:
        """It reads the nest's values only at the nest's own position."""
        for read in definition.reads:
            producer = self.op.definition_of(read.tensor)
            if producer is None or producer.name not in draft.names:
                continue
            if read.index != tuple(Var(a.name) for a in producer.axes):
                return False
        return True

    def _at_level(self, steps: tuple[Step, ...]) -> set[str]:
        """Definitions whose values are known right after these steps, at their level."""
        out: set[str] = set()
        for step in steps:
            match step:
                case Map(name):
                    out.add(name)
                case Fold(_, names, _):
                    out |= set(names)
        return out


__all__ = ["Draft", "NestBuilder", "step_definitions"]
