"""Random ops: `parse(print(op)) == op`, the verifier accepts them, and the interpreter agrees with a naive one."""

from __future__ import annotations

import numpy as np
import pytest
from naive_interp import Naive
from op_random import RandomOp, random_inputs
from weft.ir.binding import specialise
from weft.ir.op_interp import interpret
from weft.ir.op_text import parse_op, print_op
from weft.ir.op_verify import verify

SIZES = [{"M": 2, "N": 3, "K": 1}, {"M": 0, "N": 2, "K": 3}, {"M": 4, "N": 1, "K": 0}]


@pytest.mark.parametrize("start", range(0, 120, 40))
def test_round_trip(start: int) -> None:
    for seed in range(start, start + 40):
        text = RandomOp(seed).text
        op = parse_op(text)
        printed = print_op(op)
        assert parse_op(printed) == op, f"seed {seed}\n{text}\n{printed}"
        assert print_op(parse_op(printed)) == printed
        verify(op)
        fixed = specialise(op, {"M": 4, "N": 1})
        verify(fixed)
        assert parse_op(print_op(fixed)) == fixed, f"seed {seed}\n{print_op(fixed)}"


@pytest.mark.parametrize("start", range(0, 30, 10))
@pytest.mark.parametrize("sizes", SIZES, ids=lambda s: "x".join(map(str, s.values())))
def test_interpreter_against_a_naive_one(start: int, sizes: dict[str, int]) -> None:
    for seed in range(start, start + 10):
        text = RandomOp(seed).text
        op = parse_op(text)
        inputs = random_inputs(op, sizes, seed)
        wanted = Naive(op, inputs, sizes).run()
        found = interpret(op, inputs, sizes, float64=True)
        narrow = interpret(op, inputs, sizes)
        for name, expected in wanted.items():
            np.testing.assert_allclose(
                found[name], expected, rtol=1e-9, atol=1e-9, err_msg=f"seed {seed} {name}\n{text}"
            )
            assert found[name].shape == expected.shape == narrow[name].shape
            declared = op.tensors[name].dtype
            assert narrow[name].dtype == declared.numpy
            tolerance = 0.1 if declared.bytes == 2 else 2e-2
            if declared.is_float:
                np.testing.assert_allclose(narrow[name].astype(np.float64), expected, rtol=tolerance, atol=tolerance)
            else:
                np.testing.assert_array_equal(narrow[name], expected)
