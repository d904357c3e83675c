"""The cost model against measurement: how well predicted times order plans, and how good the chosen plan is.

    python benchmarks/model.py [--program REGEX] [--candidates 50] [--threads 2] [--json FILE]

For each program the search's candidates (the chosen plan among them, the rest evenly spread over predicted time) are
compiled, checked against the first one's answer and timed in rounds, one call of each in turn. A row is
{"program", "extents", "candidates", "spearman", "chosen_ms", "best_ms", "median_ms", "samples": [[predicted, ms]...]}.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from weft.backends.target import Executable, get_target
from weft.compiler import memory
from weft.compiler.lower import LowerOptions, lower, write_out
from weft.compiler.search import Candidate, SearchReport
from weft.ir import gir
from weft.ir.binding import specialise
from weft.ir.expr import as_int
from weft.ir.op import Op
from weft.ir.op_text import parse_file
from weft.ops import library

ROOT = Path(__file__).parents[1]

# name: (library operator, or file and operator of examples/), extents
PROGRAMS: dict[str, tuple[str, dict[str, int]]] = {
    "softmax": ("softmax", {"M": 2048, "N": 4096}),
    "softmax_short": ("softmax", {"M": 65536, "N": 64}),
    "layer_norm": ("layer_norm", {"M": 4096, "N": 2048}),
    "bias_gelu": ("bias_gelu", {"M": 2048, "N": 4096}),
    "sum_rows": ("sum_rows", {"M": 4096, "N": 4096}),
    "sum_columns": ("sum_columns", {"M": 4096, "N": 4096}),
    "transpose": ("transpose", {"M": 2048, "N": 2048}),
    "cumsum_rows": ("cumsum_rows", {"M": 2048, "N": 2048}),
    "matmul": ("matmul", {"M": 768, "N": 768, "K": 768}),
    "weighted_sum": ("examples/attention.gir attention_plain", {"S": 1024, "T": 1024, "D": 64, "E": 64}),
    "causal": ("examples/attention.gir attention_causal", {"S": 1024, "T": 1024, "D": 64, "E": 64}),
    "conv2d": (
        "examples/conv2d.gir conv2d",
        {"N": 2, "C": 32, "H": 56, "W": 56, "K": 32, "R": 3, "S": 3, "U": 1, "V": 1, "P": 1, "Q": 1},
    ),
    "stencil7": ("examples/stencil7.gir stencil7", {"X": 128, "Y": 128, "Z": 128}),
}


@dataclass
class Run:
    """One candidate, loaded, with its own outputs."""

    predicted: float
    call: Executable
    addresses: list[int]
    outputs: dict[str, np.ndarray[Any, Any]]
    keep: list[np.ndarray[Any, Any]]
    best: float = float("inf")


def program(source: str) -> Op:
    if not source.startswith("examples/"):
        return library.load(source)
    path, name = source.split()
    return next(o for o in parse_file((ROOT / path).read_text(), path) if o.name == name)


def spread(report: SearchReport, chosen: Candidate, count: int) -> list[Candidate]:
    """`count` candidates, the chosen one first, evenly spaced over the order by predicted time."""
    rest = sorted((c for c in report.candidates if c is not chosen), key=lambda c: c.seconds)
    picks = np.unique(np.linspace(0, len(rest) - 1, max(1, count - 1)).astype(int)) if rest else []
    return [chosen, *(rest[k] for k in picks)]


def load(candidate: Candidate, inputs: dict[str, np.ndarray[Any, Any]], threads: int) -> Run:
    target = get_target("cpu")
    result = write_out(candidate.op, target.machine, candidate.choices, candidate.plan)
    arrays, outputs = [], {}
    for tensor in result.program.tensors:
        shape = tuple(as_int(e) or 0 for e in tensor.shape)
        array = inputs.get(tensor.name)
        if array is None:
            array = memory.empty(shape, tensor.dtype.numpy)
            array.fill(0)
        if tensor.role is gir.Role.OUTPUT:
            outputs[tensor.name] = array
        arrays.append(array)
    call = target.load(result.program)
    return Run(result.cost.predicted_seconds, call, [a.ctypes.data for a in arrays], outputs, arrays)


def spearman(a: list[float], b: list[float]) -> float:
    """Rank correlation, equal values sharing their mean rank."""

    def ranks(values: list[float]) -> np.ndarray[Any, Any]:
        ordered = np.sort(values)
        left, right = np.searchsorted(ordered, values), np.searchsorted(ordered, values, "right")
        return (left + right - 1) / 2

    if len(a) < 2:
        return 1.0
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def measure(name: str, count: int, threads: int, rounds: int) -> dict[str, Any]:
    source, extents = PROGRAMS[name]
    op = specialise(program(source), extents)
    machine = get_target("cpu").machine
    report = lower(op, machine, LowerOptions(nodes=max(120, 2 * count))).report
    chosen = report.best(1)[0]
    rng = np.random.default_rng(0)
    inputs = {}
    for tensor in op.inputs:
        array = memory.empty(tuple(as_int(e) or 0 for e in tensor.shape), tensor.dtype.numpy)
        values = rng.standard_normal(array.shape)
        array[...] = np.abs(values) if tensor.name == "eps" else values
        inputs[tensor.name] = array
    runs = [load(c, inputs, threads) for c in spread(report, chosen, count)]
    for run in runs:
        run.call(run.addresses, [], threads)
        for key, value in run.outputs.items():
            np.testing.assert_allclose(value, runs[0].outputs[key], rtol=2e-3, atol=2e-3, err_msg=f"{name} {key}")
    for _ in range(rounds):
        for run in runs:
            start = time.perf_counter()
            run.call(run.addresses, [], threads)
            run.best = min(run.best, time.perf_counter() - start)
    times = [r.best * 1e3 for r in runs]
    return {
        "program": name,
        "extents": extents,
        "candidates": len(runs),
        "spearman": round(spearman([r.predicted for r in runs], times), 3),
        "chosen_ms": round(times[0], 4),
        "best_ms": round(min(times), 4),
        "median_ms": round(float(np.median(times)), 4),
        "samples": [[round(r.predicted * 1e3, 4), round(t, 4)] for r, t in zip(runs, times, strict=True)],
    }


@click.command()
@click.option("--program", "pattern", default="", help="Only programs whose name matches.")
@click.option("--candidates", default=50, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path))
def main(pattern: str, candidates: int, threads: int, rounds: int, path: Path | None) -> None:
    """Order plans by prediction and by measurement, and compare."""
    rows = []
    for name in PROGRAMS:
        if not re.search(pattern, name):
            continue
        row = measure(name, candidates, threads, rounds)
        rows.append(row)
        ratio = row["chosen_ms"] / row["best_ms"]
        click.echo(
            f"{name:14} {row['candidates']:3} plans  rank correlation {row['spearman']:6.3f}"
            f"  chosen {row['chosen_ms']:8.3f} ms  best {row['best_ms']:8.3f}  median {row['median_ms']:8.3f}"
            f"  chosen/best {ratio:.2f}"
        )
    if path is not None:
        path.write_text(json.dumps({"command": "benchmarks/model.py", "threads": threads, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
