"""Indented C text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

STEP = "    "


class Writer:
    """Collects lines; blocks indent."""

    def __init__(self, depth: int = 0) -> None:
        self.lines: list[str] = []
        self.depth = depth

    def line(self, text: str) -> None:
        self.lines.append(STEP * self.depth + text if text else "")

    def directive(self, text: str) -> None:
        """A preprocessor line, at the margin."""
        self.lines.append(text)

    def comment(self, text: str) -> None:
        """One `//` line whatever `text` holds (a backslash at its end would join the next line)."""
        clean = "".join(c if " " <= c <= "~" else " " for c in text).rstrip("\\ ")
        self.line("// " + clean.replace("??/", "?? /"))

    @contextmanager
    def block(self, head: str, tail: str = "}") -> Iterator[None]:
        self.line(head + " {" if head else "{")
        self.depth += 1
        yield
        self.depth -= 1
        self.line(tail)

    @contextmanager
    def indented(self) -> Iterator[None]:
        self.depth += 1
        yield
        self.depth -= 1
