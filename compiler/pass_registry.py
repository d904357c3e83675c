"""Passes by name, and their options in text: `inline{max_cost=8},dce`.

A pass is a frozen dataclass in a file of `compiler/passes/` with the class variables `name` and `form` ("op" or "gir")
and a method `run`; its fields are its options. Adding a file adds the pass.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from ..ir.errors import UserError
from . import passes as package
from .passes.base import Pass


@cache
def registry() -> dict[str, type[Any]]:
    """Every pass class by name, in alphabetical order."""
    found: dict[str, type[Any]] = {}
    for module in sorted(m.name for m in iter_modules(package.__path__)):
        loaded = import_module(f"{package.__name__}.{module}")
        classes: list[type[Any]] = [c for c in vars(loaded).values() if inspect.isclass(c)]
        for cls in classes:
            if cls.__module__ != loaded.__name__ or not is_dataclass(cls):
                continue
            name = getattr(cls, "name", None)
            if isinstance(name, str) and hasattr(cls, "form") and hasattr(cls, "run"):
                found[name] = cls
    return dict(sorted(found.items()))


_ITEM = re.compile(r"\s*([A-Za-z_][\w-]*)\s*(?:\{([^{}]*)\})?\s*(?:,|$)")


def parse(text: str) -> list[tuple[str, dict[str, str]]]:
    """Names and options of a comma-separated list. Raises UserError where it is not one."""
    out: list[tuple[str, dict[str, str]]] = []
    at = 0
    while at < len(text):
        match = _ITEM.match(text, at)
        if match is None:
            raise UserError(f"not a list of passes at '{text[at:]}'", remedy="name,name{option=value option=value}")
        options: dict[str, str] = {}
        for part in (match[2] or "").replace(",", " ").split():
            name, mark, value = part.partition("=")
            if not mark:
                raise UserError(f"option '{part}' of pass '{match[1]}' is not option=value")
            options[name] = value
        out.append((match[1], options))
        at = match.end()
    return out


def make(name: str, options: dict[str, str], known_passes: Mapping[str, type[Any]] | None = None) -> Pass:
    """The pass with its options read by the types of its fields. Raises UserError for an unknown name or option."""
    passes = registry() if known_passes is None else known_passes
    cls = passes.get(name)
    if cls is None:
        raise UserError(f"no pass '{name}'", remedy=", ".join(passes))
    known = {f.name: f for f in fields(cls)}
    values: dict[str, Any] = {}
    for option, text in options.items():
        if option not in known:
            raise UserError(f"pass '{name}' has no option '{option}'", remedy=", ".join(known) or "it has none")
        values[option] = _value(name, known[option], text)
    made: Pass = cls(**values)
    return made


def _value(name: str, field: Field[Any], text: str) -> Any:
    kind = str(field.type)
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text]
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
        if kind == "str":
            return text
    except (ValueError, KeyError):
        raise UserError(f"option {field.name}={text} of pass '{name}' is not a value of type {kind}") from None
    raise UserError(f"option '{field.name}' of pass '{name}' cannot be given as text")
