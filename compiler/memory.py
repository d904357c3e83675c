"""Buffers that the run-time allocates: outputs that the caller did not hand in, and temporaries.

Everything is aligned to a cache line. From `LARGE` bytes on a buffer is its own anonymous mapping that asks for huge
pages, and goes back to a pool when the last array over it dies: page faults of 4 KiB pages cost more than a
memory-bound kernel does. The pool keeps at most `Settings.pool_bytes`.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import settings
from ..ir.errors import CallError
from .arrays import address

ALIGNMENT = 64
LARGE = 4 << 20
HUGE_PAGE = 2 << 20
Array = np.ndarray[Any, np.dtype[Any]]


class _Owner:
    """What NumPy keeps alive for an array over a mapping; at its end of life the mapping goes back to its pool."""

    __slots__ = ("__array_interface__", "_mapping", "_returned")

    def __init__(self, mapping: mmap.mmap, address: int, size: int, returned: deque[mmap.mmap]) -> None:
        self.__array_interface__ = {"data": (address, False), "shape": (size,), "typestr": "|u1", "version": 3}
        self._mapping = mapping
        self._returned = returned

    def __del__(self) -> None:
        self._returned.append(self._mapping)


class Pool:
    """Mappings by size. `take` gives bytes with undefined content; they come back by themselves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Arrays may die in the middle of `take` in the same thread, so that must not need the lock.
        self._returned: deque[mmap.mmap] = deque()
        self._free: dict[int, list[mmap.mmap]] = {}
        self._held = 0

    def take(self, size: int, *, huge: bool, limit: int) -> Array:
        """`size` bytes (u1), at least page aligned. Raises MemoryError where the system has none."""
        length = -(-size // HUGE_PAGE) * HUGE_PAGE
        with self._lock:
            self._collect(limit)
            free = self._free.get(length)
            mapping = free.pop() if free else None
            if mapping is not None:
                self._held -= length
        if mapping is None:
            mapping = _map(length, huge)
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
        start = -(-address // HUGE_PAGE) * HUGE_PAGE  # the mapping has a spare huge page for this
        return np.asarray(_Owner(mapping, start, size, self._returned))

    @property
    def held(self) -> int:
        """Bytes kept for reuse."""
        with self._lock:
            self._collect(settings.current().pool_bytes)
            return self._held

    def _collect(self, limit: int) -> None:
        while self._returned:
            mapping = self._returned.popleft()
            length = len(mapping) - HUGE_PAGE
            if self._held + length <= limit:
                self._free.setdefault(length, []).append(mapping)
                self._held += length
            # Otherwise the last reference goes here, which unmaps it.


def _map(length: int, huge: bool) -> mmap.mmap:
    try:
        mapping = mmap.mmap(-1, length + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, ValueError, OverflowError) as error:
        raise MemoryError(f"{length} bytes") from error
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if huge and advice is not None:
        with contextlib.suppress(OSError):  # a system without transparent huge pages: slower, not wrong
            mapping.madvise(advice)
    return mapping


POOL = Pool()


def empty(shape: tuple[int, ...], dtype: np.dtype[Any], name: str = "") -> Array:
    """An uninitialised row-major array, aligned to `ALIGNMENT`. Raises CallError naming `name` when memory is out."""
    return allocate(Request.of(name, shape, dtype), settings.current())[0]


@dataclass(frozen=True, slots=True)
class Request:
    """An array that calls of one form need."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int  # bytes

    @staticmethod
    def of(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Request:
        return Request(name, shape, dtype, math.prod(shape) * dtype.itemsize)


def allocate(request: Request, now: settings.Settings) -> tuple[Array, int]:
    """`empty`, and where it begins."""
    size = request.size
    try:
        if size < LARGE:
            raw = np.empty(size + ALIGNMENT, np.uint8)
            start = address(raw)
            skip = -start % ALIGNMENT
        else:
            raw = POOL.take(size, huge=now.huge_pages, limit=now.pool_bytes)
            start, skip = address(raw), 0
    except (MemoryError, ValueError):
        raise CallError(
            f"no memory for {request.name or 'a buffer'} of {size} bytes",
            remedy="a smaller extent, or hand the array in",
        ) from None
    if now.poison:
        raw.fill(0xFF)
    return np.ndarray(request.shape, request.dtype, raw, skip), start + skip
