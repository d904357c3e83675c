"""`weft doctor [--json]`: what this machine has of what weft can use."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from ... import settings
from ...backends.host import host_description, usable_cores
from ...backends.machine import machine_names
from ...backends.target import TARGETS, get_target
from ...ir.errors import WeftError
from ..cache import shelf as cache
from ..reproducer import version

TOOLS = ("cc", "gcc", "clang", "nvcc", "hipcc", "nvidia-smi", "rocm-smi")
PACKAGES = (
    "numpy",
    "ml_dtypes",
    "networkx",
    "llvmlite",
    "click",
    "rich",
    "platformdirs",
    "filelock",
    "pycuda",
    "torch",
)
FEATURES = ("sse4_2", "avx", "fma", "avx2", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_bf16", "amx_tile")
ARM_FEATURES = ("asimd", "asimdhp", "bf16", "sve", "sve2")


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(as_json: bool) -> None:
    """Tool chains, devices and versions on this machine."""
    found = examine()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for title, rows in found.items():
        click.echo(f"{title}:")
        for name, value in rows.items():
            click.echo(f"  {name:<18} {value if not isinstance(value, list) else ' '.join(value) or 'none'}")


def examine() -> dict[str, dict[str, Any]]:
    """Sections of names and what was found: text, a list, or "missing"."""
    now = settings.current()
    features = _cpu_flags()
    variables = {
        name: f"{os.environ.get(name) or default or 'unset'}  ({doc})" for name, default, doc in settings.describe()
    }
    return {
        "weft": {"version": version(), "python": platform.python_version(), "system": platform.platform()},
        "cpu": {
            "model": _cpu_model(),
            "threads": str(usable_cores()),
            "features": [f for f in FEATURES + ARM_FEATURES if f in features],
            "huge pages": _read("/sys/kernel/mm/transparent_hugepage/enabled") or "unknown",
        },
        "targets": {name: _target(name) for name in TARGETS},
        "machines": {"descriptions": machine_names(), "in use": _machine()},
        "tools": {tool: _tool(tool) for tool in dict.fromkeys((now.cc, *TOOLS))},
        "devices": {"nvidia": sorted(p.name for p in Path("/dev").glob("nvidia[0-9]*")), "amd": _amd()},
        "packages": {name: _package(name) for name in PACKAGES},
        "kernel cache": dict(cache.describe()),
        "settings": variables,
    }


def _machine() -> str:
    try:
        found = host_description()
    except WeftError as error:
        return f"not usable: {str(error).splitlines()[0]}"
    return f"{found.machine.name}, from {found.path}"


def _target(name: str) -> str:
    try:
        return f"ready, scheduling for machine '{get_target(name).machine.name}'"
    except WeftError as error:
        return f"not usable: {str(error).splitlines()[0]}"


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        return "missing"
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return f"{path} (does not answer)"
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return f"{path} ({lines[0].strip()})" if done.returncode == 0 and lines else path


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _amd() -> list[str]:
    return ["kfd"] if Path("/dev/kfd").exists() else []


def _cpu_flags() -> set[str]:
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def _cpu_model() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
