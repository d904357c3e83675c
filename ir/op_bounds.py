"""Guarantee 8 of the op form: reads stay inside their tensors. What is proved, and what is left to the call.

A read without a boundary is proved inside for all values of its axes (ranges not empty, the reduction's guard true,
facts granted, extents not negative). Where an index is made of values of *input* integer tensors it cannot be proved;
then the values those tensors must have are recorded, for the caller to check.
"""

from __future__ import annotations

from dataclasses import dataclass

from .bounds import Prover, Range
from .dtypes import DType
from .errors import VerifyError
from .expr import Boundary, Call, Expr, Fn, Read, Var, const, reads, rewrite, variables
from .expr_text import print_expr
from .op import Axis, Compact, Definition, Op, Reduction, Sort


@dataclass(frozen=True)
class GatherCheck:
    """Every value of the input `tensor` must lie in `lowest .. highest` (both included)."""

    tensor: str
    lowest: Expr
    highest: Expr


def gather_checks(op: Op) -> tuple[GatherCheck, ...]:
    """What the values of index tensors among the inputs must satisfy at a call, in order of appearance.

    Raises VerifyError for a read without a boundary that is neither proved inside nor a gather by inputs alone.
    """
    return _Bounds(op).check()


class _Bounds:
    def __init__(self, op: Op) -> None:
        self.op = op
        self.inputs = {t.name: t for t in op.inputs}
        self.made = {t.name: d for d in op.definitions for t in d.targets}
        self.found: dict[GatherCheck, None] = {}
        extents = [e for t in (*op.inputs, *op.outputs) for e in t.shape]
        extents += [a.hi for d in op.definitions for a in d.axes]
        self.axes: tuple[Axis, ...] = ()
        self.base = Prover(op.facts, dict.fromkeys(extents), self.known)

    def check(self) -> tuple[GatherCheck, ...]:
        for d in self.op.definitions:
            self.definition(d)
        return tuple(self.found)

    def known(self, read: Read) -> Range | None:
        """The range of an integer tensor's values; None for floats."""
        if read.tensor in self.inputs:
            return (None, None) if self.inputs[read.tensor].dtype.is_int else None
        d = self.made.get(read.tensor)
        if d is None:
            return None
        target = next(t for t in d.targets if t.name == read.tensor)
        if not target.dtype.is_int:
            return None
        if target.dtype not in (DType.I32, DType.I64) or read.boundary is Boundary.PAD:
            return (None, None)
        match d.body:
            case Sort(axis):
                return const(0), Call(Fn.SUB, (axis.hi, const(1)))
            case Compact(axis):
                if target is d.targets[1]:
                    return const(0), axis.hi
                lowest = 0 if self.is_listed(read, d) else -1
                return const(lowest), Call(Fn.SUB, (axis.hi, const(1)))
        return (None, None)

    def is_listed(self, read: Read, d: Definition) -> bool:
        """Whether a read of a compacted list stays before its count: its last index runs up to that count."""
        last = read.index[-1]
        axis = next((a for a in self.axes if last == Var(a.name)), None)
        return axis is not None and Read(d.targets[1].name, read.index[:-1]) in _plain(axis.hi)

    def definition(self, d: Definition) -> None:
        self.axes = d.axes
        outer = self.base.within(d.axes)
        match d.body:
            case Reduction(axes=axes, args=args, guard=guard):
                for axis in axes:
                    self.expr(axis.lo, outer)
                    self.expr(axis.hi, outer)
                    self.axes += (axis,)
                    outer = outer.within((axis,))
                if guard is not None:
                    self.expr(guard, outer)
                    outer = outer.within((), guard)
                for arg in args:
                    self.expr(arg, outer)
            case Compact(axis, expr) | Sort(axis, expr):
                self.axes += (axis,)
                self.expr(expr, outer.within((axis,)))
            case _:
                for expr in d.expressions:
                    self.expr(expr, outer)

    def expr(self, expr: Expr, prover: Prover) -> None:
        for read in reads(expr):
            if read.boundary is Boundary.NONE:
                self.read(read, prover)

    def read(self, read: Read, prover: Prover) -> None:
        tensor = self.inputs.get(read.tensor)
        if tensor is None:
            tensor = next(t for t in self.made[read.tensor].targets if t.name == read.tensor)
        for k, (index, extent) in enumerate(zip(read.index, tensor.shape, strict=True)):
            last = Call(Fn.SUB, (extent, const(1)))
            if prover.nonnegative(index) and prover.at_most(index, last):
                continue
            checks = self.gather(index, extent)
            assumed = prover.copy()
            for source, highest in checks:
                assumed.assume(Call(Fn.GE, (source, const(0))))
                assumed.assume(Call(Fn.LE, (source, highest)))
            if checks and assumed.nonnegative(index) and assumed.at_most(index, last):
                self.found.update({GatherCheck(s.tensor, const(0), h): None for s, h in checks})
                continue
            computed = any(r.tensor in self.made for r in reads(index))
            why = "a computed index" if computed else "not proved inside"
            raise VerifyError(
                f"index {k} of `{read.tensor}`, {print_expr(index)}, may leave 0..{print_expr(extent)} ({why})",
                read.location,
                f"give the read a boundary (`{read.tensor}.clamp[...]`, `.pad(0)[...]`, `.wrap`, `.reflect`), or state "
                "a fact about the extents: `where M <= N`",
            )

    def gather(self, index: Expr, extent: Expr) -> list[tuple[Read, Expr]]:
        """Reads of input integer tensors that an index is made of, with the highest value each may have."""
        out: dict[Read, Expr] = {}
        for read in reads(index):
            if self.is_index_input(read):
                out[read] = Call(Fn.SUB, (extent, const(1)))
        names, seen = _outside_reads(index), set[str]()
        while names - seen:
            for axis in self.axes:
                if axis.name in names - seen:
                    for bound in (axis.lo, axis.hi):
                        for read in reads(bound):
                            if self.is_index_input(read):
                                out.setdefault(read, extent)
                        names |= _outside_reads(bound)
                    seen.add(axis.name)
            seen |= names - {a.name for a in self.axes}
        return list(out.items())

    def is_index_input(self, read: Read) -> bool:
        return read.tensor in self.inputs and self.inputs[read.tensor].dtype.is_int


def _outside_reads(expr: Expr) -> set[str]:
    """The variables an integer expression is made of, those inside of reads left out."""
    return variables(rewrite(expr, lambda e: const(0) if isinstance(e, Read) else None))


def _plain(expr: Expr) -> tuple[Expr, ...]:
    """An integer expression and what it widens."""
    inner = expr.children
    return (expr, *inner) if len(inner) == 1 else (expr,)
