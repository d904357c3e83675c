"""A sample of `make fuzz`: random programs through every pass and every target, against the interpreter."""

from __future__ import annotations

import shutil

import pytest
from fuzz import check


@pytest.mark.parametrize("seed", [*range(100, 130), 61, 748, 1988, 11354, 11704])  # the last: found by longer runs
def test_on_cpu(seed: int) -> None:
    assert list(check(seed, ["cpu"])) == []


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("seed", [*range(130, 138), 545, 573, 745])  # the last: GCC 12 failed inside
def test_as_c(seed: int) -> None:
    assert list(check(seed, ["c"])) == []


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("seed", range(138, 142))
def test_as_c_under_sanitizers(seed: int) -> None:
    assert list(check(seed, ["c:sanitize"])) == []
