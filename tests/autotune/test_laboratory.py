"""Candidates that crash, hang or are wrong: each gets its status, and the others are measured correctly."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from faulty import QUICK, reference, trial
from weft.autotune import process
from weft.autotune.measure import Laboratory, Outcome, _relative
from weft.autotune.process import Died, NoWorker, Process, alone
from weft.autotune.record import Status
from weft.ir.errors import TargetError


def measured(folder: Path, *names: str, points: int = 1 << 20) -> list[Outcome]:
    trials = [trial(n, default=k == 0) for k, n in enumerate(names)]
    with Laboratory("cpu", None, 1, reference(folder, points), QUICK) as laboratory:
        return laboratory.measure(trials)


def right(outcome: Outcome) -> bool:
    return outcome.status is Status.OK and outcome.seconds > 0 and outcome.errors == {"y": 0.0}


def test_failure_26_a_faulty_candidate_between_good_ones(tmp_path: Path) -> None:
    """Failure 26: after each fault the next candidate still measures correctly. Failure 14: no wrong one hides."""
    faults = {
        "wrong": (Status.WRONG, "'y' is off by"),
        "unwritten": (Status.WRONG, "'y' is off by inf"),
        "crash": (Status.CRASH, "killed by SIGSEGV"),
        "input": (Status.WRONG, "changed its input 'x'"),
        "behind": (Status.WRONG, "behind the end of 'y'"),
        "refused": (Status.ERROR, "nothing"),
    }
    first, *faulty, last = measured(tmp_path, "good", *faults, "other")
    for outcome, (status, words) in zip(faulty, faults.values(), strict=True):
        assert outcome.status is status and words in outcome.detail
        assert not outcome.samples
    assert right(first) and right(last)
    assert last.baseline == first.seconds and first.relative == 1.0 and 0.1 < last.relative < 10


def test_a_crash_before_a_good_one(tmp_path: Path) -> None:
    first, crash, last = measured(tmp_path, "good", "crash", "other")
    assert crash.status is Status.CRASH and right(first) and right(last)


def test_times_are_compared_round_by_round() -> None:
    """A disturbance of one round, of some calls, or of all that follows changes nothing."""
    usual, other = Outcome(trial("good", True)), Outcome(trial("other"))
    usual.turns = [[1.0, 1.5], [1.0, 9.0], [30.0, 30.0], [2.0, 2.0], [2.0]]
    other.turns = [[0.8, 0.9], [0.8, 0.8], [0.9, 0.8], [1.6, 7.0], [1.6]]
    assert _relative(other, usual) == 0.8
    other.turns = other.turns[:1]  # hopeless after one round
    assert _relative(other, usual) == 0.8
    assert _relative(Outcome(trial("other")), usual) == 1.0


def test_one_tuner_measures_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEFT_CACHE_DIR", str(tmp_path))
    order: list[str] = []

    def other() -> None:
        with alone():
            order.append("other")

    with alone():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "other"]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WEFT_CACHE_DIR", str(tmp_path / "file"))
    with alone():  # nothing can be locked there
        order.append("still")
    assert order[-1] == "still"


def test_failure_27_what_hangs_is_gone_before_the_next_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is killed and waited for; the next worker is another one."""
    gone: list[tuple[int, bool]] = []
    close = Process.close

    def watched(self: Process) -> None:
        close(self)
        gone.append((self.pid, Path(f"/proc/{self.pid}").exists()))

    monkeypatch.setattr(Process, "close", watched)
    started = time.monotonic()
    with Laboratory("cpu", None, 1, reference(tmp_path), QUICK) as laboratory:
        before = laboratory.measure([trial("good", True)])
        worker = laboratory.worker
        hanging = laboratory.measure([trial("good", True), trial("hang")])[1]
        assert hanging.status is Status.HANG and "no answer within" in hanging.detail and laboratory.worker != worker
        after = laboratory.measure([trial("good", True)])
    assert right(before[0]) and right(after[0])
    assert gone and not any(exists for _, exists in gone)
    assert time.monotonic() - started < 60


def test_a_fault_that_shows_only_while_timing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the rest of its group nothing is lost: samples taken before the worker died stay."""
    ask, killed = Process.ask, []

    def dies(self: Process, request: dict[str, Any], limit: float) -> dict[str, Any]:
        if request["do"] == "time" and request["id"] == "other" and not killed:
            killed.append(self.pid)
            os.kill(self.pid, 9)
        return ask(self, request, limit)

    monkeypatch.setattr(Process, "ask", dies)
    first, other = measured(tmp_path, "good", "other")
    assert other.status is Status.CRASH and "SIGKILL" in other.detail
    assert right(first) and len(killed) == 1


def test_the_default_plan_is_the_reference_where_the_interpreter_is_slow(tmp_path: Path) -> None:
    """Its results are kept once, and the others are compared with them."""
    found = measured(tmp_path, "good", "wrong", "other", points=1)
    assert [o.status for o in found] == [Status.OK, Status.WRONG, Status.OK]


def test_without_a_right_default_plan_nothing_is_compared_with_it(tmp_path: Path) -> None:
    found = measured(tmp_path, "crash", "other", points=1)
    assert [o.status for o in found] == [Status.CRASH, Status.ERROR]
    assert "no results to compare with" in found[1].detail and found[1].baseline == 0.0


def test_a_worker_that_cannot_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "MODULE", "weft.autotune.no_such_module")
    with pytest.raises(NoWorker, match="does not start"):
        measured(tmp_path, "good")


def test_a_worker_for_no_target() -> None:
    with pytest.raises((NoWorker, TargetError), match="abacus"):
        Process("abacus", None, 1)


def test_what_a_dead_worker_says_last(tmp_path: Path) -> None:
    with Process("cpu", None, 1) as worker:
        os.kill(worker.pid, 15)
        with pytest.raises(Died, match="SIGTERM") as died:
            worker.ask({"do": "drop", "ids": []}, 10.0)
        assert died.value.status is Status.CRASH
