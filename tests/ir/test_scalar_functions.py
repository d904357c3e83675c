"""The scalar table against first principles, at the values where implementations differ."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from weft.ir.dtypes import DType
from weft.ir.expr import ARITY, ASSOCIATIVE, FLOAT_ONLY, LOGICAL, Fn
from weft.ir.scalar_functions import apply, cast, identity, reduce, to_storage

SPECIAL = np.array([np.nan, 0.0, -0.0, np.inf, -np.inf, 1e-45, 1.0, -1.5, 3e38], np.float32)


@pytest.mark.parametrize("fn", list(Fn), ids=str)
def test_every_function_takes_every_special_value_silently(fn: Fn) -> None:
    if fn in LOGICAL:
        args = [np.array([True, False])] * ARITY[fn]
    elif fn is Fn.SELECT:
        args = [np.array(True), SPECIAL, SPECIAL]
    elif fn in (Fn.FLOORDIV, Fn.MOD):
        args = [np.arange(-4, 4), np.array(0)]
    elif fn is Fn.BITS_FLOAT:
        args = [SPECIAL.view(np.int32)]
    else:
        args = [SPECIAL] * ARITY[fn]
    with np.errstate(all="raise"):
        out = apply(fn, args)
    assert isinstance(out, np.ndarray)
    if fn in FLOAT_ONLY - {Fn.ISNAN, Fn.FLOAT_BITS}:
        assert out.dtype == np.float32


def test_integer_division_floors_and_survives_zero() -> None:
    a, b = (v.ravel() for v in np.meshgrid(np.arange(-7, 8), np.arange(-3, 4)))
    quotient, rest = apply(Fn.FLOORDIV, [a, b]), apply(Fn.MOD, [a, b])
    for x, y, q, r in zip(a.tolist(), b.tolist(), np.asarray(quotient), np.asarray(rest), strict=True):
        assert (q, r) == ((x // y, x % y) if y else (0, 0))
    least = np.array(np.iinfo(np.int32).min, np.int32)
    assert apply(Fn.FLOORDIV, [least, -1]) == least, "wraps"


def test_casts_saturate_and_truncate() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 1e30, -2.9, 2.9, 127.5], np.float32)
    assert cast(values, DType.I8).tolist() == [0, 127, -128, 127, -2, 2, 127]
    assert cast(values, DType.U8).tolist() == [0, 255, 0, 255, 0, 2, 127]
    assert cast(values, DType.I64).tolist() == [0, 2**63 - 1, -(2**63), 2**63 - 1, -2, 2, 127]
    assert cast(values, DType.BOOL).tolist() == [True] * 7
    assert cast(np.array(300, np.int32), DType.I8).tolist() == 44
    assert cast(np.float32(1) + np.float32(2**-9), DType.BF16).dtype == np.float32
    assert to_storage(1.0 + 2**-9, DType.BF16).astype(np.float64) == 1.0, "ties to even"


def test_fma_rounds_once() -> None:
    generator = np.random.default_rng(5)
    a, b = generator.standard_normal((2, 200))
    c = -a * b  # the sum is the rounding error of the product
    found = np.asarray(apply(Fn.FMA, [a, b, c]))
    for x, y, z, f in zip(a.tolist(), b.tolist(), c.tolist(), found.tolist(), strict=True):
        assert f == float(Fraction(x) * Fraction(y) + Fraction(z))
    assert apply(Fn.FMA, [np.array(np.inf), np.array(1.0), np.array(1.0)]) == np.inf
    assert apply(Fn.FMA, [np.array(1e300), np.array(1e10), np.array(1.0)]) == np.inf


def test_extremes_propagate_nan() -> None:
    nan = np.array([np.nan, 1.0], np.float32)
    assert np.isnan(np.asarray(apply(Fn.MAX, [nan, 0.0]))).tolist() == [True, False]
    assert np.isnan(reduce(Fn.MIN, nan, (0,))).all()


@pytest.mark.parametrize("fn", sorted(ASSOCIATIVE, key=str), ids=str)
def test_a_fold_of_nothing_is_the_identity(fn: Fn) -> None:
    for dtype in (DType.BOOL,) if fn in LOGICAL else (DType.F32, DType.F64, DType.I32, DType.I64):
        empty = np.zeros((2, 0), dtype.numpy)
        assert reduce(fn, empty, (1,)).tolist() == [[identity(fn, dtype)]] * 2
        some = np.array([[1, 0, 1]]).astype(dtype.numpy)
        assert reduce(fn, some, (1,)).shape == (1, 1)
        assert reduce(fn, some, (1,)).dtype == dtype.numpy


def test_literals_take_the_type_of_what_they_meet() -> None:
    assert np.asarray(apply(Fn.ADD, [np.float32(1), 1])).dtype == np.float32
    assert np.asarray(apply(Fn.ADD, [np.int32(1), 2**31 - 1])) == -(2**31)
    assert apply(Fn.MUL, [3, 4]) == 12
    assert apply(Fn.EXP, [0.0]) == 1.0
    assert np.asarray(apply(Fn.ADD, [np.int32(1), np.int64(2**40)])).dtype == np.int64


def test_transcendental_functions_are_rounded_from_double() -> None:
    x = np.linspace(-5, 5, 101).astype(np.float32)
    for fn, reference in ((Fn.EXP, math.exp), (Fn.ERF, math.erf), (Fn.TANH, math.tanh), (Fn.SIN, math.sin)):
        expected = np.array([reference(float(v)) for v in x], np.float32)
        np.testing.assert_allclose(np.asarray(apply(fn, [x])), expected, rtol=1.2e-7, atol=0)
