"""Elements beyond 2**31 and 2**32: offsets are computed in 64 bits, in every target."""

from __future__ import annotations

import mmap
import sys

import numpy as np
import pytest
import weft
from weft.backends.target import get_target
from weft.ir.gir_parser import parse_program

COLUMNS = 1 << 30
# Pages exist once they are touched. Older Pythons do not name the flag (its value is Linux's).
SPARSE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="maps memory that is never touched")


@pytest.mark.parametrize("specialise", ["auto", "never"])
@pytest.mark.parametrize("target", ["cpu", "c"])
def test_reads_far_apart(target: str, specialise: str) -> None:
    """Failure 5: nine rows of 2**30 bytes, of which a page each is touched; 4-byte elements go past 2**33 bytes."""
    memory = mmap.mmap(-1, 9 * COLUMNS, flags=SPARSE)
    for dtype, width in (("u8", 1), ("i32", 4)):
        x = np.frombuffer(memory, dtype="u1" if dtype == "u8" else "i4").reshape(9, COLUMNS // width)
        x[:, -1] = np.arange(1, 10)
        x[:, -17] = np.arange(11, 20)
        text = f"op far(x: {dtype}[R, C]) -> (y: {dtype}[R], z: {dtype}[R]) where C >= 17 {{\n"
        text += "  y[i] = x[i, C - 1]\n  z[i] = x[i, C - 17]\n}"
        y, z = weft.compile(text, target, specialise=specialise)(x)
        assert y.tolist() == list(range(1, 10)) and z.tolist() == list(range(11, 20))
        del x


@pytest.mark.parametrize("target", ["cpu", "c"])
def test_writes_far_apart(target: str) -> None:
    """Failure 5: stores at strides beyond 2**31 elements, by a program that is scheduled by hand."""
    text = """program far(N) where N >= 3 {
  tensor x: u8[3] input
  tensor y: u8[3, N] output
  kernel k {
    parallel unit i in 0..3 {
      v = load x[i]
      store y[i, N - 1] = v
    }
  }
}
"""
    memory = mmap.mmap(-1, 3 << 32, flags=SPARSE)
    y = np.frombuffer(memory, dtype="u1").reshape(3, 1 << 32)
    x = np.array([7, 8, 9], np.uint8)
    get_target(target).load(parse_program(text))([x.ctypes.data, y.ctypes.data], [1 << 32], 2)
    assert y[:, -1].tolist() == [7, 8, 9]
    del y
