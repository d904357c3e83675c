"""Views that begin one element off a vector, in and out, with and without streaming stores."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import weft
from weft.ir.dtypes import DType

NO_CC = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
CASES = [("cpu", DType.F32), ("cpu", DType.BF16), ("cpu", DType.F64), ("cpu", DType.I8)]
CASES += [pytest.param("c", DType.F32, marks=NO_CC)]
ROWS, COLUMNS = 37, 1031


@pytest.mark.parametrize(("target", "dtype"), CASES)
def test_failure_12_views_one_element_off(target: str, dtype: DType) -> None:
    """Failure 12: alignment to an element is all that a kernel may rely on."""
    one = "1.0" if dtype.is_float else "1"
    kernel = weft.compile(
        f"""op f(x: {dtype}[M, N], z: {dtype}[N, M]) -> (y: {dtype}[M, N], s: {dtype}[N]) {{
          y[i, j]: {dtype} = x[i, j] + z[j, i] + {one}
          s[j]: {dtype} = max[i] x[i, j]
        }}""",
        target,
        bind={"M": ROWS, "N": COLUMNS},
    )
    size = ROWS * COLUMNS
    rng = np.random.default_rng(0)
    for offset in (1, 3):
        room = [rng.integers(-9, 9, size + 8).astype(dtype.numpy) for _ in range(3)]
        x, z, y = (r[offset : offset + size] for r in room)
        x, y, z = x.reshape(ROWS, COLUMNS), y.reshape(ROWS, COLUMNS), z.reshape(COLUMNS, ROWS)
        sums = np.zeros(COLUMNS + 8, dtype.numpy)
        beside = [room[2][:offset].copy(), room[2][offset + size :].copy()]
        kernel(x, z, out=(y, sums[offset : offset + COLUMNS]))
        np.testing.assert_array_equal(y.astype(np.float64), x.astype(np.float64) + z.T.astype(np.float64) + 1)
        np.testing.assert_array_equal(sums[offset : offset + COLUMNS], x.max(0))
        assert not sums[:offset].any() and not sums[offset + COLUMNS :].any()
        assert np.array_equal(room[2][:offset], beside[0]) and np.array_equal(room[2][offset + size :], beside[1])
