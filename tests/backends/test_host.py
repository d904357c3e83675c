"""Cores that a process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from weft.backends import host


@pytest.mark.parametrize(
    "files,cores",
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.cfs_quota_us": "400000\n", "cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu.cfs_quota_us": "400000\n"}, None),
        ({}, None),
    ],
)
def test_quota_of_a_control_group(tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert host._granted(tmp_path) == cores


def test_the_smaller_of_mask_and_quota_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(host, "_quota", lambda: 3)
    assert host.usable_cores() == 3
    monkeypatch.setattr(host, "_quota", lambda: 8)
    assert host.usable_cores() == 4
