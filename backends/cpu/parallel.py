"""Parallel loops: the body becomes a function of a range of iterations, which the thread run-time hands out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...ir.expr import Fn, variables
from ...ir.gir import Alloc, Level, Loop, LoopKind, Stmt, bodies, walk
from . import arith
from .context import Buffer, Context
from .expressions import scalar_i64
from .fission import has_sync
from .llvm_text import Code, Elem, Value, index, type_name
from .names import mentioned
from .statements import buffer_bytes, count_up, statement
from .tiles import SCALAR, LazyTile, Tile, spots


def parallel_loop(ctx: Context, loop: Loop) -> None:
    """Outline a parallel nest and run it on the team. Perfectly nested ones share one range."""
    nest = [loop]
    while _continues(nest):
        nest.append(nest[-1].body[0])  # type: ignore[arg-type]
    code = ctx.code
    extras: dict[str, Value] = {}
    total = index(1)
    trips = []
    for depth, level in enumerate(nest):
        lo, hi = scalar_i64(ctx, level.lo, SCALAR), scalar_i64(ctx, level.hi, SCALAR)
        span = arith.binary(code, Fn.SUB, hi, lo)
        span = arith.binary(code, Fn.ADD, span, index(level.step - 1))
        count = arith.binary(code, Fn.FLOORDIV, span, index(level.step)) if level.step != 1 else span
        count = arith.binary(code, Fn.MAX, count, index(0)) if len(nest) > 1 else count
        trips.append(count)
        extras[f"$lo{depth}"], extras[f"$trips{depth}"] = lo, count
        total = arith.binary(code, Fn.MUL, total, count)
    captures = Captures.of(ctx, nest[-1].body, extras)
    name = f"{code.name}_body{code.counter}"
    arguments = captures.store(ctx)
    team = ctx.team
    assert team is not None
    start = code.op(f"load ptr, {team.runtime.typed}", Elem.PTR)
    args = [team.runtime, Value(f"@{name}", Elem.PTR), arguments, total, team.threads, team.slot]
    code.do(f"call void {start.text}({', '.join(a.typed for a in args)})")
    _outline(ctx, name, nest, captures)


def _continues(nest: list[Loop]) -> bool:
    inner = nest[-1].body
    if len(inner) != 1 or not isinstance(inner[0], Loop) or inner[0].kind not in (LoopKind.UNIT, LoopKind.GROUP):
        return False
    if has_sync(inner[0]):
        return False
    outer = {level.var for level in nest}
    return not (variables(inner[0].lo) | variables(inner[0].hi)) & outer


def _outline(parent: Context, name: str, nest: list[Loop], captures: Captures) -> None:
    arguments, slot = Value("%arguments", Elem.PTR), Value("%slot", Elem.PTR)
    begin, end = Value("%begin", Elem.I64), Value("%end", Elem.I64)
    code = Code(parent.code.module, name, [arguments, begin, end, slot])
    ctx = Context(code, parent.options)
    captures.restore(ctx, arguments)
    body = nest[-1].body
    provide_scratch(ctx, body, slot)

    counts = [ctx.value(f"$trips{depth}") for depth in range(len(nest))]
    # Division by a count that is open costs as much as a short iteration: there, numbers are counted up instead.
    counted = any(c.constant is None for c in counts[1:])
    places = [code.alloca(Elem.I64) for _ in nest] if counted else []
    for place, number in zip(places, _numbers(code, begin, counts), strict=False):
        code.do(f"store {number.typed}, {place.typed}")

    def trip(k: Value) -> None:
        read = [code.op(f"load i64, {p.typed}", Elem.I64) for p in places]
        for depth, number in enumerate(read if counted else _numbers(code, k, counts)):
            own = arith.binary(code, Fn.MUL, number, index(nest[depth].step))
            ctx.names[nest[depth].var] = arith.binary(code, Fn.ADD, own, ctx.value(f"$lo{depth}"))
        for stmt in body:
            statement(stmt, ctx)
        _count(code, places, read, counts)

    count_up(ctx, begin, end, 1, trip)
    if ctx.streams and ctx.options.x86:
        code.call_void("llvm.x86.sse.sfence", [])
    code.finish()


def _numbers(code: Code, k: Value, counts: list[Value]) -> list[Value]:
    """The number of the iteration of each loop of a nest, of iteration `k` of all together."""
    out: list[Value] = []
    for count in reversed(counts[1:]):
        some = arith.binary(code, Fn.MAX, count, index(1))  # where there are none, nobody uses the numbers
        out.append(code.op(f"urem {k.typed}, {some.text}", Elem.I64))
        k = code.op(f"udiv {k.typed}, {some.text}", Elem.I64)
    return [k, *reversed(out)]


def _count(code: Code, places: list[Value], read: list[Value], counts: list[Value]) -> None:
    """To the next iteration: the innermost number goes up, and where one is through the next outer one does."""
    carry = Value("1", Elem.I64)
    for place, number, count in reversed(list(zip(places, read, counts, strict=False))):
        following = code.op(f"add {number.typed}, {carry.text}", Elem.I64)
        through = code.op(f"icmp eq {following.typed}, {count.text}", Elem.I1)
        code.do(f"store i64 {_select(code, through, '0', following.text)}, {place.typed}")
        carry = code.op(f"zext {through.typed} to i64", Elem.I64)


def _select(code: Code, condition: Value, yes: str, no: str) -> str:
    return code.op(f"select {condition.typed}, i64 {yes}, i64 {no}", Elem.I64).text


def provide_scratch(ctx: Context, body: tuple[Stmt, ...], slot: Value) -> None:
    """Get an arena for the sram buffers of a body, the largest sum over what is alive at once."""
    need = _scratch_need(ctx, body, index(0))
    if not any(isinstance(s, Alloc) and s.level is not Level.REG for s in walk(body)):
        return
    place = ctx.code.op(f"getelementptr i8, {slot.typed}, i64 16", Elem.PTR)
    grow = ctx.code.op(f"load ptr, {place.typed}", Elem.PTR)
    ctx.scratch = ctx.code.op(f"call ptr {grow.text}({slot.typed}, {need.typed})", Elem.PTR)
    ctx.scratch_offset = index(0)


def _scratch_need(ctx: Context, body: tuple[Stmt, ...], offset: Value) -> Value:
    code, largest = ctx.code, offset
    for stmt in body:
        if isinstance(stmt, Alloc) and stmt.level is not Level.REG:
            offset = arith.binary(code, Fn.ADD, offset, buffer_bytes(ctx, stmt))
            largest = _larger(code, largest, offset)
        if isinstance(stmt, Loop) and stmt.kind in (LoopKind.UNIT, LoopKind.GROUP) and ctx.team is not None:
            continue  # its body has an arena of its own
        for inner in bodies(stmt):
            largest = _larger(code, largest, _scratch_need(ctx, inner, offset))
    return largest


def _larger(code: Code, a: Value, b: Value) -> Value:
    if a.constant is not None and b.constant is not None:
        return a if a.constant >= b.constant else b
    return a if a.text == b.text else arith.binary(code, Fn.MAX, a, b)


@dataclass
class Captures:
    """What an outlined body sees of its surroundings, laid out in one block of memory."""

    values: dict[str, Value]
    tiles: dict[str, Tile]
    buffers: dict[str, Buffer]

    @staticmethod
    def of(ctx: Context, body: tuple[Stmt, ...], extras: dict[str, Value]) -> Captures:
        out = Captures(dict(extras), {}, {})
        names = list(dict.fromkeys(mentioned(body)))
        for name in names:
            match ctx.names.get(name):
                case Value() as value:
                    out.values[name] = value
                case Tile() as tile:
                    out.tiles[name] = tile
                case Buffer() as buffer:
                    out.buffers[name] = buffer
        return out

    def store(self, ctx: Context) -> Value:
        """Write everything to a block on the caller's stack; the address of the block."""
        code = ctx.code
        items = list(self._items(ctx, code))
        block = code.alloca(Elem.I8, 1, max(64, sum(size for _, size in items)))
        offset = 0
        for value, size in items:
            place = code.op(f"getelementptr i8, {block.typed}, i64 {offset}", Elem.PTR)
            code.do(f"store {value.typed}, {place.typed}, align 8")
            offset += size
        return block

    def _items(self, ctx: Context, code: Code) -> Iterator[tuple[Value, int]]:
        for value in self.values.values():
            if value.constant is None:
                yield value, 8
        for buffer in self.buffers.values():
            yield buffer.pointer, 8
            for stride in buffer.strides:
                if stride.constant is None:
                    yield stride, 8
        for tile in self.tiles.values():
            for spot in spots(tile.shape, ctx.options.lanes):
                value = code.splat(arith.convert(code, tile.piece(code, spot.row, spot.start), tile.elem), spot.width)
                yield value, _piece_bytes(tile, spot.width)

    def restore(self, ctx: Context, block: Value) -> None:
        """Bind the same names in the outlined function."""
        code, offset = ctx.code, 0

        def take(elem: Elem, lanes: int, size: int) -> Value:
            nonlocal offset
            place = code.op(f"getelementptr i8, {block.typed}, i64 {offset}", Elem.PTR)
            offset += size
            return code.op(f"load {type_name(elem, lanes)}, {place.typed}, align 8", elem, lanes)

        for name, value in self.values.items():
            ctx.names[name] = value if value.constant is not None else take(value.elem, 1, 8)
        for name, buffer in self.buffers.items():
            pointer = take(Elem.PTR, 1, 8)
            strides = tuple(s if s.constant is not None else take(Elem.I64, 1, 8) for s in buffer.strides)
            ctx.names[name] = Buffer(buffer.name, buffer.dtype, buffer.shape, pointer, strides, buffer.scope)
        for name, tile in self.tiles.items():
            copy = LazyTile(tile.shape, tile.elem, _unreachable, frozenset(), ctx.options.lanes)
            for spot in spots(tile.shape, ctx.options.lanes):
                copy.values[spot.row, spot.start] = take(tile.elem, spot.width, _piece_bytes(tile, spot.width))
            ctx.names[name] = copy


def _piece_bytes(tile: Tile, width: int) -> int:
    return max(8, (tile.elem.bits * width + 63) // 64 * 8)


def _unreachable(spot: object) -> Value:
    raise AssertionError("a captured tile has all its pieces")
