"""From what a user hands to compile() to one verified program: an `Op`, or a scheduled `gir.Program`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..ir import gir
from ..ir.errors import ParseError, UserError, VerifyError
from ..ir.gir_parser import parse_program
from ..ir.op import Op
from ..ir.op_text import parse_file
from ..ir.op_verify import verify as verify_op

MAX_SOURCE_BYTES = 16 << 20
_COVERAGE = "coverage:"  # how the verifier's text about guarantee 10 begins


def read(source: Any, entry: str | None = None) -> Op | gir.Program:
    """The program that `source` stands for: an Op, a program, a function under `@weft.op`, the path of a `.gir` file,
    or its text (anything with a brace or a line break). `entry` names one operator of several.

    Raises ParseError, VerifyError, or UserError for a file that cannot be read or a missing entry.
    """
    if isinstance(source, Op):
        verify_op(source)
        return source
    if isinstance(source, gir.Program):
        return prove(source)
    if isinstance(source, str) and ("{" in source or "\n" in source):
        return parse(source, "<text>", entry)
    if isinstance(source, str | os.PathLike):
        return parse(read_text(Path(source)), str(source), entry)
    raise UserError(
        f"cannot compile a {type(source).__name__}",
        remedy="an Op, a function under @weft.op, the path of a .gir file, or its text",
    )


def parse(text: str, filename: str, entry: str | None = None) -> Op | gir.Program:
    """The one program of a text, or the one that `entry` names, verified. Raises ParseError or VerifyError."""
    if is_program(text):
        return prove(parse_program(text, filename))
    op = choose(list(parse_file(text, filename)), filename, entry)
    verify_op(op)
    return op


def prove(program: gir.Program) -> gir.Program:
    """The program, verified: what is written by hand is checked, not trusted.

    Raises VerifyError where it is wrong, and where the verifier cannot prove it right, except that outputs need not
    be shown to be written completely (`covers`): a kernel clears those first.
    """
    from ..ir.gir_verify import verify as verify_program  # as long to import as all the rest: ops do without

    unproved = [text for text in verify_program(program) if not text.startswith(_COVERAGE)]
    if unproved:
        more = f" (and {len(unproved) - 1} more)" if len(unproved) > 1 else ""
        raise VerifyError(
            f"program '{program.name}' cannot be proved right: {unproved[0]}{more}",
            program.location,
            remedy="state facts about its symbols, bind them, or guard the access with a predicate",
        )
    return program


def covers(program: gir.Program) -> bool:
    """Whether every output is shown to be written completely."""
    from ..ir.gir_verify import verify as verify_program

    return not any(text.startswith(_COVERAGE) for text in verify_program(program))


def is_program(text: str) -> bool:
    """Whether a text is in the scheduled form (its first word outside of comments is `program`)."""
    for line in text.splitlines():
        code = line.split("#", 1)[0].strip()
        if code:
            return code.split()[0] == "program"
    return False


def choose(ops: list[Op], filename: str, entry: str | None) -> Op:
    """Raises UserError where the choice is not clear, listing the names."""
    names = ", ".join(o.name for o in ops)
    if not ops:
        raise ParseError(f"{filename} holds no operator", remedy="op name(x: f32[N]) -> (y: f32[N]) { ... }")
    if entry is None and len(ops) == 1:
        return ops[0]
    if entry is None:
        raise UserError(f"{filename} holds {len(ops)} operators: {names}", remedy=f"entry='{ops[0].name}'")
    found = next((o for o in ops if o.name == entry), None)
    if found is None:
        raise UserError(f"{filename} holds no operator '{entry}'", remedy=names)
    return found


def read_text(path: Path) -> str:
    """The text of a source file. Raises UserError where it cannot be read, is too large, or is not UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SOURCE_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    if len(data) > MAX_SOURCE_BYTES:
        raise UserError(f"{path} is larger than {MAX_SOURCE_BYTES} bytes: not a program")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}") from None
