"""Finds operators by name in the `.gir` files of this folder.

The files are read through `importlib.resources`, so that a zipped installation works; a file is parsed only when one of
its operators is asked for.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib import resources

from ..ir.dtypes import DType
from ..ir.errors import UserError
from ..ir.op import Op
from ..ir.op_text import parse_file

_HEADER = re.compile(r"^op\s+([A-Za-z_][A-Za-z0-9_]*)", re.MULTILINE)
_DECLARED_F32 = re.compile(r":\s*f32\b")


@cache
def _files() -> dict[str, str]:
    """The text of every file by its name, in alphabetical order."""
    folder = resources.files(__package__)
    found = (entry for entry in folder.iterdir() if entry.name.endswith(".gir"))
    return {entry.name: entry.read_text("utf-8") for entry in sorted(found, key=lambda entry: entry.name)}


@cache
def _file_of() -> dict[str, str]:
    return {name: file for file, text in _files().items() for name in _HEADER.findall(text)}


def names() -> tuple[str, ...]:
    """Every operator of the library, file by file, in the order of the text."""
    return tuple(_file_of())


def source(name: str) -> str:
    """The text of the file that defines `name`. Raises UserError for an unknown name."""
    return _files()[_find(name)]


@cache
def load(name: str, dtype: DType = DType.F32) -> Op:
    """The operator `name`, its f32 tensors declared as `dtype` instead (arithmetic follows from that).

    Raises UserError for an unknown name or a type that is not a float.
    """
    if not dtype.is_float:
        raise UserError(f"the operators of the library are for floats, not {dtype}", remedy="f64, f32, bf16 or f16")
    file = _find(name)
    text = _DECLARED_F32.sub(f": {dtype}", _files()[file])
    return next(op for op in parse_file(text, f"ops/{file}") if op.name == name)


def _find(name: str) -> str:
    file = _file_of().get(name)
    if file is None:
        near = difflib.get_close_matches(name, names(), 3)
        raise UserError(f"no operator `{name}` in the library", remedy=", ".join(near) or "weft.ops.names() lists them")
    return file
