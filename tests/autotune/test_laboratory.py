"""Candidates that crash, hang or are wrong: each gets its status, and the others are measured correctly."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from faulty import QUICK, reference, trial
from weft.autotune import process
from weft.autotune.measure import Laboratory, Outcome
from weft.autotune.process import Died, NoWorker, Process
from weft.autotune.record import Status
from weft.ir.errors import TargetError


def measured(folder: Path, *names: str, points: int = 1 << 20) -> list[Outcome]:
    trials = [trial(n, default=k == 0) for k, n in enumerate(names)]
    with Laboratory("cpu", None, 1, reference(folder, points), QUICK) as laboratory:
        return laboratory.measure(trials)


def right(outcome: Outcome) -> bool:
    return outcome.status is Status.OK and outcome.seconds > 0 and outcome.errors == {"y": 0.0}


@pytest.mark.parametrize(
    "name,status,words",
    [
        ("wrong", Status.WRONG, "'y' is off by"),
        ("unwritten", Status.WRONG, "'y' is off by inf"),
        ("crash", Status.CRASH, "killed by SIGSEGV"),
        ("input", Status.WRONG, "changed its input 'x'"),
        ("behind", Status.WRONG, "behind the end of 'y'"),
        ("refused", Status.ERROR, "nothing"),
    ],
)
def test_failure_26_a_faulty_candidate_between_good_ones(name: str, status: Status, words: str, tmp_path: Path) -> None:
    """Failure 26: the next candidate still measures correctly. Failure 14: one wrong one does not hide."""
    first, faulty, last = measured(tmp_path, "good", name, "other")
    assert faulty.status is status and words in faulty.detail
    assert not faulty.samples
    assert right(first) and right(last)
    assert last.baseline == first.seconds


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
