"""Fusion at the kernel level: cut the definitions, in order, into groups that share root (parallel) axes."""

from __future__ import annotations

from math import prod

from ...ir.op import Definition, Op
from ..axes import reduction_axes
from .choices import Choices
from .facts import aligned, dependencies, extents, is_contraction, is_special, sweep_axes


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


def stream_members(op: Op, names: list[str]) -> dict[str, set[str]]:
    """Per stream whose components all belong to the group, by the name of its first component: the components and
    the definitions between them that run over its axis. Streams that share a member with an earlier one are left out
    (their reductions then take passes of their own)."""
    out: dict[str, set[str]] = {}
    present = set(names)
    taken: set[str] = set()
    for stream in op.streams:
        owners = [op.definition_of(c.target) for c in stream.components]
        components = [d.name for d in owners if d is not None and d.name in present]
        if len(components) < 2 or len(components) < len(stream.components):
            continue
        members = set(components)
        pending = list(components)
        while pending:
            definition = op.definition_of(pending.pop())
            assert definition is not None
            for name in sorted(dependencies(op, definition) & present):
                other = op.definition_of(name)
                assert other is not None
                axes = {a.name for a in other.axes} | {a.name for a in reduction_axes(other)}
                if name not in members and stream.axis in axes:
                    members.add(name)
                    pending.append(name)
        if not members & taken:
            taken |= members
            out[components[0]] = members
    return out


def in_streams(op: Op, names: list[str]) -> set[str]:
    """All definitions of the group that belong to some stream."""
    return {name for members in stream_members(op, names).values() for name in members}


def parallelism(op: Op, names: list[str]) -> int:
    group = [d for d in op.definitions if d.name in set(names)]
    sizes: dict[str, int] = {}
    for definition in group:
        sizes |= extents(definition)
    return prod(max(1, sizes[r]) for r in root_axes(op, names))


def make_groups(op: Op, choices: Choices) -> list[list[str]]:
    """Greedy: a definition joins the last group unless that costs parallelism, or the choices cut before it."""
    groups: list[list[str]] = []
    for definition in op.definitions:
        if groups and definition.name not in choices.cuts and _may_join(op, groups[-1], definition, choices):
            groups[-1].append(definition.name)
        else:
            groups.append([definition.name])
    return groups


def _may_join(op: Op, group: list[str], definition: Definition, choices: Choices) -> bool:
    members = [d for d in op.definitions if d.name in set(group)]
    if is_special(definition) or any(is_special(d) for d in members):
        return False
    joined = [*group, definition.name]
    before, after = root_axes(op, group), root_axes(op, joined)
    if not after:
        return not before and parallelism(op, [definition.name]) <= 1
    if definition.name in choices.joins:
        return True
    enough = min(choices.enough_parallelism, parallelism(op, group), parallelism(op, [definition.name]))
    if parallelism(op, joined) < enough:
        return False
    streamed = in_streams(op, [d.name for d in op.definitions])
    heavy = [d for d in (*members, definition) if is_contraction(d)]
    if not heavy or {d.name for d in heavy} <= streamed:
        return True
    if len(heavy) > 1:
        return False
    return all({a.name for a in d.axes} <= set(after) for d in heavy) or heavy[0].name in streamed
