"""Ranges: every proof is checked against enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.ir.affine import Affine
from weft.ir.expr import Call, Coord, Expr, Fn, Var, const
from weft.ir.expr_text import ExprParser
from weft.ir.gir_interp import scalar
from weft.ir.lexer import TokenStream
from weft.ir.linear import infeasible
from weft.ir.ranges import Domain, always_false, always_true, bounds


class _Parser(ExprParser):
    def name(self, token):  # type: ignore[no-untyped-def]
        return Var(token.text)


def E(text: str) -> Expr:
    return _Parser(TokenStream(text)).parse()


def test_tail_is_proved_with_a_divisible_extent() -> None:
    start = Domain().with_condition(E("N % 16 == 0"))
    inside = start.with_loop("j", E("0"), E("N"), 16).with_coordinates((16,))
    assert inside.proves(E("j + @0 < N"))
    assert not Domain().with_loop("j", E("0"), E("N"), 16).with_coordinates((16,)).proves(E("j + @0 < N"))


def test_main_loop_and_tail_of_a_split() -> None:
    main = Domain().with_loop("j", E("0"), E("N // 16 * 16"), 16).with_coordinates((16,))
    assert main.proves(E("j + @0 < N"))
    assert main.proves(E("j + @0 >= 0"))


def test_min_and_max_are_split_into_cases() -> None:
    assert always_true(E("min(a, b) <= a and max(a, b) >= b"), {})
    assert always_true(E("min(a, b) + max(a, b) == a + b"), {})
    assert always_true(E("i < N"), {"i": (0, E("min(N, 32) - 1"))})


def test_select_and_mod() -> None:
    assert always_true(E("(a if c < d else b) <= 7"), {"a": (0, 7), "b": (2, 5)})
    assert always_true(E("i % 8 < 8 and i % 8 >= 0 and i // 8 * 8 + i % 8 == i"), {})


def test_causal_tile_classes() -> None:
    ranges = {"q": (0, 1000), "@0": (0, 15), "@1": (0, 31)}
    guard = E("k + @1 <= q + @0")
    assert always_true(guard, {**ranges, "k": (0, E("q - 31"))})
    assert always_false(guard, {**ranges, "k": (E("q + 16"), E("q + 100"))})
    partial = {**ranges, "k": (0, E("q"))}
    assert not always_true(guard, partial)
    assert not always_false(guard, partial)


def test_floats_are_never_decided() -> None:
    from weft.ir.expr_text import parse_expr

    negated = parse_expr(TokenStream("not (a < b) or a < b"))
    assert not always_true(negated, {})  # a < b is unknown, and stays so


def test_what_is_never_reached_satisfies_anything() -> None:
    nowhere = Domain().with_condition(E("1 < 0"))
    assert nowhere.is_empty
    assert nowhere.proves(E("a < b"))


def test_bounds_eliminate_the_named_variables_only() -> None:
    low, high = bounds(E("j * 2 + @0 - N"), {"@0": (0, 15)})
    assert low is not None and high is not None
    env = {"j": 5, "N": 3}
    assert (scalar(low, env), scalar(high, env)) == (7, 22)
    low, high = bounds(E("i - j"), {"i": (0, E("M - 1")), "j": (E("i"), E("i + 3"))})
    assert low is not None and high is not None
    assert (scalar(low, {"M": 9}), scalar(high, {"M": 9})) == (-3, 0)


NAMES = ("a", "b", "c")
atoms = st.one_of(st.sampled_from(NAMES).map(Var), st.integers(-4, 4).map(const))


def _calls(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    two = st.sampled_from([Fn.ADD, Fn.SUB, Fn.MIN, Fn.MAX])
    divide = st.sampled_from([Fn.FLOORDIV, Fn.MOD, Fn.MUL])
    return st.one_of(
        st.builds(lambda f, x, y: Call(f, (x, y)), two, inner, inner),
        st.builds(lambda f, x, k: Call(f, (x, const(k))), divide, inner, st.integers(1, 4)),
    )


numbers = st.recursive(atoms, _calls, max_leaves=4)
comparisons = st.builds(
    lambda f, x, y: Call(f, (x, y)), st.sampled_from([Fn.LT, Fn.LE, Fn.GT, Fn.GE, Fn.EQ, Fn.NE]), numbers, numbers
)
conditions = st.recursive(
    comparisons,
    lambda inner: (
        st.builds(lambda f, x, y: Call(f, (x, y)), st.sampled_from([Fn.AND, Fn.OR]), inner, inner)
        | inner.map(lambda x: Call(Fn.NOT, (x,)))
    ),
    max_leaves=3,
)
ranges_of_all = st.tuples(*[st.tuples(st.integers(-3, 3), st.integers(0, 4)) for _ in NAMES])


@settings(max_examples=300, deadline=None)
@given(conditions, ranges_of_all)
def test_what_is_proved_is_true(condition: Expr, spans: tuple[tuple[int, int], ...]) -> None:
    ranges = {n: (lo, lo + size) for n, (lo, size) in zip(NAMES, spans, strict=True)}
    points = product(*[range(lo, hi + 1) for lo, hi in ranges.values()])
    truth = {bool(scalar(condition, dict(zip(NAMES, p, strict=True)))) for p in points}
    if always_true(condition, ranges):
        assert truth == {True}
    if always_false(condition, ranges):
        assert truth == {False}


@settings(max_examples=200, deadline=None)
@given(numbers, ranges_of_all)
def test_bounds_contain_every_value(expr: Expr, spans: tuple[tuple[int, int], ...]) -> None:
    ranges = {n: (lo, lo + size) for n, (lo, size) in zip(NAMES, spans, strict=True)}
    low, high = bounds(expr, ranges)
    points = product(*[range(lo, hi + 1) for lo, hi in ranges.values()])
    values = [scalar(expr, dict(zip(NAMES, p, strict=True))) for p in points]
    assert low is None or scalar(low, {}) <= min(values)
    assert high is None or scalar(high, {}) >= max(values)


def test_affine_conditions_on_boxes_are_decided_exactly() -> None:
    """Single comparisons over a box need no luck: the corners decide."""
    generator = np.random.default_rng(7)
    for _ in range(200):
        factors = generator.integers(-3, 4, 3).tolist()
        form = Affine(tuple((n, f) for n, f in zip(NAMES, factors, strict=True) if f), int(generator.integers(-9, 9)))
        low = form.constant + sum(min(0, f) * 4 for f in factors)
        assert always_true(Call(Fn.GE, (form.to_expr(), const(0))), dict.fromkeys(NAMES, (0, 4))) == (low >= 0)


def test_equations_without_integer_solution() -> None:
    two_a = Affine((("a", 2),), -1)
    assert infeasible((), (two_a,))
    assert not infeasible((), (Affine((("a", 2), ("b", 3)), -1),))


@pytest.mark.parametrize("size", [10, 20, 40])
def test_many_variables_take_bounded_time(size: int) -> None:
    expr: Expr = const(0)
    for k in range(size):
        expr = Call(Fn.MAX, (expr, Call(Fn.ADD, (Var(f"v{k}"), Coord(0)))))
    always_true(Call(Fn.LT, (expr, const(5))), {"@0": (0, 3)})
