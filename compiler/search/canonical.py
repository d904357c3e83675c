"""Programs that differ in names alone are one program: their text with every name that is not part of the interface
replaced by the number of its first occurrence, and the hash of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from ...ir.gir import Alloc, Loop, Program, Role, Stmt, walk
from ...ir.gir_printer import print_program
from ...ir.gir_tools import tile_written

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")


def canonical_text(program: Program) -> str:
    """The program's text; inputs, outputs and symbols keep their names."""
    own = {name for k in program.kernels for s in walk(k.body) for name in _introduced(s)}
    own |= {t.name for t in program.tensors if t.role is Role.TEMP} | {k.name for k in program.kernels}
    numbers: dict[str, str] = {}

    def renamed(found: re.Match[str]) -> str:
        name = found.group()
        return numbers.setdefault(name, f"%{len(numbers)}") if name in own else name

    return _NAME.sub(renamed, print_program(program))


def canonical_hash(program: Program) -> str:
    """SHA-256 of `canonical_text`, in hexadecimal."""
    return hashlib.sha256(canonical_text(program).encode()).hexdigest()


def _introduced(stmt: Stmt) -> Iterator[str]:
    match stmt:
        case Alloc(name=name):
            yield name
        case Loop(var=name):
            yield name
    written = tile_written(stmt)
    if written is not None:
        yield written
