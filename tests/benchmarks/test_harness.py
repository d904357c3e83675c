"""The parts of the harness that must not be wrong: what a stream moves, what an error is, which turns count."""

from __future__ import annotations

import io
import subprocess

import numpy as np
import pytest
import table
from cases import suites
from loops import Loops, aligned
from run import Turn, Worker, error_of, quiet_turns


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("read", "write"), [(1 << 12, 1 << 12), (3 << 20, 1 << 20), (1 << 20, 3 << 20)])
def test_stream_moves_what_it_says(threads: int, read: int, write: int) -> None:
    source, target = aligned(read), aligned(write)
    source[:] = np.arange(read) % 251
    target[:] = 7
    Loops(threads, pin=False).move(source, target, read, write)
    both = min(read, write)
    assert np.array_equal(source[:both], target[:both])
    assert not target[both:].any()


def test_peak_loop_is_not_folded() -> None:
    assert Loops(1, pin=False).fma_instructions >= 12


def test_error_is_relative_to_the_largest_answer() -> None:
    want = np.array([0.0, 100.0])
    assert error_of(np.array([1.0, 100.0]), want) == pytest.approx(0.01)
    assert error_of(np.zeros(3), want) == float("inf")
    assert error_of(np.array([np.nan, 100.0]), want) == float("inf")


def worker(name: str, turns: list[Turn]) -> Worker:
    process = subprocess.Popen.__new__(subprocess.Popen)
    process.stdin = io.StringIO()
    process._child_created = False  # type: ignore[attr-defined]
    return Worker(name, process, turns)


def test_disturbed_turns_do_not_count() -> None:
    turns = [Turn([1.0], False, 50.0), Turn([9.0], True, 50.0), Turn([1.1], False, 50.0)]
    kept, bandwidth = quiet_turns([worker("a", turns)])
    assert [t.ms for t in kept["a"]] == [[1.0], [1.1]]
    assert bandwidth == 50.0


def test_turns_of_the_rarer_memory_mode_do_not_count() -> None:
    turns = [Turn([1.0], False, 50.0), Turn([0.6], False, 90.0), Turn([1.1], False, 52.0)]
    kept, bandwidth = quiet_turns([worker("a", turns)])
    assert [t.ms for t in kept["a"]] == [[1.0], [1.1]]
    assert bandwidth == 52.0


def test_all_turns_count_where_none_was_quiet() -> None:
    turns = [Turn([1.0], True, 50.0), Turn([2.0], True, 50.0)]
    kept, _ = quiet_turns([worker("a", turns)])
    assert len(kept["a"]) == 2


def test_cases_know_their_bytes() -> None:
    memory = {c.name: c for c in suites()["memory"]}
    case = memory["softmax_4096x4096"]
    assert case.read_bytes == case.write_bytes == 4096 * 4096 * 4
    assert memory["gather_rows_16384x1024"].read_bytes == 16384 * 1024 * 4 + 16384 * 8
    names = [c.name for cases in suites().values() for c in cases]
    assert len(set(names)) == len(names)


def test_line_of_the_table() -> None:
    row = {"case": "c", "weft_ms": 2.0, "floor_ms": 1.0, "stream_ms": 1.5, "peers": {"torch": 4.0, "numpy": 8.0}}
    assert table.line(row) == "| `c` | 2.00 | 1.00 | 1.50 | 4.00 (torch) | 2.00 | 0.50 |"
