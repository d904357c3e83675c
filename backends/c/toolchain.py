"""Calling the C compiler: argument lists only, a time limit, and errors that say what it said."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ... import settings
from ...ir.errors import TargetError

# -O2: loops are unrolled and vectorised already, and -O3 spends minutes on long straight-line bodies
FLAGS = (
    ["-std=c11", "-O2", "-fopenmp", "-fPIC", "-shared"]
    # the semantics of docs/language.md: wrapping integers, no contraction that the program does not ask for
    + ["-fwrapv", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
)
NATIVE = "native"  # as a processor: this machine's
TIME_LIMIT = 300  # seconds
# Of GCC and Clang: where they look for headers, libraries and their own parts.
VARIABLES = ("CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX", "CCC_OVERRIDE_OPTIONS")


def compiler() -> list[str]:
    """The compiler's command, from WEFT_CC or `cc`. Raises TargetError where there is none."""
    try:
        command = shlex.split(settings.current().cc)
    except ValueError as error:
        raise TargetError(f"WEFT_CC is not a command: {error}", remedy="WEFT_CC=gcc, for example") from None
    if not command or shutil.which(command[0]) is None:
        name = command[0] if command else ""
        raise TargetError(
            f"no C compiler '{name}'", remedy="install gcc or clang, name one in WEFT_CC, or use target cpu"
        )
    return command


def compiler_identity() -> dict[str, str]:
    """Which compiler this is: its command, where it lies, when it was written, what it says its version is, and the
    variables that it listens to. Raises TargetError where there is none."""
    command = compiler()
    path = os.path.realpath(shutil.which(command[0]) or command[0])
    try:
        info = os.stat(path)
    except OSError as error:
        raise TargetError(f"'{command[0]}' cannot be read: {error}", remedy="check WEFT_CC") from None
    state = f"{info.st_size} {info.st_mtime_ns}"
    heard = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return {"cc": shlex.join(command), "path": path, "state": state, "says": _version(tuple(command), state)} | heard


@cache
def _version(command: tuple[str, ...], state: str) -> str:
    """What the compiler says of itself; asked once for each state of its file."""
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, errors="replace", timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"'{command[0]}' does not answer: {error}", remedy="check WEFT_CC") from None
    return done.stdout


def run_compiler(arguments: Sequence[str | Path], directory: Path) -> None:
    """Compile in `directory`. Raises TargetError with the head of what the compiler said."""
    command = [*compiler(), *map(str, arguments)]
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, errors="replace", timeout=TIME_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        raise TargetError(
            f"'{command[0]}' took longer than {TIME_LIMIT} s", remedy="lower the tile sizes: less text is written out"
        ) from None
    except OSError as error:
        raise TargetError(f"'{command[0]}' did not start: {error}", remedy="check WEFT_CC") from None
    if done.returncode != 0:
        said = "\n  ".join(done.stderr.strip().splitlines()[:12])
        raise TargetError(f"'{command[0]}' failed with status {done.returncode}:\n  {said}", remedy="check WEFT_CC")
