"""One contender in one process. Requests and replies are JSON lines on the original standard input and output; what a
library prints goes to standard error.

    {"do": "prepare", "suite": s, "case": c, "save": folder}   ->  {"ok": true, "checked": bool, "outputs": n}
    {"do": "turn", "seconds": t}                               ->  {"ok": true, "ms": [...]}
    {"do": "drop"}                                             ->  {"ok": true}
"""

from __future__ import annotations

import argparse
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
    """A stopped process would outlive a harness that is killed."""
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


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
    call: Callable[[], object] | None = None
    module: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, Any] = {"ok": True}
        try:
            if request["do"] == "prepare":
                from cases import suites

                module = module or importlib.import_module(f"contenders.{options.contender}")
                case = next(c for c in suites()[request["suite"]] if c.name == request["case"])
                call = module.prepare(case, case.inputs(), options.threads)
                answer = call()
                reply["checked"] = module.CHECKED
                if module.CHECKED:
                    arrays = _as_arrays(answer)
                    for k, array in enumerate(arrays):
                        np.save(Path(request["save"]) / f"{options.contender}-{k}.npy", array)
                    reply["outputs"] = len(arrays)
                    del arrays
                del answer
            elif request["do"] == "turn" and call is not None:
                reply["ms"] = _turn(call, request["seconds"])
            else:
                call = None
                gc.collect()
        except Exception as error:  # the row says what went wrong; the other contenders go on
            call = None
            reply = {"ok": False, "why": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
