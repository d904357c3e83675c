"""One kernel for every size against kernels for one size: the time of `specialise="never"` beside the bound one's.

    python benchmarks/symbolic.py [--case REGEX] [--threads 2] [--rounds 15] [--check-only] [--json FILE]

Both kernels of a case live in one process and take turns, with `out=` given; a row has the least time of each. Before
that their answers are compared, and that of the symbolic kernel with the reference at tiny and odd extents.
A row is {"case", "extents", "bound_ms", "symbolic_ms", "ratio"}.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import weft
from cases import Case, suites
from weft.compiler import memory
from workers import error_of

EXTENTS = {  # of cases that would not show more if they were as large as in their suite, or that have no suite
    "cross_entropy_8192x32000": {"M": 1024, "N": 32000},
    "nchw_to_nhwc_32x64x112x112": {"N": 16, "C": 64, "H": 112, "W": 112},
    "attention_full_S2048_d64_f32": {"H": 4, "S": 2048, "T": 2048, "D": 64, "E": 64},
    "attention_causal_S2048_d64_f32": {"H": 4, "S": 2048, "T": 2048, "D": 64, "E": 64},
    "attention_full_S2048_d128_f32": {"H": 2, "S": 2048, "T": 2048, "D": 128, "E": 128},
}
LEFT_OUT = {"odd_sum_columns_999983x9", "odd_cumsum_rows_17x100003"}
MATMUL = r"^matmul_(1024x1024x1024|2048x2048x2048|1000x1001x999)_f32"
SMALL = (0, 1, 5, 33)  # what every extent is in turn when answers are compared


def cases() -> Iterator[Case]:
    chosen = [c for c in suites()["memory"] if c.name not in LEFT_OUT]
    chosen += [c for c in suites()["matmul"] if re.match(MATMUL, c.name)]
    chosen += [c for c in suites()["attention"] if c.name in EXTENTS]
    for case in chosen:
        yield replace(case, extents=EXTENTS.get(case.name, case.extents))


def small(case: Case) -> Iterator[Case]:
    """The case at tiny extents, and with each one in turn alone tiny."""
    for size in SMALL:
        yield replace(case, extents=dict.fromkeys(case.extents, size), every=1)
    for name in case.extents:
        if name != "S" or "T" not in case.extents:  # where there are more queries than keys the reference divides by 0
            yield replace(case, extents=dict.fromkeys(case.extents, 19) | {name: 67}, every=1)


def check(case: Case, kernel: weft.Kernel) -> None:
    """Raises ValueError where the kernel and the reference disagree."""
    inputs = case.inputs()
    if any(a.size == 0 for a in inputs.values()):
        kernel(*inputs.values(), **_symbols(case, kernel))
        return  # no reference is defined there; that it runs is what counts
    got = kernel(*inputs.values(), **_symbols(case, kernel))
    for found, want in zip(got if isinstance(got, tuple) else (got,), case.expected(inputs), strict=True):
        error = error_of(case.checked(found).astype(np.float64), np.asarray(want, np.float64))
        if not error <= case.tolerance:
            raise ValueError(f"{case.name} at {case.extents}: error {error:.3g}")


def _symbols(case: Case, kernel: weft.Kernel) -> dict[str, int]:
    return {s.name: case.extents[s.name] for s in kernel.signature.symbols}


def measure(case: Case, symbolic: weft.Kernel, rounds: int, threads: int) -> dict[str, Any]:
    bound = weft.compile(case.op, "cpu", bind=case.extents, threads=threads, records=False)
    arrays = []
    for array in case.inputs().values():
        arrays.append(memory.empty(array.shape, array.dtype))
        arrays[-1][...] = array
    outputs = [memory.empty(s, t.dtype.numpy) for s, t in zip(case.output_shapes, case.op.outputs, strict=True)]
    given = _symbols(case, symbolic)
    calls = [k.bind(*arrays, out=tuple(outputs), **given) for k in (bound, symbolic)]
    answers = []
    for call in calls:
        for array in outputs:
            array.fill(0)
        call()
        answers.append([a.copy() for a in outputs])
    for one, other in zip(*answers, strict=True):
        error = error_of(other.astype(np.float32), one.astype(np.float32)) if one.size else 0.0
        if not error <= case.tolerance:
            raise ValueError(f"{case.name}: the bound and the symbolic kernel differ by {error:.3g}")
    best = [float("inf")] * 2
    for _ in range(rounds):
        for k, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[k] = min(best[k], time.perf_counter() - start)
    return {
        "case": case.name,
        "extents": case.extents,
        "bound_ms": round(best[0] * 1e3, 4),
        "symbolic_ms": round(best[1] * 1e3, 4),
        "ratio": round(best[1] / best[0], 3),
    }


@click.command()
@click.option("--case", "pattern", default="", help="Only cases whose name matches.")
@click.option("--threads", default=2, show_default=True)
@click.option("--rounds", default=15, show_default=True)
@click.option("--check-only", is_flag=True, help="Compare answers, also at tiny extents, and take no times.")
@click.option("--json", "path", type=click.Path(path_type=Path))
def main(pattern: str, threads: int, rounds: int, check_only: bool, path: Path | None) -> None:
    """Times of kernels for every size beside those of kernels for one size."""
    rows = []
    for case in cases():
        if not re.search(pattern, case.name):
            continue
        symbolic = weft.compile(case.op, "cpu", specialise="never", threads=threads, records=False)
        if check_only:
            for other in small(case):
                check(other, symbolic)
            weft.compile(case.op, "cpu", bind=case.extents, threads=threads, records=False)
            click.echo(f"{case.name:34} agrees")
            continue
        row = measure(case, symbolic, rounds, threads)
        rows.append(row)
        click.echo(
            f"{row['case']:34} bound {row['bound_ms']:9.3f} ms  symbolic {row['symbolic_ms']:9.3f}"
            f"  ratio {row['ratio']:.2f}"
        )
    if path is not None:
        path.write_text(json.dumps({"command": "benchmarks/symbolic.py", "threads": threads, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
