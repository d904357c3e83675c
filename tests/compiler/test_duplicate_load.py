"""Data that a tile already holds is not loaded again."""

import pytest
from gir_golden import after, lines, unchanged
from gir_programs import assert_same_result, random_program
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.compiler.passes.duplicate_load import DuplicateLoad

PASS = DuplicateLoad()


@given(st.integers(0, 10**6))
@settings(max_examples=12, deadline=None)
def test_results_stay_the_same(seed: int) -> None:
    sample = random_program(seed)
    assert_same_result(sample, PASS.run(sample.program))


def test_the_first_load_serves_both() -> None:
    before = """
    a = load<16> x[0, @0]
    b = load<16> x[0, @0]
    store<16> y[0, @0] = a + b
    """
    assert after(PASS, before) == lines("a = load<16> x[0, @0]\nstore<16> y[0, @0] = a + a")


def test_a_load_around_a_loop_serves_its_body() -> None:
    before = """
    a = load<16> x[0, @0]
    loop i in 0..N {
    b = load<16> x[0, @0]
    store<16> y[i, @0] = a + b
    }
    """
    assert after(PASS, before) == lines("""
    a = load<16> x[0, @0]
    loop i in 0..N {
    store<16> y[i, @0] = a + a
    }
    """)


@pytest.mark.parametrize(
    "body",
    [
        "a = load<16> tmp[0, @0]\nstore<16> tmp[0, @0] = 1.0\nb = load<16> tmp[0, @0]\nstore<16> y[0, @0] = a + b",
        "a = load<16> tmp[0, @0]\nsync dram\nb = load<16> tmp[0, @0]\nstore<16> y[0, @0] = a + b",
        "a = load<16> x[0, @0]\nparallel unit i in 0..N {\nb = load<16> x[0, @0]\nstore<16> y[i, @0] = b\n}",
        "a = load<16> tmp[0, @0]\nloop i in 0..N {\nb = load<16> tmp[0, @0]\nstore<16> tmp[i, @0] = a + b\n}",
        "a = load<16> x[0, @0] where @0 < N else 0.0\nb = load<16> x[0, @0]\nstore<16> y[0, @0] = a + b",
    ],
    ids=["a write", "a sync", "a parallel body", "a write later in the loop", "another predicate"],
)
def test_not_past(body: str) -> None:
    assert unchanged(PASS, body)


def test_inputs_do_not_change_at_a_sync() -> None:
    body = "a = load<16> x[0, @0]\nsync dram\nb = load<16> x[0, @0]\nstore<16> y[0, @0] = a + b"
    assert len(after(PASS, body)) == 3
