"""What was just stored is not loaded again."""

import pytest
from gir_golden import after, lines, unchanged
from gir_programs import assert_same_result, random_program
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.compiler.passes.store_to_load_forwarding import StoreToLoadForwarding

PASS = StoreToLoadForwarding()


@given(st.integers(0, 10**6))
@settings(max_examples=12, deadline=None)
def test_results_stay_the_same(seed: int) -> None:
    sample = random_program(seed)
    assert_same_result(sample, PASS.run(sample.program))


def test_the_value_is_computed_once() -> None:
    before = """
    a = load<16> x[0, @0]
    store<16> tmp[0, @0] = a * 2.0
    t = load<16> tmp[0, @0]
    store<16> y[0, @0] = t
    """
    assert after(PASS, before) == lines("""
    a = load<16> x[0, @0]
    v: f32<16> = a * 2.0
    store<16> tmp[0, @0] = v
    t: f32<16> = v
    store<16> y[0, @0] = t
    """)


def test_a_narrow_buffer_rounds() -> None:
    before = """
    alloc s: f16[16] sram
    a = load<16> x[0, @0]
    store<16> s[@0] = a
    t = load<16> s[@0]
    store<16> y[0, @0] = t
    """
    assert "t: f32<16> = f16(a)" in after(PASS, before)


def test_the_same_predicate_gives_the_fill_elsewhere() -> None:
    before = """
    a = load<16> x[0, @0]
    store<16> tmp[0, @0] = a where @0 < N
    t = load<16> tmp[0, @0] where @0 < N else 7.0
    """
    assert after(PASS, before)[-1] == "t: f32<16> = a if @0 < N else 7.0"


@pytest.mark.parametrize(
    "between",
    [
        "store<16> tmp[1, @0] = a",
        "sync dram",
        "loop i in 0..N {\n store tmp[i, 0] = 1.0\n }",
        "move<16> tmp[0, @0] = x[0, @0]",
    ],
)
def test_not_past(between: str) -> None:
    assert unchanged(PASS, f"a = load<16> x[0, @0]\nstore<16> tmp[0, @0] = a\n{between}\nt = load<16> tmp[0, @0]")


def test_not_past_a_change_of_the_value() -> None:
    body = """
    alloc a: f32<16> reg
    a = load<16> x[0, @0]
    store<16> tmp[0, @0] = a
    a = a + 1.0
    t = load<16> tmp[0, @0]
    """
    assert unchanged(PASS, body)


def test_not_from_a_predicated_store_to_a_whole_load() -> None:
    body = "a = load<16> x[0, @0]\nstore<16> tmp[0, @0] = a where @0 < N\nt = load<16> tmp[0, @0]"
    assert unchanged(PASS, body)
