"""Give one name to axes that are the same axis of the computation.

    m[i] = max[j] x[i, j];  y[a, b] = x[a, b] - m[a]   -->   y[i, j] = x[i, j] - m[i]

Two axes are the same when a definition reads another at exactly that axis and the extents agree, or when two
definitions read one tensor at whole axes in the same dimension. Two axes of one definition are never merged. Runs
before planning, because fusion asks whether axes are equal.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir.expr import Expr, Var, substitute
from ..ir.op import Axis, Compact, Definition, Op, Reduction, Sort

AxisKey = tuple[int, str]  # definition number, axis name


def reduction_axes(definition: Definition) -> tuple[Axis, ...]:
    """The axes of the body that are not free axes."""
    match definition.body:
        case Reduction(axes=axes):
            return axes
        case Compact(axis=axis) | Sort(axis=axis):
            return (axis,)
    return ()


def all_axes(definition: Definition) -> tuple[Axis, ...]:
    return definition.axes + reduction_axes(definition)


class _Classes:
    """Union-find over axes in which no class holds two axes of one definition."""

    def __init__(self, definitions: tuple[Definition, ...]) -> None:
        self.parent: dict[AxisKey, AxisKey] = {}
        self.owners: dict[AxisKey, set[int]] = {}
        for number, definition in enumerate(definitions):
            for axis in all_axes(definition):
                key = (number, axis.name)
                self.parent[key] = key
                self.owners[key] = {number}

    def find(self, key: AxisKey) -> AxisKey:
        while self.parent[key] != key:
            self.parent[key] = self.parent[self.parent[key]]
            key = self.parent[key]
        return key

    def union(self, a: AxisKey, b: AxisKey) -> None:
        a, b = sorted((self.find(a), self.find(b)))
        if a == b or not self.owners[a].isdisjoint(self.owners[b]):
            return
        self.parent[b] = a
        small, large = sorted((self.owners.pop(a), self.owners.pop(b)), key=len)
        large |= small
        self.owners[a] = large


def unify_axes(op: Op) -> Op:
    """The same op with equal axes named equally and different axes named differently."""
    classes = _Classes(op.definitions)
    numbers: dict[tuple[Expr, Expr], int] = {}  # equal ranges have one number, and classes are of one range
    ranges = {
        (n, a.name): numbers.setdefault((a.lo, a.hi), len(numbers))
        for n, d in enumerate(op.definitions)
        for a in all_axes(d)
    }
    producer = {t.name: n for n, d in enumerate(op.definitions) for t in d.targets}
    seen: dict[tuple[str, int, int], dict[AxisKey, None]] = {}  # (tensor, dimension, range) -> one axis of each class

    def same(a: AxisKey, b: AxisKey) -> None:
        if ranges[a] == ranges[b]:
            classes.union(a, b)

    for stream in op.streams:
        members = [(producer[c.target], stream.axis) for c in stream.components]
        for member in members[1:]:
            if member in ranges and members[0] in ranges:
                same(members[0], member)
    for between_readers in (False, True):
        for number, definition in enumerate(op.definitions):
            for read in definition.reads:
                source = producer.get(read.tensor)
                if source == number:
                    continue
                for dim, index in enumerate(read.index):
                    if not isinstance(index, Var) or (number, index.name) not in classes.parent:
                        continue
                    key = (number, index.name)
                    if between_readers:
                        others = seen.get((read.tensor, dim, ranges[key]), {})
                        for other in others:
                            same(key, other)
                        classes_met = dict.fromkeys(classes.find(other) for other in (*others, key))
                        seen[(read.tensor, dim, ranges[key])] = classes_met
                    elif source is not None and dim < len(op.definitions[source].axes):
                        same(key, (source, op.definitions[source].axes[dim].name))
    taken = set(op.tensors) | {s.name for s in op.symbols}
    counts: dict[str, int] = {}  # how far the numbering of a name has come
    names: dict[AxisKey, str] = {}
    for number, definition in enumerate(op.definitions):
        for axis in all_axes(definition):
            root = classes.find((number, axis.name))
            if root not in names:
                base = name = axis.name.split("$")[0]
                while name in taken:
                    counts[base] = counts.get(base, 0) + 1
                    name = f"{base}${counts[base]}"
                taken.add(name)
                names[root] = name
    definitions = []
    renamed_streams: dict[str, str] = {}
    for number, definition in enumerate(op.definitions):
        renaming = {a.name: names[classes.find((number, a.name))] for a in all_axes(definition)}
        definitions.append(rename_axes(definition, renaming))
        for target in definition.target_names:
            for axis in reduction_axes(definition):
                renamed_streams.setdefault(f"{target}/{axis.name}", renaming[axis.name])
    streams = tuple(
        replace(s, axis=renamed_streams.get(f"{s.components[0].target}/{s.axis}", s.axis)) for s in op.streams
    )
    return replace(op, definitions=tuple(definitions), streams=streams)


def rename_axes(definition: Definition, renaming: dict[str, str]) -> Definition:
    """The definition with its axes renamed, all at once."""
    renaming = {old: new for old, new in renaming.items() if old != new}
    if not renaming:
        return definition
    values: dict[str, Expr] = {old: Var(new) for old, new in renaming.items()}

    def axis(a: Axis) -> Axis:
        return replace(a, name=renaming.get(a.name, a.name))

    renamed = definition.with_expressions(tuple(substitute(e, values) for e in definition.expressions))
    body = renamed.body
    if isinstance(body, Reduction):
        body = replace(body, axes=tuple(axis(a) for a in body.axes))
    elif isinstance(body, Compact | Sort):
        body = replace(body, axis=axis(body.axis))
    return replace(renamed, axes=tuple(axis(a) for a in renamed.axes), body=body)
