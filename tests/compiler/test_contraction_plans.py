"""Plans of contractions: rows share a packed panel, long reduced axes run in blocks, thin ones read rows on end."""

from __future__ import annotations

import numpy as np
import pytest
from weft.backends.machine import load_machine
from weft.compiler.lower import rewrite_op, write_out
from weft.compiler.plan import describe
from weft.compiler.planner import Choices
from weft.ir.binding import specialise
from weft.ir.gir_interp import interpret
from weft.ir.gir_verify import verify
from weft.ir.op_text import parse_op

MACHINE = load_machine("avx512")
PRODUCT = "op f(a: f32[M, K], b: f32[K, N]) -> (c: f32[M, N]) { c[i, j] = sum[k] a[i, k] * b[k, j] }"


def plan_of(shape: tuple[int, int, int], choices: Choices | None = None) -> str:
    op = rewrite_op(specialise(parse_op(PRODUCT), dict(zip("MNK", shape, strict=True))))
    return describe(write_out(op, MACHINE, choices or Choices()).plan)


def test_a_panel_serves_all_rows_where_columns_are_enough() -> None:
    assert "parallel unit j by 64\n    pack b" in plan_of((1024, 1024, 1024))
    assert "parallel unit i by" in plan_of((1024, 128, 1024))


def test_a_panel_that_is_too_large_is_cut() -> None:
    assert "loop k by 2048\n      pack b" in plan_of((512, 1024, 8192))
    assert "loop k" not in plan_of((512, 1024, 2048))
    assert "loop k" not in plan_of((512, 1024, 8192), Choices(block=0))


def test_a_row_times_a_matrix_reads_rows() -> None:
    text = plan_of((1, 4096, 4096))
    assert "parallel unit j by 2048" in text and "loop k by 8" in text and "pack" not in text


@pytest.mark.parametrize("shape", [(1, 70, 131), (2, 64, 136), (1, 5, 128)])
@pytest.mark.parametrize("choices", [Choices(), Choices(block=32), Choices(block=0)])
def test_results(shape: tuple[int, int, int], choices: Choices) -> None:
    op = rewrite_op(specialise(parse_op(PRODUCT), dict(zip("MNK", shape, strict=True))))
    program = write_out(op, MACHINE, choices).program
    assert verify(program) == []
    m, n, k = shape
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k), dtype=np.float32), rng.standard_normal((k, n), dtype=np.float32)
    np.testing.assert_allclose(interpret(program, {"a": a, "b": b})["c"], a @ b, rtol=1e-3, atol=1e-3)
