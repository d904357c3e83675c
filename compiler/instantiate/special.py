"""Index lists: `compact` as an append with a counter, `sort` as a bottom-up stable merge sort."""

from __future__ import annotations

from ...ir.dtypes import DType
from ...ir.expr import Call, Cast, Const, Expr, Fn, Ref, Var, const
from ...ir.gir import Access, Alloc, Branch, Compute, Level, Load, Loop, LoopKind, Stmt, Store
from ...ir.op import Compact, Definition, Sort
from ..plan import AxisTile
from .nest import NestWriter
from .scope import add, less, minimum, mul, sub
from .view import Source


def _index(source: Source, values: list[Expr]) -> Access:
    return Access(source.buffer, tuple(sub(values[d], o) for d, o in zip(source.order, source.offsets, strict=True)))


def write_compact(writer: NestWriter, definition: Definition) -> list[Stmt]:
    """`(list, count)`: scan the axis, append where the guard holds, pad with -1."""
    body = definition.body
    assert isinstance(body, Compact)
    items, count = (writer.kernel.state_source(t) for t in definition.target_names)
    for tile in writer.nest.loops:
        writer.open(tile, writer.loop_range(tile.axis))
    free = [writer.position[a.name] for a in definition.axes]
    counter = writer.mutable(const(0), (), f"{definition.name}_n")
    axis_range = writer.loop_range(body.axis.name)

    writer.open(AxisTile(body.axis.name), axis_range)
    keep = writer.compute(writer.expr(body.guard), (), "keep")
    place = writer.position[body.axis.name]
    writer.emit(Store(_index(items, [*free, counter]), (), place, keep, False, definition.location))
    step: Expr = Call(Fn.SELECT, (keep, add(counter, const(1)), counter))
    writer.emit(Compute(counter.name, (), step, DType.I64, definition.location))
    writer.close()
    rest = writer.kernel.fresh("rest")
    blank = Store(_index(items, [*free, Var(rest)]), (), const(-1), None, False, definition.location)
    extent = sub(axis_range.hi, axis_range.lo)
    writer.emit(Loop(rest, counter, extent, 1, LoopKind.SERIAL, (blank,), definition.location))
    writer.emit(Store(_index(count, free), (), counter, None, False, definition.location))
    for _ in writer.nest.loops:
        writer.close()
    return writer.levels[0].body


def write_sort(writer: NestWriter, definition: Definition) -> list[Stmt]:
    """The stable permutation: merge runs of 1, 2, 4 ... between the two halves of a scratch buffer."""
    body = definition.body
    assert isinstance(body, Sort)
    kernel = writer.kernel
    target = kernel.state_source(definition.name)
    for tile in writer.nest.loops:
        writer.open(tile, writer.loop_range(tile.axis))
    free = [writer.position[a.name] for a in definition.axes]
    whole = writer.loop_range(body.axis.name)
    extent = whole.hi
    runs, keys = kernel.fresh("runs"), kernel.fresh("keys")

    # keys and the identity permutation
    depth = len(writer.levels) - 1
    writer.open(AxisTile(body.axis.name), whole)
    place = writer.position[body.axis.name]
    key = writer.compute(writer.expr(body.key), (), "key")
    dtype = writer.dtypes[key.name]
    stored = DType.I32 if dtype is DType.BOOL else dtype
    value: Expr = Cast(stored, key) if dtype is DType.BOOL else key
    writer.emit(Store(Access(keys, (place,)), (), value))
    writer.emit(Store(Access(runs, (const(0), place)), (), place))
    writer.close()
    body_at = writer.levels[depth].body
    fill = body_at.pop()
    body_at += [
        Alloc(keys, stored, (extent,), Level.SRAM),
        Alloc(runs, DType.I64, (const(2), extent), Level.SRAM),
        fill,
    ]
    width = writer.mutable(const(1), (), "width")
    parity = writer.mutable(const(0), (), "parity")
    merge = _merge_pass(writer, definition, body, stored, runs, keys, width, parity, extent)
    passes = kernel.fresh("pass")
    writer.emit(Loop(passes, const(0), const(62), 1, LoopKind.SERIAL, (Branch(less(width, extent), tuple(merge)),)))
    out = kernel.fresh("k")
    moved = kernel.fresh("sorted")
    writer.emit(
        Loop(
            out,
            const(0),
            extent,
            1,
            LoopKind.SERIAL,
            (
                Load(moved, (), Access(runs, (parity, Var(out)))),
                Store(_index(target, [*free, Var(out)]), (), Ref(moved)),
            ),
        )
    )
    for _ in writer.nest.loops:
        writer.close()
    return writer.levels[0].body


def _merge_pass(
    writer: NestWriter,
    definition: Definition,
    body: Sort,
    dtype: DType,
    runs: str,
    keys: str,
    width: Ref,
    parity: Ref,
    extent: Expr,
) -> list[Stmt]:
    """All merges of pairs of runs of the current width, then width doubles and the halves swap."""
    fresh = writer.kernel.fresh
    pair, k, left, right = fresh("pair"), fresh("k"), fresh("left"), fresh("right")
    first = mul(Var(pair), mul(const(2), width))
    middle = minimum(add(first, width), extent)
    last = minimum(add(first, mul(const(2), width)), extent)
    names = {n: fresh(n) for n in ("item_a", "item_b", "key_a", "key_b", "has_a", "has_b", "take")}
    has_a, has_b = Ref(names["has_a"]), Ref(names["has_b"])
    zero: Expr = Const(0.0 if dtype.is_float else 0, dtype)
    a, b = Ref(names["key_a"]), Ref(names["key_b"])
    before = Call(Fn.GT if body.descending else Fn.LT, (b, a))  # b must go first
    if dtype.is_float:
        b_first = Call(Fn.OR, (before, Call(Fn.AND, (Call(Fn.ISNAN, (a,)), Call(Fn.NOT, (Call(Fn.ISNAN, (b,)),))))))
    else:
        b_first = before
    take: Expr = Call(Fn.AND, (has_a, Call(Fn.OR, (Call(Fn.NOT, (has_b,)), Call(Fn.NOT, (b_first,))))))
    chosen: Expr = Call(Fn.SELECT, (Ref(names["take"]), Ref(names["item_a"]), Ref(names["item_b"])))
    step: list[Stmt] = [
        Compute(names["has_a"], (), less(Ref(left), middle), DType.BOOL),
        Compute(names["has_b"], (), less(Ref(right), last), DType.BOOL),
        Load(names["item_a"], (), Access(runs, (parity, Ref(left))), has_a, const(0)),
        Load(names["item_b"], (), Access(runs, (parity, Ref(right))), has_b, const(0)),
        Load(names["key_a"], (), Access(keys, (Ref(names["item_a"]),)), has_a, zero),
        Load(names["key_b"], (), Access(keys, (Ref(names["item_b"]),)), has_b, zero),
        Compute(names["take"], (), take, DType.BOOL),
        Store(Access(runs, (sub(const(1), parity), Var(k))), (), chosen),
        Compute(left, (), Call(Fn.SELECT, (Ref(names["take"]), add(Ref(left), const(1)), Ref(left))), DType.I64),
        Compute(right, (), Call(Fn.SELECT, (Ref(names["take"]), Ref(right), add(Ref(right), const(1)))), DType.I64),
    ]
    merge: list[Stmt] = [
        Alloc(left, DType.I64, (), Level.REG),
        Alloc(right, DType.I64, (), Level.REG),
        Compute(left, (), first, DType.I64),
        Compute(right, (), middle, DType.I64),
        Loop(k, first, last, 1, LoopKind.SERIAL, tuple(step), definition.location),
    ]
    pairs = Call(Fn.FLOORDIV, (add(extent, sub(mul(const(2), width), const(1))), mul(const(2), width)))
    return [
        Loop(pair, const(0), pairs, 1, LoopKind.SERIAL, tuple(merge), definition.location),
        Compute(width.name, (), mul(width, const(2)), DType.I64),
        Compute(parity.name, (), sub(const(1), parity), DType.I64),
    ]


__all__ = ["write_compact", "write_sort"]
