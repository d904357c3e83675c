"""`@op`: the same op as from text, locations in the Python file, nothing executed."""

# ruff: noqa: F821, F722, F841, UP037
# mypy: ignore-errors

from __future__ import annotations

import math

import pytest
from weft.ir.errors import ParseError, TypeMismatch, UserError, VerifyError
from weft.ir.op_text import parse_op, print_op
from weft.ir.op_verify import verify
from weft.ir.python_front import fn, monoid, op

SCALE = 0.125


def check(made, text):
    wanted = parse_op(text)
    assert made == wanted, print_op(made)
    verify(made)
    return made


def test_softmax():
    @op
    def softmax(x: "f32[M, N]") -> "y: f32[M, N]":
        """Rows sum to one."""
        m[i] = max[j](x[i, j])
        e[i, j] = exp(x[i, j] - m[i])
        s[i] = sum[j](e[i, j])
        y[i, j] = e[i, j] / s[i]

    check(
        softmax,
        """op softmax(x: f32[M, N]) -> (y: f32[M, N]) {
             m[i] = max[j] x[i, j]
             e[i, j] = exp(x[i, j] - m[i])
             s[i] = sum[j] e[i, j]
             y[i, j] = e[i, j] / s[i]
           }""",
    )


def test_guards_functions_facts_and_constants():
    @fn
    def score(s, distance):
        return s * SCALE if distance >= 0 else -inf

    @op(where="S % 16 == 0", symbols={"W": 4})
    def window(q: f32[S, D], k: f32[S, D]) -> "m: f32[S], n: f32[S], w: f32[S]":
        s[i, j] = score(sum[d](q[i, d] * k[j, d]), i - j)
        m[i] = max[j, j <= i](s[i, j])
        n[i] = max[j, j <= i, i - j < W](s[i, j])
        w[i] = sum[j].where(j <= i)(s[i, j])

    check(
        window,
        """fn score(s, distance) = s * 0.125 if distance >= 0 else -inf
           op window<W=4>(q: f32[S, D], k: f32[S, D]) -> (m: f32[S], n: f32[S], w: f32[S]) where S % 16 == 0 {
             s[i, j] = score(sum[d] q[i, d] * k[j, d], i - j)
             m[i] = max[j where j <= i] s[i, j]
             n[i] = max[j where j <= i and i - j < W] s[i, j]
             w[i] = sum[j where j <= i] s[i, j]
           }""",
    )


def test_boundaries_recurrence_ranges_and_lists():
    @op
    def mixed(x: "f16[M, N]", c: "i32[M]") -> "y: f32[M, N], z: f64[M], l: i64[M, N], n: i64[M]":
        h[i, j]: "f32" = 0.5 * h.pad(0)[i - 1, j] + x.clamp[i + 1, j] + x.wrap[i, j + 1] - x.reflect[i - 2, j]
        y[i, j] = h[i, j] if not (i == 0 or j > 3) else abs(-h[i, j])
        z[i:M] = sum.f64[j : 0 : min(i64(c[i]), N)](x[i, j] ** 2)
        (l, n)[i] = compact[j](x[i, j] > 0)
        p[i] = argsort_desc[j](x[i, j])

    check(
        mixed,
        """op mixed(x: f16[M, N], c: i32[M]) -> (y: f32[M, N], z: f64[M], l: i64[M, N], n: i64[M]) {
             h[i, j]: f32 = 0.5 * h.pad(0)[i - 1, j] + x.clamp[i + 1, j] + x.wrap[i, j + 1] - x.reflect[i - 2, j]
             y[i, j] = h[i, j] if not (i == 0 or j > 3) else abs(-h[i, j])
             z[i: M] = sum<f64>[j in 0..min(i64(c[i]), N)] x[i, j] ** 2
             (l, n)[i] = compact[j where x[i, j] > 0]
             p[i] = argsort_desc[j] x[i, j]
           }""",
    )


def test_monoid():
    @fn
    def shift(s, old, new):
        return s * exp(old - new)

    @monoid({"m": -math.inf, "s": 0.0})
    def lse(a, b):
        return max(a.m, b.m), shift(a.s, a.m, max(a.m, b.m)) + shift(b.s, b.m, max(a.m, b.m))

    @op
    def rows(x: "f32[M, N]") -> "y: f32[M]":
        (m, s)[i] = lse[j](x[i, j], 1.0)
        y[i] = m[i] + log(s[i])

    check(
        rows,
        """monoid lse(m, s) { identity (-inf, 0.0)
             combine(p, q) = (max(p.m, q.m), p.s * exp(p.m - max(p.m, q.m)) + q.s * exp(q.m - max(p.m, q.m))) }
           op rows(x: f32[M, N]) -> (y: f32[M]) {
             (m, s)[i] = lse[j] (x[i, j], 1.0)
             y[i] = m[i] + log(s[i])
           }""",
    )


def test_places_point_into_this_file():
    with pytest.raises(VerifyError) as caught:

        @op
        def wrong(x: "f32[M, N]") -> "y: f32[M, N]":
            y[i, j] = x[i, k]

    error = caught.value
    assert error.location.file.endswith("test_python_front.py")
    assert error.source_line.strip() == "y[i, j] = x[i, k]"
    assert error.source_line[error.location.column - 1] == "k"


def test_place_in_an_annotation():
    with pytest.raises(ParseError) as caught:

        @op
        def wrong(x: "f33[M]") -> "y: f32[M]":
            y[i] = x[i]

    error = caught.value
    assert error.source_line[error.location.column - 1 :].startswith("f33")


@pytest.mark.parametrize("statement", ["for", "lambda", "chain", "walrus", "float_index"])
def test_what_means_nothing_is_refused(statement):
    with pytest.raises(UserError):
        if statement == "for":

            @op
            def bad(x: "f32[M]") -> "y: f32[M]":
                for _ in x:
                    pass

        elif statement == "lambda":

            @op
            def bad(x: "f32[M]") -> "y: f32[M]":
                y[i] = (lambda a: a)(x[i])

        elif statement == "chain":

            @op
            def bad(x: "f32[M]") -> "y: f32[M]":
                y[i] = x[i] if 0 < i < 3 else 0.0

        elif statement == "walrus":

            @op
            def bad(x: "f32[M]") -> "y: f32[M]":
                y[i] = (z := x[i])

        else:

            @op
            def bad(x: "f32[M]") -> "y: f32[M]":
                y[i] = x[i / 2]


def test_types_meet_only_through_casts():
    with pytest.raises(TypeMismatch, match=r"i64 meets f32|f32 meets i64"):

        @op
        def bad(x: "f32[M]") -> "y: f32[M]":
            y[i] = x[i] * i


def test_a_function_of_the_language_is_not_called():
    @fn
    def double(x):
        return 2 * x

    with pytest.raises(UserError, match="not of Python"):
        double(3)
