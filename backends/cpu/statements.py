"""Statements of a kernel body."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

from ...ir.errors import InternalError, ScheduleError
from ...ir.expr import Expr, Fn, as_int
from ...ir.gir import Alloc, Branch, Compute, Level, Load, Loop, LoopKind, Move, Prefetch, Reduce, Stmt, Store, Sync
from . import arith, folds, transfers
from .context import Buffer, Context
from .expressions import evaluate, scalar_i64
from .fission import fission, has_sync
from .linear import dependencies
from .llvm_text import Elem, Value, arithmetic_elem, index
from .moves import expand_move
from .pair_moves import BitsLoad, PairStore, paired
from .tiles import SCALAR, LazyTile, MutableTile, Spot, spots

_UNROLL_LIMIT = 1024  # trips of an UNROLL loop that are written out
_VECTOR_BYTES = 64  # the widest there is: scratch starts at multiples of it


def body(ctx: Context, stmts: tuple[Stmt, ...]) -> None:
    """A nested body, in a scope of its own."""
    with ctx.nested():
        for stmt in stmts:
            statement(stmt, ctx)


@singledispatch
def statement(stmt: Stmt, ctx: Context) -> None:
    raise InternalError(f"the cpu target has no code for {type(stmt).__name__}")


@statement.register
def _(stmt: Alloc, ctx: Context) -> None:
    if stmt.level is Level.REG:
        shape = tuple(_static(e, stmt) for e in stmt.shape)
        ctx.names[stmt.name] = MutableTile(ctx.code, shape, stmt.dtype, ctx.options.lanes)
        return
    size = buffer_bytes(ctx, stmt)
    assert ctx.scratch is not None and ctx.scratch_offset is not None
    pointer = ctx.code.op(f"getelementptr i8, {ctx.scratch.typed}, {ctx.scratch_offset.typed}", Elem.PTR)
    ctx.scratch_offset = arith.binary(ctx.code, Fn.ADD, ctx.scratch_offset, size)
    strides = buffer_strides(ctx, stmt.shape)
    # One scope for all of sram: buffers whose lifetimes do not overlap share addresses.
    scope = ctx.code.module.scope("sram")
    ctx.names[stmt.name] = Buffer(stmt.name, stmt.dtype, stmt.shape, pointer, strides, scope)


def _static(extent: Expr, stmt: Alloc) -> int:
    value = as_int(extent)
    if value is None:
        raise ScheduleError(f"register tile '{stmt.name}' has a symbolic extent", stmt.location, "bind the symbol")
    return value


def buffer_strides(ctx: Context, shape: tuple[Expr, ...]) -> tuple[Value, ...]:
    """Row-major strides in elements."""
    strides = [index(1)]
    for extent in reversed(shape[1:]):
        strides.append(arith.binary(ctx.code, Fn.MUL, scalar_i64(ctx, extent, SCALAR), strides[-1]))
    return tuple(reversed(strides))[: len(shape)]


def buffer_bytes(ctx: Context, stmt: Alloc) -> Value:
    """Size of an sram buffer, rounded up to whole lines (and vectors)."""
    code, total, line = ctx.code, index(stmt.dtype.bytes), max(_VECTOR_BYTES, ctx.options.line)
    for extent in stmt.shape:
        total = arith.binary(code, Fn.MUL, total, scalar_i64(ctx, extent, SCALAR))
    total = arith.binary(code, Fn.ADD, total, index(line - 1))
    if total.constant is not None:
        return index(int(total.constant) // line * line)
    return code.op(f"and {total.typed}, -{line}", Elem.I64)


def assign(ctx: Context, name: str, tile: LazyTile) -> None:
    """Bind a new tile, or write a mutable one at once."""
    old = ctx.names.get(name)
    if isinstance(old, MutableTile):
        ctx.force_readers(name)
        for spot in spots(old.shape, ctx.options.lanes):
            old.assign(ctx.code, spot, tile.piece(ctx.code, spot.row, spot.start))
        return
    ctx.names[name] = tile
    ctx.pending.append(tile)


@statement.register
def _(stmt: Load, ctx: Context) -> None:
    assign(ctx, stmt.tile, transfers.load(ctx, stmt))


@statement.register
def _(stmt: BitsLoad, ctx: Context) -> None:
    assign(ctx, stmt.tile, transfers.load(ctx, stmt, bits=True))


@statement.register
def _(stmt: Store, ctx: Context) -> None:
    transfers.store(ctx, stmt)


@statement.register
def _(stmt: PairStore, ctx: Context) -> None:
    transfers.store(ctx, stmt, pairs=True)


@statement.register
def _(stmt: Compute, ctx: Context) -> None:
    names = dict(ctx.names)

    def compute(spot: Spot) -> Value:
        with ctx.seeing(names):
            return evaluate(ctx, stmt.expr, spot)

    reads = dependencies(ctx, stmt.expr)
    elem = arithmetic_elem(stmt.dtype)
    assign(ctx, stmt.tile, LazyTile(stmt.shape, elem, compute, reads, ctx.options.lanes))


@statement.register
def _(stmt: Reduce, ctx: Context) -> None:
    source = ctx.tile(stmt.source)
    if not stmt.running:
        assign(ctx, stmt.tile, folds.reduce(ctx, stmt, source))
        return
    scan = folds.Scan(ctx, stmt, source)
    if isinstance(source, LazyTile):
        ctx.names[folds.scan_name(stmt)] = scan
    assign(ctx, stmt.tile, scan)


@statement.register
def _(stmt: Prefetch, ctx: Context) -> None:
    transfers.prefetch(ctx, stmt)


@statement.register
def _(stmt: Sync, ctx: Context) -> None:
    """Outside of parallel loops one unit runs everything, and a parallel loop has joined before the next statement."""


@statement.register
def _(stmt: Move, ctx: Context) -> None:
    lanes = ctx.options.lanes
    target, source = ctx.buffer(stmt.target.buffer).dtype, ctx.buffer(stmt.source.buffer).dtype
    tile = lanes // 2 if target.bytes == 8 else lanes
    if target is source and target.bytes == 2:
        stmt = paired(stmt)
    for inner in expand_move(stmt, lanes, tile):
        statement(inner, ctx)


@statement.register
def _(stmt: Branch, ctx: Context) -> None:
    code = ctx.code
    condition = arith.convert(code, evaluate(ctx, stmt.condition, SCALAR), Elem.I1)
    if condition.constant is not None:
        body(ctx, stmt.then if condition.constant else stmt.otherwise)
        return
    ctx.force_all()
    then, otherwise, done = code.new_label("then"), code.new_label("else"), code.new_label("endif")
    code.branch(condition, then, otherwise if stmt.otherwise else done)
    code.label(then)
    body(ctx, stmt.then)
    code.jump(done)
    if stmt.otherwise:
        code.label(otherwise)
        body(ctx, stmt.otherwise)
        code.jump(done)
    code.label(done)


@statement.register
def _(stmt: Loop, ctx: Context) -> None:
    if stmt.kind.is_parallel and has_sync(stmt):
        for part in fission(stmt):
            statement(part, ctx)
        return
    lo, hi = scalar_i64(ctx, stmt.lo, SCALAR), scalar_i64(ctx, stmt.hi, SCALAR)
    if stmt.kind in (LoopKind.UNIT, LoopKind.GROUP) and ctx.team is not None:
        from .parallel import parallel_loop

        ctx.force_all()
        parallel_loop(ctx, stmt)
        return
    if lo.constant is not None and hi.constant is not None:
        trips = len(range(int(lo.constant), int(hi.constant), stmt.step))
        if trips == 0:
            return
        if trips == 1 or (stmt.kind in (LoopKind.UNROLL, LoopKind.LANE) and trips <= _UNROLL_LIMIT):
            for k in range(trips):
                with ctx.nested():
                    ctx.names[stmt.var] = index(int(lo.constant) + k * stmt.step)
                    for inner in stmt.body:
                        statement(inner, ctx)
            return
    ctx.force_all()
    counted(ctx, lo, hi, stmt.step, stmt.var, stmt.body)


def counted(ctx: Context, lo: Value, hi: Value, step: int, var: str, stmts: tuple[Stmt, ...]) -> None:
    """`for var = lo; var < hi; var += step`."""

    def trip(variable: Value) -> None:
        ctx.names[var] = variable
        for inner in stmts:
            statement(inner, ctx)

    count_up(ctx, lo, hi, step, trip)


def count_up(ctx: Context, lo: Value, hi: Value, step: int, trip: Callable[[Value], None]) -> None:
    """A loop in rotated form: tested before the first trip and at the end of each."""
    code = ctx.code
    head, latch, done = code.new_label("loop"), code.new_label("latch"), code.new_label("done")
    before = code.block
    code.branch(arith.compare(code, Fn.LT, lo, hi), head, done)
    code.label(head)
    following, variable = code.fresh(), code.fresh()
    code.do(f"{variable} = phi i64 [ {lo.text}, %{before} ], [ {following}, %{latch} ]")
    with ctx.nested():
        trip(Value(variable, Elem.I64))
    code.jump(latch)
    code.label(latch)
    code.do(f"{following} = add nsw i64 {variable}, {step}")
    code.branch(arith.compare(code, Fn.LT, Value(following, Elem.I64), hi), head, done)
    code.label(done)
