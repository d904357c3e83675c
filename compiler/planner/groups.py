"""Fusion at the kernel level: cut the definitions, in order, into groups that share root (parallel) axes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from math import prod

from ...ir.op import Definition, Op
from ..axes import reduction_axes
from ..remembered import positions
from .choices import Choices
from .facts import (
    aligned,
    dependencies,
    extents,
    front_axes,
    is_contraction,
    is_special,
    keeps_type,
    members,
    sweep_axes,
    work,
)

LITTLE_WORK = 1 << 15  # points that are computed sooner than other units are called
LOOK_BACK = 3
MOST_FUSED = 128  # definitions of one kernel: what is written out and compiled as a whole stays of bounded size


def root_axes(op: Op, names: Iterable[str]) -> list[str]:
    """Axes over which every definition of the group runs freely, and at which they read each other: each value of
    them is independent work. In the order of the last definition's axes."""
    group = Group(op)
    for definition in members(op, names):
        group.add(definition)
    return group.roots


class Group:
    """Definitions that share root axes, added one after the other in the order of the op."""

    def __init__(self, op: Op) -> None:
        self.op = op
        self.names: dict[str, None] = {}
        self.roots: list[str] = []
        self.special = False
        self.work = 0
        self.contractions: list[Definition] = []

    def add(self, definition: Definition) -> None:
        self.roots = self.roots_with(definition)
        self.names[definition.name] = None
        self.work = max(self.work, work(definition))
        self.special |= is_special(definition)
        if is_contraction(definition):
            self.contractions.append(definition)

    def roots_with(self, definition: Definition) -> list[str]:
        """The root axes once the definition has joined; it reads nothing that comes after it."""
        group = {**self.names, definition.name: None} if definition.is_recurrence else self.names
        still = set(self.roots) if self.names else {a.name for a in definition.axes}
        still -= sweep_axes(definition)
        return [a.name for a in definition.axes if a.name in still and aligned(self.op, definition, a.name, group)]


def parallelism_of(roots: Iterable[str], last: Definition) -> int:
    """Independent pieces of work of a group with these root axes and this last definition."""
    sizes = extents(last)
    return prod(max(1, sizes[r]) for r in roots)


@dataclass(frozen=True)
class Passed:
    """Definitions that share one ordered pass over tiles of an axis: reductions over it and what they need on it."""

    axis: str
    members: frozenset[str]
    size: int = 0  # elements of a tile, 0 where the choices say it


def shared_passes(op: Op, names: list[str]) -> list[Passed]:
    """The passes of a group: one per stream all of whose components belong to it, then one per contraction that
    reads something computed along its axis. A definition belongs to the first pass that wants it."""
    out: list[Passed] = []
    present = set(names)
    taken: set[str] = set()

    def offer(axis: str, roots: list[str]) -> None:
        along = _along(op, axis, roots, present)
        carried = [d for d in members(op, along) if axis in {a.name for a in reduction_axes(d)}]
        whole = set(roots) <= along  # not where something between them needs one of them whole
        if whole and len(along) > 1 and not along & taken and all(keeps_type(op, d) for d in carried):
            taken.update(along)
            out.append(Passed(axis, frozenset(along)))

    for stream in op.streams:
        owners = [op.definition_of(c.target) for c in stream.components]
        components = [d.name for d in owners if d is not None and d.name in present]
        if len(components) > 1 and len(components) == len(stream.components):
            offer(stream.axis, components)
    streamed = {c.target for s in op.streams for c in s.components}
    for definition in members(op, present):
        free = definition.name not in streamed and definition.name not in taken
        if free and is_contraction(definition) and len(reduction_axes(definition)) == 1:
            offer(reduction_axes(definition)[0].name, [definition.name])
    return out


def _along(op: Op, axis: str, roots: list[str], present: set[str]) -> set[str]:
    """`roots` and the definitions of the group that they depend on and that run over the axis, without those that
    something needs which must be whole before the pass begins. Later definitions are looked at first."""
    place = positions(op)
    out: set[str] = set()
    wanted, before = set(roots), set[str]()  # what has been met so far
    pending = [(-place[name], name) for name in roots]
    heapify(pending)
    undecided = len(pending)  # how many of the pending are not `before`
    while undecided:
        _, name = heappop(pending)
        definition = op.definitions[place[name]]
        if name in before:
            for other in dependencies(op, definition) - before:
                before.add(other)
                if other in wanted:
                    undecided -= 1
                else:
                    heappush(pending, (-place[other], other))
            continue
        undecided -= 1
        out.add(name)
        for other in (dependencies(op, definition) & present) - wanted - before:
            found = op.definitions[place[other]]
            if axis in {a.name for a in found.axes} and not is_special(found) and axis not in sweep_axes(found):
                wanted.add(other)
                undecided += 1
            else:  # a reduction along the axis, or what does not run along it and may need one
                before.add(other)
            heappush(pending, (-place[other], other))
    return out


def in_passes(op: Op, names: list[str]) -> set[str]:
    """All definitions of the group that belong to some shared pass."""
    return {name for shared in shared_passes(op, names) for name in shared.members}


def parallelism(op: Op, names: list[str]) -> int:
    return parallelism_of(root_axes(op, names), members(op, names)[-1])


def fronts(op: Op, names: list[str], enough: int) -> tuple[str, list[str]]:
    """The serial axis of a group that runs front by front, and the axes that are independent within one front. A
    group of one recurrence does so where its root axes alone give less than `enough` parallelism."""
    definition = op.definition_of(names[0])
    if len(names) > 1 or definition is None or parallelism(op, names) >= enough:
        return "", []
    serial, carried = front_axes(definition)
    return serial, [a.name for a in definition.axes if a.name in carried]


def make_groups(op: Op, choices: Choices) -> list[list[str]]:
    """Greedy: a definition joins the last group unless that costs parallelism, or the choices cut before it; then it
    joins one before the last that has what it reads, if nothing after that does (partial results, past their merge)."""
    groups: list[Group] = []
    where: dict[str, int] = {}
    passed = in_passes(op, [d.name for d in op.definitions])
    for definition in op.definitions:
        cut = not groups or definition.name in choices.cuts
        number = len(groups) - 1
        if cut or not _may_join(op, groups[number], definition, choices, passed):
            earlier = None if cut else _earlier(op, groups, where, definition, choices, passed)
            if earlier is None:
                groups.append(Group(op))
            number = len(groups) - 1 if earlier is None else earlier
        groups[number].add(definition)
        where[definition.name] = number
    return [list(g.names) for g in groups]


def _earlier(
    op: Op, groups: list[Group], where: dict[str, int], definition: Definition, choices: Choices, passed: set[str]
) -> int | None:
    """The group, of a few before the last, that computes the last of what the definition reads, if it may join."""
    latest = max((where[name] for name in dependencies(op, definition)), default=-1)
    if not len(groups) - 1 > latest >= max(0, len(groups) - 1 - LOOK_BACK):
        return None
    free = replace(choices, joins=frozenset())
    return latest if _may_join(op, groups[latest], definition, free, passed) else None


def _may_join(op: Op, group: Group, definition: Definition, choices: Choices, passed: set[str]) -> bool:
    if len(group.names) >= MOST_FUSED or is_special(definition) or group.special:
        return False
    last = next(reversed(group.names))
    serial = len(group.names) == 1 and fronts(op, [last], choices.enough_parallelism)[0]
    if serial or fronts(op, [definition.name], choices.enough_parallelism)[0]:
        return False  # a recurrence that runs front by front forks inside of its serial loop
    before, after = group.roots, group.roots_with(definition)
    alone = parallelism(op, [definition.name])
    if not after:
        return not before and alone <= 1
    if definition.name in choices.joins:
        return True
    together = parallelism_of(before, members(op, [last])[0])
    wanted = max(together if group.work > LITTLE_WORK else 1, alone if work(definition) > LITTLE_WORK else 1)
    if parallelism_of(after, definition) < min(choices.enough_parallelism, wanted):
        return False
    heavy = group.contractions + [definition] * is_contraction(definition)
    if not heavy or all(d.name in passed for d in heavy):
        return True
    if len(heavy) > 1:
        return False
    return all({a.name for a in d.axes} <= set(after) for d in heavy) or heavy[0].name in passed
