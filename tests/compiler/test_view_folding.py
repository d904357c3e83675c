"""A temporary that is a plain copy of an input is not made."""

import pytest
from gir_golden import after, unchanged
from weft.compiler.passes.view_folding import ViewFolding

PASS = ViewFolding()
USE = "loop i in 0..N {\nt = load<16> tmp[i, @0]\nstore<16> y[i, @0] = t\n}"


def test_reads_of_the_copy_read_the_original() -> None:
    assert "t = load<16> x[i, @0]" in after(PASS, "move<N, 16> tmp[@0, @1] = x[@0, @1]\n" + USE)


@pytest.mark.parametrize(
    "copy",
    [
        "move<4, 16> tmp[@0, @1] = x[@0, @1]",
        "move<N, 16> tmp[@0, @1] = x[@0, @1] where @1 < 8 else 0.0",
        "move<N, 16> tmp[@0, @1] = x[@0, 15 - @1]",
        "move<N, 16> tmp[@0, @1] = x[@0, @1]\nstore<16> tmp[0, @0] = 1.0",
    ],
    ids=["a part", "padded", "in another order", "changed later"],
)
def test_other_copies_stay(copy: str) -> None:
    assert unchanged(PASS, f"{copy}\n{USE}")
