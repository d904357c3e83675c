"""What fits closer to the unit, and is nobody else's, moves there."""

import pytest
from gir_golden import after, program, unchanged
from gir_programs import assert_same_result, random_program
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.compiler.passes.promote_level import PromoteLevel
from weft.ir.gir import Alloc, Level, walk

PASS = PromoteLevel()


@given(st.integers(0, 10**6))
@settings(max_examples=12, deadline=None)
def test_results_stay_the_same(seed: int) -> None:
    sample = random_program(seed)
    assert_same_result(sample, PASS.run(sample.program))


def test_scratch_becomes_a_tile() -> None:
    before = "alloc s: f32[16] sram\nstore<16> s[@0] = 1.0\nt = load<16> s[@0]\nstore<16> y[0, @0] = t"
    assert after(PASS, before) == [
        "alloc s: f32<16> reg",
        "s = 1.0",
        "t: f32<16> = s",
        "store<16> y[0, @0] = t",
    ]


def test_a_narrow_tile_still_rounds() -> None:
    before = "alloc s: f16[16] sram\nstore<16> s[@0] = 1.1\nt = load<16> s[@0]\nstore<16> y[0, @0] = t"
    assert "s = f16(1.1)" in after(PASS, before)


@pytest.mark.parametrize(
    "uses",
    [
        "store<16> s[@0] = 1.0\nt = load<8> s[@0]",
        "store<16> s[15 - @0] = 1.0\nt = load<16> s[@0]",
        "store<16> s[@0] = 1.0\nt = load<16> s[@0] where @0 < N else 0.0",
        "move<16> s[@0] = x[0, @0]\nt = load<16> s[@0]",
    ],
    ids=["a part", "another order", "a predicate", "a move"],
)
def test_other_scratch_stays(uses: str) -> None:
    assert unchanged(PASS, f"alloc s: f32[16] sram\n{uses}")


def test_large_scratch_stays() -> None:
    body = "alloc s: f32[1024] sram\nstore<1024> s[@0] = 1.0\nt = load<1024> s[@0]"
    assert unchanged(PASS, body)


ROWS = """
parallel unit i in 0..N step 4 {{
store<4, 16> tmp[i + @0, @1] = 1.0
t = load<4, 16> tmp[{row}, @1]
store<4, 16> y[i + @0, @1] = t
}}
"""


def test_a_private_temporary_becomes_scratch() -> None:
    out = PromoteLevel(reg_bytes=0).run(program(ROWS.format(row="i + 3 - @0")))
    allocs = [s for s in walk(out.kernels[0].body) if isinstance(s, Alloc)]
    assert [(a.name, a.level) for a in allocs] == [("tmp", Level.SRAM)]
    assert "tmp" not in {t.name for t in out.tensors}
    assert "alloc tmp: f32<4, 16> reg" in after(PASS, ROWS.format(row="i + @0"))


def test_a_shared_temporary_stays() -> None:
    assert unchanged(PASS, ROWS.format(row="N - 4 - i + @0"))
    assert unchanged(PromoteLevel(sram_bytes=128), ROWS.format(row="i + @0"))


def test_temporaries_that_do_not_fit_together_stay() -> None:
    """Found by `make fuzz`: each of them fitted."""
    text = ROWS.format(row="i + 3 - @0").replace("{\n", "{\nalloc s: f32[16] sram\nstore s[0] = 1.0\n", 1)
    for room, levels in ((319, [Level.SRAM]), (320, [Level.SRAM, Level.SRAM])):
        out = PromoteLevel(reg_bytes=0, room=room).run(program(text))
        assert [s.level for s in walk(out.kernels[0].body) if isinstance(s, Alloc)] == levels
