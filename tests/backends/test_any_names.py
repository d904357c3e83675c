"""Names that mean something to C, LLVM or the emitted code itself, for everything that has a name."""

from __future__ import annotations

import random

import numpy as np
import pytest
import weft

AWKWARD = "int restrict main exit x x_ x__ a$b a_b memcpy lanes threads NULL INFINITY expf I unix y0 define entry i1"
AWKWARD += " float double undef zeroinitializer ret call size_t int64_t omp_get_max_threads weft scratch self while"


@pytest.mark.parametrize("target", ["cpu", "c"])
@pytest.mark.parametrize("seed", range(3))
def test_any_name_anywhere(seed: int, target: str) -> None:
    """Failure 23: operator, symbols, tensors, axes and values in between are named at random."""
    names = AWKWARD.split()
    random.Random(seed).shuffle(names)
    f, m, n, x, y, s, t, i, j = names[:9]
    text = f"op {f}({x}: f32[{m}, {n}]) -> ({y}: f32[{m}, {n}]) {{\n  {s}[{i}] = sum[{j}] {x}[{i}, {j}]\n"
    text += f"  {t}[{i}, {j}] = {x}[{i}, {j}] - {s}[{i}]\n  {y}[{i}, {j}] = {t}[{i}, {j}] * {s}[{i}]\n}}"
    given = np.arange(15, dtype=np.float32).reshape(3, 5)
    total = given.sum(1, keepdims=True)
    np.testing.assert_array_equal(weft.compile(text, target)(given), (given - total) * total)
