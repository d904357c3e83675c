"""What the machine is, and what else it did during a turn."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import numpy as np
from loops import Loops, aligned

_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
PROBE_BYTES = 96 << 20  # larger than the last-level caches of small machines


def busy_seconds() -> float:
    """CPU time spent by everybody since boot, time stolen by the host included."""
    fields = [int(f) for f in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICK


def group_seconds(group: int) -> float:
    """CPU time of the living processes of a process group (and of children they waited for)."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[2]) == group:
                total += sum(int(f) for f in fields[11:15])
    return total / _TICK


class Probe:
    """A short copy: tells the bandwidth of the moment, and with it the memory mode of the host."""

    def __init__(self, loops: Loops) -> None:
        self._loops = loops
        self._source, self._target = aligned(PROBE_BYTES), aligned(PROBE_BYTES)

    def bandwidth(self, tries: int = 3) -> float:
        """Bytes read and written per second."""
        best = 0.0
        for _ in range(tries):
            start = time.perf_counter()
            self._loops.move(self._source, self._target, PROBE_BYTES, PROBE_BYTES)
            best = max(best, 2 * PROBE_BYTES / (time.perf_counter() - start))
        return best


def machine_info(threads: int, allocator: str) -> dict[str, object]:
    """What a reader needs to judge the numbers. Nothing that names the host."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return {
        "cpu": names[0] if names else platform.processor(),
        "cpus": os.cpu_count(),
        "threads": threads,
        "simd": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if f in flags.split()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "allocator": allocator,
    }
