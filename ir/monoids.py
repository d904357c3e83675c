"""Monoids: the built-in ones per element type, and the instance of a user's monoid at given element types.

`argmax` and `argmin` have the state (index, value): the first index of the extreme, NaN counting as more extreme than
anything (as NumPy has it); over nothing the index is the largest i64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from .dtypes import DType
from .errors import Location, TypeMismatch
from .expr import Call, Const, Expr, Fn, Param
from .op import Monoid
from .typing import TypeEnv, elaborate

_FN = {
    "sum": Fn.ADD,
    "prod": Fn.MUL,
    "max": Fn.MAX,
    "min": Fn.MIN,
    "all": Fn.AND,
    "any": Fn.OR,
}
BY_INDEX = ("argmax", "argmin")
BUILTIN = (*_FN, *BY_INDEX)
NO_INDEX = 2**63 - 1


def builtin(name: str, dtype: DType, location: Location | None = None) -> Monoid:
    """The built-in monoid over values of this arithmetic type. Raises TypeMismatch where it has none."""
    logical = name in ("all", "any")
    if logical != (dtype is DType.BOOL):
        found = "needs bool" if logical else "is for numbers"
        remedy = f"write a comparison, in parentheses: `{name}[j] (x[j] > 0)`" if logical else "cast it: `i32(...)`"
        raise TypeMismatch(f"`{name}` {found}, found {dtype}", location or Location(), remedy)
    if name in BY_INDEX:
        return _by_index(name, dtype)
    fn = _FN[name]
    identity = Const(_identity(fn, dtype), dtype)
    combine = Call(fn, (Param("a.v"), Param("b.v")))
    return Monoid(name, ("v",), (identity,), (combine,), fn, True, (dtype,))


def _identity(fn: Fn, dtype: DType) -> int | float | bool:
    if dtype is DType.BOOL:
        return fn is Fn.AND
    if fn in (Fn.ADD, Fn.MUL):
        unit = 0 if fn is Fn.ADD else 1
        return float(unit) if dtype.is_float else unit
    if dtype.is_float:
        return -math.inf if fn is Fn.MAX else math.inf
    top: int = 1 << (8 * dtype.bytes - 1)
    return -top if fn is Fn.MAX else top - 1


def _by_index(name: str, dtype: DType) -> Monoid:
    a, b, ai, bi = Param("a.v"), Param("b.v"), Param("a.i"), Param("b.i")
    beats, fn = (Fn.GT, Fn.MAX) if name == "argmax" else (Fn.LT, Fn.MIN)
    better: Expr = Call(beats, (b, a))
    equal: Expr = Call(Fn.EQ, (b, a))
    if dtype.is_float:
        nan_a, nan_b = Call(Fn.ISNAN, (a,)), Call(Fn.ISNAN, (b,))
        better = Call(Fn.OR, (better, Call(Fn.AND, (nan_b, Call(Fn.NOT, (nan_a,))))))
        equal = Call(Fn.OR, (equal, Call(Fn.AND, (nan_a, nan_b))))
    take = Call(Fn.OR, (better, Call(Fn.AND, (equal, Call(Fn.LT, (bi, ai))))))
    return Monoid(
        name,
        ("i", "v"),
        (Const(NO_INDEX, DType.I64), Const(_identity(fn, dtype), dtype)),
        (Call(Fn.SELECT, (take, bi, ai)), Call(fn, (a, b))),
        None,
        True,
        (DType.I64, dtype),
    )


def is_builtin(monoid: Monoid) -> bool:
    """Whether this is just what `builtin` gives, so that its name says it all."""
    if monoid.name not in BUILTIN or not monoid.dtypes or monoid.dtypes[-1] is None:
        return False
    dtype = monoid.dtypes[-1]
    if (monoid.name in ("all", "any")) != (dtype is DType.BOOL):
        return False
    return builtin(monoid.name, dtype) == monoid


def parameters(monoid: Monoid) -> dict[str, DType]:
    """The types of `a.<component>` and `b.<component>`."""
    typed = zip(monoid.components, monoid.dtypes, strict=True)
    return {f"{side}.{name}": dtype for name, dtype in typed if dtype is not None for side in ("a", "b")}


def instantiate(monoid: Monoid, dtypes: Sequence[DType]) -> Monoid:
    """A user's monoid with its state's types fixed and its expressions elaborated to them. Raises TypeMismatch."""
    typed = replace(monoid, dtypes=tuple(dtypes))
    env = TypeEnv(params=parameters(typed))
    identity = tuple(elaborate(e, TypeEnv(), t, exact=True)[0] for e, t in zip(monoid.identity, dtypes, strict=True))
    combine = tuple(elaborate(e, env, t, exact=True)[0] for e, t in zip(monoid.combine, dtypes, strict=True))
    return replace(typed, identity=identity, combine=combine)
