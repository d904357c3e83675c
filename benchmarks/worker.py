"""One contender in one process. Requests and replies are JSON lines on the original standard input and output; what a
library prints goes to standard error.

    {"do": "hello"}                                            ->  {"ok": true, "version": text}
    {"do": "prepare", "suite": s, "case": c, "folder": path}   ->  {"ok": true, "checked": bool, "outputs": n}
    {"do": "turn", "seconds": t}                               ->  {"ok": true, "ms": [...]}
    {"do": "drop"}                                             ->  {"ok": true}
    any, where it fails                                        ->  {"ok": false, "why": text}
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def _as_arrays(answer: object) -> list[np.ndarray[Any, Any]]:
    parts = answer if isinstance(answer, tuple | list) else (answer,)
    return [np.asarray(part) for part in parts]


def _turn(call: Callable[[], object], seconds: float) -> list[float]:
    """One untimed call, then timed ones for `seconds` (at least one)."""
    call()
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        samples.append((now - start) * 1e3)
        if now > end:
            return samples


def _end_with_parent() -> None:
    """A stopped process would outlive a harness that is killed. Where memory runs out, this is the process to end."""
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")


class Contender:
    """A module of `contenders/` and its current call."""

    def __init__(self, name: str, threads: int) -> None:
        self._name, self._threads = name, threads
        self._call: Callable[[], object] | None = None

    def hello(self) -> dict[str, Any]:
        self._module: Any = importlib.import_module(f"contenders.{self._name}")
        return {"ok": True, "version": self._module.VERSION}

    def prepare(self, suite: str, name: str, folder: Path) -> dict[str, Any]:
        from cases import suites

        module, self._call = self._module, None
        gc.collect()
        case = next(c for c in suites()[suite] if c.name == name)
        if case.dtype not in module.DTYPES or (module.FUNCTIONS is not None and case.program not in module.FUNCTIONS):
            return {"ok": False, "why": "not supported"}
        call = module.prepare(case, case.load(folder), self._threads)
        answer = call()
        if not module.CHECKED:
            self._call = call
            return {"ok": True, "checked": False}
        arrays = getattr(module, "arrays", _as_arrays)(answer)
        for k, array in enumerate(arrays):
            array = case.checked(array)
            np.save(folder / f"{self._name}-{k}.npy", array.astype(np.float32) if array.dtype.kind == "V" else array)
        self._call = call
        return {"ok": True, "checked": True, "outputs": len(arrays)}

    def turn(self, seconds: float) -> dict[str, Any]:
        assert self._call is not None
        return {"ok": True, "ms": _turn(self._call, seconds)}

    def drop(self) -> dict[str, Any]:
        self._call = None
        gc.collect()
        return {"ok": True}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request:
            case {"do": "hello"}:
                return self.hello()
            case {"do": "prepare", "suite": suite, "case": name, "folder": folder}:
                return self.prepare(suite, name, Path(folder))
            case {"do": "turn", "seconds": seconds}:
                return self.turn(seconds)
            case _:
                return self.drop()


def main() -> None:
    _end_with_parent()
    parser = argparse.ArgumentParser()
    parser.add_argument("contender")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--cpus", required=True, help="comma-separated, the CPUs to stay on")
    options = parser.parse_args()
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(c) for c in options.cpus.split(",")})
    contender = Contender(options.contender, options.threads)
    for line in sys.stdin:
        try:
            reply = contender.answer(json.loads(line))
        except Exception as error:  # the row says what went wrong; the other contenders go on
            contender.drop()
            reply = {"ok": False, "why": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
