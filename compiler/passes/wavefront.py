"""Wavefronts: a recurrence over two ordered axes as a sweep over diagonals, whose points do not depend on each other.

    v[a, c, b] = e(v.pad(p)[a - 1, c, b], v.pad(p)[a, c - 1, b], v.pad(p)[a, c, b - 1])

    -->  with w = s * a + b, so that b = w - s * a:

    v$wave[w, c, a] = e(v$wave[w - s, c, a - 1] if 0 <= a - 1 else p, v$wave[w, c - 1, a] if 0 <= c - 1 else p,
                        v$wave[w - 1, c, a] if 0 <= w - s * a - 1 else p) if 0 <= w - s * a and w - s * a < B else 0
    v[a, c, b]      = v$wave[s * a + b, c, a]

Legal where every offset that moves along a or b moves strictly along w, in the direction of the sweep (docs/rules.md,
section 4; s is the smallest factor from 1 to 4 for which that holds). In v$wave such an offset along a only occurs
together with one along w: for one w all a are independent, and can lie across lanes and units. Every point computes
what it computed before in the same order, so that results are equal bit for bit. Offsets along neither axis stay
chains inside a diagonal. Points of the box (w, a) outside of the grid hold 0 and are never read.

Pointwise readers of v read v$wave themselves, so that sweeps one after the other stay on the same diagonals; others
keep reading v. The scheduler applies this pass where the other axes of a sweep do not keep the machine busy; it is no
part of the normal pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import ClassVar

from ...ir.affine import affine
from ...ir.dtypes import DType
from ...ir.errors import ScheduleError
from ...ir.expr import Boundary, Call, Const, Expr, Fn, Read, Var, as_int, const, rewrite, substitute
from ...ir.op import Axis, Definition, Op, Pointwise, Tensor, constant_offset
from ...ir.recurrence import offsets, ordered_axes, sweep_direction
from .compose import padded
from .elaborating import elaborated, tensor_types
from .inline import inline_definition
from .names import fresh, used_names

MOST_SKEW = 4


@dataclass(frozen=True)
class Front:
    """The diagonal `w = skew * axes[across] + axes[along]` of a recurrence; positions count its free axes."""

    across: int
    along: int
    skew: int


@dataclass(frozen=True)
class Wavefront:
    """`definition`: the recurrence (empty: every one that has wavefronts)."""

    definition: str = ""
    name: ClassVar[str] = "wavefront"
    form: ClassVar[str] = "op"

    def run(self, op: Op) -> Op:
        if self.definition:
            return skew_recurrence(op, self.definition)
        for d in op.definitions:
            if find_front(d) is not None:
                op = skew_recurrence(op, d.name)
        return op


def find_front(d: Definition) -> Front | None:
    """The wavefronts of a recurrence: of the outermost pair of ordered axes that has any, the axis with the smaller
    extent across them. None where no pair has, and for what is no recurrence over two axes."""
    if not d.self_reads or not isinstance(d.body, Pointwise):
        return None
    sign = sweep_direction(d)
    steps = [tuple(-sign * o for o in offset) for offset in offsets(d)]  # how far back along the sweep
    ordered = [d.axes.index(a) for a in ordered_axes(d)]
    found: list[tuple[int, tuple[int, int], int, Front]] = []
    for across in ordered:
        for along in ordered:
            moved = [s for s in steps if s[across] or s[along]]
            skews = (k for k in range(1, MOST_SKEW + 1) if all(k * s[across] + s[along] >= 1 for s in moved))
            skew = next(skews, None) if across != along else None
            if skew is not None:
                pair = (min(across, along), max(across, along))
                size = as_int(d.axes[across].hi)
                found.append((skew, pair, 0 if size is None else size, Front(across, along, skew)))
    return min(found, key=lambda f: f[:3])[3] if found else None


def skew_recurrence(op: Op, name: str) -> Op:
    """`op` with the recurrence `name` computed diagonal by diagonal. Raises ScheduleError where it has none."""
    d = op.definition_of(name)
    front = None if d is None else find_front(d)
    if d is None or front is None:
        raise ScheduleError(
            f"'{name}' has no wavefronts",
            op.location if d is None else d.location,
            "it must read itself along two axes, and all of these reads must move forward along one diagonal",
        )
    wave, back = _Skewed(op, d, front).definitions()
    types = tensor_types(op) | {t.name: t.dtype for t in wave.targets}
    out: list[Definition] = []
    for x in op.definitions:
        out += [elaborated(wave, types), elaborated(back, types)] if x is d else [x]
    skewed = replace(op, definitions=tuple(out))
    near = (x.name for x in op.definitions if x is not d and isinstance(x.body, Pointwise))
    return inline_definition(skewed, name, frozenset(near))


class _Skewed:
    def __init__(self, op: Op, d: Definition, front: Front) -> None:
        self.op, self.d, self.front = op, d, front
        taken = used_names(op)
        self.a, self.b = d.axes[front.across], d.axes[front.along]
        self.others = tuple(x for k, x in enumerate(d.axes) if k not in (front.across, front.along))
        self.w = Axis(fresh(self.b.name, taken, "wave"), const(0), self.diagonals())
        self.name = fresh(d.name, taken, "wave")
        self.axes = (self.w, *self.others, self.a)

    def diagonals(self) -> Expr:
        """The extent of w: as many diagonals as there are, a few more where extents are open."""
        a, b, skew = as_int(self.a.hi), as_int(self.b.hi), self.front.skew
        if a is not None and b is not None:
            return const(skew * (a - 1) + b if a and b else 0)
        return _tidy(Call(Fn.ADD, (Call(Fn.MUL, (self.a.hi, const(skew))), self.b.hi)))

    def definitions(self) -> tuple[Definition, Definition]:
        d, target = self.d, self.d.targets[0]
        assert isinstance(d.body, Pointwise)
        own = rewrite(d.body.expr, lambda e: self.own_read(e) if isinstance(e, Read) and e.tensor == d.name else None)
        value = padded(own, self.op.tensors, frozenset({self.b.name}))
        place = Call(Fn.SUB, (Var(self.w.name), self.skewed(Var(self.a.name))))
        inside: Expr = Call(
            Fn.AND, (Call(Fn.LE, (const(0), Var(self.b.name))), Call(Fn.LT, (Var(self.b.name), self.b.hi)))
        )
        whole = Call(Fn.SELECT, (inside, value, self.zero()))
        body = rewrite(substitute(whole, {self.b.name: place}), lambda e: _tidy(e) if isinstance(e, Call) else None)
        made = Tensor(self.name, target.dtype, tuple(x.hi for x in self.axes))
        wave = Definition((made,), self.axes, Pointwise(body), d.location)
        diagonal = Call(Fn.ADD, (self.skewed(Var(self.a.name)), Var(self.b.name)))
        index = (_tidy(diagonal), *(Var(x.name) for x in self.others), Var(self.a.name))
        return wave, replace(d, body=Pointwise(Read(self.name, index, location=d.location)))

    def skewed(self, a: Expr) -> Expr:
        return a if self.front.skew == 1 else Call(Fn.MUL, (a, const(self.front.skew)))

    def zero(self) -> Const:
        dtype = self.d.targets[0].dtype.arithmetic
        return Const(False, dtype) if dtype is DType.BOOL else Const(0.0 if dtype.is_float else 0, dtype)

    def own_read(self, read: Read) -> Expr:
        """A self read at its diagonal; what it gives outside of the grid is chosen here, since the box is larger."""
        offset = constant_offset(read, self.d.axes)
        assert offset is not None
        by = {a.name: o for a, o in zip(self.d.axes, offset, strict=True)}
        moved = self.front.skew * by[self.a.name] + by[self.b.name]
        index = (_shift(self.w, moved), *(_shift(x, by[x.name]) for x in (*self.others, self.a)))
        there = Read(self.name, index, Boundary.PAD, self.zero(), read.location)
        tests = [
            Call(Fn.LE, (const(0), _shift(x, o))) if o < 0 else Call(Fn.LT, (_shift(x, o), x.hi))
            for x, o in zip(self.d.axes, offset, strict=True)
            if o
        ]
        if read.fill is None:
            return there
        inside = reduce(lambda p, q: Call(Fn.AND, (p, q)), tests)
        return Call(Fn.SELECT, (inside, there, read.fill), read.location)


def _shift(axis: Axis, by: int) -> Expr:
    return _tidy(Call(Fn.ADD, (Var(axis.name), const(by))))


def _tidy(e: Expr) -> Expr:
    """Index arithmetic in affine normal form."""
    form = affine(e)
    return e if form is None else form.to_expr()


__all__ = ["Front", "Wavefront", "find_front", "skew_recurrence"]
