"""The process's team of threads, and the scratch arenas of threads that call kernels."""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache

from .interface import SLOT_BYTES
from .jit import Loaded, Processor, load_code, process_code
from .runtime_ir import POOL_BYTES, runtime_ir

_MAX_HELPERS = 1023


class Pool:
    """Helper threads of one process. They wait in machine code, never touch Python, and their memory is never freed."""

    def __init__(self, code: Loaded, triple: str) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._libc = ctypes.CDLL(None)
        self._code = code
        self._memory = _leaked(POOL_BYTES)
        self._helpers = 0
        self.grow = code.address("weft_grow")
        self.address = ctypes.addressof(self._memory)
        ctypes.c_uint64.from_buffer(self._memory, 0).value = code.address("weft_parallel_for")
        self._libc.pthread_mutex_init(ctypes.c_void_p(self.address + 320), None)
        self._libc.pthread_cond_init(ctypes.c_void_p(self.address + 448), None)

    def reserve(self, threads: int) -> None:
        """Have at least `threads - 1` helpers."""
        if self._helpers >= min(threads - 1, _MAX_HELPERS):
            return
        with self._lock:
            while self._helpers < min(threads - 1, _MAX_HELPERS):
                if not self._start():
                    return  # the system gives no more threads: loops run on those there are
                self._helpers += 1

    def _start(self) -> bool:
        memory = _leaked(128)
        ctypes.c_uint64.from_buffer(memory, 0).value = self.address
        ctypes.c_uint64.from_buffer(memory, 32 + 16).value = self.grow
        thread = ctypes.c_uint64()
        entry = ctypes.c_void_p(self._code.address("weft_helper"))
        failed = self._libc.pthread_create(ctypes.byref(thread), None, entry, ctypes.c_void_p(ctypes.addressof(memory)))
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
    """The team of this process; a forked child gets a new one, for threads do not survive a fork."""
    global _POOL
    found = _POOL
    if found is not None and found.pid == os.getpid():
        return found
    with _POOL_LOCK:
        if _POOL is None or _POOL.pid != os.getpid():
            _POOL = Pool(_loaded_runtime(triple), triple)
        return _POOL


def _after_fork() -> None:
    global _POOL_LOCK, _CODE_LOCK
    _POOL_LOCK, _CODE_LOCK = threading.Lock(), threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class Slots:
    """Two scratch arenas of a calling thread: for the parallel bodies it runs itself, and for kernels."""

    def __init__(self, grow: int) -> None:
        self._memory = ctypes.create_string_buffer(2 * SLOT_BYTES)
        self.address = ctypes.addressof(self._memory)
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = [ctypes.c_void_p]
        for base in (0, SLOT_BYTES):
            ctypes.c_uint64.from_buffer(self._memory, base + 16).value = grow

    def __del__(self) -> None:
        for base in (0, SLOT_BYTES):
            self._free(ctypes.c_uint64.from_buffer(self._memory, base).value)


_LOCAL = threading.local()


def slots(grow: int) -> Slots:
    """The arenas of this thread."""
    found: Slots | None = getattr(_LOCAL, "slots", None)
    if found is None:
        found = Slots(grow)
        _LOCAL.slots = found
    return found
