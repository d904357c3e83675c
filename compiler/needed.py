"""Values that nobody reads: where a definition's elements may stay undefined.

    t[w, a] = e if 0 <= w - a else 0        every read of t stands where `0 <= w - a` is sure to hold at its index

Then elements outside of the condition need neither be computed nor stored. That is proved for every read in the op,
from the ranges of its axes, the guard of its reduction and the conditions of the `select`s around it (values that are
not chosen have no effect). Definitions that are outputs, and targets whose values serve as indices, are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.bounds import Prover
from ..ir.errors import NOWHERE
from ..ir.expr import Boundary, Call, Const, Expr, Fn, Read, conjuncts, const, reads, substitute
from ..ir.op import Compact, Definition, Op, Pointwise, Reduction, Sort


def needed_where(op: Op) -> dict[str, Expr]:
    """By target: the condition, over the axes of its definition, outside of which no element is ever used."""
    out: dict[str, Expr] = {}
    outputs = {t.name for t in op.outputs}
    for d in op.definitions:
        if d.name in outputs or not isinstance(d.body, Pointwise):
            continue
        match d.body.expr:
            case Call(Fn.SELECT, (condition, _, Const())) if not reads(condition) and all(
                _comparison(c) is not None for c in conjuncts(condition)
            ):
                if _only_inside(op, d, condition):
                    out[d.name] = condition
    return out


def _comparison(term: Expr) -> tuple[Expr, Expr, int] | None:
    """(a, b, n) of a term that says a + n <= b."""
    match term:
        case Call(Fn.LE, (a, b)) | Call(Fn.GE, (b, a)):
            return a, b, 0
        case Call(Fn.LT, (a, b)) | Call(Fn.GT, (b, a)):
            return a, b, 1
    return None


def _only_inside(op: Op, d: Definition, condition: Expr) -> bool:
    extents = dict.fromkeys(e for t in (*op.inputs, *op.outputs) for e in t.shape)
    base = Prover(op.facts, extents)
    return all(
        _Reader(d, condition).fine(e, prover)
        for x in op.definitions
        if any(r.tensor == d.name for r in x.reads)
        for e, prover in _expressions(x, base)
    )


def _expressions(d: Definition, base: Prover) -> Iterator[tuple[Expr, Prover]]:
    """The expressions of a definition, with what holds where they are evaluated."""
    outer = base.within(d.axes)
    match d.body:
        case Pointwise(expr):
            yield expr, outer
        case Reduction(axes=axes, args=args, guard=guard):
            yield from ((bound, outer) for a in axes for bound in (a.lo, a.hi))
            inner = outer.within(axes)
            if guard is not None:
                yield guard, inner
            yield from ((arg, inner.within((), guard)) for arg in args)
        case Compact(axis, expr) | Sort(axis, expr):
            yield expr, outer.within((axis,))


class _Reader:
    """Looks for reads of `d` outside of its condition."""

    def __init__(self, d: Definition, condition: Expr) -> None:
        self.d, self.condition = d, condition

    def fine(self, expr: Expr, prover: Prover) -> bool:
        match expr:
            case Call(Fn.SELECT, (condition, yes, no)):
                left, right = prover.copy(), prover.copy()
                left.assume(condition)
                right.assume(Call(Fn.NOT, (condition,), NOWHERE))
                return self.fine(condition, prover) and self.fine(yes, left) and self.fine(no, right)
            case Read():
                if any(r.tensor == self.d.name for i in expr.index for r in reads(i)):
                    return False
                if expr.tensor == self.d.name and not self.inside(expr, prover):
                    return False
        return all(self.fine(c, prover) for c in expr.children)

    def inside(self, read: Read, prover: Prover) -> bool:
        if read.boundary not in (Boundary.NONE, Boundary.PAD):
            return False
        within = prover.copy()
        for index, axis in zip(read.index, self.d.axes, strict=True):
            within.assume(Call(Fn.LE, (const(0), index)))  # else the padding is read
            within.assume(Call(Fn.LT, (index, axis.hi)))
        there = {axis.name: index for index, axis in zip(read.index, self.d.axes, strict=True)}
        for term in conjuncts(substitute(self.condition, there)):
            found = _comparison(term)
            assert found is not None
            low, high, gap = found
            if not within.at_most(Call(Fn.ADD, (low, const(gap))), high):
                return False
        return True
