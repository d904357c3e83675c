"""Ops that no parser makes: each breaks one numbered guarantee of op_verify.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from weft.ir.dtypes import DType
from weft.ir.errors import VerifyError
from weft.ir.expr import Boundary, Call, Cast, Const, Coord, Expr, Fn, Param, Read, Ref, Var, const
from weft.ir.op import Axis, Component, Definition, Monoid, Op, Pointwise, Reduction, Stream, Symbol, Tensor
from weft.ir.op_text import parse_op
from weft.ir.op_verify import verify
from weft.ir.recurrence import offsets, ordered_axes, sweep_direction

OP = parse_op(
    """op f(x: f32[M, N], k: i32[M]) -> (y: f32[M, N]) {
         m[i] = max[j] x[i, j]
         s[i] = sum[j] exp(x[i, j] - m[i])
         h[i, j]: f32 = h.pad(0)[i - 1, j] + x[i, j]
         y[i, j] = h[i, j] / s[i] + m[i]
         stream[j] { m; s repair old.s * exp(old.m - new.m); }
       }"""
)
I, J, M, N = Var("i"), Var("j"), Var("M"), Var("N")  # noqa: E741


def body(name: str, expr: Expr) -> Callable[[Op], Op]:
    """The op with the (pointwise) definition of a target replaced."""
    return lambda op: change(op, name, lambda d: replace(d, body=Pointwise(expr)))


def change(op: Op, name: str, rule: Callable[[Definition], Definition]) -> Op:
    return replace(op, definitions=tuple(rule(d) if d.name == name else d for d in op.definitions))


def reduction(rule: Callable[[Reduction], Reduction]) -> Callable[[Op], Op]:
    def of(d: Definition) -> Definition:
        assert isinstance(d.body, Reduction)
        return replace(d, body=rule(d.body))

    return lambda op: change(op, "m", of)


def stream(*components: Component, axis: str = "j") -> Callable[[Op], Op]:
    return lambda op: replace(op, streams=(Stream(axis, components),))


X = Read("x", (I, J))
ONE = Const(1.0, DType.F32)

BROKEN: dict[str, Callable[[Op], Op]] = {
    "1 two tensors of one name": lambda op: replace(op, inputs=(*op.inputs, op.inputs[0])),
    "1 a symbol named as a tensor": lambda op: replace(op, symbols=(*op.symbols, Symbol("x"))),
    "1 a reserved word": lambda op: replace(op, symbols=(*op.symbols, Symbol("exp"))),
    "1 an axis named as a symbol": lambda op: change(op, "m", lambda d: replace(d, axes=(Axis("N", const(0), M),))),
    "1 an axis twice": reduction(lambda r: replace(r, axes=(Axis("i", const(0), N),))),
    "2 an unknown variable": body("y", Cast(DType.F32, Var("q"))),
    "2 a read in a shape": lambda op: replace(op, outputs=(replace(op.outputs[0], shape=(Read("k", (const(0),)), N)),)),
    "2 a free axis that starts at 1": lambda op: change(op, "m", lambda d: replace(d, axes=(Axis("i", const(1), M),))),
    "2 a bound that names a later axis": reduction(
        lambda r: replace(r, axes=(Axis("j", const(0), Var("l")), Axis("l", const(0), N)))
    ),
    "2 a fact over an axis": lambda op: replace(op, facts=(Call(Fn.LT, (I, const(3))),)),
    "2 a tile in a definition": body("y", Ref("x")),
    "2 a tile coordinate": body("y", Cast(DType.F32, Coord(0))),
    "2 a member in a definition": body("y", Param("a.v")),
    "3 a literal without a type": body("y", Const(1.0)),
    "3 an integer in a float": body("y", const(1)),
    "3 operands that disagree": body("y", Call(Fn.ADD, (X, Const(1.0, DType.F64)))),
    "3 an index that is no i64": body("y", Read("x", (Const(0, DType.I32), J))),
    "3 a guard that is no bool": reduction(lambda r: replace(r, guard=ONE)),
    "3 a fact that is no bool": lambda op: replace(op, facts=(M,)),
    "3 an output that would have to widen": lambda op: replace(
        change(op, "y", lambda d: replace(d, targets=(replace(d.targets[0], dtype=DType.F64),))),
        outputs=(replace(op.outputs[0], dtype=DType.F64),),
    ),
    "4 a later target": lambda op: replace(op, definitions=op.definitions[::-1]),
    "4 an unknown tensor": body("y", Read("q", (I, J))),
    "4 a wrong rank": body("y", Read("x", (I,))),
    "5 a target of another shape": lambda op: change(
        op, "m", lambda d: replace(d, targets=(replace(d.targets[0], shape=(N,)),))
    ),
    "5 an output of another type": lambda op: replace(op, outputs=(replace(op.outputs[0], dtype=DType.BF16),)),
    "5 an output never defined": lambda op: replace(op, outputs=(*op.outputs, Tensor("w", DType.F32, ()))),
    "5 an output twice": lambda op: replace(op, outputs=op.outputs * 2),
    "5 a negative extent": lambda op: replace(op, inputs=(*op.inputs, Tensor("w", DType.F32, (const(-1),)))),
    "6 too many arguments": reduction(lambda r: replace(r, args=r.args * 2)),
    "6 a built-in with another identity": reduction(lambda r: replace(r, monoid=replace(r.monoid, identity=(ONE,)))),
    "6 an argument of another type": reduction(lambda r: replace(r, args=(const(1),))),
    "6 an identity that is not constant": reduction(
        lambda r: replace(r, monoid=replace(r.monoid, name="mine", identity=(Cast(DType.F32, M),)))
    ),
    "6 a combine that reads": reduction(
        lambda r: replace(r, monoid=replace(r.monoid, name="mine", combine=(Read("x", (I, J)),)))
    ),
    "6 a function that is another": reduction(lambda r: replace(r, monoid=replace(r.monoid, name="mine", fn=Fn.ADD))),
    "6 two monoids of one name": lambda op: change(
        change(op, "m", lambda d: replace(d, body=replace(d.body, monoid=mine(0.0)))),  # type: ignore[type-var]
        "s",
        lambda d: replace(d, body=replace(d.body, monoid=mine(1.0))),  # type: ignore[type-var]
    ),
    "7 both directions": body(
        "h",
        Call(
            Fn.ADD,
            (
                Read("h", (Call(Fn.SUB, (I, const(1))), J), Boundary.PAD, ONE),
                Read("h", (Call(Fn.ADD, (I, const(1))), J), Boundary.PAD, ONE),
            ),
        ),
    ),
    "7 itself": body("h", Read("h", (I, J), Boundary.PAD, ONE)),
    "7 no constant offset": body("h", Read("h", (J, I), Boundary.PAD, ONE)),
    "7 clamped": body("h", Read("h", (Call(Fn.SUB, (I, const(1))), J), Boundary.CLAMP)),
    "7 inside a reduction": reduction(lambda r: replace(r, args=(Read("m", (I,)),))),
    "8 outside": body("y", Read("x", (I, Call(Fn.ADD, (J, const(1)))))),
    "8 a recurrence without a boundary": body("h", Read("h", (Call(Fn.SUB, (I, const(1))), J))),
    "9 no reduction": stream(Component("h")),
    "9 another axis": stream(Component("m"), axis="i"),
    "9 out of order": stream(Component("s"), Component("m")),
    "9 twice": stream(Component("m"), Component("m")),
    "9 a later component in a repair": stream(Component("m", Param("old.s")), Component("s")),
    "9 a repair of another type": stream(Component("m"), Component("s", const(1))),
}


def mine(identity: float) -> Monoid:
    combine = Call(Fn.MAX, (Param("a.v"), Param("b.v")))
    return Monoid("mine", ("v",), (Const(identity, DType.F32),), (combine,), None, True, (DType.F32,))


def test_the_op_itself_is_legal() -> None:
    verify(OP)


@pytest.mark.parametrize("case", BROKEN)
def test_broken(case: str) -> None:
    with pytest.raises(VerifyError):
        verify(BROKEN[case](OP))


def test_depth() -> None:
    deep: Expr = X
    for _ in range(170):
        deep = Call(Fn.NEG, (deep,))
    with pytest.raises(VerifyError, match="160"):
        verify(body("y", deep)(OP))


def test_recurrence_queries() -> None:
    h = OP.definition_of("h")
    assert h is not None
    assert sweep_direction(h) == 1
    assert offsets(h) == [(-1, 0)]
    assert [a.name for a in ordered_axes(h)] == ["i"]
    back = parse_op("op g(x: f32[M, N]) -> (y: f32[M, N]) { y[i, j] = y.pad(0)[i, j + 1] + y.pad(0)[i + 1, j - 2] }")
    assert sweep_direction(back.definitions[0]) == -1
    assert [a.name for a in ordered_axes(back.definitions[0])] == ["i", "j"]
