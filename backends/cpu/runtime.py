"""The process's team of threads, and the scratch arenas of threads that call kernels."""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache

from .interface import SLOT_BYTES
from .jit import Loaded, Processor, load_code, process_code
from .placement_ir import SELF_BYTES
from .runtime_ir import MAX_THREADS, POOL_BYTES, runtime_ir


class Pool:
    """Helper threads of one process. They wait in machine code, never touch Python, and their memory is never freed.

    `table` is the pool's address as kernels take it, `grow` the function that enlarges scratch arenas.
    """

    def __init__(self, code: Loaded) -> None:
        self._libc = ctypes.CDLL(None)
        self._start_of = code.address("weft_parallel_for")
        self._helper = ctypes.c_void_p(code.address("weft_helper"))
        self._memory = _leaked(POOL_BYTES)
        self.grow = code.address("weft_grow")
        self.table = ctypes.c_void_p(ctypes.addressof(self._memory))
        self.reset()

    def reset(self) -> None:
        """No helpers, nothing published: the state at the start, and in a forked child, where the helpers are not."""
        address = ctypes.addressof(self._memory)
        ctypes.memset(address, 0, POOL_BYTES)
        ctypes.c_uint64.from_buffer(self._memory, 0).value = self._start_of
        self._libc.pthread_mutex_init(ctypes.c_void_p(address + 320), None)
        self._libc.pthread_cond_init(ctypes.c_void_p(address + 448), None)
        self._lock = threading.Lock()
        self.threads = 1

    def reserve(self, threads: int) -> None:
        """Have helpers for `threads` threads, the caller among them, as far as the system gives any: loops run on those
        there are."""
        most = min(threads, MAX_THREADS)
        if self.threads >= most:
            return
        with self._lock:
            while self.threads < most and self._start(self.threads):
                self.threads += 1

    def _start(self, number: int) -> bool:
        memory = _leaked(SELF_BYTES)
        ctypes.c_uint64.from_buffer(memory, 0).value = ctypes.addressof(self._memory)
        ctypes.c_uint64.from_buffer(memory, 8).value = number
        ctypes.c_uint64.from_buffer(memory, 32 + 16).value = self.grow
        thread = ctypes.c_uint64()
        failed = self._libc.pthread_create(
            ctypes.byref(thread), None, self._helper, ctypes.c_void_p(ctypes.addressof(memory))
        )
        if failed:
            return False
        self._libc.pthread_detach(thread)
        return True


_KEPT: list[ctypes.Array[ctypes.c_char]] = []


def _leaked(size: int) -> ctypes.Array[ctypes.c_char]:
    """Zeroed memory aligned to a line, kept for the life of the process."""
    block = ctypes.create_string_buffer(size + 64)
    _KEPT.append(block)
    offset = -ctypes.addressof(block) % 64
    return (ctypes.c_char * size).from_buffer(block, offset)


_CODE: dict[str, bytes] = {}  # by triple
_CODE_LOCK = threading.Lock()


def runtime_code(triple: str) -> bytes:
    """The object code of the run-time, compiled once."""
    with _CODE_LOCK:
        if triple not in _CODE:
            _CODE[triple] = process_code(runtime_ir(triple), Processor(triple, "", ""), level=2)
        return _CODE[triple]


def offer_runtime_code(triple: str, code: bytes) -> None:
    """What `runtime_code` gave in another process: compiling it here is not necessary."""
    with _CODE_LOCK:
        _CODE.setdefault(triple, code)


@cache
def _loaded_runtime(triple: str) -> Loaded:
    code = load_code(runtime_code(triple), Processor(triple, "", ""))
    code.keep_forever("weft_parallel_for", "weft_helper", "weft_grow")
    return code


_POOL: Pool | None = None
_POOL_LOCK = threading.Lock()


def pool(triple: str) -> Pool:
    """The team of this process."""
    global _POOL
    if _POOL is None:
        with _POOL_LOCK:
            if _POOL is None:
                _POOL = Pool(_loaded_runtime(triple))
    return _POOL


def _after_fork() -> None:
    """Threads do not survive a fork: the child's team starts again, in the memory that kernels know."""
    global _POOL_LOCK, _CODE_LOCK
    _POOL_LOCK, _CODE_LOCK = threading.Lock(), threading.Lock()
    if _POOL is not None:
        _POOL.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Slots:
    """Two scratch arenas of a calling thread: for the parallel bodies it runs itself, and for kernels."""

    def __init__(self, grow: int) -> None:
        self._memory = ctypes.create_string_buffer(2 * SLOT_BYTES)
        self.table = ctypes.c_void_p(ctypes.addressof(self._memory))
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = [ctypes.c_void_p]
        for base in (0, SLOT_BYTES):
            ctypes.c_uint64.from_buffer(self._memory, base + 16).value = grow

    def __del__(self) -> None:
        for base in (0, SLOT_BYTES):
            self._free(ctypes.c_uint64.from_buffer(self._memory, base).value)


class _Local(threading.local):
    """What each Python thread has of its own."""

    slots: Slots | None = None


_LOCAL = _Local()


def slots(team: Pool) -> ctypes.c_void_p:
    """The arenas of this thread, as kernels take them."""
    found = _LOCAL.slots
    if found is None:
        found = _LOCAL.slots = Slots(team.grow)
    return found.table
