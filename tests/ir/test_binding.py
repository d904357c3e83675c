"""Values of symbols: from shapes, from the caller, from defaults; contradictions are explained."""

from __future__ import annotations

import pytest
from weft.ir.binding import bind_symbols, specialise, value_of
from weft.ir.errors import BindError
from weft.ir.expr import const
from weft.ir.op_text import parse_op, print_op
from weft.ir.op_verify import verify

OP = parse_op(
    """op f<W = 3>(x: f32[M, 2 * N + 1], z: f32[M + N]) -> (y: f32[M - W]) where M % 2 == 0, M >= W, W >= 0 {
         y[i] = x[i, 0] + z[i]
       }"""
)


def test_symbols_are_solved_for() -> None:
    assert bind_symbols(OP, {"x": (4, 7), "z": (7,)}) == {"W": 3, "M": 4, "N": 3}
    assert bind_symbols(OP, {"z": (7,)}, {"M": 4, "W": 1}) == {"W": 1, "M": 4, "N": 3}


@pytest.mark.parametrize(
    "shapes, given, message",
    [
        ({"x": (4, 7, 1), "z": (7,)}, {}, "has 2 dimension"),
        ({"x": (4, 8), "z": (7,)}, {}, "which is no 2 \\* N \\+ 1"),
        ({"x": (4, 7), "z": (8,)}, {}, "dimension 0 of `z` is 8"),
        ({"x": (5, 7), "z": (8,)}, {}, "needs M % 2 == 0"),
        ({"x": (4, 7), "z": (7,)}, {"Q": 1}, "no symbol `Q`"),
        ({"x": (4, 7), "z": (7,)}, {"M": 6}, "dimension 0 of `x` is 4"),
        ({"x": (2, 7), "z": (5,)}, {}, "needs M >= W"),
        ({"x": (4, 7), "z": (7,)}, {"W": -9}, "needs W >= 0"),
        ({"x": (4, 7)}, {"N": -1}, "dimension 1"),
        ({}, {}, "has no value"),
    ],
)
def test_contradictions(shapes: dict[str, tuple[int, ...]], given: dict[str, int], message: str) -> None:
    with pytest.raises(BindError, match=message):
        bind_symbols(OP, shapes, given)


def test_negative_extent() -> None:
    op = parse_op("op f(x: f32[M]) -> (y: f32[M - 3]) { y[i] = x[i] }")
    with pytest.raises(BindError, match="negative"):
        bind_symbols(op, {"x": (2,)})
    assert bind_symbols(op, {"x": (3,)}) == {"M": 3}


def test_specialised() -> None:
    made = specialise(OP, {"M": 4, "W": 2})
    assert print_op(made) == (
        "op f(x: f32[4, 2 * N + 1], z: f32[4 + N]) -> (y: f32[2]) {\n  y[i] = x[i, 0] + z[i]\n}\n"
    )
    with pytest.raises(BindError, match="M % 2"):
        specialise(OP, {"M": 5})


def test_values() -> None:
    assert value_of(OP.outputs[0].shape[0], {"M": 5, "W": 2}) == 3
    assert value_of(OP.outputs[0].shape[0], {"M": 5}) is None
    assert value_of(const(3), {}) == 3
    verify(OP)
