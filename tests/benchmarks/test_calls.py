"""benchmarks/calls.py runs and writes what it measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import calls
import pytest


def test_rows_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"REPEATS": 1, "CALLS": 3, "PAUSED": 1, "STEPS": (8,)}.items():
        monkeypatch.setattr(calls, name, value)
    file = tmp_path / "calls.json"
    monkeypatch.setattr(sys, "argv", ["calls.py", "--threads", "2", "--json", str(file)])
    calls.main()
    written = json.loads(file.read_text())
    assert written["command"] == "benchmarks/calls.py --threads 2" and written["machine"]["threads"] == 2
    assert {"bound call", "chain of 8, 2 at once, after a pause"} <= {row["what"] for row in written["rows"]}
    assert all(0 < row["min_us"] <= row["median_us"] for row in written["rows"])
    assert "bound call" in capsys.readouterr().out
