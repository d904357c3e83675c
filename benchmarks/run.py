"""python benchmarks/run.py SUITE [--case REGEX] [--contenders REGEX] [--threads N] [--json FILE] [--check-only]

Times every contender on every case of a suite, as docs/benchmarks.md tells: one process per contender, all alive, each
stopped except in its turn; rounds A B C A B C; one untimed call, then timed calls for a fixed time; medians, and minima
beside them. Turns that others disturbed, or that ran in another memory mode of the host, are set aside. Every answer is
checked against float64 in the same run: a contender that is wrong has no time. With `--check-only` that check is all.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np
from cases import Case, suites
from loops import Loops
from quiet import Probe, busy_seconds, group_seconds, machine_info
from workers import CONTENDERS, Setup, Turn, Worker, allocator, finish, prepare, present

DISTURBED = 0.08  # of a core, by anyone else
MODE_RATIO = 1.3  # bandwidths further apart than this belong to different memory modes
MOST_SAMPLES = 100  # of one turn, in the file


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


@contextmanager
def question(case: Case) -> Iterator[tuple[list[np.ndarray[Any, Any]], Path]]:
    """The answers in float64 and a folder with the inputs."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = case.inputs()
        case.save(inputs, Path(folder))
        expected = case.expected(inputs)
        del inputs
        yield expected, Path(folder)


def measure(
    case: Case, workers: list[Worker], probe: Probe, peak: float, options: argparse.Namespace
) -> dict[str, Any]:
    with question(case) as (expected, folder):
        ready = [w for w in workers if prepare(w, case, expected, folder)]
        del expected
    for _ in range(options.rounds):
        for worker in ready:
            take_turn(worker, options.seconds, probe)
    ready = [w for w in ready if w.turns]
    kept, bandwidth = quiet_turns(ready) if ready else ({}, 1.0)
    times = {name: median(ms for t in turns for ms in t.ms) for name, turns in kept.items()}
    peers = {n: ms for n, ms in times.items() if n not in ("weft", "stream")}
    best = min(peers, key=lambda name: peers[name]) if peers else None
    moved = case.read_bytes + case.write_bytes
    return {
        "suite": case.suite,
        "case": case.name,
        "dtype": case.dtype,
        "threads": options.threads,
        "weft_ms": times.get("weft"),
        "floor_ms": 1e3 * max(moved / bandwidth, case.flops / peak),
        "stream_ms": times.get("stream"),
        "peers": peers,
        "best_peer": best,
        "speedup": peers[best] / times["weft"] if best and "weft" in times else None,
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
        "samples": {w.name: [recorded(t.ms) for t in w.turns] for w in ready},
    }


def recorded(samples: list[float]) -> list[float]:
    """Every sample of a turn, or where there are thousands (calls of microseconds) evenly spaced ones."""
    return [round(ms, 4) for ms in samples[:: -(-len(samples) // MOST_SAMPLES) or 1]]


def spread(samples: list[float]) -> float:
    """(90th percentile - 10th percentile) / median."""
    low, middle, high = np.percentile(samples, (10, 50, 90))
    return float((high - low) / middle)


def show(row: dict[str, Any]) -> str:
    def ms(value: float | None) -> str:
        return f"{value:9.3f}" if value is not None else "        -"

    best, ratio = row["best_peer"], row["speedup"]
    first = f"best {best} {ms(row['peers'][best]).strip()}, {ratio:.2f}x" if ratio else "no ratio"
    peers = "  ".join(f"{name} {value:.3f}" for name, value in sorted(row["peers"].items()))
    notes = "".join(f"\n    {name}: {note}" for name, note in row["notes"].items() if note != "not supported")
    return (
        f"{row['case']:34s} weft {ms(row['weft_ms'])}  floor {ms(row['floor_ms'])}  stream {ms(row['stream_ms'])}"
        f"  | {first} | {peers}{notes}"
    )


def summary(rows: list[dict[str, Any]]) -> str:
    """How much faster than the best peer of each case; and than the plain loop over the same bytes."""
    faster = {r["case"]: r["speedup"] for r in rows if r["speedup"]}
    if not faster:
        return "no case with both Weft and a peer"
    slower = ", ".join(f"{case} {ratio:.2f}x" for case, ratio in faster.items() if ratio < 1)
    worst = min(faster, key=lambda case: faster[case])
    return (
        f"best peer's time over Weft's, {len(faster)} of {len(rows)} cases: geometric mean "
        f"{geometric_mean(faster.values()):.2f}x, least {faster[worst]:.2f}x ({worst})\n"
        f"slower than the best peer: {slower or 'none'}"
    )


def check(cases: list[Case], workers: list[Worker], setup: Setup) -> int:
    """Every contender on every case, once, one at a time. Returns how many failed."""
    failed = 0
    for case in cases:
        with question(case) as (expected, folder):
            for k in range(len(workers)):
                one = workers[k : k + 1]
                right = prepare(one[0], case, expected, folder)
                error = f"error {one[0].error:.1e}" if one[0].error is not None else "ran"
                took = f"{one[0].prepare_s:.1f} s to prepare"
                print(f"{case.name:34s} {one[0].name:14s} {f'{error}, {took}' if right else one[0].note}", flush=True)
                failed += not right and one[0].note != "not supported"
                finish(one, setup)
                workers[k] = one[0]
    return failed


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Times Weft beside its peers. All times are milliseconds.")
    parser.add_argument("suite", choices=sorted(suites()))
    parser.add_argument("--case", default="", metavar="REGEX", help="only the cases whose name matches")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows, raw samples included")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a turn")
    parser.add_argument(
        "--contenders",
        default=".*",
        metavar="REGEX",
        help="only those whose whole name matches: " + ", ".join(CONTENDERS),
    )
    parser.add_argument(
        "--python", action="append", default=[], metavar="NAME=PATH", help="the interpreter of one contender"
    )
    parser.add_argument("--check-only", action="store_true", help="run everything once and compare; no times")
    return parser.parse_args()


def write(file: Path, info: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """The run as one file. Its command names the file without the folder, which is this machine's own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    command = ["python", "benchmarks/run.py", *(a if a != str(file) else file.name for a in sys.argv[1:])]
    file.write_text(json.dumps({"command": command, "machine": info, "rows": rows}, indent=1) + "\n")


def run(
    cases: list[Case], workers: list[Worker], setup: Setup, info: dict[str, Any], options: argparse.Namespace
) -> None:
    loops = Loops(options.threads)
    probe, peak = Probe(loops), loops.fma_flops(0.5)
    info |= {"fma_gflops": peak / 1e9, "copy_gb_per_s": probe.bandwidth(5) / 1e9}
    print(f"{info['fma_gflops']:.0f} GFLOP/s, {info['copy_gb_per_s']:.0f} GB/s read and written")
    rows: list[dict[str, Any]] = []
    for case in cases:
        peak = max(peak, loops.fma_flops(0.2))  # again, lest the first one fell into a disturbance
        info["fma_gflops"] = peak / 1e9
        rows.append(measure(case, workers, probe, peak, options))
        print(show(rows[-1]), flush=True)
        if options.json:  # after every case, so that an interrupted run keeps what it has
            write(options.json, info, rows)
        finish(workers, setup)
    print(summary(rows))


def main() -> int:
    options = arguments()
    cases = [c for c in suites()[options.suite] if re.search(options.case, c.name)]
    names = [n for n in CONTENDERS if re.fullmatch(options.contenders, n)]
    if not cases or not names:
        print(f"nothing to run: no {'case' if not cases else 'contender'} matches", file=sys.stderr)
        return 2
    cpus = sorted(os.sched_getaffinity(0))[: options.threads] if hasattr(os, "sched_getaffinity") else [0]
    name, environment = allocator()
    setup = Setup(options.threads, tuple(cpus), environment, dict(pair.split("=", 1) for pair in options.python))
    info: dict[str, Any] = machine_info(options.threads, name)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no stopped process is left behind
    workers, absent = present(names, setup)
    info |= {"versions": {w.name: w.version for w in workers}, "absent": absent}
    try:
        print(f"{info['cpu']}, {options.threads} threads, {name.split()[0]}")
        print("".join(f"absent: {name} ({why})\n" for name, why in absent.items()), end="", flush=True)
        if options.check_only:
            return 1 if check(cases, workers, setup) else 0
        run(cases, workers, setup, info, options)
    finally:
        for worker in workers:
            worker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
