"""A sample of `make fuzz`: random programs through every pass, random schedules and every target, against the
interpreter."""

from __future__ import annotations

import shutil

import pytest
from checking import check, check_all
from subjects import CHAIN, PROGRAM

NEEDS_CC = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.mark.parametrize("seed", [*range(100, 130), 61, 748, 1988, 11354, 11704])  # the last: found by longer runs
def test_on_cpu(seed: int) -> None:
    assert list(check(seed, ["cpu"])) == []


@pytest.mark.parametrize("kind", [PROGRAM, CHAIN])
def test_random_schedules_on_cpu(kind: str) -> None:
    """Failure 3 and failure 28."""
    assert list(check_all(kind, range(200, 212), ["cpu"])) == []


@NEEDS_CC
def test_random_schedules_in_c() -> None:
    assert list(check_all(CHAIN, range(304, 310), ["c"])) == []


@NEEDS_CC
@pytest.mark.parametrize("seed", [*range(130, 138), 545, 573, 745])  # the last: GCC 12 failed inside
def test_as_c(seed: int) -> None:
    assert list(check(seed, ["c"])) == []


@NEEDS_CC
@pytest.mark.parametrize("seed", range(138, 142))
def test_as_c_under_sanitizers(seed: int) -> None:
    assert list(check(seed, ["c:sanitize"])) == []
