"""Fusion at the kernel level: cut the definitions, in order, into groups that share root (parallel) axes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ...ir.op import Definition, Op
from ..axes import reduction_axes
from .choices import Choices
from .facts import aligned, dependencies, extents, front_axes, is_contraction, is_special, sweep_axes


def root_axes(op: Op, names: list[str]) -> list[str]:
    """Axes over which every definition of the group runs freely, and at which they read each other: each value of
    them is independent work. In the order of the last definition's axes."""
    group = set(names)
    definitions = [d for d in op.definitions if d.name in group]
    roots = [a.name for a in definitions[-1].axes]
    for definition in definitions:
        free = {a.name for a in definition.axes} - sweep_axes(definition)
        roots = [r for r in roots if r in free and aligned(op, definition, r, group)]
    return roots


@dataclass(frozen=True)
class Passed:
    """Definitions that share one ordered pass over tiles of an axis: reductions over it and what they need on it."""

    axis: str
    members: frozenset[str]


def shared_passes(op: Op, names: list[str]) -> list[Passed]:
    """The passes of a group: one per stream all of whose components belong to it, then one per contraction that
    reads something computed along its axis. A definition belongs to the first pass that wants it."""
    out: list[Passed] = []
    present = set(names)
    taken: set[str] = set()

    def offer(axis: str, roots: list[str]) -> None:
        members = _along(op, axis, roots, present)
        if len(members) > 1 and not members & taken:
            taken.update(members)
            out.append(Passed(axis, frozenset(members)))

    for stream in op.streams:
        owners = [op.definition_of(c.target) for c in stream.components]
        components = [d.name for d in owners if d is not None and d.name in present]
        if len(components) > 1 and len(components) == len(stream.components):
            offer(stream.axis, components)
    streamed = {c.target for s in op.streams for c in s.components}
    for definition in op.definitions:
        free = definition.name in present and definition.name not in streamed | taken
        if free and is_contraction(definition) and len(reduction_axes(definition)) == 1:
            offer(reduction_axes(definition)[0].name, [definition.name])
    return out


def _along(op: Op, axis: str, roots: list[str], present: set[str]) -> set[str]:
    """`roots` and the definitions of the group that they depend on and that run over the axis."""
    members = set(roots)
    pending = list(roots)
    finished: list[str] = []  # what must be whole before the pass begins
    while pending:
        definition = op.definition_of(pending.pop())
        assert definition is not None
        for name in sorted(dependencies(op, definition) & present):
            other = op.definition_of(name)
            assert other is not None
            if name in members:
                continue
            if axis in {a.name for a in reduction_axes(other)}:
                finished.append(name)
            elif axis in {a.name for a in other.axes} and not is_special(other) and axis not in sweep_axes(other):
                members.add(name)
                pending.append(name)
    return members - _before(op, finished)


def _before(op: Op, names: list[str]) -> set[str]:
    """The definitions that these depend on."""
    out: set[str] = set()
    pending = list(names)
    while pending:
        definition = op.definition_of(pending.pop())
        assert definition is not None
        new = dependencies(op, definition) - out
        out |= new
        pending += sorted(new)
    return out


def in_passes(op: Op, names: list[str]) -> set[str]:
    """All definitions of the group that belong to some shared pass."""
    return {name for shared in shared_passes(op, names) for name in shared.members}


def parallelism(op: Op, names: list[str]) -> int:
    group = [d for d in op.definitions if d.name in set(names)]
    sizes: dict[str, int] = {}
    for definition in group:
        sizes |= extents(definition)
    return prod(max(1, sizes[r]) for r in root_axes(op, names))


def fronts(op: Op, names: list[str], enough: int) -> tuple[str, list[str]]:
    """The serial axis of a group that runs front by front, and the axes that are independent within one front. A
    group of one recurrence does so where its root axes alone give less than `enough` parallelism."""
    definition = op.definition_of(names[0])
    if len(names) > 1 or definition is None or parallelism(op, names) >= enough:
        return "", []
    serial, carried = front_axes(definition)
    return serial, [a.name for a in definition.axes if a.name in carried]


def make_groups(op: Op, choices: Choices) -> list[list[str]]:
    """Greedy: a definition joins the last group unless that costs parallelism, or the choices cut before it."""
    groups: list[list[str]] = []
    passed = in_passes(op, [d.name for d in op.definitions])
    for definition in op.definitions:
        if groups and definition.name not in choices.cuts and _may_join(op, groups[-1], definition, choices, passed):
            groups[-1].append(definition.name)
        else:
            groups.append([definition.name])
    return groups


def _may_join(op: Op, group: list[str], definition: Definition, choices: Choices, passed: set[str]) -> bool:
    members = [d for d in op.definitions if d.name in set(group)]
    if is_special(definition) or any(is_special(d) for d in members):
        return False
    joined = [*group, definition.name]
    if fronts(op, group, choices.enough_parallelism)[0] or fronts(op, [definition.name], choices.enough_parallelism)[0]:
        return False  # a recurrence that runs front by front forks inside of its serial loop
    before, after = root_axes(op, group), root_axes(op, joined)
    if not after:
        return not before and parallelism(op, [definition.name]) <= 1
    if definition.name in choices.joins:
        return True
    enough = min(choices.enough_parallelism, parallelism(op, group), parallelism(op, [definition.name]))
    if parallelism(op, joined) < enough:
        return False
    heavy = [d for d in (*members, definition) if is_contraction(d)]
    if not heavy or {d.name for d in heavy} <= passed:
        return True
    if len(heavy) > 1:
        return False
    return all({a.name for a in d.axes} <= set(after) for d in heavy) or heavy[0].name in passed
