"""What this machine is: processor, vector width, usable cores, cache sizes."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from functools import cache
from pathlib import Path

from .machine import Machine, load_machine

_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl")


def usable_cores() -> int:
    """Cores this process may run on (its affinity mask where the system has one)."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:
        return os.cpu_count() or 1


@cache
def cpu_flags() -> frozenset[str]:
    """Feature names as Linux lists them; without /proc, what LLVM finds."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    import llvmlite.binding as llvm

    return frozenset(name for name, on in llvm.get_host_cpu_features().items() if on)


@cache
def machine_name() -> str:
    """The description in `machines/` that this processor can run."""
    flags = cpu_flags()
    if all(f in flags for f in _AVX512):
        return "avx512"
    if "avx2" in flags and "fma" in flags:
        return "avx2"
    return "simd128"


def libc() -> str:
    """The C library that code loaded here is linked against, as far as the system tells."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return " ".join(platform.libc_ver())


def is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def _cache_sizes() -> dict[str, int]:
    """Data cache sizes of core 0 by level, as far as the system tells."""
    sizes = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            if (folder / "type").read_text().strip() == "Instruction":
                continue
            level = (folder / "level").read_text().strip()
            text = (folder / "size").read_text().strip()
        except OSError:
            continue
        if text.endswith("K") and text[:-1].isdigit():
            sizes[f"l{level}_bytes"] = int(text[:-1]) * 1024
    return {k: v for k, v in sizes.items() if k in ("l1_bytes", "l2_bytes", "l3_bytes")}


def host_machine(name: str | None = None) -> Machine:
    """The description `name` (default: the best one for this processor) with this machine's cores and caches."""
    machine = load_machine(name or machine_name())
    return replace(machine, units=usable_cores(), **_cache_sizes())  # type: ignore[arg-type]
