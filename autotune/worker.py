"""The process in which candidates run: `python -m weft.autotune.worker`. It may crash or hang; the tuner kills it.

Requests and replies are JSON lines on the original standard input and output; what libraries print goes to standard
error. Programs come as text, arrays as files (case.py). Each candidate works on copies that are looked at afterwards.

    {"do": "hello", "target": t, "machine": m, "threads": n}    -> {"ok": true, "sources": digest}
    {"do": "case", "case": name, "folder": path}                -> {"ok": true}
    {"do": "load", "id": k, "program": text}                    -> {"ok": true}
    {"do": "keep", "id": k, "case": name}                       -> {"ok": true}     its results become the expected ones
    {"do": "check", "id": k, "case": name}                      -> {"ok": true, "errors": {output: error}}
    {"do": "time", "id": k, "case": name, "seconds": t}         -> {"ok": true, "samples": [seconds of a call, ...]}
    {"do": "drop", "ids": [k, ...]}                             -> {"ok": true}
    any, where it fails                                         -> {"ok": false, "status": s, "why": text}
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.target import Executable, Target, get_target
from ..compiler import extents
from ..compiler.agreement import TOLERANCE, largest_error
from ..compiler.cache.key import source_digest
from ..compiler.memory import empty
from ..ir import gir
from ..ir.errors import WeftError
from ..ir.gir_parser import parse_program
from .case import Array, Case, Slot, read_case, read_expected, read_input, write_expected
from .record import Status

GUARD = 4096  # bytes after a buffer that must stay as they are
GUARD_BYTE, POISON = 0xA5, 0xFF
SHORT = 2e-4  # seconds: calls that take less are timed several at once


class Fault(Exception):
    """What is wrong with a candidate."""

    def __init__(self, status: Status, why: str) -> None:
        super().__init__(why)
        self.status = status


class Buffer:
    """Memory as a kernel's caller has it, and a guard behind it."""

    def __init__(self, slot: Slot) -> None:
        size = int(np.prod(slot.shape, dtype=np.int64)) * slot.dtype.bytes
        raw = empty((size + GUARD,), np.dtype(np.uint8), slot.name)
        raw[size:] = GUARD_BYTE
        self.slot = slot
        self.bytes = raw[:size]
        self.array: Array = raw[:size].view(slot.dtype.numpy).reshape(slot.shape)
        self._guard = raw[size:]

    @property
    def address(self) -> int:
        return int(self.bytes.ctypes.data)

    @property
    def intact(self) -> bool:
        return bool((self._guard == GUARD_BYTE).all())


@dataclass
class Loaded:
    """A candidate ready to run; its temporaries are its own."""

    program: gir.Program
    executable: Executable
    temporaries: dict[str, Buffer] = field(default_factory=dict)


class Bench:
    """The arrays of one case, shared by the candidates: they run one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.case: Case = read_case(folder)
        self.inputs = {s.name: Buffer(s) for s in self.case.inputs}
        self.outputs = {s.name: Buffer(s) for s in self.case.outputs}
        for slot in self.case.inputs:
            self.inputs[slot.name].array[...] = read_input(folder, slot)

    def call(self, loaded: Loaded, threads: int) -> Callable[[], None]:
        bindings = dict(self.case.bind)
        for tensor in loaded.program.tensors:
            if tensor.role is gir.Role.TEMP and tensor.name not in loaded.temporaries:
                shape = tuple(extents.evaluate(e, bindings) for e in tensor.shape)
                loaded.temporaries[tensor.name] = Buffer(Slot(tensor.name, tensor.dtype, shape))
        places = self.inputs | self.outputs | loaded.temporaries
        buffers = [places[t.name].address for t in loaded.program.tensors]
        symbols = [bindings[s.name] for s in loaded.program.symbols]
        return lambda: loaded.executable(buffers, symbols, threads)

    def run_once(self, loaded: Loaded, threads: int) -> None:
        """On outputs and temporaries full of NaN. Raises Fault where it wrote to inputs or beside its buffers."""
        call = self.call(loaded, threads)
        written = (*self.outputs.values(), *loaded.temporaries.values())
        for buffer in written:
            buffer.bytes.fill(POISON)
        call()
        for buffer in (*written, *self.inputs.values()):
            if not buffer.intact:
                raise Fault(Status.WRONG, f"it wrote behind the end of '{buffer.slot.name}'")
        for slot in self.case.inputs:
            given = np.ascontiguousarray(read_input(self.folder, slot))
            if not np.array_equal(self.inputs[slot.name].bytes, given.reshape(-1).view(np.uint8)):
                raise Fault(Status.WRONG, f"it changed its input '{slot.name}'")

    def errors(self) -> dict[str, float]:
        """The largest error of each output. Raises Fault where one is too large."""
        out: dict[str, float] = {}
        for slot in self.case.outputs:
            error = largest_error(self.outputs[slot.name].array, read_expected(self.folder, slot), slot.dtype)
            allowed = TOLERANCE.get(slot.dtype, 0.0)
            if not error <= allowed:
                raise Fault(Status.WRONG, f"'{slot.name}' is off by {error:.3g}, allowed are {allowed:.3g}")
            out[slot.name] = error
        return out


class Worker:
    """The state between requests."""

    def __init__(self) -> None:
        self._target: Target | None = None
        self._threads = 1
        self._benches: dict[str, Bench] = {}
        self._loaded: dict[str, Loaded] = {}

    def hello(self, target: str, machine: str | None, threads: int) -> dict[str, Any]:
        self._target = get_target(target, machine)
        self._threads = threads
        return {"sources": source_digest()}

    def case(self, case: str, folder: str) -> dict[str, Any]:
        self._benches[case] = Bench(Path(folder))
        return {}

    def load(self, id: str, program: str) -> dict[str, Any]:
        assert self._target is not None
        parsed = parse_program(program, "<candidate>")
        self._loaded[id] = Loaded(parsed, self._target.load(parsed))
        return {}

    def keep(self, id: str, case: str) -> dict[str, Any]:
        bench = self._benches[case]
        bench.run_once(self._loaded[id], self._threads)
        write_expected(bench.folder, {n: b.array for n, b in bench.outputs.items()})
        return {}

    def check(self, id: str, case: str) -> dict[str, Any]:
        bench = self._benches[case]
        bench.run_once(self._loaded[id], self._threads)
        return {"errors": bench.errors()}

    def time(self, id: str, case: str, seconds: float) -> dict[str, Any]:
        return {"samples": timed(self._benches[case].call(self._loaded[id], self._threads), seconds)}

    def drop(self, ids: list[str]) -> dict[str, Any]:
        for name in ids:
            self._loaded.pop(name, None)
        gc.collect()
        return {}


def timed(call: Callable[[], None], seconds: float) -> list[float]:
    """Seconds per call: one untimed call, then samples of one or more calls each for `seconds`, one at least."""
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
    repeat = max(1, min(10000, int(SHORT / max(once, 1e-8))))
    samples: list[float] = []
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        while True:
            start = time.perf_counter()
            for _ in range(repeat):
                call()
            now = time.perf_counter()
            samples.append((now - start) / repeat)
            if now >= end:
                return samples
    finally:
        gc.enable()


def answer(worker: Worker, request: dict[str, Any]) -> dict[str, Any]:
    arguments = {k: v for k, v in request.items() if k != "do"}
    try:
        return {"ok": True, **getattr(worker, request["do"])(**arguments)}
    except Fault as fault:
        return {"ok": False, "status": fault.status.value, "why": str(fault)}
    except (WeftError, MemoryError) as error:
        return {"ok": False, "status": Status.ERROR.value, "why": str(error) or "out of memory"}
    except Exception as error:
        return {"ok": False, "status": Status.ERROR.value, "why": f"{type(error).__name__}: {error}"}


def main() -> None:
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    _end_with_parent()
    worker = Worker()
    for line in sys.stdin:
        replies.write(json.dumps(answer(worker, json.loads(line))) + "\n")


def _end_with_parent() -> None:
    """A candidate that hangs would outlive a tuner that was killed. Where memory runs out, this is the process to end;
    a crash leaves no image of the memory behind."""
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
