"""Chunking of linear recurrences: contractions inside a chunk, one state carried per chunk.

    h[t, d, e] = a[t, d] * h.pad(h0)[t - 1, d, e] + k[t, d] * v[t, e]
    y[t, e]    = sum[d] q[t, d] * h[t, d, e]

    -->  with t = B * c + r, and s another place in the chunk (B elements):

    D[c, s, r, d]  = 1 if r <= s else a * D[c, s, r - 1, d]             decay from s to r
    D0[c, r, d]    = a * D0.pad(1)[c, r - 1, d]                         decay from the chunk's start, itself included
    w[c, r, s]     = sum[d] q[r, d] * k[s, d] * D[c, s, r, d]           scores (a scalar decay leaves the sum)
    H[c, d, e]     = D0[c, B - 1, d] * H.pad(h0)[c - 1, d, e] + sum[s] D[c, s, B - 1, d] * k[s, d] * v[s, e]
    Y[c, r, e]     = sum[s where s <= r] w[c, r, s] * v[s, e] + sum[d] q[r, d] * D0[c, r, d] * H.pad(h0)[c - 1, d, e]
    y[t, e]        = Y[t // B, t % B, e]

A state that is wanted itself (an output, another kind of reader, an addend that is no product) is scanned inside chunks
from zero and completed by the carried state: h[t] = p[c, r] + D0[c, r] * H[c - 1]. Decays are products, never quotients
or logarithms, so that zeros and signs are exact (docs/rules.md, section 3); reassociation is what this pass
is asked for. The scheduler applies it where the recurrence's other axes do not keep the machine busy or contractions
are cheaper; it is no part of the normal pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.errors import ScheduleError
from ...ir.expr import (
    Boundary,
    Call,
    Const,
    Expr,
    Fn,
    Read,
    Var,
    as_int,
    const,
    substitute,
    variables,
)
from ...ir.monoids import builtin
from ...ir.op import Axis, Definition, Op, Pointwise, Reduction, Tensor
from .compose import padded
from .elaborating import elaborated, tensor_types
from .linear_recurrence import LinearRecurrence, linear_recurrence
from .names import fresh, used_names
from .read_out import ReadOut, factors, product, read_out


@dataclass(frozen=True)
class Chunking:
    """`definition`: the recurrence (empty: every linear one that is only read out); `chunk`: elements of a chunk."""

    definition: str = ""
    chunk: int = 64
    name: ClassVar[str] = "chunking"
    form: ClassVar[str] = "op"

    def run(self, op: Op) -> Op:
        if self.definition:
            return chunk_recurrence(op, self.definition, self.chunk)
        for d in op.definitions:
            if linear_recurrence(d) is not None and readers(op, d):
                op = chunk_recurrence(op, d.name, self.chunk)
        return op


def chunk_recurrence(op: Op, name: str, chunk: int) -> Op:
    """`op` with the linear recurrence `name` in chunks. Raises ScheduleError where it is none."""
    d = op.definition_of(name)
    found = None if d is None else linear_recurrence(d)
    if d is None or found is None:
        raise ScheduleError(
            f"'{name}' is no linear recurrence",
            op.location if d is None else d.location,
            "it must read itself one step back along one axis, with `.pad`, and linearly",
        )
    if d.targets[0].dtype is not d.targets[0].dtype.arithmetic:
        raise ScheduleError(
            f"'{name}' rounds its state to {d.targets[0].dtype} at every step, which chunks would not",
            d.location,
            f"store it as {d.targets[0].dtype.arithmetic}",
        )
    if chunk < 1:
        raise ScheduleError(f"chunks of {chunk} elements", d.location, "a positive number of elements")
    return _Chunked(op, d, found, chunk).run()


def readers(op: Op, d: Definition) -> tuple[ReadOut, ...]:
    """The read-outs of `d`, if they are all its readers and there is one; else none."""
    if any(t.name == d.name for t in op.outputs):
        return ()
    found = [read_out(x, d) for x in op.definitions if x is not d and any(r.tensor == d.name for r in x.reads)]
    return tuple(f for f in found if f is not None) if all(f is not None for f in found) else ()


class _Chunked:
    def __init__(self, op: Op, d: Definition, r: LinearRecurrence, chunk: int) -> None:
        self.op, self.d, self.r, self.chunk = op, d, r, chunk
        taken = used_names(op)
        self.taken = taken
        t = r.axis
        extent = as_int(t.hi)
        count: Expr = Call(Fn.FLOORDIV, (Call(Fn.ADD, (t.hi, const(chunk - 1))), const(chunk)))
        self.c = Axis(fresh(t.name, taken, "chunk"), const(0), count if extent is None else const(-(-extent // chunk)))
        self.row = Axis(fresh(t.name, taken, "row"), const(0), const(chunk))
        self.col = Axis(fresh(t.name, taken, "col"), const(0), const(chunk))
        self.divides = (extent is not None and extent % chunk == 0) or divides(chunk, t.hi, op.facts)
        self.dtype = d.targets[0].dtype.arithmetic
        self.others = tuple(a for k, a in enumerate(d.axes) if k != r.position)
        self.decay_axes = self.used(r.factor)

    # the two forms -------------------------------------------------------------------------------------------------

    def run(self) -> Op:
        outs = readers(self.op, self.d)
        addend = factors(self.r.addend) if self.r.addend is not None else None
        separable = addend is not None and bool(outs) and all(self.split(addend, o) is not None for o in outs)
        new: dict[str, tuple[Definition, ...]] = {}
        start, from_start = self.from_start()
        if separable and addend is not None:
            between, to_row = self.between()
            carry = self.carried_sum(addend, to_row)
            new[self.d.name] = (start, between, *self.carry(from_start, carry))
            for o in outs:
                new[o.definition.name] = self.read(o, addend, from_start, to_row)
        else:
            new[self.d.name] = self.scanned(start, from_start)
        types = tensor_types(self.op) | {t.name: t.dtype for ds in new.values() for x in ds for t in x.targets}
        out = []
        for x in self.op.definitions:
            out += [elaborated(y, types) for y in new[x.name]] if x.name in new else [x]
        return replace(self.op, definitions=tuple(out))

    def scanned(self, start: Definition, from_start: Read) -> tuple[Definition, ...]:
        """Every state: a scan inside chunks, the carried state, and their sum."""
        here = (self.c, self.row, *self.others)
        name = fresh(self.d.name, self.taken, "within")
        before = Read(name, (Var(self.c.name), _minus(self.row), *_names(self.others)), Boundary.PAD, Const(0.0))
        step: Expr = Call(Fn.MUL, (self.at(self.r.factor, self.row), before))
        if self.r.addend is not None:
            step = Call(Fn.ADD, (step, self.at(self.r.addend, self.row)))
        within = self.define(name, here, Pointwise(step))
        last = (Var(self.c.name), const(self.chunk - 1), *_names(self.others))
        carry = self.carry(from_start, Read(name, last))
        whole, rest = self.place()
        t = {self.c.name: whole, self.row.name: rest}
        state = substitute(self.carried(carry[-1].name), t)
        total = Call(
            Fn.ADD,
            (
                Read(name, (whole, rest, *_names(self.others))),
                Call(Fn.MUL, (substitute(from_start, t), state)),
            ),
        )
        return (start, within, *carry, replace(self.d, body=Pointwise(total)))

    def read(self, o: ReadOut, addend: tuple[Expr, ...], from_start: Read, to_row: Read) -> tuple[Definition, ...]:
        """A read-out from inside the chunk and from the carried state. Names are the recurrence's own here."""
        parts = self.split(addend, o)
        assert parts is not None
        summed, left = parts
        y = o.definition
        kept = tuple(a for a in self.others if a.name not in o.summed)
        over = tuple(a for a in self.others if a.name in o.summed)
        query = self.at(o.factor, self.row)
        weight = [query, *(self.at(f, self.col) for f in summed)]
        scalar = not self.decay_axes & o.summed
        if not scalar:
            weight.append(to_row)
        score_axes = tuple(a for a in kept if any(a.name in variables(f) for f in (*weight, to_row)))
        score_name = fresh(y.name, self.taken, "score")
        scores = self.define(score_name, (self.c, self.row, self.col, *score_axes), self.sum(over, product(weight)))
        score: Expr = Read(score_name, (Var(self.c.name), Var(self.row.name), Var(self.col.name), *_names(score_axes)))
        values = [score, *([to_row] if scalar else []), *(self.at(f, self.col) for f in left)]
        seen = Call(Fn.LE, (Var(self.col.name), Var(self.row.name)))
        inside_name, across_name = fresh(y.name, self.taken, "inside"), fresh(y.name, self.taken, "across")
        here = (self.c, self.row, *kept)
        inside = self.define(inside_name, here, self.sum((self.col,), product(values), seen))
        state = self.carried(self.carry_name)
        across = self.define(across_name, here, self.sum(over, product([query, from_start, state])))
        whole, rest = self.place()
        index = (whole, rest, *_names(kept))
        total = Call(Fn.ADD, (Read(inside_name, index), Read(across_name, index)))
        named: dict[str, Expr] = {mine: Var(theirs) for theirs, mine in o.names.items()}
        return (scores, inside, across, replace(y, body=Pointwise(substitute(total, named))))

    # the pieces ----------------------------------------------------------------------------------------------------

    def from_start(self) -> tuple[Definition, Read]:
        """D0: the product of the factors from the start of the chunk up to and with a row."""
        axes = (self.c, self.row, *self.axes_of(self.decay_axes))
        name = fresh(self.d.name, self.taken, "decay")
        index = (Var(self.c.name), Var(self.row.name), *_names(axes[2:]))
        before = Read(name, (index[0], _minus(self.row), *index[2:]), Boundary.PAD, Const(1.0))
        step = Call(Fn.MUL, (self.at(self.r.factor, self.row), before))
        return self.define(name, axes, Pointwise(step)), Read(name, index)

    def between(self) -> tuple[Definition, Read]:
        """D: the product of the factors after a column up to and with a row; 1 for rows up to the column."""
        axes = (self.c, self.col, self.row, *self.axes_of(self.decay_axes))
        name = fresh(self.d.name, self.taken, "between")
        index = (Var(self.c.name), Var(self.col.name), Var(self.row.name), *_names(axes[3:]))
        before = Read(name, (*index[:2], _minus(self.row), *index[3:]), Boundary.PAD, Const(1.0))
        step: Expr = Call(Fn.MUL, (self.at(self.r.factor, self.row), before))
        early = Call(Fn.LE, (Var(self.row.name), Var(self.col.name)))
        return self.define(name, axes, Pointwise(Call(Fn.SELECT, (early, Const(1.0), step)))), Read(name, index)

    def carried_sum(self, addend: tuple[Expr, ...], to_row: Read) -> Definition:
        """What a chunk adds to the state: the addends, each decayed to the chunk's end."""
        to_end = substitute(to_row, {self.row.name: const(self.chunk - 1)})
        name = fresh(self.d.name, self.taken, "added")
        body = self.sum((self.col,), product([to_end, *(self.at(f, self.col) for f in addend)]))
        return self.define(name, (self.c, *self.others), body)

    def carry(self, from_start: Read, added: Definition | Read) -> tuple[Definition, ...]:
        """H: the state after each chunk."""
        first = () if isinstance(added, Read) else (added,)
        if isinstance(added, Definition):
            added = Read(added.name, (Var(self.c.name), *_names(self.others)))
        self.carry_name = fresh(self.d.name, self.taken, "carry")
        to_end = substitute(from_start, {self.row.name: const(self.chunk - 1)})
        step = Call(Fn.ADD, (Call(Fn.MUL, (to_end, self.carried(self.carry_name))), added))
        return (*first, self.define(self.carry_name, (self.c, *self.others), Pointwise(step)))

    def carried(self, name: str) -> Read:
        """The state before a chunk."""
        return Read(name, (_minus(self.c), *_names(self.others)), Boundary.PAD, self.r.initial)

    # tools ---------------------------------------------------------------------------------------------------------

    def split(self, addend: tuple[Expr, ...], o: ReadOut) -> tuple[list[Expr], list[Expr]] | None:
        """The factors of the addend that a read-out sums over, and the others; None where the scores would have all
        axes of the result, so that contractions save nothing over the scan."""
        summed = [f for f in addend if variables(f) & o.summed]
        left = [f for f in addend if not variables(f) & o.summed]
        of_scores = self.decay_axes.union(*(variables(f) for f in (o.factor, *summed)))
        kept = {a.name for a in self.others} - o.summed
        return (summed, left) if kept - of_scores else None

    def at(self, e: Expr, place: Axis) -> Expr:
        """An expression of the recurrence's axes at row (or column) `place` of the chunk."""
        index = Call(Fn.ADD, (Call(Fn.MUL, (Var(self.c.name), const(self.chunk))), Var(place.name)))
        if not self.divides:
            e = padded(e, self.op.tensors, frozenset({self.r.axis.name}))
        return substitute(e, {self.r.axis.name: index})

    def place(self) -> tuple[Expr, Expr]:
        t = Var(self.r.axis.name)
        return Call(Fn.FLOORDIV, (t, const(self.chunk))), Call(Fn.MOD, (t, const(self.chunk)))

    def sum(self, axes: tuple[Axis, ...], e: Expr, guard: Expr | None = None) -> Pointwise | Reduction:
        return Reduction(builtin("sum", self.dtype), axes, (e,), guard) if axes else Pointwise(e)

    def define(self, name: str, axes: tuple[Axis, ...], body: Pointwise | Reduction) -> Definition:
        target = Tensor(name, self.dtype, tuple(a.hi for a in axes))
        return Definition((target,), axes, body, self.d.location)

    def used(self, e: Expr) -> frozenset[str]:
        return frozenset(variables(e)) & {a.name for a in self.others}

    def axes_of(self, names: frozenset[str]) -> tuple[Axis, ...]:
        return tuple(a for a in self.others if a.name in names)


def divides(chunk: int, extent: Expr, facts: tuple[Expr, ...]) -> bool:
    """Whether a declared fact `extent % n == 0` says that chunks come out even."""
    for f in facts:
        match f:
            case Call(Fn.EQ, (Call(Fn.MOD, (e, n)), zero)) if e == extent and as_int(zero) == 0:
                by = as_int(n)
                if by and by % chunk == 0:
                    return True
    return False


def _minus(a: Axis) -> Expr:
    return Call(Fn.SUB, (Var(a.name), const(1)))


def _names(axes: tuple[Axis, ...]) -> tuple[Expr, ...]:
    return tuple(Var(a.name) for a in axes)
