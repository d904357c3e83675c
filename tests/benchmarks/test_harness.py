"""The parts of the harness that must not be wrong: what a stream moves, what an error is, which turns count."""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import table
from cases import Case, suites
from loops import Loops, aligned
from references import REFERENCES
from run import check, quiet_turns, summary
from workers import CONTENDERS, Setup, Turn, Worker, error_of, prepare, present


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


def test_every_program_of_a_case_has_an_answer_and_known_inputs() -> None:
    for case in (c for cases in suites().values() for c in cases):
        assert case.program in REFERENCES
        assert case.read_bytes > 0 < case.write_bytes


def test_erf_of_the_reference() -> None:
    x = np.linspace(-7, 7, 20001)
    exact = np.array([0.5 * t * (1 + math.erf(t / math.sqrt(2))) for t in x])
    assert np.abs(REFERENCES["bias_gelu"](x, np.zeros(1)) - exact).max() < 1e-12


@pytest.mark.parametrize("causal", [False, True])
def test_part_of_the_queries_has_the_same_answers(causal: bool) -> None:
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 2, 30, 4))
    reference = REFERENCES["attention_causal" if causal else "attention"]
    assert np.allclose(reference(q, k, v, every=7), reference(q, k, v, every=1)[:, ::7])


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_inputs_of_a_case_survive_the_way_to_another_process(tmp_path: Path, dtype: str) -> None:
    case = Case("s", "c", "layer_norm", {"M": 3, "N": 5}, 0, dtype=dtype)
    inputs = case.inputs()
    case.save(inputs, tmp_path)
    loaded = case.load(tmp_path)
    assert list(loaded) == list(inputs)
    for name, array in inputs.items():
        assert loaded[name].dtype == array.dtype and np.array_equal(loaded[name], array)


def test_a_contender_answers_or_is_absent_or_does_not_support_a_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = Setup(1, (min(os.sched_getaffinity(0)),) if hasattr(os, "sched_getaffinity") else (0,), {})
    monkeypatch.setitem(CONTENDERS, "nowhere", type(CONTENDERS["numpy"])("no_such_module"))
    workers, absent = present(["numpy", "nowhere"], setup)
    try:
        assert [w.name for w in workers] == ["numpy"] and workers[0].version == np.__version__
        assert "ModuleNotFoundError" in absent["nowhere"]
        small = next(c for c in suites()["memory"] if c.name == "odd_softmax_333x7777")
        assert check([small], workers, setup) == 0
        assert "error " in capsys.readouterr().out
        bf16 = next(c for c in suites()["memory"] if c.dtype == "bf16")
        assert not prepare(workers[0], bf16, [], tmp_path) and workers[0].note == "not supported"
    finally:
        for worker_ in workers:
            worker_.close()


def test_another_interpreter_for_one_contender() -> None:
    setup = Setup(1, (0,), {}, {"numpy": "/nowhere/python"})
    workers, absent = present(["numpy"], setup)
    assert workers == [] and "/nowhere/python" in absent["numpy"]
    assert present([], Setup(1, (0,), {}, {"numpy": sys.executable})) == ([], {})


def test_summary_names_what_is_slower() -> None:
    rows = [{"case": "a", "speedup": 4.0}, {"case": "b", "speedup": 0.25}, {"case": "c", "speedup": None}]
    text = summary(rows)
    assert "2 of 3 cases: geometric mean 1.00x, least 0.25x (b)" in text
    assert "slower than the best peer: b 0.25x" in text
