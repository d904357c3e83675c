"""Nobody waits where nothing was written since the last wait."""

from gir_golden import after, unchanged
from weft.compiler.passes.redundant_sync import RedundantSync

PASS = RedundantSync()


def body(*between: str) -> str:
    inner = "\n".join(between)
    return f"parallel unit i in 0..N {{\nstore<16> tmp[i, @0] = 1.0\nsync dram\n{inner}\nstore<16> y[i, @0] = 2.0\n}}"


def test_a_second_sync_goes() -> None:
    assert after(PASS, body("t = load<16> x[i, @0]", "sync dram")).count("sync dram") == 1
    assert after(PASS, body("sync sram")).count("sync sram") == 0  # dram covers it


def test_a_write_between_keeps_both() -> None:
    assert unchanged(PASS, body("store<16> tmp[i, @0] = 2.0", "sync dram"))


def test_a_read_of_what_is_written_keeps_both() -> None:
    assert unchanged(PASS, body("t = load<16> tmp[i, @0]", "sync dram"))


def test_a_narrower_sync_does_not_cover_a_wider_one() -> None:
    text = body("sync dram").replace("sync dram", "sync sram", 1)
    assert unchanged(PASS, text)


def test_the_end_of_a_kernel_waits_anyway() -> None:
    assert after(PASS, "store<16> y[0, @0] = 1.0\nsync dram") == ["store<16> y[0, @0] = 1.0"]
