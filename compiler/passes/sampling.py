"""Legality by numbers: algebraic claims about summands tested on random values, in float64.

A pattern proposes, a sample disposes: rewrites over the reals are found by shape (action.py, streaming.py), and only
taken where enough random points agree. Seeds are fixed, so the same program always gets the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...ir.dtypes import DType
from ...ir.expr import Cast, Const, Expr, Param, Read, rewrite, walk
from ...ir.scalar_functions import Array, Value, evaluate
from .summand import Summand

_SAMPLES = 96


def is_action(s: Summand, t: Expr, types: Mapping[str, DType], seed: int = 0) -> bool:
    """Whether T(r, r') phi(x; r) = phi(x; r') and T(r', r'') T(r, r') = T(r, r'') on random values, in float64.

    Values that are not finite, or so large or small that rounding decides, say nothing; enough others must agree.
    """
    rng = np.random.default_rng(seed)
    phi, factor = _widen(s.expr), _widen(t)
    agreeing = 0
    for low, high in ((-2.0, 2.0), (0.25, 4.0), (-30.0, 30.0)):
        leaves: dict[Expr, Value] = {}
        points = [{name: rng.uniform(low, high, _SAMPLES) for name in sorted(s.references)} for _ in range(3)]

        def value(
            e: Expr,
            old: dict[str, Array],
            new: dict[str, Array],
            leaves: dict[Expr, Value] = leaves,
            low: float = low,
            high: float = high,
        ) -> Array:
            def leaf(n: Expr) -> Value:
                if isinstance(n, Param):
                    when, _, name = n.name.partition(".")
                    return (old if when == "old" else new)[name]
                if isinstance(n, Read) and n.tensor in s.references:
                    return old[n.tensor]
                if n not in leaves:
                    leaves[n] = _sample(n, types, rng, low, high)
                return leaves[n]

            return np.broadcast_to(np.asarray(evaluate(e, leaf), dtype=np.float64), (_SAMPLES,))

        a, b, c = points
        with np.errstate(all="ignore"):
            pairs = (
                (value(factor, a, b) * value(phi, a, a), value(phi, b, b)),
                (value(factor, a, b) * value(factor, b, c), value(factor, a, c)),
            )
            for left, right in pairs:
                usable = np.isfinite(left) & np.isfinite(right) & (np.abs(right) > 1e-60) & (np.abs(right) < 1e60)
                usable &= np.abs(left) < 1e60
                if not np.allclose(left[usable], right[usable], rtol=1e-7, atol=0.0):
                    return False
                agreeing += int(usable.sum())
    return agreeing >= _SAMPLES


def stays_bounded(s: Summand, own: Mapping[str, Expr], types: Mapping[str, DType], seed: int = 2) -> bool:
    """Whether a summand stays in range while its references are still on their way: with every reference at what this
    very element contributes to it (`own` gives the references' summands), neither large inputs nor references near zero
    give a huge value, or a NaN that inputs of ordinary size do not give.

    exp(x - r) with r = max x stays below 1; with r the maximum of something else it may overflow before r has come, as
    exp(x) / exp(r) does in any case, and w / r where r may still be near zero.
    """
    deciding = {n for e in own.values() for n in walk(e) if not n.children or isinstance(n, Read)}

    def values(others: float, deciders: float) -> Array:
        rng = np.random.default_rng(seed)
        leaves: dict[Expr, Value] = {}

        def leaf(n: Expr) -> Value:
            if n not in leaves:
                if isinstance(n, Read) and n.tensor in own and n.tensor in s.references:
                    return evaluate(_widen(own[n.tensor]), leaf)
                found = _sample(n, types, rng, -1.0, 1.0)
                scale = deciders if n in deciding else others
                leaves[n] = found * scale if found.dtype.kind == "f" else found
            return leaves[n]

        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(evaluate(_widen(s.expr), leaf), dtype=np.float64), (_SAMPLES,))

    ordinary = ~np.isnan(values(2.0, 2.0))
    for scales in ((3000.0, 3000.0), (2.0, 1e-40)):
        found = np.abs(values(*scales)[ordinary])
        if np.isnan(found).any() or (found > 1e30).any():
            return False
    return True


def equal_on_samples(a: Expr, b: Expr, types: Mapping[str, DType], seed: int = 1) -> bool:
    """Whether two expressions agree on random values of their leaves (symbols positive), in float64."""
    rng = np.random.default_rng(seed)
    leaves: dict[Expr, Value] = {}

    def leaf(n: Expr) -> Value:
        if n not in leaves:
            leaves[n] = _sample(n, types, rng, -4.0, 4.0)
        return leaves[n]

    with np.errstate(all="ignore"):
        left = np.broadcast_to(np.asarray(evaluate(_widen(a), leaf), dtype=np.float64), (_SAMPLES,))
        right = np.broadcast_to(np.asarray(evaluate(_widen(b), leaf), dtype=np.float64), (_SAMPLES,))
        usable = np.isfinite(left) & np.isfinite(right)
        return bool(usable.sum() >= _SAMPLES // 2 and np.allclose(left[usable], right[usable], rtol=1e-6, atol=1e-12))


def _widen(e: Expr) -> Expr:
    """In float64 throughout: rounding to a narrower type is no part of the algebra."""

    def rule(n: Expr) -> Expr | None:
        if isinstance(n, Cast) and n.dtype.is_float:
            return Cast(DType.F64, n.arg)
        if isinstance(n, Const) and n.dtype is not None and n.dtype.is_float:
            return Const(n.value)
        return None

    return rewrite(e, rule)


def _sample(n: Expr, types: Mapping[str, DType], rng: np.random.Generator, low: float, high: float) -> Array:
    dtype = types.get(n.tensor) if isinstance(n, Read) else DType.I64
    if dtype is DType.BOOL:
        return rng.integers(0, 2, _SAMPLES).astype(np.bool_)
    if dtype is not None and dtype.is_int:
        return rng.integers(1, 50, _SAMPLES).astype(dtype.arithmetic.numpy)
    return rng.uniform(low, high, _SAMPLES)
