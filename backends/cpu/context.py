"""The state of one function while it is generated: names in scope, pending tiles, the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...ir.dtypes import DType
from ...ir.errors import InternalError
from ...ir.expr import Expr
from .arith import Features
from .llvm_text import Code, Elem, Value
from .tiles import LazyTile, Tile


@dataclass(frozen=True)
class Options:
    """`lanes`: 4-byte elements in a vector. `x86`: x86 instructions may be named. `line`: bytes of a cache line."""

    lanes: int
    features: Features
    x86: bool = True
    streaming: bool = True
    line: int = 64


@dataclass(frozen=True)
class Buffer:
    """A buffer in scope: its address, and strides in elements (one i64 per dimension). `scope` is alias metadata."""

    name: str
    dtype: DType
    shape: tuple[Expr, ...]
    pointer: Value
    strides: tuple[Value, ...]
    scope: str


@dataclass(frozen=True)
class Team:
    """What a kernel needs to start a parallel loop: the run-time's table, the thread count, the caller's arena."""

    runtime: Value
    threads: Value
    slot: Value


class Context:
    """Names map to a loop index or symbol (`Value`), a register tile or a buffer; inner scopes shadow outer ones."""

    def __init__(self, code: Code, options: Options) -> None:
        self.code = code
        self.options = options
        self.names: dict[str, Value | Tile | Buffer] = {}
        self.pending: list[LazyTile] = []
        self.streams = False  # a streaming store was emitted
        self.dummy: Value | None = None
        self.scratch: Value | None = None  # base of the sram arena
        self.scratch_offset: Value | None = None
        self.team: Team | None = None  # None inside the body of an outlined parallel loop

    def value(self, name: str) -> Value:
        found = self.names.get(name)
        if not isinstance(found, Value):
            raise InternalError(f"'{name}' is not a loop index or symbol in scope")
        return found

    def tile(self, name: str) -> Tile:
        found = self.names.get(name)
        if not isinstance(found, Tile):
            raise InternalError(f"'{name}' is not a register tile in scope")
        return found

    def buffer(self, name: str) -> Buffer:
        found = self.names.get(name)
        if not isinstance(found, Buffer):
            raise InternalError(f"'{name}' is not a buffer in scope")
        return found

    @contextmanager
    def nested(self) -> Iterator[None]:
        """A scope: names introduced inside vanish at its end, with tiles that were never used."""
        names, depth, offset = dict(self.names), len(self.pending), self.scratch_offset
        yield
        self.names, self.scratch_offset = names, offset
        del self.pending[depth:]

    @contextmanager
    def seeing(self, names: dict[str, Value | Tile | Buffer]) -> Iterator[None]:
        """Evaluate with the names of an earlier point."""
        current, self.names = self.names, names
        yield
        self.names = current

    def force_all(self) -> None:
        """Compute pending tiles here: what follows may not dominate their other uses."""
        for tile in self.pending:
            tile.force(self.code)

    def force_readers(self, name: str) -> None:
        """Compute pending tiles that look at `name`, which is about to change."""
        for tile in self.pending:
            if name in tile.reads:
                tile.force(self.code)

    def dummy_slot(self) -> Value:
        """A harmless address for scalar accesses that are switched off."""
        if self.dummy is None:
            self.dummy = self.code.alloca(Elem.I64)
        return self.dummy
