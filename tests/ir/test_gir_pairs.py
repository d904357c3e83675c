"""Loads of pairs of 16-bit elements, and products of them: text, checks, and what they mean."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from weft.ir.errors import UserError, VerifyError
from weft.ir.gir_interp import interpret
from weft.ir.gir_parser import parse_program
from weft.ir.gir_printer import print_program
from weft.ir.gir_verify import verify
from weft.ir.graph import build
from weft.ir.graph_text import parse_graph, print_graph


def program(load: str, dtype: str = "bf16", pairs: str = "x") -> str:
    return (
        f"program p() {{ tensor {pairs}: {dtype}[3, 8] input tensor y: f32[3] output kernel k {{ loop i in 0..3 {{\n"
        f"  {load}\n  alloc a: f32 reg\n  a = dot2_bf16(v, v, 1.0)\n  store y[i] = a\n}} }} }}"
    )


def test_text_meaning_and_graph() -> None:
    found = parse_program(program("v = load pairs x[i, 2*i]"))
    assert verify(found) == []
    assert parse_program(print_program(found)) == found
    x = np.arange(24).reshape(3, 8).astype(ml_dtypes.bfloat16)
    y = interpret(found, {"x": x})["y"]
    wide = x.astype(np.float32)
    np.testing.assert_array_equal(y, [1 + wide[i, 2 * i] ** 2 + wide[i, 2 * i + 1] ** 2 for i in range(3)])
    graph = build(found.kernels[0], found)
    assert parse_graph(print_graph(graph)) == graph


def test_a_buffer_may_be_called_pairs() -> None:
    found = parse_program(program("v = load pairs pairs[i, 2*i]\n  w = load pairs[i, 0]", pairs="pairs"))
    loads = [s.pairs for s in found.kernels[0].body[0].body[:2]]  # type: ignore[attr-defined]
    assert loads == [True, False]
    assert parse_program(print_program(found)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (program("v = load pairs x[i, 7]"), "out of bounds"),
        (program("v = load pairs x[i, 0]", "f32"), "pairs of f32"),
        (program("g: i64<2> = @0\n  v = load pairs<2> x[i, g]"), "not gathered"),
        (program("v = load x[i, 0]"), "f32 stands where i32"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        verify(parse_program(text))


def test_the_interpreter_checks_the_second_of_a_pair() -> None:
    found = parse_program(program("v = load pairs x[i, 7]"))
    with pytest.raises(VerifyError, match="second of a pair"):
        interpret(found, {"x": np.zeros((3, 8), ml_dtypes.bfloat16)})


def test_predicates_and_fills() -> None:
    found = parse_program(program("v = load pairs x[i, 2*i] where i < 2 else 1065369472_i32"))  # the bits of 1.0, twice
    assert verify(found) == []
    y = interpret(found, {"x": np.zeros((3, 8), ml_dtypes.bfloat16)})["y"]
    np.testing.assert_array_equal(y, [1, 1, 3])
