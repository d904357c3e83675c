"""The kernel cache: compiled variants in memory and on disk, found again by what they were made of.

    Kernel -> Shelf.variant -> in this process? -> on disk? -> lower, keep the program; when loaded, keep the code too

A cache may only ever save time. Whatever is wrong with it (no room, no permission, a damaged entry, a directory that
others can write to) ends in a compilation and at most one warning.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ... import settings
from ...backends.target import Executable, Reusable, Target
from ...ir import gir
from ...ir.errors import TargetError, WeftError
from ...ir.gir_parser import parse_program
from ...ir.gir_printer import print_program
from ...ir.op import Op
from ..lower_options import LowerOptions
from ..variants import Variant, Variants
from . import key as cache_key
from .store import Store, Unusable

IN_MEMORY = 64  # variants that a process keeps beside those of its kernels
TRIM_SHARE = 64  # a process looks for something to evict after it wrote limit / TRIM_SHARE bytes, and at first

INTERFACE, PROGRAM, CODE = "interface", "program", "code"  # parts of an entry


class CacheWarning(UserWarning):
    """The kernel cache cannot be used, or not written to; kernels are compiled all the same."""


def store() -> Store | None:
    """The cache on disk as the settings say; None where it is turned off."""
    now = settings.current()
    directory = settings.kernel_cache_directory(now)
    return None if directory is None else Store(directory, now.cache_bytes)


def describe() -> dict[str, str | int]:
    """Where the cache is, what it holds, and whether it is used: rows of `weft cache show` and `weft doctor`."""
    place = store()
    if place is None:
        return {"directory": "none", "state": "turned off (WEFT_CACHE, WEFT_CACHE_DIR, WEFT_CACHE_BYTES)"}
    rows: dict[str, str | int] = {"directory": str(place.folder)}
    try:
        used = place.usage()
    except (Unusable, OSError) as problem:
        return rows | {"state": f"not used: {problem}"}
    state = "in use" if cache_key.source_digest() else "not used: the sources of weft are newer than this process"
    return rows | {"entries": used.entries, "bytes": used.bytes, "limit": place.limit, "state": state}


@dataclass(frozen=True)
class Shelf:
    """The variants for one target and one set of options of the lowering."""

    target: Target
    schedule: LowerOptions | None

    def variant(
        self, program: Op | gir.Program, bindings: Mapping[str, int], make: Callable[[], gir.Program]
    ) -> Variant:
        """The compiled form of `program` with `bindings`; `make` schedules it where it is not known."""
        place = store()
        key = None if place is None else self._key(program, bindings)
        if place is None or key is None or not isinstance(self.target, Reusable):
            return Variant(bindings, make(), self.target)
        target = self.target

        def build(key: str) -> Variant:
            found = _recall(place, key, bindings, target)
            if found is not None:
                return found
            scheduled = make()
            if isinstance(program, Op):
                _keep(place, key, scheduled)
            return Variant(bindings, scheduled, target, lambda scheduled: _load(place, key, target, scheduled))

        return _MEMORY.get(key, build)

    def _key(self, program: Op | gir.Program, bindings: Mapping[str, int]) -> str | None:
        sources = cache_key.source_digest()
        if sources is None or not isinstance(self.target, Reusable):
            return None
        try:
            identity = self.target.identity()
        except TargetError:  # tools are missing: loading will say so
            return None
        if identity is None:
            return None
        return cache_key.key_text(program, bindings, self.schedule, self.target, identity, sources)


def _recall(place: Store, key: str, bindings: Mapping[str, int], target: Target) -> Variant | None:
    """The entry of `key`, loaded where it has code; None where there is none that can be used."""
    try:
        parts = place.get(key)
        if parts is None:
            return None
        interface = parse_program(parts[INTERFACE].decode(), "<kernel cache>")
        text = parts[PROGRAM].decode()
        assert isinstance(target, Reusable)
        if CODE in parts:
            return Variant.recalled(bindings, interface, text, target, target.revive(parts[CODE], interface))
        program = parse_program(text, "<kernel cache>")
        return Variant(bindings, program, target, lambda scheduled: _load(place, key, target, scheduled))
    except Unusable as problem:
        _warn(f"not used: {problem}")
    except (WeftError, KeyError, ValueError):
        pass  # not for this machine after all
    return None


def _load(place: Store, key: str, target: Target, program: gir.Program) -> Executable:
    """Compile, load, and keep what could be loaded."""
    assert isinstance(target, Reusable)
    code = target.build(program)
    executable = target.revive(code, program)
    _keep(place, key, program, {CODE: code})
    return executable


def _keep(place: Store, key: str, program: gir.Program, code: Mapping[str, bytes] | None = None) -> None:
    """Write the entry of a scheduled program, if possible."""
    if not cache_key.sources_unchanged():
        return
    interface = print_program(replace(program, kernels=()))
    parts = {INTERFACE: interface.encode(), PROGRAM: print_program(program).encode()} | dict(code or {})
    try:
        _trim_sometimes(place, place.put(key, parts))
    except FileNotFoundError:
        pass  # cleared while it was written
    except Unusable as problem:
        _warn(f"not used: {problem}")
    except OSError as error:
        _warn(f"not written to: {place.directory}: {error.strerror or error}")


_LOCK = threading.Lock()
_WRITTEN: dict[Path, int] = {}  # bytes since this process last looked for something to evict
_WARNED: set[str] = set()
_MEMORY: Variants[str] = Variants(None, IN_MEMORY)


def _trim_sometimes(place: Store, written: int) -> None:
    with _LOCK:
        total = _WRITTEN.get(place.directory, place.limit) + written
        due = total * TRIM_SHARE >= place.limit
        _WRITTEN[place.directory] = 0 if due else total
    if due:
        place.trim()


def _warn(message: str) -> None:
    """Once for each message. Never an exception, even where warnings are errors: the user asked for a kernel."""
    with _LOCK:
        if message in _WARNED:
            return
        _WARNED.add(message)
    with suppress(Warning):
        warnings.warn(
            f"the kernel cache is {message} (WEFT_CACHE_DIR names another directory, WEFT_CACHE=0 turns it off)",
            CacheWarning,
            stacklevel=_levels_to_user(),
        )


def _levels_to_user() -> int:
    """So that the warning points at the line outside of weft that compiled or called."""
    level, frame = 0, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(str(cache_key.ROOT) + os.sep):
        level, frame = level + 1, frame.f_back
    return level + 1


def forget() -> None:
    """Empty the layer in memory; kernels keep what they have."""
    _MEMORY.clear()


def _after_fork() -> None:
    global _LOCK
    _LOCK = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
