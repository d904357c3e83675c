"""Folding changes no bit. Covers the failures 9 (NaN lost by folding, x * 0) and 11 (floor versus truncation) of the
failure list."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from weft.ir.dtypes import DType
from weft.ir.expr import Call, Cast, Const, Expr, Fn, Var, as_int, const
from weft.ir.folding import fold
from weft.ir.scalar_functions import apply

VALUES = [0, 1, -1, 2, -2, 3, -3, 7, -7, 2**31 - 1, -(2**31)]
FNS = [Fn.ADD, Fn.SUB, Fn.MUL, Fn.FLOORDIV, Fn.MOD, Fn.MAX, Fn.MIN, Fn.EQ, Fn.NE, Fn.LT, Fn.LE, Fn.GT, Fn.GE]


@pytest.mark.parametrize("dtype", [DType.I32, DType.I64])
@pytest.mark.parametrize("fn", FNS)
def test_failure_11_integers_fold_as_they_run(fn: Fn, dtype: DType) -> None:
    for a, b in itertools.product(VALUES, VALUES):
        out = fold(Call(fn, (Const(a, dtype), Const(b, dtype))))
        assert isinstance(out, Const)
        ran = apply(fn, [np.array(a, dtype.numpy), np.array(b, dtype.numpy)])
        assert out.value == np.asarray(ran).item(), (fn, a, b)


FLOATS = [math.nan, 0.0, -0.0, math.inf, -math.inf, 5e-324, 1.0, 0.1]


@pytest.mark.parametrize("fn", [Fn.EQ, Fn.NE, Fn.LT, Fn.LE, Fn.GT, Fn.GE])
@pytest.mark.parametrize("dtype", [DType.F32, DType.F64])
def test_failure_9_comparisons_of_special_values(fn: Fn, dtype: DType) -> None:
    for a, b in itertools.product(FLOATS, FLOATS):
        out = fold(Call(fn, (Const(a, dtype), Const(b, dtype))))
        if isinstance(out, Const):
            with np.errstate(all="ignore"):
                ran = apply(fn, [np.array(a).astype(dtype.numpy), np.array(b).astype(dtype.numpy)])
            assert out.value == bool(ran), (fn, a, b)


def test_failure_9_floats_keep_their_zeros_and_nans() -> None:
    x = Cast(DType.F32, Var("i"))
    zero, one = Const(0.0, DType.F32), Const(1.0, DType.F32)
    for expr in (
        Call(Fn.MUL, (x, zero)),
        Call(Fn.ADD, (x, zero)),
        Call(Fn.SUB, (x, x)),
        Call(Fn.DIV, (zero, x)),
        Call(Fn.EQ, (x, x)),
        Call(Fn.MAX, (Const(math.nan, DType.F32), x)),
        Call(Fn.MUL, (zero, Const(math.inf, DType.F32))),
        Call(Fn.ADD, (one, Const(0.1, DType.F32))),
    ):
        assert fold(expr) == expr


I = Var("i")  # noqa: E741


@pytest.mark.parametrize(
    "expr, wanted",
    [
        (Call(Fn.ADD, (I, const(0))), I),
        (Call(Fn.MUL, (const(1), I)), I),
        (Call(Fn.MUL, (I, const(0))), const(0)),
        (Call(Fn.FLOORDIV, (I, const(1))), I),
        (Call(Fn.MOD, (I, const(1))), const(0)),
        (Call(Fn.SUB, (Call(Fn.ADD, (const(2), const(3))), I)), Call(Fn.SUB, (const(5), I))),
        (Call(Fn.SELECT, (Call(Fn.LT, (const(1), const(2))), I, const(9))), I),
        (Call(Fn.AND, (Const(True, DType.BOOL), Call(Fn.LT, (I, const(2))))), Call(Fn.LT, (I, const(2)))),
        (Call(Fn.OR, (Call(Fn.LT, (I, const(2))), Const(True, DType.BOOL))), Const(True, DType.BOOL)),
        (Call(Fn.FLOORDIV, (I, const(0))), Call(Fn.FLOORDIV, (I, const(0)))),
        (Cast(DType.I64, Const(7, DType.I32)), const(7)),
        (Cast(DType.U8, const(-1)), Const(255, DType.I32)),
    ],
)
def test_integer_identities(expr: Expr, wanted: Expr) -> None:
    assert fold(expr) == wanted


def test_division_by_zero_is_zero() -> None:
    assert as_int(fold(Call(Fn.FLOORDIV, (const(5), const(0))))) == 0
    assert as_int(fold(Call(Fn.MOD, (const(5), const(0))))) == 0
