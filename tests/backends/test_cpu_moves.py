"""Bulk copies whose extents are zero or below, known or not: an empty box touches nothing."""

from __future__ import annotations

import numpy as np
import pytest
import weft


@pytest.mark.parametrize("indices", ["@0, @1", "@1, @0"])
@pytest.mark.parametrize(
    ("rows", "columns"), [("N - 20", "N"), ("N", "N - 20"), ("N - 20", "N - 20"), ("-1", "N"), ("N", "0")]
)
def test_empty_boxes_touch_nothing(rows: str, columns: str, indices: str) -> None:
    move = f"move<{rows}, {columns}> y[@0, @1] = x[{indices}]"
    text = f"program p(N) {{\n tensor x: f32[N, N] input\n tensor y: f32[N, N] output\n kernel k {{\n {move}\n }}\n}}"
    kernel = weft.compile(text, "cpu", specialise="never")
    for n in (1, 5, 21, 90):
        height, width = ({"N": n, "N - 20": max(0, n - 20)}.get(e, 0) for e in (rows, columns))
        x = np.arange(1, n * n + 1, dtype=np.float32).reshape(n, n)
        around = np.zeros((n + 200, n), np.float32)
        y = around[100 : 100 + n]
        kernel(x, out=y)
        want = np.zeros((n, n), np.float32)
        want[:height, :width] = (x if indices == "@0, @1" else x.T)[:height, :width]
        np.testing.assert_array_equal(y, want)
        assert not around[:100].any() and not around[100 + n :].any()
