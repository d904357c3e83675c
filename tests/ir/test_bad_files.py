"""A sample of the bad files of `make fuzz` (there 2,000): each ends in success or in an error of the user's, soon."""

from __future__ import annotations

import pytest
from bad_files import bad_file
from bad_input import check_file

SAMPLE = range(0, 2000, 13)  # 13 and the eight kinds have no common factor


@pytest.mark.parametrize("first", range(8))
def test_sample(first: int) -> None:
    """Failure 25, too: each within a bounded time."""
    found = [f"file {n}: {finding}" for n in SAMPLE[first::8] for finding in check_file(n)]
    assert found == []


def test_files_are_a_function_of_their_number() -> None:
    assert [bad_file(n) for n in SAMPLE] == [bad_file(n) for n in SAMPLE]
