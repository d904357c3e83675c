"""Loads and stores of tile pieces: addresses, masks, lanes that are contiguous, equal, strided or gathered."""

from __future__ import annotations

from collections.abc import Callable

from ...ir.expr import Expr, Fn
from ...ir.gir import Access
from . import arith
from .context import Buffer, Context
from .expressions import Memo, evaluate
from .linear import Split, row_dependent, split
from .llvm_text import STORAGE, Elem, Value, index, literal, mangled, type_name, vector_literal
from .storage import from_storage, to_storage
from .tiles import Spot


class Reach:
    """Where an access goes: `pointer(spot)` for lanes `lane_stride` apart (elements), or offsets lane by lane. With
    `pairs` two neighbouring elements of 16 bits are one value of 32; with `bits` one of them is, with zeros above."""

    def __init__(
        self, ctx: Context, access: Access, shape: tuple[int, ...], pairs: bool = False, bits: bool = False
    ) -> None:
        self.ctx = ctx
        self.buffer: Buffer = ctx.buffer(access.buffer)
        self.storage = STORAGE[self.buffer.dtype]
        self.pairs = pairs
        self.bits = bits
        self.elem = Elem.I32 if pairs else Elem.I16 if bits else self.storage  # what one lane holds
        self.unit = 2 if pairs else 1  # elements from one lane to the next where they are contiguous
        self.index = access.index
        rank = len(shape)
        parts = [split(ctx, e, rank) for e in access.index]
        self.parts: list[Split] | None = [p for p in parts if p is not None]
        if len(self.parts) != len(access.index):
            self.parts = None
        self.axis_strides: list[Value] = []
        self.base: Value | None = None
        self.lane_stride: Value | None = None
        if self.parts is not None:
            code = ctx.code
            for axis in range(rank):
                total = index(0)
                for part, stride in zip(self.parts, self.buffer.strides, strict=True):
                    step = arith.binary(code, Fn.MUL, stride, index(part.coefficients[axis]))
                    if part.coefficients[axis]:
                        total = arith.binary(code, Fn.ADD, total, step)
                self.axis_strides.append(total)
            self.lane_stride = self.axis_strides[-1] if rank and shape[-1] != 1 else index(0)
            if not any(row_dependent(ctx, p.rest) for p in self.parts):
                self.base = self._base(Spot(shape, (0,) * max(rank - 1, 0), 0, 1))

    def _base(self, spot: Spot) -> Value:
        """Address of the element at coordinate 0 of every axis."""
        assert self.parts is not None
        code, offset = self.ctx.code, index(0)
        for part, stride in zip(self.parts, self.buffer.strides, strict=True):
            value = arith.convert(code, evaluate(self.ctx, part.rest, spot), Elem.I64)
            offset = arith.binary(code, Fn.ADD, offset, arith.binary(code, Fn.MUL, value, stride))
        return self.step(self.buffer.pointer, offset)

    def step(self, pointer: Value, offset: Value) -> Value:
        if offset.constant == 0:
            return pointer
        return self.ctx.code.op(f"getelementptr {self.storage.value}, {pointer.typed}, {offset.typed}", Elem.PTR)

    def pointer(self, spot: Spot) -> Value:
        """Address of the first lane of a spot. Only with a lane stride."""
        code, offset = self.ctx.code, index(0)
        for k, stride in zip((*spot.row, spot.start), self.axis_strides, strict=False):
            if k:
                offset = arith.binary(code, Fn.ADD, offset, arith.binary(code, Fn.MUL, stride, index(k)))
        base = self.base if self.base is not None else self._base(spot)
        return self.step(base, offset)

    def pointers(self, spot: Spot) -> Value:
        """Addresses of all lanes."""
        code = self.ctx.code
        if self.lane_stride is not None:
            first = self.pointer(spot)
            lanes = vector_literal(list(range(spot.width)), Elem.I64)
            stride = code.splat(self.lane_stride, spot.width)
            offsets = code.op(f"mul {lanes.typed}, {stride.text}", Elem.I64, spot.width)
        else:
            first, offsets = self.buffer.pointer, code.splat(self.offset(spot), spot.width)
        return code.op(f"getelementptr {self.storage.value}, {first.typed}, {offsets.typed}", Elem.PTR, spot.width)

    def offset(self, spot: Spot) -> Value:
        """Element offset in the buffer, for index expressions that are not linear in the lane."""
        code, total, memo = self.ctx.code, index(0), Memo()
        for expr, stride in zip(self.index, self.buffer.strides, strict=True):
            value = arith.convert(code, evaluate(self.ctx, expr, spot, memo), Elem.I64)
            scaled = arith.apply(code, self.ctx.options.features, Fn.MUL, [value, stride])
            total = arith.apply(code, self.ctx.options.features, Fn.ADD, [total, scaled])
        return total


def load(
    reach: Reach, spot: Spot, predicate: Expr | None, fill: Expr | None, bits: Callable[[], Value] | None = None
) -> Value:
    """The arithmetic value at a spot; `fill` in lanes where the predicate is false, which are not touched. `bits` gives
    what is stored there, where that is known otherwise."""
    ctx, code = reach.ctx, reach.ctx.code
    memo = Memo()
    mask = None if predicate is None else evaluate(ctx, predicate, spot, memo)
    if mask is not None and mask.constant is not None:
        if not mask.constant:
            assert fill is not None
            return evaluate(ctx, fill, spot, memo)
        mask = None
    raw = bits() if bits is not None else _load_raw(reach, spot, mask)
    value = _value(reach, raw)
    if mask is None or fill is None:
        return value
    other = arith.convert(code, evaluate(ctx, fill, spot, memo), value.elem)
    lanes = max(value.lanes, other.lanes, mask.lanes)
    return arith.select(code, mask, code.splat(value, lanes), code.splat(other, lanes))


def _value(reach: Reach, raw: Value) -> Value:
    if reach.bits:
        return reach.ctx.code.op(f"zext {raw.typed} to {type_name(Elem.I32, raw.lanes)}", Elem.I32, raw.lanes)
    return raw if reach.pairs else from_storage(reach.ctx.code, raw, reach.buffer.dtype)


def _load_raw(reach: Reach, spot: Spot, mask: Value | None) -> Value:
    """Stored bits; with a mask, lanes that are off hold anything."""
    code, elem, width = reach.ctx.code, reach.elem, spot.width
    align = f"align {reach.storage.bits // 8}{reach.buffer.scope}"
    stride = reach.lane_stride
    scalar = width == 1 or (stride is not None and stride.constant == 0)
    if scalar and (mask is None or mask.lanes == 1):
        pointer = one(reach, spot)
        if mask is not None:
            pointer = code.op(f"select {mask.typed}, {pointer.typed}, {reach.ctx.dummy_slot().typed}", Elem.PTR)
        return code.op(f"load {elem.value}, {pointer.typed}, {align}", elem)
    kind = type_name(elem, width)
    if stride is not None and stride.constant == reach.unit:
        pointer = reach.pointer(spot)
        if mask is None:
            return code.op(f"load {kind}, {pointer.typed}, {align}", elem, width)
        return masked(reach, "load", pointer, "p0", code.splat(mask, width), width)
    mask = code.splat(mask if mask is not None else literal(True, Elem.I1), width)
    return masked(reach, "gather", reach.pointers(spot), f"v{width}p0", mask, width)


def one(reach: Reach, spot: Spot) -> Value:
    """Address of a single element, or of the first of contiguous ones."""
    if reach.lane_stride is not None:
        return reach.pointer(spot)
    return reach.step(reach.buffer.pointer, reach.offset(spot))


def masked(reach: Reach, what: str, pointer: Value, place: str, mask: Value, width: int) -> Value:
    code, elem = reach.ctx.code, reach.elem
    kind = type_name(elem, width)
    zero = Value("zeroinitializer", elem, width)
    align = Value(str(reach.storage.bits // 8), Elem.I32)
    name = f"llvm.masked.{what}.{mangled(elem, width)}.{place}"
    code.module.declare(f"declare {kind} @{name}({pointer.type}, i32, {mask.type}, {kind})")
    args = ", ".join(a.typed for a in (pointer, align, mask, zero))
    return code.op(f"call {kind} @{name}({args}){reach.buffer.scope}", elem, width)


def store(reach: Reach, spot: Spot, value: Value, mask: Value | None) -> None:
    """Round the arithmetic value to the buffer's type and store the lanes that are on."""
    code, width = reach.ctx.code, spot.width
    if mask is not None and mask.constant is not None:
        if not mask.constant:
            return
        mask = None
    value = code.splat(value if reach.pairs else to_storage(code, value, reach.buffer.dtype), width)
    if mask is None:
        store_raw(reach, spot, value, streaming=False)
    elif width == 1:
        pointer = code.op(f"select {mask.typed}, {one(reach, spot).typed}, {reach.ctx.dummy_slot().typed}", Elem.PTR)
        code.do(f"store {value.typed}, {pointer.typed}, align {reach.storage.bits // 8}{reach.buffer.scope}")
    elif reach.lane_stride is not None and reach.lane_stride.constant == reach.unit:
        masked_store(reach, "store", value, reach.pointer(spot), "p0", code.splat(mask, width))
    else:
        masked_store(reach, "scatter", value, reach.pointers(spot), f"v{width}p0", code.splat(mask, width))


def store_raw(reach: Reach, spot: Spot, value: Value, streaming: bool) -> None:
    """Store bits in all lanes; `streaming` promises that the address is aligned to the whole vector."""
    code, bytes_ = reach.ctx.code, reach.storage.bits // 8
    stride = reach.lane_stride
    if spot.width != 1 and (stride is None or stride.constant != reach.unit):
        mask = code.splat(literal(True, Elem.I1), spot.width)
        masked_store(reach, "scatter", value, reach.pointers(spot), f"v{spot.width}p0", mask)
        return
    align = f"align {bytes_ * spot.width if streaming else bytes_}{reach.buffer.scope}"
    hint = ", !nontemporal !0" if streaming else ""
    code.do(f"store {value.typed}, {one(reach, spot).typed}, {align}{hint}")


def masked_store(reach: Reach, what: str, value: Value, pointer: Value, place: str, mask: Value) -> None:
    align = Value(str(reach.storage.bits // 8), Elem.I32)
    name = f"llvm.masked.{what}.{mangled(value.elem, value.lanes)}.{place}"
    reach.ctx.code.call_void(name, [value, pointer, align, mask], reach.buffer.scope)
