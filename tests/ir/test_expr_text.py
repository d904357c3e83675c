"""Expressions as text: every tree prints to text that parses to the same tree, with the fewest parentheses."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.ir.dtypes import DType
from weft.ir.errors import ParseError
from weft.ir.expr import ARITY, Boundary, Call, Cast, Const, Coord, Expr, Fn, Param, Read, Ref, Var
from weft.ir.expr_text import ExprParser, parse_expr, print_expr
from weft.ir.lexer import TokenStream

ARITHMETIC = (DType.F64, DType.F32, DType.I64, DType.I32)


def read_back(text: str) -> Expr:
    tokens = TokenStream(text)
    out = parse_expr(tokens)
    assert tokens.peek().text == ""
    return out


integers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=True, allow_infinity=True)
leaves = st.one_of(
    st.builds(Const, integers, st.just(DType.I64)),
    st.builds(Const, st.integers(-(2**31), 2**31 - 1), st.just(DType.I32)),
    st.builds(Const, floats.map(lambda v: math.nan if v != v else v), st.sampled_from((DType.F32, DType.F64))),
    st.builds(Const, st.booleans(), st.just(DType.BOOL)),
    st.builds(Ref, st.sampled_from(("x", "acc$1", "t_0"))),
    st.builds(Coord, st.integers(0, 4)),
    st.builds(Param, st.sampled_from(("a.m", "old.s$1", "b.pad"))),
)


def grow(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    calls = st.sampled_from(list(Fn)).flatmap(
        lambda fn: st.tuples(*[inner] * ARITY[fn]).map(lambda args: Call(fn, args))
    )
    index = st.lists(inner, min_size=1, max_size=2).map(tuple)
    plain = st.builds(Read, st.just("t"), index, st.sampled_from([b for b in Boundary if b is not Boundary.PAD]))
    padded = st.builds(Read, st.just("t"), index, st.just(Boundary.PAD), inner)
    return st.one_of(calls, calls, st.builds(Cast, st.sampled_from(list(DType)), inner), plain, padded)


@settings(max_examples=300, deadline=None)
@given(st.recursive(leaves, grow, max_leaves=12))
def test_round_trip(expr: Expr) -> None:
    assert read_back(print_expr(expr)) == expr


@pytest.mark.parametrize(
    "text",
    [
        "a + b * c - d",
        "(a + b) * c",
        "a - (b - c)",
        "-a ** -b",
        "(-1) ** 2",
        "-(1)",
        "a if b < c else d if e else f",
        "(a if b else c) + 1",
        "not a and b or c",
        "not (a and b)",
        "(a < b) == c",
        "x.pad(0.0 if c else 1.0)[i + @0, -1]",
        "x.clamp[i // 2 % 3]",
        "f16(x) * 2.0_f64 + 3_i32",
        "-9223372036854775808",
        "fma(a, b, nan_f64) + -inf",
        "-0.0",
    ],
)
def test_text_stays_as_written(text: str) -> None:
    assert print_expr(read_back(text)) == text


@pytest.mark.parametrize(
    "text, message, column",
    [
        ("a < b < c", "do not chain", 7),
        ("a + ", "found the end", 5),
        ("exp(a, b)", "takes 1 argument", 1),
        ("foo(a)", "unknown function", 1),
        ("9223372036854775808", "does not fit 64 bits", 1),
        ("1.5_i32", "not a value of type i32", 1),
        ("if", "reserved", 1),
        ("a ? b", "", 3),
        ("x.mirror[i]", "unknown boundary", 3),
        ("a if b", "expected `else`", 7),
        ("@x", "expected a tile axis", 2),
        ("`", "unexpected character", 1),
    ],
)
def test_errors_have_a_place(text: str, message: str, column: int) -> None:
    with pytest.raises(ParseError) as caught:
        tokens = TokenStream(text)
        ExprParser(tokens).parse()
        if tokens.peek().text:
            tokens.error("rest")
    assert message in caught.value.message
    assert caught.value.location.column == column


def test_variables_print_as_names() -> None:
    assert print_expr(Call(Fn.ADD, (Var("i"), Const(1, DType.I64)))) == "i + 1"
