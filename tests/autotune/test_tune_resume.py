"""A run of weft.tune that is interrupted or killed loses nothing that was written, and goes on where it was."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from test_tune import TEXT, tuner
from weft.autotune.store import Records

RUN = """
import sys
import tempfile
from pathlib import Path
from weft.autotune.measure import Limits
from weft.autotune.tuner import Tuner
limits = Limits(rounds=2, turn=0.001)
Tuner(sys.argv[1], "cpu", {"M": 32, "N": 48}, Path(sys.argv[2]), 1, None, None, {}, limits, group=1).run(4, 60.0)
"""


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on(how: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, TEXT, str(tmp_path)],
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    written: list[bytes] = []
    for _ in range(600):
        written = [line for p in tmp_path.glob("*.jsonl") for line in p.read_bytes().splitlines()]
        if len(written) >= 2:
            break
        time.sleep(0.02)
    workers = children(process.pid)
    process.send_signal(how)
    process.wait(20)
    for _ in range(200):
        if not any(alive(w) for w in workers):
            break
        time.sleep(0.02)
    assert not any(alive(w) for w in workers), "the worker outlived the tuner"
    (file,) = tmp_path.glob("*.jsonl")
    kept = file.read_bytes().splitlines()
    assert kept[: len(written)] == written and len(written) >= 2
    before = {json.loads(line)["plan"] for line in kept}
    found = tuner(tmp_path).run(4, 30.0)
    left = Path(tempfile.gettempdir()).glob(f"weft-tune-{process.pid}-*")
    assert list(left) == [], "the arrays of a killed tuner stay for ever"
    if found.known:  # the sources may have changed meanwhile, then nothing is known
        assert found.known == len(before)
        assert not {r.plan for r in found.measured[: 4 - len(before)]} & before
    assert len({r.plan for r in Records(tmp_path).all()}) == 4


def test_a_time_limit_ends_between_groups(tmp_path: Path) -> None:
    found = tuner(tmp_path, group=1).run(4, 0.0)
    assert 0 < len(found.measured) < 4
    rest = tuner(tmp_path, group=1).run(4, 60.0)
    assert rest.known == len(found.measured) and len({r.plan for r in Records(tmp_path).all()}) == 4
