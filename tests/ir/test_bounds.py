"""What the prover proves, and that it proves nothing false: checked against enumeration."""

from __future__ import annotations

import itertools
import random

import pytest
from weft.ir.binding import value_of
from weft.ir.bounds import Prover
from weft.ir.dtypes import DType
from weft.ir.errors import UserError
from weft.ir.expr import Call, Expr, Fn, Var, const, rewrite
from weft.ir.expr_text import ExprParser
from weft.ir.lexer import TokenStream
from weft.ir.op import Axis
from weft.ir.op_bounds import gather_checks
from weft.ir.op_text import parse_op
from weft.ir.op_verify import verify
from weft.ir.typing import TypeEnv, elaborate


class _Vars(ExprParser):
    def name(self, token):  # type: ignore[no-untyped-def]
        return Var(token.text)


def expr(text: str, want: DType = DType.I64) -> Expr:
    return elaborate(_Vars(TokenStream(text)).parse(), TypeEnv(), want)[0]


def axes(text: str) -> list[Axis]:
    out = []
    for part in text.split(";"):
        if part.strip():
            name, hi = part.split("<")
            out.append(Axis(name.strip(), const(0), expr(hi)))
    return out


PROVED = [
    ("i < M", "", "M - 1 - i"),
    ("i < M; j < 3", "", "M * 3 - 1 - (i * 3 + j)"),
    ("i < M; j < 4", "", "(4 * i + j) // 4"),
    ("i < M; j < 4", "", "M - 1 - (4 * i + j) // 4"),
    ("i < M", "", "i % 8"),
    ("i < M", "", "7 - i % 8"),
    ("i < M", "M % 2 == 0", "M // 2 - 1 - i // 2"),
    ("i < M", "M <= N", "N - 1 - i"),
    ("i < M", "M == N and i >= 1", "i - 1"),
    ("i < min(M, N)", "", "N - 1 - i"),
    ("i < M", "", "max(i - 3, 0)"),
    ("i < M", "", "M - 1 - min(i + 3, M - 1)"),
    ("i < M", "", "i % M"),
    ("i < M", "", "M - 1 - i % M"),
    ("h < (H + 2 * P - R) // U + 1", "H + 2 * P >= R and U >= 1", "h"),
    ("i < 2 * M + 1", "", "M - i // 2"),
    ("i < M; j < i + 1", "", "M - 1 - j"),
]
UNPROVED = [
    ("i < M", "", "i - 1"),
    ("i < M", "", "N - 1 - i"),
    ("i < M", "", "M - 2 - i"),
    ("i < M; j < 4", "", "3 * M - (4 * i + j)"),
    ("i < M", "i != 0", "i - 1"),
    ("i < M", "", "i * k"),
    ("i < M", "", "M - i * i"),
]


@pytest.mark.parametrize("ranges, fact, goal", PROVED)
def test_proved(ranges: str, fact: str, goal: str) -> None:
    facts = [expr(fact, DType.BOOL)] if fact else []
    assert Prover(facts, [Var("M")]).within(axes(ranges)).nonnegative(expr(goal))


@pytest.mark.parametrize("ranges, fact, goal", UNPROVED)
def test_not_proved(ranges: str, fact: str, goal: str) -> None:
    facts = [expr(fact, DType.BOOL)] if fact else []
    assert not Prover(facts, [Var("M")]).within(axes(ranges)).nonnegative(expr(goal))


def test_nothing_false_is_proved() -> None:
    rng = random.Random(3)

    def form(depth: int) -> Expr:
        if depth == 0 or rng.random() < 0.2:
            return rng.choice([Var("i"), Var("j"), Var("M"), const(rng.randint(-3, 3))])
        fn = rng.choice((Fn.ADD, Fn.SUB, Fn.MUL, Fn.FLOORDIV, Fn.MOD, Fn.MIN, Fn.MAX, Fn.NEG))
        return Call(fn, tuple(form(depth - 1) for _ in range(1 if fn is Fn.NEG else 2)))

    proved = 0
    for _ in range(400):
        goal = form(3)
        guard = Call(rng.choice((Fn.LE, Fn.LT, Fn.GE, Fn.EQ)), (form(1), form(1)))
        ranges = [Axis("i", const(0), Var("M")), Axis("j", const(0), form(1))]
        if not Prover([], [Var("M")]).within(ranges, guard).nonnegative(goal):
            continue
        proved += 1
        for m, i, j in itertools.product(range(6), range(6), range(6)):
            values = {"M": m, "i": i, "j": j}
            bound = value_of(ranges[1].hi, values)
            if i < m and j < int(bound or 0) and value_of(guard, values):
                assert int(value_of(goal, values) or 0) >= 0, (goal, guard, values)
    assert proved > 20
    assert rewrite(const(1), lambda e: None) == const(1)


def test_what_a_gather_needs_of_its_tensors() -> None:
    op = parse_op(
        """op rows(ptr: i32[M + 1], col: i64[E], val: f32[E], x: f32[N], pick: i32[K]) -> (y: f32[K]) {
             s[i: M] = sum[e in ptr[i]..ptr[i + 1]] val[e] * x[col[e]]
             y[k] = s[pick[k]]
           }"""
    )
    verify(op)
    checks = {(c.tensor, value_of(c.highest, {"M": 10, "E": 20, "N": 30, "K": 40})) for c in gather_checks(op)}
    assert checks == {("ptr", 20), ("col", 29), ("pick", 9)}


@pytest.mark.parametrize(
    "body, legal",
    [
        ("(l, n)[i] = compact[j where x[i, j] > 0]\n y[i] = sum[t in 0..n[i]] x[i, l[i, t]]", True),
        ("(l, n)[i] = compact[j where x[i, j] > 0]\n y[i] = sum[t: N] x[i, l[i, t]]", False),
        ("(l, n)[i] = compact[j where x[i, j] > 0]\n y[i] = sum[t in 0..n[i] + 1] x.clamp[i, l[i, t]]", False),
        ("p[i] = argsort[j] x[i, j]\n y[i] = sum[t: N] x[i, p[i, t]]", True),
        ("p[i] = argmax[j] x[i, j]\n y[i] = x[i, p[i]]", False),
        ("y[i] = sum[j where j <= i and i < N] x[i, j]", True),
        ("y[i] = sum[j: M where j < N] x[i, j]", True),
        ("y[i] = x[i, 0]", False),
        ("y[i] = x.pad(0)[i, 0]", True),
    ],
)
def test_reads_of_made_lists(body: str, legal: bool) -> None:
    op = parse_op(f"op f(x: f32[M, N]) -> (y: f32[M]) {{ {body} }}")
    if legal:
        verify(op)
    else:
        with pytest.raises(UserError, match="may leave"):
            verify(op)
