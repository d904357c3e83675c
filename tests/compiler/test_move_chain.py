"""A copy of a copy is a copy of the original."""

import pytest
from gir_golden import after, unchanged
from weft.compiler.passes.move_chain import MoveChain

PASS = MoveChain()
CHAIN = "move<N, 16> tmp[@0, @1] = x[@0, @1]\n{}\nmove<N, 16> y[@0, @1] = tmp[@0, @1]"


def test_the_second_move_reads_the_original() -> None:
    assert after(PASS, CHAIN.format(""))[-1] == "move<N, 16> y[@0, @1] = x[@0, @1]"


@pytest.mark.parametrize(
    "between",
    ["sync dram", "store<16> tmp[0, @0] = 1.0", "t = load<16> tmp[0, @0]"],
    ids=["a sync", "a write", "another reader"],
)
def test_not_past(between: str) -> None:
    assert unchanged(PASS, CHAIN.format(between))


def test_another_slice_is_another_value() -> None:
    assert unchanged(PASS, "move<4, 16> tmp[@0, @1] = x[@0, @1]\nmove<N, 16> y[@0, @1] = tmp[@0, @1]")


def test_a_conversion_is_kept() -> None:
    body = "alloc s: f16[16] sram\nmove<16> s[@0] = h[0, @0]\nt = load<16> s[@0]\nstore<16> y[0, @0] = t"
    assert unchanged(PASS, body)
