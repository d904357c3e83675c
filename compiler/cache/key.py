"""What a cached kernel depends on, as one text.

The text is compared in full when an entry is read; its hash only names the file. Whatever can change the machine code
has a field: the program and the values bound in it, the options of the lowering, the machine description with the cores
and caches found here, the target with its tool chain and the processor's features (`Reusable.identity`), and weft
itself by the content of its sources, so that two versions, or two states of a checkout, share a cache without meeting.
Python's version is left out: entries hold no Python objects.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from ...backends.target import Target
from ...ir import gir
from ...ir.gir_printer import print_program
from ...ir.op import Op
from ...ir.op_printer import print_op
from ..lower_options import LowerOptions
from ..plain_data import to_plain
from ..reproducer import version
from .store import SCHEMA

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("ir", "compiler", "backends")  # what makes code; the operator library's text is in the program
SUFFIXES = (".py", ".toml", ".h")
_IMPORTED = time.time_ns()


def key_text(
    program: Op | gir.Program,
    bindings: Mapping[str, int],
    schedule: LowerOptions | None,
    target: Target,
    identity: Mapping[str, str],
    sources: str,
) -> str:
    """The whole key as JSON with sorted keys: equal for equal inputs, in every process. `schedule` is None for the
    defaults; `sources` is `source_digest()`."""
    is_op = isinstance(program, Op)
    return json.dumps(
        {
            "schema": SCHEMA,
            "weft": version(),
            "sources": sources,
            "numpy": np.__version__,  # folds constants, and draws the numbers that rules are tested with
            "form": "op" if is_op else "gir",
            "program": print_op(program) if isinstance(program, Op) else print_program(program),
            "bind": dict(bindings),  # symbols that are missing stay symbolic
            "schedule": to_plain(schedule or LowerOptions()) if is_op else None,
            "machine": to_plain(target.machine),
            "target": target.name,
            "identity": dict(identity),
        },
        sort_keys=True,
    )


@cache
def source_digest() -> str | None:
    """A hash of the sources that make code; None where they are not files, or changed after this process had begun to
    import them, so that what runs here may be neither the old nor the new state."""
    digest = hashlib.sha256()
    root = str(ROOT)
    newest = count = 0
    try:
        for path in sorted(_sources()):
            with open(path, "rb", buffering=0) as file:
                newest = max(newest, os.fstat(file.fileno()).st_mtime_ns)
                data = file.readall()
            digest.update(f"{path.removeprefix(root)} {len(data)}\n".encode())
            digest.update(data)
            count += 1
    except OSError:
        return None
    return digest.hexdigest() if count and newest < _IMPORTED else None


def sources_unchanged() -> bool:
    """Whether no source changed since this process began to import them: asked before anything is kept."""
    try:
        return all(os.stat(path).st_mtime_ns < _IMPORTED for path in _sources())
    except OSError:
        return False


def _sources() -> Iterator[str]:
    folders = [str(ROOT / room) for room in ROOMS]
    while folders:
        with os.scandir(folders.pop()) as listing:
            for item in listing:
                if item.is_dir(follow_symlinks=False):
                    folders += [item.path] if item.name != "__pycache__" else []
                elif item.name.endswith(SUFFIXES):
                    yield item.path
