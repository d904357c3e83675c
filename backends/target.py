"""What a target offers the compiler, and the registry of targets.

A target takes a scheduled `gir.Program` and gives text, or something that runs. New targets add a folder and one line
in `TARGETS`; nothing outside `backends/` imports a target by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol, runtime_checkable

from ..ir import gir
from ..ir.errors import TargetError
from .machine import Machine


@dataclass(frozen=True)
class Emitted:
    """Text of a program: file name -> content. `main` names the file with the kernels, `header` its interface."""

    files: Mapping[str, str]
    main: str
    header: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)


class Executable(Protocol):
    """A loaded program."""

    def __call__(self, buffers: Sequence[int], symbols: Sequence[int], threads: int) -> None:
        """Run once. `buffers` are addresses in the order of `program.tensors` (temporaries included), `symbols` the
        values in the order of `program.symbols`. Safe to call from several Python threads at once; releases the GIL."""


class Bindable(Protocol):
    """An executable that can prepare a call; `executable(...)` is `executable.bind(...)()`."""

    def bind(self, buffers: Sequence[int], symbols: Sequence[int], threads: int) -> Callable[[], None]:
        """The call with these arguments, to be run as often as wanted."""


class Target(Protocol):
    """`name` as the user writes it; `machine` the description that scheduling uses."""

    name: str

    @property
    def machine(self) -> Machine: ...

    def emit(self, program: gir.Program) -> Emitted:
        """The program as source text (for `cpu`, LLVM IR)."""

    def load(self, program: gir.Program) -> Executable:
        """Compile and load for this process. Raises TargetError when the tool chain or the device is missing."""

    def library(self, program: gir.Program, path: str) -> None:
        """Write a shared library with the program's C entry to `path`. Raises TargetError where impossible."""


@runtime_checkable
class Reusable(Protocol):
    """A target whose machine code can be kept and loaded again, here or in another process on an equal machine.
    `load(program)` is `revive(build(program), program)`."""

    def identity(self) -> Mapping[str, str] | None:
        """All that decides the code beside program, name and machine description: tools with versions and flags, the
        processor's features. None where nothing of this target may be kept. Raises TargetError without the tools."""

    def build(self, program: gir.Program) -> bytes:
        """The machine code. Raises TargetError where the tool chain is missing."""

    def revive(self, code: bytes, program: gir.Program) -> Executable:
        """Load what `build` gave for a program; of `program` only name, symbols and tensors are used. Raises
        TargetError where this machine cannot run it."""


# target family -> module that holds `create(option: str, machine: str | None) -> Target`
TARGETS: dict[str, str] = {
    "cpu": "weft.backends.cpu.target",
    "c": "weft.backends.c.target",
}


def get_target(name: str, machine: str | None = None) -> Target:
    """The target `family[:option]`. Raises TargetError for an unknown name, listing those that exist."""
    family, _, option = name.partition(":")
    if family not in TARGETS:
        raise TargetError(f"unknown target '{name}'", remedy="one of " + ", ".join(TARGETS))
    create: Callable[[str, str | None], Target] = import_module(TARGETS[family]).create
    return create(option, machine)
