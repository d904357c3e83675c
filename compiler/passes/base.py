"""What a pass is, and every pass by name.

A pass is a frozen dataclass: its fields are its options, `run` takes a valid program to a valid program of the same
form. The list below is the registry; its order is that of the pipeline (compiler/passes/normal.py for the op form),
and adding a pass is adding a line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from enum import Enum
from typing import Any, ClassVar, Protocol, runtime_checkable

from ...ir.errors import UserError


class Form(str, Enum):
    """The form a pass rewrites."""

    OP = "op"
    GIR = "gir"


@runtime_checkable
class Pass(Protocol):
    """One rewrite: valid IR in, valid IR out, same meaning."""

    name: ClassVar[str]
    form: ClassVar[str]

    def run(self, program: Any) -> Any:
        """The rewritten program."""


def registry() -> dict[str, type[Pass]]:
    """Every pass by name, in the order of the pipeline."""
    # Imported here, so that a pass file can import what it shares with others without a cycle.
    from .chunking import Chunking
    from .cse import CommonDefinitions
    from .dce import DeadCode
    from .inline import Inline
    from .simplify import Simplify
    from .split_reduction import SplitReduction
    from .streaming import Streaming

    listed: tuple[type[Pass], ...] = (
        Simplify,
        Inline,
        CommonDefinitions,
        DeadCode,
        Streaming,
        Chunking,
        SplitReduction,
    )
    return {p.name: p for p in listed}


def parse_passes(text: str, known: dict[str, type[Pass]] | None = None) -> tuple[Pass, ...]:
    """Passes from `name,name{option=value,option=value},...`. Raises UserError for what is not known."""
    known = registry() if known is None else known
    return tuple(_make(item, known) for item in _split(text))


def run_passes(program: Any, passes: Iterable[Pass]) -> Any:
    """The program after all of them, in order."""
    for p in passes:
        program = p.run(program)
    return program


def _split(text: str) -> list[str]:
    items, depth, start = [], 0, 0
    for k, c in enumerate(text):
        depth += (c == "{") - (c == "}")
        if c == "," and depth == 0:
            items.append(text[start:k])
            start = k + 1
    return [i.strip() for i in [*items, text[start:]] if i.strip()]


def _make(item: str, known: dict[str, type[Pass]]) -> Pass:
    name, _, rest = item.partition("{")
    cls = known.get(name.strip())
    if cls is None:
        raise UserError(f"unknown pass '{name.strip()}'", remedy=f"one of {', '.join(known)}")
    if rest and not rest.endswith("}"):
        raise UserError(f"the options of '{name}' are not closed", remedy=f"write {name}{{option=value}}")
    options: dict[str, Any] = {}
    types = {f.name: f.type for f in fields(cls)}  # type: ignore[arg-type]
    for pair in filter(None, (p.strip() for p in rest.removesuffix("}").split(","))):
        key, equals, value = (s.strip() for s in pair.partition("="))
        if key not in types or not equals:
            shown = ", ".join(types) or "it has none"
            raise UserError(f"'{name}' has no option '{pair}'", remedy=f"options: {shown}")
        options[key] = _value(name, key, value, str(types[key]))
    return cls(**options)


def _value(name: str, key: str, text: str, kind: str) -> Any:
    try:
        match kind:
            case "int":
                return int(text)
            case "bool":
                return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
            case "float":
                return float(text)
    except (ValueError, KeyError):
        raise UserError(f"'{text}' is not a value of '{name}.{key}'", remedy=f"give a {kind}") from None
    return text
