"""What one unit issues: vector instructions, flops and bytes of a single GIR statement.

Counts are in vector instructions of the machine; a function of `mathlib` weighs what its sequence does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache

from ...backends.machine import Machine
from ...backends.mathlib import LIBRARY, sequence
from ...ir.dtypes import DType
from ...ir.expr import Call, Cast, Coord, Expr, Fn, Ref, const, rewrite, walk
from ...ir.gir import Access, Compute, Load, Move, Prefetch, Reduce, Stmt, Store
from .footprint import evaluate

_WEIGHT: dict[Fn, float] = {
    Fn.DIV: 10, Fn.SQRT: 12, Fn.FLOORDIV: 20, Fn.MOD: 20, Fn.NEG: 0.5, Fn.ABS: 0.5,
    Fn.MAX: 2, Fn.MIN: 2,  # NaN is propagated
}  # fmt: skip
# Beside the multiply-adds of a sequence other pipes are busy: measured, 16 f32 by AVX-512 (1.2 instructions a cycle
# otherwise) took from 0.5 to 0.7 of this for each step.
STEP = 0.6
GATHERED = 3.0  # instructions for each lane of a gather: 16 take about 40 cycles
TRANSCENDENTAL = frozenset(
    {Fn.EXP, Fn.EXP2, Fn.EXPM1, Fn.LOG, Fn.LOG2, Fn.LOG1P, Fn.TANH, Fn.SIGMOID, Fn.ERF, Fn.SIN, Fn.COS, Fn.POW}
)
_FLOPS = {Fn.FMA: 2, Fn.DOT2_BF16: 4}
_NO_FLOP = frozenset({Fn.SELECT, Fn.AND, Fn.OR, Fn.NOT, Fn.EQ, Fn.NE, Fn.LT, Fn.LE, Fn.GT, Fn.GE, Fn.ISNAN})


@dataclass(slots=True)
class Work:
    """Totals; `loads` and `stores` in L1 accesses, `alu` and `fma` in vector instructions, the rest in units of one."""

    loads: float = 0.0
    stores: float = 0.0
    alu: float = 0.0
    fma: float = 0.0
    flops: float = 0.0
    transcendentals: float = 0.0
    l1_read: float = 0.0
    l1_written: float = 0.0
    sram_read: float = 0.0
    sram_written: float = 0.0
    load_count: float = 0.0
    compute_count: float = 0.0
    reduce_count: float = 0.0
    store_count: float = 0.0
    move_count: float = 0.0
    sync_count: float = 0.0

    def add(self, other: Work, times: float = 1.0) -> None:
        for name in _FIELDS:
            value = getattr(other, name)
            if value:
                setattr(self, name, getattr(self, name) + value * times)

    def cycles(self, machine: Machine) -> float:
        """At best: two loads, one store, four instructions and `fma_per_cycle` multiply-adds in a cycle."""
        total = self.loads + self.stores + self.alu + self.fma
        pipes = (self.fma + self.alu) / machine.alu_per_cycle
        return max(self.loads / 2, self.stores, pipes, self.fma / machine.fma_per_cycle, total / 4)


@cache
def weight(fn: Fn, wide: bool) -> float:
    """What a call counts for, in vector instructions; of f32, since the type matters little beside the lanes."""
    if fn in LIBRARY:
        total = 0.0
        for step in sequence(fn, False, wide):
            inner = step.expr.fn if isinstance(step.expr, Call) else None
            one = _WEIGHT[inner] if inner is Fn.DIV or inner is Fn.SQRT else 1.0
            total += one * max(1, step.dtype.bytes // 4)  # steps in f64 fill two vectors
        return STEP * total
    return _WEIGHT.get(fn, 1.0)


Kept = tuple[int, bool, tuple[float, ...]]  # element bytes, whether scratch, extents of a buffer
_FIELDS = tuple(f.name for f in fields(Work))


def vectors(shape: Sequence[float], lanes: int) -> float:
    """Vector instructions that cover a tile."""
    if not shape:
        return 1.0
    return math.prod(shape[:-1]) * math.ceil(shape[-1] / lanes)


def work_of(stmt: Stmt, shapes: Mapping[str, tuple[int, ...]], types: Mapping[str, Kept], machine: Machine,
            env: Mapping[str, float]) -> Work:  # fmt: skip
    """The work of one execution; `types` gives element bytes of a buffer and whether it is scratch."""
    out = Work()
    match stmt:
        case Load():
            out.load_count = 1
            source, kinds = _as_one(stmt, types) if stmt.pairs else (stmt.source, types)
            _access(
                out,
                source,
                tuple(map(float, stmt.shape)),
                kinds,
                machine,
                False,
                shapes,
                stmt.predicate is not None,
            )
            _guard(out, stmt.predicate, stmt.shape, machine)
        case Store():
            out.store_count = 1
            _access(
                out,
                stmt.target,
                tuple(map(float, stmt.shape)),
                types,
                machine,
                True,
                shapes,
                stmt.predicate is not None,
            )
            _guard(out, stmt.predicate, stmt.shape, machine)
            _compute(out, stmt.value, stmt.shape, shapes, machine, types[stmt.target.buffer][0])
        case Move():
            out.move_count = 1
            shape = tuple(evaluate(e, env) or 1.0 for e in stmt.shape)
            _access(out, stmt.source, shape, types, machine, False, shapes)
            _access(out, stmt.target, shape, types, machine, True, shapes)
        case Prefetch():
            out.loads += math.ceil(stmt.count * types[stmt.source.buffer][0] / machine.line_bytes)
        case Compute():
            out.compute_count = 1
            size = 4 if stmt.dtype is DType.BOOL else stmt.dtype.bytes
            _compute(out, stmt.expr, stmt.shape, shapes, machine, size)
        case Reduce():
            out.reduce_count = 1
            shape = shapes.get(stmt.source, ())
            lanes = machine.lanes(4)
            steps = vectors(shape, lanes)
            if stmt.running:  # a shuffle and a step for each doubling, and what comes from the vector before
                steps *= 1 + 2 * math.log2(max(1, min(lanes, shape[-1]))) * (len(shape) - 1 in stmt.axes)
                out.alu += steps
                out.flops += math.prod(shape)
                return out
            if len(shape) - 1 in stmt.axes and shape[-1] > 1:
                rows = math.prod(s for k, s in enumerate(shape[:-1]) if k not in stmt.axes)
                steps += rows * 2 * math.log2(max(2, min(lanes, shape[-1])))
            out.alu += steps
            out.flops += math.prod(shape)
    return out


def _as_one(load: Load, types: Mapping[str, Kept]) -> tuple[Access, Mapping[str, Kept]]:
    """A load of pairs as one of elements twice as large: of a buffer without its last dimension, where that holds
    pairs."""
    name, (*before, last) = load.source.buffer, load.source.index
    size, scratch, extents = types[name]
    lane = len(load.shape) - 1
    if not _moves(last, lane) and before and extents[-1] == 2:
        return Access(name, tuple(before)), {name: (2 * size, scratch, extents[:-1])}
    last = Coord(lane) if _moves(last, lane) else last  # pairs that follow one another
    return Access(name, (*before, last)), {name: (2 * size, scratch, (*extents[:-1], extents[-1] / 2))}


def _access(out: Work, access: Access, shape: tuple[float, ...], types: Mapping[str, Kept],
            machine: Machine, store: bool, shapes: Mapping[str, tuple[int, ...]],
            guarded: bool = False) -> None:  # fmt: skip
    access = Access(access.buffer, tuple(_without_single(i, shapes) for i in access.index))
    size, scratch, _ = types[access.buffer]
    elements = math.prod(shape)
    count = vectors(shape, machine.lanes(size))
    if shape and shape[-1] > 1 and _transposed(access, shape, machine.lanes(size)):
        # a square block changes rows and columns in registers; under a guard its rows are masked
        out.alu += count * (math.log2(machine.lanes(size)) + guarded)
    elif by_elements(access, shape, machine.lanes(size)):
        count = elements
        out.alu += GATHERED * elements  # each lane is put in its place
    bytes_ = elements * size
    if store:
        out.stores += count
        out.l1_written += bytes_
        out.sram_written += bytes_ * scratch
    else:
        out.loads += count
        out.l1_read += bytes_
        out.sram_read += bytes_ * scratch


def by_elements(access: Access, shape: tuple[float, ...], lanes: int) -> bool:
    """Whether the lanes of an access are neither neighbours in memory nor made so in registers."""
    if not shape or shape[-1] <= 1 or _contiguous(access, len(shape) - 1):
        return False
    return not _transposed(access, shape, lanes)


def _transposed(access: Access, shape: tuple[float, ...], lanes: int) -> bool:
    """Whether a tile is made of blocks whose rows are contiguous where its lanes are not."""
    lane = len(shape) - 1
    if len(shape) < 2 or shape[lane] % lanes or _contiguous(access, lane) or any(_scattered(i) for i in access.index):
        return False
    return any(shape[k] % lanes == 0 and _contiguous(access, k) and _moves(access.index[-1], k) for k in range(lane))


def _scattered(index: Expr) -> bool:
    return any(isinstance(n, Ref) for n in walk(index))


def _without_single(index: Expr, shapes: Mapping[str, tuple[int, ...]]) -> Expr:
    """The index with tiles that hold one value for all lanes taken for numbers."""
    if not any(isinstance(n, Ref) for n in walk(index)):
        return index

    def rule(e: Expr) -> Expr | None:
        return const(0) if isinstance(e, Ref) and shapes.get(e.name, (2,))[-1:] in ((), (1,)) else None

    return rewrite(index, rule)


def _contiguous(access: Access, lane: int) -> bool:
    """Whether neighbours along the lanes are neighbours in memory (or one element for all lanes)."""
    if any(_moves(i, lane) for i in access.index[:-1]):
        return False
    return not access.index or _unit_stride(access.index[-1], lane)


def _moves(expr: Expr, lane: int) -> bool:
    match expr:
        case Coord(axis):
            return axis == lane
        case Ref():
            return True
    return any(_moves(c, lane) for c in expr.children)


def _unit_stride(expr: Expr, lane: int) -> bool:
    match expr:
        case Coord():
            return True
        case Ref():
            return False
        case Call(Fn.ADD, (a, b)):
            return _unit_stride(a, lane) and _unit_stride(b, lane)
        case Call(Fn.SUB, (a, b)):
            return _unit_stride(a, lane) and not _moves(b, lane)
    return not _moves(expr, lane)


def _guard(out: Work, predicate: Expr | None, shape: tuple[int, ...], machine: Machine) -> None:
    if predicate is None:
        return
    count = vectors(shape, machine.lanes(4))
    out.alu += count * (1 if machine.has_masks else 4)


def _compute(out: Work, expr: Expr, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]],
             machine: Machine, size: int) -> None:  # fmt: skip
    """Every call is one instruction (times its weight) per vector of the box it varies over; arithmetic on loop
    indices and literals alone is free."""
    lanes = machine.lanes(size)

    def visit(e: Expr) -> tuple[int, ...] | None:
        """The box over which a value varies, None for none."""
        match e:
            case Ref(name):
                return shapes.get(name, shape)
            case Coord(axis):
                return tuple(n if k == axis else 1 for k, n in enumerate(shape))
            case Cast(_, arg):
                box = visit(arg)
                out.alu += vectors(box, lanes) if box is not None else 0.0
                return box
            case Call(fn, args):
                boxes = [b for a in args if (b := visit(a)) is not None]
                if not boxes:
                    return None
                box = boxes[0] if len(boxes) == 1 else _broadcast(boxes)
                count, elements = vectors(box, lanes), math.prod(box)
                if fn in (Fn.FMA, Fn.DOT2_BF16):
                    out.fma += count * (1 if fn is Fn.FMA or machine.instructions.has_bf16_dot else 6)
                elif fn in (Fn.ADD, Fn.SUB) and any(isinstance(a, Call) and a.fn is Fn.MUL for a in args):
                    out.fma += count
                    out.alu = max(0.0, out.alu - count)  # its product was counted
                else:
                    out.alu += count * weight(fn, machine.has_masks)
                out.flops += elements * (0 if fn in _NO_FLOP else _FLOPS.get(fn, 1))
                out.transcendentals += elements if fn in TRANSCENDENTAL else 0
                return box
        return None

    visit(expr)


def _broadcast(boxes: list[tuple[int, ...]]) -> tuple[int, ...]:
    rank = max(len(b) for b in boxes)
    return tuple(max(b[k - rank + len(b)] for b in boxes if k >= rank - len(b)) for k in range(rank))
