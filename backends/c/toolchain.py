"""Calling the C compiler: argument lists only, a time limit, and errors that say what it said."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ... import settings
from ...ir.errors import TargetError

# -O2: loops are unrolled and vectorised already, and -O3 spends minutes on long straight-line bodies
FLAGS = (
    ["-std=c11", "-O2", "-march=native", "-fopenmp", "-fPIC", "-shared"]
    # the semantics of docs/language.md: wrapping integers, no contraction that the program does not ask for
    + ["-fwrapv", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
)
TIME_LIMIT = 300  # seconds


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
