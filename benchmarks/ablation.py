"""What single parts of the compiler are worth: the same programs with one part switched off at a time.

    python benchmarks/ablation.py [--program REGEX] [--threads 2] [--json FILE]

All variants of a program are compiled, checked against the reference and timed in rounds, one call of each in turn; a
time is the fastest call. A row is {"program", "extents", "ms": {variant: time}, "predicted_ms", "dram_mb"}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from cases import Case
from model import CASES, Prepared, Run, measure, prepare_runs
from weft.backends.target import get_target
from weft.compiler.lower import LowerOptions, lower
from weft.compiler.lower_options import Levels
from weft.ir.binding import specialise

VARIANTS: dict[str, LowerOptions] = {
    "whole": LowerOptions(),
    "no monotone rewrites": LowerOptions(monotone=False),
    "no search": LowerOptions(search=False),
    "levels fixed: sram": LowerOptions(levels=Levels.SRAM),
    "levels fixed: dram": LowerOptions(levels=Levels.DRAM),
}


def prepare(case: Case, threads: int) -> Prepared:
    op = specialise(case.op, case.extents)
    machine = get_target("cpu").machine
    results = {name: lower(op, machine, options) for name, options in VARIANTS.items()}
    return prepare_runs(case, list(results.items()), threads)


def row(prepared: Prepared) -> dict[str, Any]:
    def figures(of: Callable[[Run], float]) -> dict[str, float]:
        return {r.name: round(of(r), 4) for r in prepared.runs}

    return {
        "program": prepared.case.name,
        "extents": prepared.case.extents,
        "ms": figures(lambda r: min(r.times) * 1e3),
        "predicted_ms": figures(lambda r: r.cost.predicted_seconds * 1e3),
        "dram_mb": figures(lambda r: r.cost.dram_bytes / 1e6),
    }


def study(pattern: str, threads: int, path: Path | None, timed: Callable[[Prepared, int], None] = measure) -> None:
    """All programs whose name matches; `timed` measures one of them."""
    data: dict[str, Any] = {"command": "benchmarks/ablation.py", "threads": threads, "rows": []}
    if path is not None and path.exists():
        data = json.loads(path.read_text())
    done = {r["program"] for r in data["rows"]}
    for case in CASES:
        if not re.fullmatch(pattern, case.name) or case.name in done:
            continue
        prepared = prepare(case, threads)
        timed(prepared, threads)
        found = row(prepared)
        click.echo(f"{case.name:16} " + "  ".join(f"{n} {ms:.3f}" for n, ms in found["ms"].items()))
        data["rows"].append(found)
        if path is not None:
            path.write_text(json.dumps(data, indent=1) + "\n")


@click.command()
@click.option("--program", "pattern", default=".*", help="Only programs whose name matches.")
@click.option("--threads", default=2, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path))
def main(pattern: str, threads: int, path: Path | None) -> None:
    """Time every program with one part of the compiler switched off at a time."""
    study(pattern, threads, path)


if __name__ == "__main__":
    main()
