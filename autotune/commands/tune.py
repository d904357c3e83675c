"""`weft tune FILE.gir --target T --bind M=4096 --trials N --time S --records DIR`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from ...compiler import front
from ...compiler.commands import common
from ...compiler.commands.run import read_array
from ...compiler.report import time_text
from ...ir.errors import CallError
from ...ir.op import Op
from ..record import Record, Status, as_data
from ..tuner import Progress, Tuned, tune


@click.command("tune")
@common.program_options
@click.option("--trials", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Candidates to measure.")
@click.option("--time", "seconds", type=click.FloatRange(0.0), default=60.0, show_default=True, help="Seconds, about.")
@click.option("--records", type=click.Path(path_type=Path), metavar="DIR", help="Where records are kept.")
@click.option("--threads", type=click.IntRange(1, 4096), help="Threads of a call.")
@click.option(
    "--input", "inputs", multiple=True, metavar="NAME=FILE", help="Tune on this array (.npy), not a random one."
)
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(
    file: Path,
    entry: str | None,
    bind: tuple[str, ...],
    target: str | None,
    machine: str | None,
    trials: int,
    seconds: float,
    records: Path | None,
    threads: int | None,
    inputs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure the search's best candidates for the operator in FILE, in a process that may crash or hang.

    Results are checked before a time counts. Every candidate becomes a line of a record file; `weft.compile` and the
    other commands take the best one from then on. A second run measures only what has no record yet.
    """
    program = common.read_program(file, entry)
    given = common.pairs(inputs, "--input")
    tensors = {t.name: t for t in program.inputs} if isinstance(program, Op) else {}
    for name in given:
        if name not in tensors:
            raise CallError(f"the operator has no input '{name}'", remedy=", ".join(tensors))
    with progress_bar(f"tuning {program.name}") as progress:
        tuned = tune(
            front.read(program),
            target,
            bind=common.bindings(bind),
            trials=trials,
            seconds=seconds,
            records=records,
            threads=threads,
            machine=machine,
            inputs={n: read_array(p, tensors[n]) for n, p in given.items()},
            progress=progress,
        )
    click.echo(json.dumps(summary(tuned), indent=2) if as_json else describe(tuned))


def summary(tuned: Tuned) -> dict[str, object]:
    """JSON data."""
    return {
        "best": None if tuned.best is None else as_data(tuned.best),
        "measured": tuned.counts,
        "known": tuned.known,
        "file": str(tuned.file),
    }


def describe(tuned: Tuned) -> str:
    counts = ", ".join(f"{n} {name}" for name, n in tuned.counts.items()) or "none"
    out = [f"measured   {counts}; {tuned.known} known before"]
    faults = [r for r in tuned.measured if r.status is not Status.OK]
    out += [f"  {r.status.value:<8} {name_of(r)}: {r.detail}" for r in faults[:10]]
    if tuned.best is None:
        out.append("best       none: no candidate gave right results")
    else:
        best = tuned.best
        gain = f"{1 / best.relative:.2f}x the default plan's speed" if not best.default else "the default plan"
        out.append(f"best       {time_text(best.seconds)} (fastest call {time_text(best.minimum)}), {gain}")
        out.append(f"plan       {name_of(best)}")
    return "\n".join([*out, f"records    {tuned.file}"])


def name_of(record: Record) -> str:
    """A candidate in a few words: its alternative and what differs from the default choices."""
    from ...compiler.search.considered import named

    return named(record.chosen)


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """On a terminal's standard error; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, planned, words: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what)

        def show(done: int, planned: int, words: str) -> None:
            bar.update(task, completed=done, total=planned, description=f"{what}: {words}")

        yield show
