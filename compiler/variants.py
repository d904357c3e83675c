"""The compiled forms of one kernel: one per combination of extents, each built once however many threads ask."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING

from ..backends.target import Emitted, Executable, Target
from ..ir import gir

if TYPE_CHECKING:
    from .lower import LowerResult

Key = tuple[tuple[str, int], ...]  # (symbol, value) in the order of the signature; () where all stay symbolic


class Variant:
    """A scheduled program, and on demand its text and its loaded form.

    `lowered` is None where the program did not come from the compiler's own search (written by hand, or loaded).
    """

    def __init__(
        self, bindings: Mapping[str, int], program: gir.Program, target: Target, lowered: LowerResult | None = None
    ) -> None:
        self.bindings = dict(bindings)
        self.program = program
        self.target = target
        self.lowered = lowered
        self._lock = threading.Lock()
        self._emitted: Emitted | None = None
        self._executable: Executable | None = None

    @property
    def emitted(self) -> Emitted:
        with self._lock:
            if self._emitted is None:
                self._emitted = self.target.emit(self.program)
            return self._emitted

    @property
    def executable(self) -> Executable:
        """Loaded on first use. Raises TargetError where the tool chain or device is missing."""
        found = self._executable
        if found is not None:
            return found
        with self._lock:
            if self._executable is None:
                self._executable = self.target.load(self.program)
            return self._executable


class Variants:
    """A bounded map, least recently used first out. `build` runs once per key; its failure is not remembered."""

    def __init__(self, build: Callable[[Key], Variant], limit: int) -> None:
        self._build = build
        self._limit = limit
        self._lock = threading.Lock()
        self._entries: OrderedDict[Key, Future[Variant]] = OrderedDict()

    def get(self, key: Key) -> Variant:
        with self._lock:
            future = self._entries.get(key)
            if future is not None:
                self._entries.move_to_end(key)
                mine = False
            else:
                future = self._entries[key] = Future()
                mine = True
                while len(self._entries) > self._limit:
                    self._entries.popitem(last=False)
        if not mine:
            return future.result()
        try:
            variant = self._build(key)
        except BaseException as error:
            with self._lock:
                if self._entries.get(key) is future:
                    del self._entries[key]
            future.set_exception(error)
            raise
        future.set_result(variant)
        return variant

    def put(self, key: Key, variant: Variant) -> None:
        """An entry that is already built."""
        future: Future[Variant] = Future()
        future.set_result(variant)
        with self._lock:
            self._entries[key] = future

    @property
    def latest(self) -> Variant | None:
        """The one used last, if any is ready."""
        with self._lock:
            futures = list(reversed(self._entries.values()))
        return next((f.result() for f in futures if f.done() and f.exception() is None), None)

    def __len__(self) -> int:
        return len(self._entries)
