"""Inference and elaboration of element types, and the built-in monoids."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from weft.ir.dtypes import DType
from weft.ir.errors import TypeMismatch
from weft.ir.expr import Call, Cast, Const, Expr, Fn, Param, Read, Var
from weft.ir.expr_text import ExprParser, print_expr
from weft.ir.lexer import TokenStream
from weft.ir.monoids import BUILTIN, builtin, instantiate, is_builtin
from weft.ir.op import Monoid
from weft.ir.scalar_functions import apply
from weft.ir.typing import TypeEnv, elaborate, infer, untyped

NAMES = {"h": DType.F16, "s": DType.F32, "d": DType.F64, "b": DType.I8, "i": DType.I32, "l": DType.I64, "t": DType.BOOL}
ENV = TypeEnv(tensors=NAMES)


class _Parser(ExprParser):
    int_dtype = float_dtype = None

    def name(self, token):  # type: ignore[no-untyped-def]
        return Read(token.text, ()) if token.text in NAMES else Var(token.text)


def parse(text: str) -> Expr:
    return _Parser(TokenStream(text)).parse()


@pytest.mark.parametrize(
    "text, dtype, elaborated",
    [
        ("s * 2", "f32", "s * 2.0_f32"),
        ("h + h", "f32", "h + h"),
        ("s + d", "f64", "f64(s) + d"),
        ("1 + s + d", "f64", "f64(1.0_f32 + s) + d"),
        ("b * 2", "i32", "b * 2_i32"),
        ("i + l", "i64", "i64(i) + l"),
        ("j + 1", "i64", "j + 1_i64"),
        ("i + j", "i64", "i64(i) + j"),
        ("2", "i64", "2_i64"),
        ("0.5", "f32", "0.5_f32"),
        ("exp(1)", "f32", "exp(1.0_f32)"),
        ("s < 1", "bool", "s < 1.0_f32"),
        ("1 < 2", "bool", "1_i64 < 2_i64"),
        ("t and s > d", "bool", "t and f64(s) > d"),
        ("1 if t else s", "f32", "1.0_f32 if t else s"),
        ("f64(0.1)", "f64", "f64(0.1_f64)"),
        ("f16(d)", "f32", "f16(d)"),
        ("i32(2.5)", "i32", "i32(2.5_f32)"),
        ("x.pad(0)[i, 3]", "f32", "x.pad(0.0_f32)[i64(i), 3_i64]"),
        ("t == true", "bool", "t == true"),
        ("max(s, -inf)", "f32", "max(s, -inf_f32)"),
        ("s ** 2", "f32", "s ** 2.0_f32"),
    ],
)
def test_elaborated(text: str, dtype: str, elaborated: str) -> None:
    env = TypeEnv(tensors={**NAMES, "x": DType.BF16})
    expr = parse(text)
    out, found = elaborate(expr, env)
    assert (str(found), print_expr(out, 1, None, None)) == (dtype, elaborated)
    assert infer(expr, env) is found
    assert elaborate(out, env) == (out, found), "elaboration is idempotent"
    assert elaborate(untyped(out), env)[1] in (found, DType.I64, DType.F32)


@pytest.mark.parametrize(
    "text",
    [
        "s + i",
        "s * j",
        "i / 2",
        "t + 1",
        "t < t",
        "s % 2",
        "exp(i)",
        "s if i else s",
        "not s",
        "i + 0.5",
        "t if t else 1",
        "isnan(i)",
        "i ** 2",
        "s and t",
        "3000000000 + i",
        "x[s]",
        "abs(t)",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(TypeMismatch):
        elaborate(parse(text), TypeEnv(tensors={**NAMES, "x": DType.F32}))


def test_wanted_types() -> None:
    assert elaborate(parse("0"), ENV, DType.F64) == (Const(0.0, DType.F64), DType.F64)
    assert elaborate(parse("s"), ENV, DType.F64, exact=True) == (Cast(DType.F64, Read("s", ())), DType.F64)
    with pytest.raises(TypeMismatch):
        elaborate(parse("d"), ENV, DType.F32, exact=True)
    with pytest.raises(TypeMismatch):
        elaborate(parse("1"), ENV, DType.BOOL, exact=True)


@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("dtype", [DType.F32, DType.F64, DType.I32, DType.I64, DType.BOOL])
def test_laws_of_the_built_in_monoids(name: str, dtype: DType) -> None:
    if (name in ("all", "any")) != (dtype is DType.BOOL):
        with pytest.raises(TypeMismatch):
            builtin(name, dtype)
        return
    m = builtin(name, dtype)
    assert is_builtin(m)
    numbers = [0.0, -0.0, 1.0, -2.0, np.inf, -np.inf, np.nan] if dtype.is_float else [0, 1, -2, 5]
    values = [True, False] if dtype is DType.BOOL else numbers
    states = [(v,) for v in values] if len(m.components) == 1 else [(k, v) for v in values for k in (0, 3)]
    identity = tuple(c.value for c in m.identity if isinstance(c, Const))
    for a in states:
        assert same(combine(m, identity, a), a)
        assert same(combine(m, a, identity), a)
    triples = list(itertools.product(states, states, states))
    for a, b, c in random.Random(0).sample(triples, min(len(triples), 60)):
        assert same(combine(m, combine(m, a, b), c), combine(m, a, combine(m, b, c))) or name in ("sum", "prod")
        assert same(combine(m, a, b), combine(m, b, a))


def combine(m: Monoid, a: tuple[object, ...], b: tuple[object, ...]) -> tuple[object, ...]:
    env = {f"a.{n}": np.array(v, t.numpy) for n, v, t in zip(m.components, a, m.dtypes, strict=True) if t}
    env.update({f"b.{n}": np.array(v, t.numpy) for n, v, t in zip(m.components, b, m.dtypes, strict=True) if t})

    def value(e: Expr) -> object:
        if isinstance(e, Param):
            return env[e.name]
        assert isinstance(e, Call)
        return apply(e.fn, [value(x) for x in e.args])  # type: ignore[misc]

    return tuple(np.asarray(value(e)).item() for e in m.combine)


def same(a: tuple[object, ...], b: tuple[object, ...]) -> bool:
    return all(x == y or (x != x and y != y) for x, y in zip(a, b, strict=True))


def test_instances_of_a_users_monoid() -> None:
    members = (Param("a.m"), Param("b.m"))
    generic = Monoid("top", ("m",), (Const(float("-inf")),), (Call(Fn.MAX, members),), None, True, (None,))
    made = instantiate(generic, [DType.F64])
    assert made.identity == (Const(float("-inf"), DType.F64),)
    assert made.dtypes == (DType.F64,)
    with pytest.raises(TypeMismatch):
        instantiate(generic, [DType.I64])
