"""Inlining: a pointwise definition takes the place of the reads of it.

    t[i] = x[i] * 2           -->
    y[i] = t[i] + t[i]               y[i] = x[i] * 2 + x[i] * 2

The pass inlines where no arithmetic worth a buffer is repeated: definitions that only move values, those that are read
once per element, and cheap ones. It runs early, so that recognition (streaming, recurrences, contractions) sees through
the names a user gave to steps. What it leaves, the scheduler decides with `inline_definition`: recompute or keep.
Rounding never changes: a target narrower than its expression leaves a cast behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.affine import affine
from ...ir.errors import ScheduleError
from ...ir.expr import Call, Expr, Fn, Read, reads, rewrite, variables, walk
from ...ir.op import Compact, Definition, Op, Pointwise, Reduction, Sort
from .compose import compose, size
from .dce import surviving
from .names import axes_of

_COST: dict[Fn, int] = {
    **dict.fromkeys((Fn.DIV, Fn.FLOORDIV, Fn.MOD, Fn.SQRT, Fn.RSQRT), 6),
    **dict.fromkeys((Fn.EXP, Fn.EXP2, Fn.EXPM1, Fn.LOG, Fn.LOG2, Fn.LOG1P, Fn.TANH, Fn.SIGMOID), 16),
    **dict.fromkeys((Fn.ERF, Fn.SIN, Fn.COS, Fn.POW), 24),
}
MAX_SIZE = 600  # nodes of an expression after inlining: bounds every later pass
MAX_DEPTH = 100  # stays well inside what the text form can be parsed back from


def cost(expr: Expr) -> int:
    """Arithmetic of one evaluation, in additions (reads, constants and casts are free)."""
    return sum(_COST.get(e.fn, 1) for e in walk(expr) if isinstance(e, Call))


def varying_cost(d: Definition) -> int:
    """Arithmetic per element of a pointwise definition: what names no axis is computed once."""
    names = {a.name for a in d.axes}

    def of(e: Expr) -> int:
        if not variables(e) & names:
            return 0
        return (_COST.get(e.fn, 1) if isinstance(e, Call) else 0) + sum(map(of, e.children))

    return sum(map(of, d.expressions))


@dataclass(frozen=True)
class Inline:
    """`max_cost`: additions that may be repeated at a few readers; `max_single`: of a definition read once; `few`: how
    many readers, and how often one element in one of them. Chains would double what is repeated at every link."""

    max_cost: int = 4
    max_single: int = 400
    few: int = 8
    name: ClassVar[str] = "inline"
    form: ClassVar[str] = "op"

    def run(self, op: Op) -> Op:
        # Last to first: a chain of single readers collapses into its end in one sweep.
        work = _Inliner(op)
        for name in [d.name for d in reversed(op.definitions)]:
            d = work.definitions[name]
            if self.wanted(d, work.readers_of(name), op):
                work.inline(d)
        return work.result()

    def wanted(self, d: Definition, readers: list[Definition], op: Op) -> bool:
        """Whether inlining `d` everywhere costs nothing worth a buffer."""
        if not inlinable(d) or any(t.name == d.name for t in op.outputs):
            return False
        assert isinstance(d.body, Pointwise)
        sites = [(reader, r) for reader in readers for r in _distinct(reader, d.name)]
        work = cost(d.body.expr)
        if work == 0:
            return True
        copies = (n for reader in readers for n in Counter(r for r in reader.reads if r.tensor == d.name).values())
        if len(readers) > self.few or any(n > self.few for n in copies):
            return False
        if any(isinstance(reader.body, Sort) or repeats(r, reader) for reader, r in sites):
            return False
        work = varying_cost(d)
        return work <= (self.max_single if len(sites) == 1 else self.max_cost)


class _Inliner:
    """Definitions being inlined one after the other: `definitions` as they are by now, and who reads which tensor."""

    def __init__(self, op: Op) -> None:
        self.op = op
        self.definitions = {d.name: d for d in op.definitions}
        self.readers: dict[str, dict[str, None]] = {}
        for d in op.definitions:
            self.note(d)

    def note(self, d: Definition) -> None:
        for r in d.reads:
            self.readers.setdefault(r.tensor, {})[d.name] = None

    def readers_of(self, tensor: str) -> list[Definition]:
        return [self.definitions[n] for n in self.readers.get(tensor, ())]

    def inline(self, d: Definition, chosen: frozenset[str] | None = None) -> None:
        for reader in self.readers_of(d.name):
            if reader is d or (chosen is not None and not chosen & set(reader.target_names)):
                continue
            new = _inline_into(reader, d, self.op)
            if new is reader:
                continue
            for r in reader.reads:
                self.readers[r.tensor].pop(reader.name, None)
            self.definitions[reader.name] = new
            self.note(new)
        if not self.readers.get(d.name) and not any(t.name == d.name for t in self.op.outputs):
            del self.definitions[d.name]
            for r in d.reads:
                self.readers[r.tensor].pop(d.name, None)

    def result(self) -> Op:
        out = replace(self.op, definitions=tuple(self.definitions.values()))
        if len(out.definitions) == len(self.op.definitions):
            return out
        live = {t for d in out.definitions for t in d.target_names}
        return replace(out, streams=surviving(out.streams, live))


def inlinable(d: Definition) -> bool:
    """Pointwise and no recurrence."""
    return isinstance(d.body, Pointwise) and not d.is_recurrence


def inline_definition(op: Op, name: str, readers: frozenset[str] | None = None) -> Op:
    """`op` with the definition of `name` inlined into its readers (into those named in `readers`, if given).

    The definition goes away unless it is an output or still read: a computed value may not stand as an index or a
    bound, and expressions stay below MAX_SIZE nodes. Raises ScheduleError for a definition that cannot be inlined.
    """
    d = op.definition_of(name)
    if d is None or not inlinable(d):
        raise ScheduleError(
            f"'{name}' cannot be inlined: only a pointwise definition that does not read itself can",
            op.location if d is None else d.location,
            "keep it as a tensor",
        )
    work = _Inliner(op)
    work.inline(d, readers)
    return work.result()


def recomputed(op: Op, names: Iterable[str]) -> Op:
    """`op` with these definitions inlined into all their readers; names that it does not have are passed over."""
    for name in sorted(names):
        d = op.definition_of(name)
        if d is not None and inlinable(d):
            op = inline_definition(op, d.name)
    return op


def _inline_into(reader: Definition, d: Definition, op: Op) -> Definition:
    assert isinstance(d.body, Pointwise)
    axes = axes_of(reader)
    free = cost(d.body.expr) == 0
    values = {r for top in _value_expressions(reader) for r in _value_reads(top) if r.tensor == d.name}

    def rule(e: Expr) -> Expr | None:
        if not isinstance(e, Read) or e.tensor != d.name or not (free or e in allowed):
            return None
        return compose(e, d, op, axes)

    # A read that stands both as a value and inside an index is left alone: rewriting goes by structure.
    inside = {
        r for outer in reader.reads for i in outer.index for r in walk(i) if isinstance(r, Read) and r.tensor == d.name
    }
    bounds = {r for e in _bound_expressions(reader) for r in walk(e) if isinstance(r, Read) and r.tensor == d.name}
    allowed = values - inside - bounds
    new: list[Expr] = []
    for e in reader.expressions:
        here = [r for r in reads(e) if r.tensor == d.name]
        if not here:
            new.append(e)
            continue
        # the least that comes out of it, where no such read stands inside of another
        least = size(e) + sum(size(d.body.expr) - size(r) for r in here if free or r in allowed)
        if not inside and all(r.fill is None for r in here) and least > MAX_SIZE:
            return reader
        new.append(rewrite(e, rule))
    if any(size(e) > MAX_SIZE or _depth(e) > MAX_DEPTH for e in new):
        return reader
    return reader.with_expressions(tuple(new))


def _bound_expressions(d: Definition) -> tuple[Expr, ...]:
    return tuple(e for a in axes_of(d)[len(d.axes) :] for e in (a.lo, a.hi))


def _value_expressions(d: Definition) -> tuple[Expr, ...]:
    match d.body:
        case Pointwise(expr):
            return (expr,)
        case Reduction(args=args, guard=guard):
            return args + ((guard,) if guard is not None else ())
        case Compact(guard=guard):
            return (guard,)
        case Sort(key=key):
            return (key,)


def _value_reads(expr: Expr) -> Iterator[Read]:
    """Reads whose value is used as a value, not as an index."""
    if isinstance(expr, Read):
        yield expr
        if expr.fill is not None:
            yield from _value_reads(expr.fill)
        return
    for c in expr.children:
        yield from _value_reads(c)


def _distinct(reader: Definition, name: str) -> list[Read]:
    return list(dict.fromkeys(r for r in reader.reads if r.tensor == name))


def repeats(read: Read, reader: Definition) -> bool:
    """True unless different iterations of the reader surely read different elements."""
    seen: set[str] = set()
    names = {a.name for a in axes_of(reader)}
    for e in read.index:
        form = affine(e)
        own = () if form is None else tuple(n for n, _ in form.terms if n in names)
        if len(own) == 1:
            seen.add(own[0])
    return seen != names


def _depth(expr: Expr) -> int:
    level, height = [expr], 0
    while level:
        height += 1
        level = [c for e in level for c in e.children]
    return height


__all__ = ["MAX_DEPTH", "MAX_SIZE", "Inline", "cost", "inlinable", "inline_definition", "recomputed", "repeats"]
