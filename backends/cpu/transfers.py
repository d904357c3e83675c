"""Load and Store statements: which way a tile goes between registers and memory."""

from __future__ import annotations

from ...ir.expr import Expr
from ...ir.gir import Load, Prefetch, Store
from . import access
from .access import Reach
from .context import Context
from .expressions import Memo, evaluate
from .linear import dependencies
from .llvm_text import Elem, Value, arithmetic_elem
from .storage import to_storage
from .tiles import SCALAR, LazyTile, Spot, rows, spots
from .transpose import Guard, block_start, is_transposed, load_block, store_block

_STREAM_BITS = 128  # narrower vectors have no non-temporal store


def load(ctx: Context, stmt: Load, bits: bool = False) -> LazyTile:
    """The tile that a Load introduces; memory is read when a piece is first used, or before it may change. With `bits`
    it holds what is stored, as i32."""
    reach = Reach(ctx, stmt.source, stmt.shape, stmt.pairs, bits)
    reads = dependencies(ctx, *stmt.source.index, stmt.predicate, stmt.fill) | {stmt.source.buffer}
    names = dict(ctx.names)
    guard = Guard(ctx, stmt.predicate)
    transposed = guard.follows and is_transposed(reach, stmt.shape) and not bits
    blocks: dict[tuple[tuple[int, ...], int, int], list[Value]] = {}

    def compute(spot: Spot) -> Value:
        first = block_start(spot) if transposed else None
        if first is not None:
            key = (spot.row[:-1], first, spot.start)
            with ctx.seeing(names):
                if key not in blocks:
                    blocks[key] = load_block(reach, spot, first, guard)
                row = blocks[key][spot.row[-1] - first]
                return access.load(reach, spot, stmt.predicate, stmt.fill, lambda: row)
        with ctx.seeing(names):
            return access.load(reach, spot, stmt.predicate, stmt.fill)

    elem = Elem.I32 if bits else arithmetic_elem(stmt.dtype(reach.buffer.dtype))
    return LazyTile(stmt.shape, elem, compute, reads, ctx.options.lanes)


def prefetch(ctx: Context, stmt: Prefetch) -> None:
    """One instruction a line, into the second-level cache: what comes next must not push out what is in use."""
    reach = Reach(ctx, stmt.source, ())
    first = access.one(reach, SCALAR)
    ctx.code.module.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    for start in range(0, stmt.count * reach.storage.bits // 8, ctx.options.line):
        at = ctx.code.op(f"getelementptr i8, {first.typed}, i64 {start}", Elem.PTR) if start else first
        ctx.code.do(f"call void @llvm.prefetch.p0({at.typed}, i32 0, i32 2, i32 1){reach.buffer.scope}")


def store(ctx: Context, stmt: Store, pairs: bool = False) -> None:
    """With `pairs` the values are the bits of two neighbours."""
    ctx.force_readers(stmt.target.buffer)
    reach = Reach(ctx, stmt.target, stmt.shape, pairs)
    guard = Guard(ctx, stmt.predicate)
    if guard.follows and is_transposed(reach, stmt.shape):
        _store_blocks(ctx, reach, stmt, guard)
        return
    contiguous = reach.lane_stride is not None and reach.lane_stride.constant == 1
    whole = contiguous and reach.base is not None and stmt.predicate is None
    for row in rows(stmt.shape):
        pieces = [Spot(stmt.shape, row, s.start, s.width) for s in spots(stmt.shape[-1:], ctx.options.lanes)]
        widest = max(s.width for s in pieces) * reach.storage.bits
        if stmt.streaming and ctx.options.streaming and whole and widest >= _STREAM_BITS:
            _stream_row(ctx, reach, pieces, stmt.value)
            continue
        for spot in pieces:
            memo = Memo()
            mask = None if stmt.predicate is None else evaluate(ctx, stmt.predicate, spot, memo)
            access.store(reach, spot, evaluate(ctx, stmt.value, spot, memo), mask)


def _bits(ctx: Context, reach: Reach, value: Expr, spot: Spot) -> Value:
    """What is stored at a spot, in every lane."""
    found = evaluate(ctx, value, spot)
    return ctx.code.splat(found if reach.pairs else to_storage(ctx.code, found, reach.buffer.dtype), spot.width)


def _store_blocks(ctx: Context, reach: Reach, stmt: Store, guard: Guard) -> None:
    """Rows are contiguous, lanes are not: square blocks are transposed in registers, the rest goes lane by lane."""
    for spot in spots(stmt.shape, ctx.options.lanes):
        first = block_start(spot)
        if first is None:
            mask = None if stmt.predicate is None else evaluate(ctx, stmt.predicate, spot)
            access.store(reach, spot, evaluate(ctx, stmt.value, spot), mask)
        elif first == spot.row[-1]:
            block = [Spot(spot.shape, (*spot.row[:-1], first + k), spot.start, spot.width) for k in range(spot.width)]
            store_block(reach, spot, [_bits(ctx, reach, stmt.value, s) for s in block], guard)


def _stream_row(ctx: Context, reach: Reach, pieces: list[Spot], value: Expr) -> None:
    """Non-temporal stores need whole aligned vectors: tested once for each row, plain stores otherwise."""
    code = ctx.code
    widest = max(spot.width for spot in pieces)
    values = [_bits(ctx, reach, value, spot) for spot in pieces]
    ctx.streams = True
    address = code.op(f"ptrtoint {reach.pointer(pieces[0]).typed} to i64", Elem.I64)
    low = code.op(f"and {address.typed}, {widest * reach.storage.bits // 8 - 1}", Elem.I64)
    aligned = code.op(f"icmp eq {low.typed}, 0", Elem.I1)
    fast, slow, done = code.new_label("stream"), code.new_label("plain"), code.new_label("stored")
    code.branch(aligned, fast, slow)
    for label, streaming in ((fast, True), (slow, False)):
        code.label(label)
        for spot, v in zip(pieces, values, strict=True):
            access.store_raw(reach, spot, v, streaming=streaming and spot.width == widest)
        code.jump(done)
    code.label(done)
