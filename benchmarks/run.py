"""python benchmarks/run.py SUITE [--case REGEX] [--threads N] [--json FILE]

Times every contender on every case of a suite, as docs/benchmarks.md tells: one process per contender, all alive, each
stopped except in its turn; rounds A B C A B C; one untimed call, then timed calls for a fixed time; medians, and minima
beside them. Turns that others disturbed, or that ran in another memory mode of the host, are set aside. Every answer is
checked against float64 in the same run: a contender that is wrong has no time.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from cases import Case, suites
from loops import Loops
from quiet import Probe, busy_seconds, group_seconds, machine_info

HERE = Path(__file__).resolve().parent
CONTENDERS = {
    "stream": "stream",
    "weft": "weft_cpu",
    "numpy": "numpy_plain",
    "torch": "torch_eager",
    "torch.compile": "torch_compiled",
}
DISTURBED = 0.08  # of a core, by anyone else
MODE_RATIO = 1.3  # bandwidths further apart than this belong to different memory modes


@dataclass
class Turn:
    ms: list[float]
    disturbed: bool
    bandwidth: float


@dataclass
class Worker:
    """A contender's process; `turns` and `note` belong to the current case."""

    name: str
    process: subprocess.Popen[str]
    turns: list[Turn] = field(default_factory=list)
    note: str = ""
    error: float | None = None
    prepare_s: float = 0.0

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.process.poll() is not None:
            return {"ok": False, "why": f"the process ended with {self.process.returncode}"}
        os.killpg(self.process.pid, signal.SIGCONT)
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            return {"ok": False, "why": f"the process ended with {self.process.wait()}"}
        os.killpg(self.process.pid, signal.SIGSTOP)
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def allocator() -> tuple[str, dict[str, str]]:
    """The same allocator and huge pages for all, where jemalloc is installed."""
    found = sorted(glob.glob("/usr/lib/*/libjemalloc.so.2") + glob.glob("/usr/lib64/libjemalloc.so.2"))
    if not found:
        return "system", {}
    conf = "retain:true,dirty_decay_ms:-1,muzzy_decay_ms:-1,thp:always"
    return f"jemalloc ({conf})", {"LD_PRELOAD": found[0], "MALLOC_CONF": conf}


def start(name: str, threads: int, cpus: list[int], environment: dict[str, str]) -> Worker:
    env = os.environ | environment | {"PYTHONPATH": str(HERE), "PYTHONWARNINGS": "ignore"}
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "WEFT_THREADS"):
        env[variable] = str(threads)
    command = [sys.executable, str(HERE / "worker.py"), CONTENDERS[name], "--threads", str(threads)]
    command += ["--cpus", ",".join(map(str, cpus))]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True
    )
    return Worker(name, process)


def prepare(worker: Worker, case: Case, expected: list[np.ndarray[Any, Any]], folder: str) -> bool:
    """Builds the case in the worker and checks its answer."""
    worker.turns, worker.note, worker.error = [], "", None
    start = time.perf_counter()
    reply = worker.ask({"do": "prepare", "suite": case.suite, "case": case.name, "save": folder})
    worker.prepare_s = time.perf_counter() - start
    if not reply["ok"]:
        worker.note = reply["why"]
        return False
    if reply["checked"]:
        files = [Path(folder) / f"{CONTENDERS[worker.name]}-{k}.npy" for k in range(reply["outputs"])]
        worker.error = max(error_of(np.load(f), want) for f, want in zip(files, expected, strict=True))
        for file in files:
            file.unlink()
        if not worker.error <= case.tolerance:
            worker.note = f"wrong: error {worker.error:.2g} over {case.tolerance:.2g}"
            return False
    return True


def error_of(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> float:
    """The largest difference relative to the largest answer; infinite for a wrong shape or NaN."""
    if got.shape != want.shape:
        return float("inf")
    if want.size == 0:
        return 0.0
    error = float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-30))
    return float("inf") if np.isnan(error) else error


def take_turn(worker: Worker, seconds: float, probe: Probe) -> None:
    before = probe.bandwidth()
    busy, own = busy_seconds(), group_seconds(worker.process.pid) + time.process_time()
    clock = time.perf_counter()
    reply = worker.ask({"do": "turn", "seconds": seconds})
    wall = time.perf_counter() - clock
    others = (busy_seconds() - busy) - (group_seconds(worker.process.pid) + time.process_time() - own)
    if not reply["ok"]:
        worker.note = reply["why"]
        return
    bandwidth = (before + probe.bandwidth()) / 2
    worker.turns.append(Turn(reply["ms"], others > DISTURBED * wall + 0.02, bandwidth))


def quiet_turns(workers: list[Worker]) -> tuple[dict[str, list[Turn]], float]:
    """The turns that count (quiet ones of the commoner memory mode, where a third remain), and the bandwidth."""
    every = [t for w in workers for t in w.turns]
    low, high = (f(t.bandwidth for t in every) for f in (min, max))
    split = (low * high) ** 0.5 if high > MODE_RATIO * low else 0.0
    fast = sum(t.bandwidth >= split for t in every) * 2 >= len(every)
    kept: dict[str, list[Turn]] = {}
    for worker in workers:
        same = [t for t in worker.turns if (t.bandwidth >= split) == fast] or worker.turns
        quiet = [t for t in same if not t.disturbed]
        kept[worker.name] = quiet if len(quiet) * 3 >= len(worker.turns) else same
    return kept, max(t.bandwidth for turns in kept.values() for t in turns)


def measure(
    case: Case, workers: list[Worker], probe: Probe, peak: float, options: argparse.Namespace
) -> dict[str, Any]:
    inputs = case.inputs()
    expected = case.expected(inputs)
    del inputs
    with tempfile.TemporaryDirectory() as folder:
        ready = [w for w in workers if prepare(w, case, expected, folder)]
    for _ in range(options.rounds):
        for worker in ready:
            take_turn(worker, options.seconds, probe)
    ready = [w for w in ready if w.turns]
    kept, bandwidth = quiet_turns(ready) if ready else ({}, 1.0)
    times = {name: median(ms for t in turns for ms in t.ms) for name, turns in kept.items()}
    moved = case.read_bytes + case.write_bytes
    row: dict[str, Any] = {
        "suite": case.suite,
        "case": case.name,
        "dtype": case.dtype,
        "threads": options.threads,
        "weft_ms": times.get("weft"),
        "floor_ms": 1e3 * max(moved / bandwidth, case.flops / peak),
        "stream_ms": times.get("stream"),
        "peers": {n: ms for n, ms in times.items() if n not in ("weft", "stream")},
        "error": next((w.error for w in workers if w.name == "weft"), None),
        "bytes": moved,
        "flops": case.flops,
        "rounds": options.rounds,
        "bandwidth": bandwidth,
        "minimum": {n: min(ms for t in turns for ms in t.ms) for n, turns in kept.items()},
        "spread": {n: spread([ms for t in turns for ms in t.ms]) for n, turns in kept.items()},
        "disturbed": {w.name: sum(t.disturbed for t in w.turns) for w in ready},
        "prepare_s": {w.name: round(w.prepare_s, 3) for w in ready},
        "notes": {w.name: w.note for w in workers if w.note},
        "samples": {w.name: [[round(ms, 4) for ms in t.ms] for t in w.turns] for w in ready},
    }
    for worker in workers:
        worker.ask({"do": "drop"})
    return row


def spread(samples: list[float]) -> float:
    """(90th percentile - 10th percentile) / median."""
    low, middle, high = np.percentile(samples, (10, 50, 90))
    return float((high - low) / middle)


def show(row: dict[str, Any]) -> str:
    def ms(value: float | None) -> str:
        return f"{value:9.3f}" if value is not None else "        -"

    peers = "  ".join(f"{name} {value:.3f}" for name, value in sorted(row["peers"].items()))
    notes = "".join(f"\n    {name}: {note}" for name, note in row["notes"].items())
    return (
        f"{row['case']:34s} weft {ms(row['weft_ms'])}  floor {ms(row['floor_ms'])}  stream {ms(row['stream_ms'])}"
        f"  | {peers}{notes}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times Weft beside its peers. All times are milliseconds.")
    parser.add_argument("suite", choices=sorted(suites()))
    parser.add_argument("--case", default="", metavar="REGEX", help="only the cases whose name matches")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows, raw samples included")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="comma-separated; default: all")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    chosen = [c for c in suites()[options.suite] if re.search(options.case, c.name)]
    names = options.contenders.split(",")
    unknown = [n for n in names if n not in CONTENDERS]
    if not chosen or unknown:
        print(f"nothing to run: {'unknown contender ' + unknown[0] if unknown else 'no case matches'}", file=sys.stderr)
        return 2
    cpus = sorted(os.sched_getaffinity(0))[: options.threads] if hasattr(os, "sched_getaffinity") else [0]
    name, environment = allocator()
    loops = Loops(options.threads)
    probe, peak = Probe(loops), loops.fma_flops(0.5)
    info = machine_info(options.threads, name) | {"fma_gflops": peak / 1e9, "copy_gb_per_s": probe.bandwidth(5) / 1e9}
    print(
        f"{info['cpu']}, {options.threads} threads, {name.split()[0]}: "
        f"{info['fma_gflops']:.0f} GFLOP/s, {info['copy_gb_per_s']:.0f} GB/s read and written"
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no stopped process is left behind
    workers = [start(n, options.threads, cpus, environment) for n in names]
    rows = []
    try:
        for case in chosen:
            peak = max(peak, loops.fma_flops(0.2))  # again, lest the first one fell into a disturbance
            info["fma_gflops"] = peak / 1e9
            rows.append(measure(case, workers, probe, peak, options))
            print(show(rows[-1]), flush=True)
            command = ["python", "benchmarks/run.py", *sys.argv[1:]]
            if options.json:  # after every case, so that an interrupted run keeps what it has
                options.json.parent.mkdir(parents=True, exist_ok=True)
                options.json.write_text(
                    json.dumps({"command": command, "machine": info, "rows": rows}, indent=1) + "\n"
                )
    finally:
        for worker in workers:
            worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
