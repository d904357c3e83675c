"""From text to ops: `parse_file`, `parse_op`. Grammar and meaning: docs/language.md."""

from __future__ import annotations

from .errors import Location, ParseError, UserError
from .lexer import attach_source
from .op import Op
from .op_build import build_op
from .op_syntax import parse_surface


def parse_file(text: str, filename: str = "") -> list[Op]:
    """All ops of a file, in order.

    Raises ParseError for text that is no program, VerifyError (TypeMismatch) for a program that means nothing; each
    with the place and a remedy.
    """
    try:
        surface = parse_surface(text, filename)
        return [build_op(op, surface.fns, surface.monoids) for op in surface.ops]
    except UserError as error:
        attach_source(error, text)
        raise


def parse_op(text: str, filename: str = "", name: str | None = None) -> Op:
    """The op called `name`, or the only one. Raises ParseError where there is none, or a choice."""
    ops = parse_file(text, filename)
    found = [op for op in ops if name is None or op.name == name]
    if len(found) == 1:
        return found[0]
    names = ", ".join(op.name for op in ops) or "none"
    wanted = f"no op `{name}` in the text" if name is not None else f"{len(found)} ops in the text, one is needed"
    raise ParseError(wanted, Location(filename), f"the ops here: {names}")
