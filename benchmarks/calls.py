"""python benchmarks/calls.py [--threads N] [--json FILE]

What a call costs beside its kernel, in microseconds: ordinary calls, calls into the caller's output, bound calls, calls
with an index tensor to check, calls from several Python threads at once; and what a parallel loop costs beside its
iterations (fork and join), when loops follow each other and after a pause in which helpers fall asleep. The kernels add
16 numbers or run a chain of dependent multiply-adds, so that nothing but the run-time differs. Minimum and median of
many repetitions; the time of several calls is divided by their number.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import weft
from quiet import machine_info
from weft.backends.host import usable_cores

ADD = "op add(x: f32[N], z: f32[N]) -> (y: f32[N]) { y[i] = x[i] + z[i] }"
ROWS = "op rows(x: f32[V, N], k: i32[M]) -> (y: f32[M, N]) { y[i, j] = x[k[i], j] }"
CHAIN = """program chain(T) {
  tensor y: f32[T] output
  kernel main {
    parallel unit i in 0..T {
      alloc a: f32<> reg
      a = 1.0
      loop j in 0..STEPS {
        a = fma(a, 0.5, 0.25)
      }
      store y[i] = a
    }
  }
}"""
STEPS = (8, 4_000, 100_000)  # of a chain: about 0.01, 4 and 100 us
PAUSE = 3e-3  # seconds, long enough for helpers to fall asleep
REPEATS, CALLS, PAUSED = 15, 2_000, 150


def together(call: Callable[[], object], calls: int = CALLS) -> list[float]:
    """Calls that follow each other, us."""
    samples = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        samples.append((time.perf_counter() - start) / calls * 1e6)
    return samples


def apart(call: Callable[[], object]) -> list[float]:
    """Calls with a pause before each, us."""
    samples = []
    for _ in range(PAUSED):
        time.sleep(PAUSE)
        start = time.perf_counter()
        call()
        samples.append((time.perf_counter() - start) * 1e6)
    return samples


def crowd(calls: list[Callable[[], object]], each: int = CALLS) -> list[float]:
    """All at once from a Python thread each; us per call."""
    samples = []
    for _ in range(REPEATS):
        start = threading.Barrier(len(calls) + 1)

        def work(call: Callable[[], object], start: threading.Barrier = start) -> None:
            start.wait()
            for _ in range(each):
                call()

        workers = [threading.Thread(target=work, args=(c,)) for c in calls]
        for worker in workers:
            worker.start()
        start.wait()
        begin = time.perf_counter()
        for worker in workers:
            worker.join()
        samples.append((time.perf_counter() - begin) / (each * len(calls)) * 1e6)
    return samples


def rows(threads: int) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []

    def row(what: str, team: int, samples: list[float]) -> None:
        out.append({"what": what, "threads": team, "min_us": min(samples), "median_us": median(samples)})
        print(f"{what:44} {team:3} threads  min {min(samples):8.2f}  median {median(samples):8.2f} us", flush=True)

    x, z, y = (np.ones(16, np.float32) for _ in range(3))
    table, keys = np.ones((64, 16), np.float32), np.arange(10, dtype=np.int32)
    for team in dict.fromkeys((1, threads)):
        add, gather = weft.compile(ADD, threads=team), weft.compile(ROWS, threads=team)
        row("call k(x, z)", team, together(lambda add=add: add(x, z)))
        row("call k(x, z, out=y)", team, together(lambda add=add: add(x, z, out=y)))
        row("bound call", team, together(add.bind(x, z, out=y)))
        row("call with an index tensor", team, together(lambda gather=gather: gather(table, keys)))
        row("bound call with an index tensor", team, together(gather.bind(table, keys)))
        row("bound calls from 4 Python threads", team, crowd([add.bind(x, z) for _ in range(4)]))
    for steps in STEPS:
        text = CHAIN.replace("STEPS", str(steps))
        single = weft.compile(text, threads=1).bind(T=1)
        serial = weft.compile(text, threads=1).bind(T=threads)
        parallel = weft.compile(text, threads=threads).bind(T=threads)
        calls = max(20, min(CALLS, 4_000_000 // steps))
        row(f"chain of {steps}, one", 1, together(single, calls))
        row(f"chain of {steps}, {threads} in a row", 1, together(serial, calls))
        row(f"chain of {steps}, {threads} at once", threads, together(parallel, calls))
        row(f"chain of {steps}, one, after a pause", 1, apart(single))
        row(f"chain of {steps}, {threads} in a row, after a pause", 1, apart(serial))
        row(f"chain of {steps}, {threads} at once, after a pause", threads, apart(parallel))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="what calls and parallel loops cost beside their kernels")
    parser.add_argument("--threads", type=int, default=usable_cores(), help="of the larger team (default: all cores)")
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args()
    found = rows(max(2, options.threads))
    if options.json:
        command = ["benchmarks/calls.py", *(a for a in sys.argv[1:] if a not in ("--json", str(options.json)))]
        result = {
            "command": " ".join(command),
            "machine": machine_info(max(2, options.threads), "system"),
            "rows": found,
        }
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
