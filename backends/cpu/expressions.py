"""Evaluation of scalar expressions at one piece of a tile."""

from __future__ import annotations

from ...ir.dtypes import DType
from ...ir.errors import InternalError
from ...ir.expr import COMPARISONS, Call, Cast, Const, Coord, Expr, Fn, Ref, Var
from ..math_kit import Instruction, Step, Wide
from ..mathlib import LIBRARY, sequence
from . import arith
from .context import Context
from .linear import Split, has_lanes, split
from .llvm_text import ARITHMETIC, Code, Elem, Value, arithmetic_elem, index, literal, type_name, vector_literal
from .tiles import Spot
from .wide import LANES, beyond, instruction

# Values by the identity of their expression; the expression is kept so that its identity is not given out again.
Memo = dict[int, tuple[Value, Expr]]


def evaluate(ctx: Context, expr: Expr, spot: Spot, memo: Memo | None = None) -> Value:
    """The value of `expr` at `spot`: a scalar where it is the same in all lanes, else `spot.width` lanes."""
    if memo is None:
        memo = {}
    found = memo.get(id(expr))
    if found is None:
        found = (_evaluate(ctx, expr, spot, memo), expr)
        memo[id(expr)] = found
    return found[0]


def _evaluate(ctx: Context, expr: Expr, spot: Spot, memo: Memo) -> Value:
    match expr:
        case Const(value, dtype):
            return _constant(ctx, value, dtype)
        case Var(name):
            return ctx.value(name)
        case Ref(name):
            return ctx.tile(name).at(ctx.code, spot)
        case Coord(axis):
            if axis < len(spot.row):
                return index(spot.row[axis])
            if spot.width == 1:
                return index(spot.start)
            return vector_literal([spot.start + k for k in range(spot.width)], Elem.I64)
        case Cast(dtype, arg):
            return arith.cast(ctx.code, evaluate(ctx, arg, spot, memo), dtype)
        case Call(fn, args):
            if fn in COMPARISONS:
                mask = _lane_mask(ctx, fn, args[0], args[1], spot, memo)
                if mask is not None:
                    return mask
            values = [evaluate(ctx, a, spot, memo) for a in args]
            if fn in LIBRARY:
                return _library(ctx, fn, arith.unify(ctx.code, values))
            return arith.apply(ctx.code, ctx.options.features, fn, values)
    raise InternalError(f"{type(expr).__name__} in a GIR expression")


def _constant(ctx: Context, value: int | float | bool, dtype: DType | None) -> Value:
    if dtype is None:
        elem = Elem.I1 if isinstance(value, bool) else Elem.I64 if isinstance(value, int) else Elem.F64
        return literal(value, elem, weak=not isinstance(value, bool))
    if dtype.arithmetic is dtype:
        return literal(value, ARITHMETIC[dtype])
    return arith.cast(ctx.code, literal(value, arithmetic_elem(dtype)), dtype)


def _library(ctx: Context, fn: Fn, args: list[Value]) -> Value:
    """A mathematical function by its sequence of primitives."""
    elem = args[0].elem if args[0].elem.is_float else Elem.F64
    args = [arith.convert(ctx.code, a, elem) for a in args]
    steps = sequence(fn, elem is Elem.F64, ctx.options.features.has_scalef)
    return _run(ctx, steps, dict(zip(("x", "y"), args, strict=False)))


def _run(ctx: Context, steps: tuple[Step, ...], values: dict[str, Value]) -> Value:
    """The last of `steps`; `values` are their arguments and take up their results."""

    def run(e: Expr) -> Value:
        match e:
            case Ref(name):
                return values[name]
            case Const():
                return _constant(ctx, e.value, e.dtype)
            case Cast(dtype, arg):
                return arith.cast(ctx.code, run(arg), dtype)
            case Instruction(Wide.BEYOND, (x, value), (limit,), others, name):
                return beyond(ctx.code, run(x), run(value), limit, _out_of_line(ctx, name, others))
            case Instruction(op, operands, table):
                return instruction(ctx.code, op, [run(a) for a in operands], table)
            case Call(inner, operands):
                given = [run(a) for a in operands]
                if inner in LIBRARY:
                    return _library(ctx, inner, given)
                return arith.apply(ctx.code, ctx.options.features, inner, given)
        raise InternalError(f"{type(e).__name__} in a mathematical sequence")

    result = values["x"]
    for step in steps:
        result = run(step.expr)
        values[step.name] = result
    return result


def _out_of_line(ctx: Context, name: str, steps: tuple[Step, ...]) -> str:
    """A function of the module that replaces 16 f32 in memory by what `steps` make of them."""
    module, name = ctx.code.module, f"weft_{name}"
    head = f"void @{name}("
    if not any(head in f for f in module.functions):
        address = Value("%x", Elem.PTR)
        code = Code(module, name, [address])
        kind = type_name(Elem.F32, LANES)
        x = code.op(f"load {kind}, ptr %x, align 64", Elem.F32, LANES)
        result = _run(Context(code, ctx.options), steps, {"x": x})
        code.do(f"store {result.typed}, ptr %x, align 64")
        code.finish()
        module.functions[-1] = (
            module.functions[-1].replace("define ", "define internal ", 1).replace(") #0 {", ") noinline cold #0 {", 1)
        )
    return name


def _lane_mask(ctx: Context, fn: Fn, a: Expr, b: Expr, spot: Spot, memo: Memo) -> Value | None:
    """A comparison `c * lane + rest` against 0 with c = 1 or -1, as lane numbers (i32) against one clamped scalar."""
    if spot.width == 1 or not (has_lanes(ctx, a, spot) or has_lanes(ctx, b, spot)):
        return None
    rank = len(spot.shape)
    left, right = split(ctx, a, rank), split(ctx, b, rank)
    if left is None or right is None:
        return None
    c = left.coefficients[-1] - right.coefficients[-1]
    if c not in (1, -1):
        return None
    code, extent = ctx.code, spot.shape[-1]
    # c*lane + l REL r   <=>   lane REL' c*(r - l); one bound serves all pieces of a row
    low, high = _rest(ctx, left, spot, memo), _rest(ctx, right, spot, memo)
    if low is None or high is None:
        return None
    bound = arith.binary(code, Fn.SUB, high, low) if c == 1 else arith.binary(code, Fn.SUB, low, high)
    if c == -1:
        fn = {Fn.LT: Fn.GT, Fn.LE: Fn.GE, Fn.GT: Fn.LT, Fn.GE: Fn.LE}.get(fn, fn)
    if bound.constant is None:
        bound = arith.binary(code, Fn.MIN, bound, index(extent + 1))
        bound = arith.binary(code, Fn.MAX, bound, index(-2))
    else:
        bound = index(max(-2, min(extent + 1, int(bound.constant))))
    small = code.splat(arith.convert(code, bound, Elem.I32), spot.width)
    return arith.compare(code, fn, vector_literal([spot.start + k for k in range(spot.width)], Elem.I32), small)


def _rest(ctx: Context, part: Split, spot: Spot, memo: Memo) -> Value | None:
    """The lane-independent part of an affine form at a spot."""
    total = evaluate(ctx, part.rest, spot, memo)
    if total.lanes != 1 or total.elem.is_float or total.elem is Elem.I1:
        return None
    total = arith.convert(ctx.code, total, Elem.I64)
    shift = sum(c * k for c, k in zip(part.coefficients[:-1], spot.row, strict=True))
    return arith.binary(ctx.code, Fn.ADD, total, index(shift))


def scalar_i64(ctx: Context, expr: Expr, spot: Spot) -> Value:
    """An index expression that is the same in all lanes."""
    value = arith.convert(ctx.code, evaluate(ctx, expr, spot), Elem.I64)
    assert value.lanes == 1
    return value
