"""What a pass is.

A pass is a frozen dataclass in a file of its own: its fields are its options, `run` takes a valid program to a valid
program of the same form that means the same. `compiler/pass_registry.py` finds passes by name; the order in which the
op-level ones run stands in `normal.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Pass(Protocol):
    """One rewrite: valid IR in, valid IR out, same meaning. `form` is "op" or "gir"."""

    @property
    def name(self) -> str: ...

    @property
    def form(self) -> str: ...

    def run(self, program: Any, /) -> Any: ...


def run_passes(program: Any, passes: Iterable[Pass]) -> Any:
    """The program after all of them, in order."""
    for p in passes:
        program = p.run(program)
    return program
