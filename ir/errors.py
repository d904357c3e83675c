"""Every exception of weft, and the source locations they carry.

Two families: `UserError` (the program, the call or the machine is at fault; the message names the place, what was
found, what is allowed and what to try) and `InternalError` (weft is at fault).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Location:
    """A place in a source text. `line` and `column` count from 1; 0 means unknown."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file or "<unknown>"
        return f"{self.file or '<text>'}:{self.line}:{self.column}"


NOWHERE = Location()


class WeftError(Exception):
    """Base of everything weft raises on purpose."""


@dataclass
class UserError(WeftError):
    """The user's fault: `message` says what was found, `remedy` what to try."""

    message: str
    location: Location = NOWHERE
    remedy: str = ""
    source_line: str = field(default="", repr=False)

    def __str__(self) -> str:
        head = f"{self.location}: {self.message}" if self.location.line else self.message
        if self.source_line and self.location.column:
            head += f"\n  {self.source_line}\n  {' ' * (self.location.column - 1)}^"
        return f"{head}\n  try: {self.remedy}" if self.remedy else head


class ParseError(UserError):
    """Text that is not a program."""


class VerifyError(UserError):
    """A program that parses but breaks a numbered guarantee of its form."""


class TypeMismatch(VerifyError):
    """Element types that do not go together."""


class BindError(UserError):
    """Extents or symbols that contradict each other, a declared fact, or the arrays of a call."""


class CallError(UserError):
    """Arrays handed to a kernel that it cannot use: shape, dtype, strides, overlap, read-only output."""


class ScheduleError(UserError):
    """A pinned schedule that is illegal, or needs more than the machine has."""


class TargetError(UserError):
    """An unknown target, or a tool chain or device that is missing or failed."""


class LoadError(UserError):
    """A saved kernel that is damaged, edited, or of a version that is not read."""


class InternalError(WeftError):
    """Our fault. `reproducer` is the path of a file that shows it, where one was written."""

    def __init__(self, message: str, reproducer: str = "") -> None:
        super().__init__(message)
        self.reproducer = reproducer
