"""What this machine is: processor, instruction set, usable cores, cache sizes, and the description in use for it."""

from __future__ import annotations

import os
import platform
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath

from .. import settings
from .isa import InstructionSet, best_set, runs
from .machine import MACHINES, Description, Machine, find_machine, is_path, load_machine, read_description


class MachineWarning(UserWarning):
    """A measured description that is not of this machine; the one that comes along is used instead."""


def usable_cores() -> int:
    """Cores this process may run on at this moment: its affinity mask, and no more than its control group's quota of
    CPU time pays for."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    granted = _quota()
    return cores if cores < granted else granted


@cache
def _quota() -> int:
    """Cores' worth of CPU time that Linux's control groups grant, of both versions; many where nothing is limited."""
    granted = [1 << 16]
    try:
        groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return granted[0]
    for _, controllers, path in groups:
        if not controllers or "cpu" in controllers.split(","):
            folder = Path("/sys/fs/cgroup/cpu" if controllers else "/sys/fs/cgroup")
            own = PurePosixPath(path.lstrip("/"))  # inside a container, the path may be one of the outside
            granted += [n for part in (own, *own.parents) if (n := _granted(folder / part)) is not None]
    return min(granted)


def _granted(group: Path) -> int | None:
    """Quota over period of one control group, rounded up."""
    try:
        files = ("cpu.max",) if (group / "cpu.max").exists() else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quota, period = (int(word) for name in files for word in (group / name).read_text().split())
    except (OSError, ValueError):  # no such group; or "max", which is no limit
        return None
    return -(-quota // period) if quota > 0 and period > 0 else None


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


def architecture() -> str:
    """As the first part of a triple."""
    here = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(here, here)


def runs_here(wanted: InstructionSet) -> bool:
    return runs(wanted, architecture(), _features())


@cache
def _features() -> frozenset[str]:
    """Flags by Linux's names; LLVM writes a dot in some."""
    return frozenset(f.replace(".", "_") for f in cpu_flags())


@cache
def machine_name() -> str:
    """The description in `machines/` that this processor can run."""
    return best_set(architecture(), _features()).name


@cache
def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def libc() -> str:
    """The C library that code loaded here is linked against, as far as the system tells."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return " ".join(platform.libc_ver())


def is_x86() -> bool:
    return architecture() == "x86_64"


def caches() -> dict[str, int]:
    """`l1_bytes`, `l2_bytes`, `l3_bytes` (data) and `line_bytes` of core 0, as far as the system tells."""
    sizes = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            if (folder / "type").read_text().strip() == "Instruction":
                continue
            level = (folder / "level").read_text().strip()
            text = (folder / "size").read_text().strip()
            line = (folder / "coherency_line_size").read_text().strip()
        except OSError:
            continue
        if text.endswith("K") and text[:-1].isdigit():
            sizes[f"l{level}_bytes"] = int(text[:-1]) * 1024
        if line.isdigit() and int(line) > 0:
            sizes["line_bytes"] = int(line)
    return {k: v for k, v in sizes.items() if k in ("l1_bytes", "l2_bytes", "l3_bytes", "line_bytes")}


def host_machine(name: str | None = None) -> Machine:
    """The description `name` (default: the best one for this processor) with this machine's cores and caches. A file
    is taken as it is. Raises TargetError."""
    if name is None:
        return host_description().machine
    return find_machine(name) if is_path(name) else with_cores_and_caches(find_machine(name))


def measured_here(name: str | None) -> bool:
    """Whether a description is of this machine: the default one, or a file that was measured on this processor."""
    if name is None:
        return True
    return (
        is_path(name)
        and read_description(Path(name)).processor == processor()
        and runs_here(find_machine(name).instructions)
    )


def host_description() -> Description:
    """The description in use for this machine: the measured one where there is one of this processor, else the one
    that comes along for its instruction set. Raises TargetError for a measured one that cannot be read."""
    found = _measured(settings.machine_file())
    if found is not None:
        return replace(found, machine=replace(found.machine, units=usable_cores()))
    name = machine_name()
    return Description(with_cores_and_caches(load_machine(name)), MACHINES / f"{name}.toml")


def with_cores_and_caches(machine: Machine) -> Machine:
    return replace(machine, units=usable_cores(), **caches())  # type: ignore[arg-type]


def _measured(path: Path | None) -> Description | None:
    """The user's own description, if it is of this machine."""
    try:
        state = path.stat() if path is not None else None
    except OSError:
        return None
    return None if path is None or state is None else _read(path, state.st_mtime_ns, state.st_size)


@cache
def _read(path: Path, changed: int, size: int) -> Description | None:
    """Read once for each state of the file."""
    found = read_description(path)
    why = ""
    if found.processor and found.processor != processor():
        why = f"it was measured on '{found.processor}', this is '{processor()}'"
    elif not runs_here(found.machine.instructions):
        why = f"this processor does not run {found.machine.isa}"
    if not why:
        return found
    warnings.warn(f"{path} is not used: {why} (try: weft machine --measure)", MachineWarning, stacklevel=2)
    return None
