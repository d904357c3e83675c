"""The cost model against measurement: how well predicted times order plans, and how good the chosen plan is.

    python benchmarks/model.py [--program REGEX] [--candidates 52] [--threads 2] [--json FILE]

For each program the search goes through its space of plans without stopping at good ones (`exhaust`), up to `POOL` of
them. The plan that `compile` takes by itself and others (`spread`) are compiled, checked against the reference in
float64, and timed in rounds, one call of each in turn; the time of a plan is its fastest call. With `--json` the file
is written after every program, and programs that it has already are passed over. A row is

    {"program", "extents", "pool": distinct legal plans found, "candidates": measured,
     "spearman": rank correlation of predicted and measured time over them,
     "chosen_ms", "best_ms", "median_ms": of the chosen plan, the fastest, and the one in the middle,
     "plans": [{"plan": in words, "bound", "predicted_ms", "ms": the fastest call, "median_ms": the middle one}]}

with the chosen plan first.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from cases import Array, Case
from weft.backends.target import Executable, get_target
from weft.compiler import memory
from weft.compiler.cost.model import CostReport
from weft.compiler.lower import LowerOptions, LowerResult, lower, write_out
from weft.compiler.search.best_first import Candidate, search
from weft.compiler.search.wording import words
from weft.ir.binding import specialise
from weft.ir.expr import as_int
from weft.ir.gir import Program

POOL = 250  # plans of a program that are looked at
SECONDS = 5.0  # of measuring one program
ROUNDS = 40


def _case(program: str, tolerance: float = 2e-5, **extents: int) -> Case:
    return Case("model", program, program, extents, 0, tolerance=tolerance)


# extents: beyond the caches where memory binds, calls of milliseconds
CASES = [
    _case("softmax", M=4096, N=4096),
    _case("softmax_axis", A=32, N=1024, B=512),
    _case("layer_norm", M=4096, N=4096),
    _case("rms_norm", M=4096, N=4096),
    _case("bias_gelu", M=4096, N=4096),
    _case("chain6", M=4096, N=4096),
    _case("sum_rows", 1e-4, M=8192, N=4096),
    _case("sum_columns", 1e-4, M=8192, N=4096),
    _case("cumsum_rows", 1e-4, M=4096, N=4096),
    _case("transpose", M=4096, N=4096),
    _case("nchw_to_nhwc", N=16, C=64, H=112, W=112),
    _case("rotary", S=4096, H=32, F=64),
    _case("cross_entropy", M=2048, N=8192),
    _case("matmul", 1e-4, M=1024, N=1024, K=1024),
    _case("attention", 1e-4, H=4, S=1024, T=1024, D=64, E=64),
    _case("attention_decode", B=1, G=8, R=4, T=4096, D=128, E=128),
]


@dataclass
class Run:
    """One program, loaded."""

    name: str
    cost: CostReport
    call: Executable
    addresses: list[int]
    times: list[float] = field(default_factory=list)


@dataclass
class Prepared:
    """Ways to run a program, compiled and found to give the right answer."""

    case: Case
    runs: list[Run]
    arrays: Arrays  # kept alive


class Arrays:
    """The arrays of all plans of a program: they share inputs, outputs and temporaries of equal shape."""

    def __init__(self, inputs: dict[str, Array]) -> None:
        self.named: dict[str, Array] = {}
        self.spare: dict[tuple[tuple[int, ...], Any], list[Array]] = {}
        for name, values in inputs.items():
            self.named[name] = memory.empty(values.shape, values.dtype)
            self.named[name][...] = values

    def of(self, program: Program, outputs: set[str]) -> dict[str, Array]:
        used: dict[tuple[tuple[int, ...], Any], int] = {}
        out = {}
        for tensor in program.tensors:
            key = (tuple(as_int(e) or 0 for e in tensor.shape), tensor.dtype.numpy)
            if tensor.name in outputs and tensor.name not in self.named:
                self.named[tensor.name] = memory.empty(*key)
            if tensor.name in self.named:
                out[tensor.name] = self.named[tensor.name]
                continue
            spare, place = self.spare.setdefault(key, []), used.get(key, 0)
            used[key] = place + 1
            if place == len(spare):
                spare.append(memory.empty(*key))
            out[tensor.name] = spare[place]
        return out


def prepare_runs(case: Case, results: Iterable[tuple[str, LowerResult]], threads: int) -> Prepared:
    """Compile, run once and compare. Raises AssertionError where an answer is wrong."""
    target = get_target("cpu")
    inputs = case.inputs()
    names = [t.name for t in case.op.outputs]
    wanted = dict(zip(names, case.expected(inputs), strict=True))
    arrays = Arrays(inputs)
    runs = []
    for name, result in results:
        own = arrays.of(result.program, set(names))
        for output in names:
            own[output].view(np.uint8).fill(0xFF)  # NaN: what is not written shows
        addresses = [own[t.name].ctypes.data for t in result.program.tensors]
        run = Run(name, result.cost, target.load(result.program), addresses)
        run.call(run.addresses, [], threads)
        for output, want in wanted.items():
            wrong = float(np.max(np.abs(own[output] - want)) / max(1e-30, float(np.max(np.abs(want)))))
            assert wrong <= case.tolerance, f"{case.name}, {name}: off by {wrong}"
        runs.append(run)
    return Prepared(case, runs, arrays)


def candidates(case: Case, count: int) -> tuple[int, list[tuple[str, LowerResult]]]:
    """How many plans were found, and those to measure, the chosen one first."""
    op = specialise(case.op, case.extents)
    machine = get_target("cpu").machine
    result = lower(op, machine, LowerOptions())
    pool = search(op, machine, {}, POOL, exhaust=True).candidates
    found = [("chosen", result)]
    for c in spread([c for c in pool if (c.op, c.plan) != (result.op, result.plan)], count - 1):
        found.append((words(c.alternative, c.choices), write_out(c.op, machine, c.choices, c.plan)))
    return len(pool), found


def spread(found: list[Candidate], count: int) -> list[Candidate]:
    """`count` candidates: a third of them the best by the model, the others evenly spaced over the logarithm of the
    predicted time, so that slow plans have their share although the search finds few of them."""
    ordered = sorted(found, key=lambda c: c.seconds)
    out, left = ordered[: count // 3], ordered[count // 3 :]
    count -= len(out)
    while left and count:
        # the next one is the first at or beyond its share of what is left of the range
        step = (left[-1].seconds / left[0].seconds) ** (1 / max(1, count - 1))
        out.append(left.pop(0))
        count -= 1
        reach = out[-1].seconds * step
        spare = len(left) - count
        while spare > 0 and left[0].seconds < reach * (1 - 1e-9) and step > 1:
            left.pop(0)
            spare -= 1
    return out


def measure(prepared: Prepared, threads: int, seconds: float = SECONDS) -> None:
    """Time all in turns; after three rounds those that are within twice the best go on."""
    end = time.perf_counter() + seconds
    for number in range(ROUNDS):
        fastest = min((min(r.times, default=0.0) for r in prepared.runs), default=0.0)
        for run in prepared.runs:
            if number >= 3 and min(run.times) > 2 * fastest:
                continue
            start = time.perf_counter()
            run.call(run.addresses, [], threads)
            run.times.append(time.perf_counter() - start)
        if number >= 2 and time.perf_counter() > end:
            break


def row(prepared: Prepared, pool: int) -> dict[str, Any]:
    times = [min(r.times) * 1e3 for r in prepared.runs]
    return {
        "program": prepared.case.name,
        "extents": prepared.case.extents,
        "pool": pool,
        "candidates": len(times),
        "spearman": round(spearman([r.cost.predicted_seconds for r in prepared.runs], times), 3),
        "chosen_ms": round(times[0], 4),
        "best_ms": round(min(times), 4),
        "median_ms": round(float(np.median(times)), 4),
        "plans": [
            {
                "plan": r.name,
                "bound": str(r.cost.bound),
                "predicted_ms": round(r.cost.predicted_seconds * 1e3, 4),
                "ms": round(ms, 4),
                "median_ms": round(float(np.median(r.times)) * 1e3, 4),
            }
            for r, ms in zip(prepared.runs, times, strict=True)
        ],
    }


def spearman(a: list[float], b: list[float]) -> float:
    """Rank correlation, equal values sharing their mean rank."""

    def ranks(values: list[float]) -> Array:
        ordered = np.sort(values)
        left, right = np.searchsorted(ordered, values), np.searchsorted(ordered, values, "right")
        return (left + right - 1) / 2

    if len(a) < 2:
        return 1.0
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def line(found: dict[str, Any]) -> str:
    return (
        f"{found['program']:16} {found['candidates']:3} of {found['pool']:3} plans  rank {found['spearman']:6.3f}"
        f"  chosen {found['chosen_ms']:8.3f} ms  best {found['best_ms']:8.3f}  median {found['median_ms']:8.3f}"
        f"  chosen/best {found['chosen_ms'] / found['best_ms']:.2f}"
    )


def study(
    pattern: str,
    count: int,
    threads: int,
    path: Path | None,
    timed: Callable[[Prepared, int], None] = measure,
) -> None:
    """All programs whose name matches; `timed` measures one of them."""
    data: dict[str, Any] = {"command": "benchmarks/model.py", "threads": threads, "rows": []}
    if path is not None and path.exists():
        data = json.loads(path.read_text())
    done = {r["program"] for r in data["rows"]}
    for case in CASES:
        if not re.fullmatch(pattern, case.name) or case.name in done:
            continue
        pool, chosen = candidates(case, count)
        prepared = prepare_runs(case, chosen, threads)
        timed(prepared, threads)
        found = row(prepared, pool)
        click.echo(line(found))
        data["rows"].append(found)
        if path is not None:
            path.write_text(json.dumps(data, indent=1) + "\n")


@click.command()
@click.option("--program", "pattern", default=".*", help="Only programs whose name matches.")
@click.option("--candidates", default=52, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path))
def main(pattern: str, candidates: int, threads: int, path: Path | None) -> None:
    """Order plans by prediction and by measurement, and compare."""
    study(pattern, candidates, threads, path)


if __name__ == "__main__":
    main()
