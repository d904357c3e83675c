"""Index tensors are checked at the call: exactly, so that an element nobody reads may hold anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from weft.compiler import gathers
from weft.ir.binding import bind_symbols
from weft.ir.errors import CallError
from weft.ir.op_interp import interpret
from weft.ir.op_text import parse_op

ROWS = "op rows(x: f32[V, D], idx: i64[N]) -> (y: f32[N, D]) { y[i, j] = x[idx[i], j] }"
SHIFTED = "op shifted(x: f32[V], idx: i32[N]) -> (y: f32[N]) { y[i] = x[idx[i] + 1] }"
GUARDED = """op guarded(x: f32[V], idx: i64[N, L]) -> (y: f32[N]) {
  y[i] = sum[l where idx[i, l] >= 0] x[idx[i, l]]
}"""
CHOSEN = "op chosen(x: f32[V], idx: i64[N]) -> (y: f32[N]) { y[i] = x[idx[i]] if idx[i] < V and 0 <= idx[i] else 0.0 }"
RAGGED = "op ragged(x: f32[N, L], n: i64[N]) -> (y: f32[N]) { y[i] = sum[l in 0..n[i]] x[i, l] }"
LISTS = """op lists(x: f32[V], list: i64[N, L], count: i64[N]) -> (y: f32[N]) {
  y[i] = sum[l in 0..count[i]] x[list[i, l]]
}"""
NESTED = "op nested(x: f32[V], a: i64[W], b: i64[N]) -> (y: f32[N]) { y[i] = x[a[b[i]]] }"
SAFE = "op safe(x: f32[V], idx: i64[N]) -> (y: f32[N]) { y[i] = x.clamp[idx[i]] + x.pad(0.0)[idx[i]] }"


def check(text: str, **arrays: Any) -> None:
    op = parse_op(text)
    given = {n: np.asarray(a) for n, a in arrays.items()}
    bindings = bind_symbols(op, {n: a.shape for n, a in given.items()})
    gathers.check(gathers.find(op), bindings, given)


def agrees(text: str, **arrays: Any) -> bool:
    """Whether the call is accepted, which must be what the interpreter says."""
    op = parse_op(text)
    given = {n: np.asarray(a) for n, a in arrays.items()}
    try:
        check(text, **arrays)
        accepted = True
    except CallError:
        accepted = False
    try:
        interpret(op, given)
        runs = True
    except CallError:
        runs = False
    assert accepted == runs
    return accepted


X = np.arange(10, dtype=np.float32)
TABLE = np.zeros((4, 2), np.float32)


def test_names_tensor_position_and_value() -> None:
    check(ROWS, x=TABLE, idx=[0, 3, 1])
    with pytest.raises(CallError, match=r"idx\[2\] is 4, but dimension 0 of 'x' has extent 4"):
        check(ROWS, x=TABLE, idx=[0, 3, 4])
    with pytest.raises(CallError, match=r"idx\[0\] is -1"):
        check(ROWS, x=TABLE, idx=[-1, 3, 4])


def test_expressions_of_an_index() -> None:
    check(SHIFTED, x=X, idx=np.array([-1, 8], np.int32))
    with pytest.raises(CallError, match=r"'idx\[i\] \+ 1' \(from 'idx'\) is 10 at i = 1"):
        check(SHIFTED, x=X, idx=np.array([-1, 9], np.int32))


def test_arithmetic_that_wraps_is_not_trusted() -> None:
    with pytest.raises(CallError):
        check(SHIFTED, x=X, idx=np.array([2**31 - 1], np.int32))


def test_guarded_elements_may_hold_anything() -> None:
    assert agrees(GUARDED, x=X, idx=[[0, 9, -1], [-1, -1, -7]])
    assert not agrees(GUARDED, x=X, idx=[[0, 10, -1]])


def test_a_conditional_expression_is_no_guard() -> None:
    assert agrees(CHOSEN, x=X, idx=[0, 3, 9])
    assert not agrees(CHOSEN, x=X, idx=[-5, 3, 400])


def test_ragged_axes() -> None:
    x = np.ones((2, 3), np.float32)
    assert agrees(RAGGED, x=x, n=[0, 3])
    assert agrees(RAGGED, x=x, n=[-4, 1])
    assert not agrees(RAGGED, x=x, n=[0, 4])


def test_lists_with_counts() -> None:
    assert agrees(LISTS, x=X, list=[[1, 99], [9, 0]], count=[1, 2])
    assert not agrees(LISTS, x=X, list=[[1, 99], [9, 0]], count=[2, 2])
    assert not agrees(LISTS, x=X, list=[[1, 2], [9, 0]], count=[3, 2])


def test_indices_of_indices() -> None:
    assert agrees(NESTED, x=X, a=[9, 0, 4], b=[2, 2, 0, 1])
    assert not agrees(NESTED, x=X, a=[9, 0, 4], b=[3])
    assert not agrees(NESTED, x=X, a=[9, 10, 4], b=[1])
    assert agrees(NESTED, x=X, a=[9, 10, 4], b=[0, 2])  # a[1] is never read


def test_boundaries_need_no_check() -> None:
    assert gathers.find(parse_op(SAFE)) == ()


def test_nothing_is_read_over_no_points() -> None:
    assert agrees(ROWS, x=np.zeros((4, 0), np.float32), idx=[100])
    assert agrees(ROWS, x=np.zeros((0, 2), np.float32), idx=np.zeros(0, np.int64))
    assert not agrees(ROWS, x=np.zeros((0, 2), np.float32), idx=[0])


def test_beyond_the_point_limit_guards_do_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathers, "MAX_POINTS", 4)
    check(GUARDED, x=X, idx=np.zeros((4, 4), np.int64))
    with pytest.raises(CallError, match="cannot prove"):
        check(GUARDED, x=X, idx=np.full((4, 4), -1))


def test_narrow_indices_of_large_tensors() -> None:
    """Negative numbers of one byte, read as unsigned ones, lie inside of many extents."""
    narrow = "op rows(x: f32[V], idx: i8[N]) -> (y: f32[N]) { y[i] = x[idx[i]] }"
    x = np.zeros(200, np.float32)
    check(narrow, x=x, idx=np.array([127, 0], np.int8))
    with pytest.raises(CallError, match="is -100 at i = 1"):
        check(narrow, x=x, idx=np.array([127, -100], np.int8))
    with pytest.raises(CallError, match="is 255 at i = 0"):
        check(narrow.replace("i8", "u8"), x=x, idx=np.array([255, 0], np.uint8))
