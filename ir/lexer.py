"""Tokens of both text forms, and the stream a parser reads them from.

Newlines and comments (`#` to the end of the line) separate tokens and mean nothing else. Names may hold `$`, which
marks the compiler's own names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import NoReturn

from .dtypes import DType
from .errors import Location, ParseError, UserError

MAX_TEXT = 2_000_000  # characters; a program is never that long, garbage may be
MAX_NUMBER = 400  # characters of one number; longer ones are garbage, and converting them is quadratic

_DTYPES = "|".join(d.value for d in DType)
_TOKEN = re.compile(
    rf"""
      (?P<space>[ \t\r\n\f]+|\#[^\n]*)
    | (?P<number>(?:\d+\.(?!\.)\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?(?:_(?:{_DTYPES})(?![A-Za-z0-9_$]))?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_$]*)
    | (?P<punct>\.\.|->|\*\*|//|<=|>=|==|!=|:=|[-+*/%<>=()\[\]{{}},.:;@|&?!])
    """,
    re.VERBOSE | re.ASCII,
)


class Kind(Enum):
    NAME = "name"
    NUMBER = "number"
    PUNCT = "punctuation"
    END = "end of text"


_KINDS = {"name": Kind.NAME, "number": Kind.NUMBER, "punct": Kind.PUNCT}


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    location: Location

    @property
    def shown(self) -> str:
        return "the end of the text" if self.kind is Kind.END else f"`{self.text}`"


def tokenize(text: str, filename: str = "") -> list[Token]:
    """All tokens, the last of kind END. Raises ParseError at a character that starts no token."""
    if len(text) > MAX_TEXT:
        raise ParseError(f"the text has {len(text)} characters, at most {MAX_TEXT} are read", Location(filename, 1, 1))
    tokens: list[Token] = []
    position, line, start = 0, 1, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            here = Location(filename, line, position - start + 1)
            raise ParseError(f"unexpected character {text[position]!r}", here, "remove it", source_line(text, here))
        found = match.group()
        if match.lastgroup == "space":
            newlines = found.count("\n")
            if newlines:
                line += newlines
                start = position + found.rindex("\n") + 1
        else:
            here = Location(filename, line, position - start + 1)
            if match.lastgroup == "number" and len(found) > MAX_NUMBER:
                raise ParseError("number too long", here, "write it with an exponent", source_line(text, here))
            tokens.append(Token(_KINDS[str(match.lastgroup)], found, here))
        position = match.end()
    tokens.append(Token(Kind.END, "", Location(filename, line, position - start + 1)))
    return tokens


def source_line(text: str, location: Location) -> str:
    """The line a location points into, fit to stand above a caret (empty where that is not possible)."""
    lines = text.split("\n")
    if not 0 < location.line <= len(lines) or location.column > 300:
        return ""
    shown = lines[location.line - 1][:300].rstrip()
    return "".join(c if c.isprintable() else " " for c in shown)


def attach_source(error: UserError, text: str) -> None:
    """Give an error that knows its place the line it points into."""
    if error.location.line and not error.source_line:
        error.source_line = source_line(text, error.location)


class TokenStream:
    """A cursor over tokens, with the errors a parser raises."""

    def __init__(self, text: str, filename: str = "") -> None:
        self.text = text
        self.filename = filename
        self.tokens = tokenize(text, filename)
        self.position = 0

    def peek(self, ahead: int = 0) -> Token:
        if not ahead:
            return self.tokens[self.position]
        return self.tokens[min(self.position + ahead, len(self.tokens) - 1)]

    def next(self) -> Token:
        token = self.peek()
        self.position = min(self.position + 1, len(self.tokens) - 1)
        return token

    def at(self, *texts: str) -> bool:
        """Whether the next token is one of these words or marks."""
        token = self.peek()
        return token.kind is not Kind.END and token.text in texts

    def at_kind(self, kind: Kind) -> bool:
        return self.peek().kind is kind

    def accept(self, text: str) -> Token | None:
        return self.next() if self.at(text) else None

    def expect(self, text: str, remedy: str = "") -> Token:
        if not self.at(text):
            self.error(f"expected `{text}`, found {self.peek().shown}", remedy=remedy)
        return self.next()

    def expect_name(self, what: str = "a name", remedy: str = "") -> Token:
        if not self.at_kind(Kind.NAME):
            self.error(f"expected {what}, found {self.peek().shown}", remedy=remedy)
        return self.next()

    def expect_int(self, what: str = "an integer") -> int:
        """A plain non-negative integer below 2**63."""
        token = self.peek()
        if token.kind is not Kind.NUMBER or not token.text.isdigit() or int(token.text) >= 2**63:
            self.error(f"expected {what}, found {token.shown}", remedy="write a plain integer, such as 16")
        self.next()
        return int(token.text)

    def error(self, message: str, token: Token | None = None, remedy: str = "") -> NoReturn:
        location = (token or self.peek()).location
        raise ParseError(message, location, remedy, source_line(self.text, location))
