"""The compiled forms of one kernel: one per combination of extents, each built once however many threads ask."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..backends.target import Emitted, Executable, Target
from ..ir import gir
from ..ir.gir_parser import parse_program

Key = tuple[tuple[str, int], ...]  # (symbol, value) in the order of the signature; () where all stay symbolic
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Wiring:
    """How a program is called: temporaries to allocate; for each of its tensors the place in the row of the kernel's
    inputs, its outputs and these temporaries; the symbols it takes."""

    temporaries: tuple[gir.Tensor, ...]
    order: tuple[int, ...]
    symbols: tuple[str, ...]
    straight: bool  # every tensor is in its place already


class Variant:
    """A scheduled program, and on demand its text and its loaded form.

    `load` is how it becomes executable, where that is not just the target's way. `interface` has the program's name,
    symbols and tensors; the kernels may be missing from it.
    """

    def __init__(
        self,
        bindings: Mapping[str, int],
        program: gir.Program,
        target: Target,
        load: Callable[[gir.Program], Executable] | None = None,
    ) -> None:
        self.bindings = dict(bindings)
        self.interface = program
        self.target = target
        self._program: gir.Program | str = program
        self._load = load
        self._lock = threading.Lock()
        self._emitted: Emitted | None = None
        self._executable: Executable | None = None
        self._wiring: Wiring | None = None

    @classmethod
    def recalled(
        cls, bindings: Mapping[str, int], interface: gir.Program, text: str, target: Target, executable: Executable
    ) -> Variant:
        """One that was compiled before. Its program is parsed from `text` when somebody looks at it."""
        variant = cls(bindings, interface, target)
        variant._program = text
        variant._executable = executable
        return variant

    @property
    def program(self) -> gir.Program:
        with self._lock:
            if isinstance(self._program, str):
                self._program = parse_program(self._program, "<kernel cache>")
            return self._program

    def wiring(self, parameters: Sequence[str]) -> Wiring:
        """`parameters`: the names of the kernel's inputs and outputs, always the same ones."""
        if self._wiring is None:
            tensors = self.interface.tensors
            temporaries = tuple(t for t in tensors if t.role is gir.Role.TEMP)
            row = [*parameters, *(t.name for t in temporaries)]
            symbols = tuple(s.name for s in self.interface.symbols)
            order = tuple(row.index(t.name) for t in tensors)
            self._wiring = Wiring(temporaries, order, symbols, order == tuple(range(len(row))))
        return self._wiring

    @property
    def emitted(self) -> Emitted:
        program = self.program
        with self._lock:
            if self._emitted is None:
                self._emitted = self.target.emit(program)
            return self._emitted

    @property
    def executable(self) -> Executable:
        """Loaded on first use. Raises TargetError where the tool chain or device is missing."""
        found = self._executable
        if found is not None:
            return found
        program = self.program
        with self._lock:
            if self._executable is None:
                self._executable = (self._load or self.target.load)(program)
            return self._executable


class Variants(Generic[K]):
    """A bounded map, least recently used first out. `build` runs once per key; its failure is not remembered."""

    def __init__(self, build: Callable[[K], Variant] | None, limit: int) -> None:
        self._build = build
        self._limit = limit
        self._lock = threading.Lock()
        self._entries: OrderedDict[K, Variant | Future[Variant]] = OrderedDict()  # a future while it is built
        _ALL.add(self)

    def get(self, key: K, build: Callable[[K], Variant] | None = None) -> Variant:
        """The entry, made by `build` (default: that of the map) where it is missing."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
                if type(found) is Variant:
                    return found
            else:
                future = self._entries[key] = Future()
                while len(self._entries) > self._limit:
                    self._entries.popitem(last=False)
        if isinstance(found, Future):
            return found.result()
        build = build or self._build
        assert build is not None
        try:
            variant = build(key)
        except BaseException as error:
            with self._lock:
                if self._entries.get(key) is future:
                    del self._entries[key]
            future.set_exception(error)
            raise
        with self._lock:
            if self._entries.get(key) is future:
                self._entries[key] = variant
        future.set_result(variant)
        return variant

    def put(self, key: K, variant: Variant) -> None:
        """An entry that is already built."""
        with self._lock:
            self._entries[key] = variant

    @property
    def latest(self) -> Variant | None:
        """The one used last, if any is ready."""
        with self._lock:
            return next((v for v in reversed(self._entries.values()) if isinstance(v, Variant)), None)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def after_fork(self) -> None:
        """In a child: drop the lock and what other threads, which are not here, were building."""
        self._lock = threading.Lock()
        self._entries = OrderedDict((k, v) for k, v in list(self._entries.items()) if isinstance(v, Variant))

    def __len__(self) -> int:
        return len(self._entries)


_ALL: weakref.WeakSet[Variants[Any]] = weakref.WeakSet()


def _after_fork() -> None:
    for variants in list(_ALL):
        variants.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
