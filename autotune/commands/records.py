"""`weft records list | show PROGRAM | export [-o FILE]`: what tuning has measured."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from ... import settings
from ...compiler.commands import common
from ...compiler.report import table, time_text
from ...ir.errors import UserError
from ...ir.op import Op
from ..fingerprint import Fingerprint
from ..lookup import fastest
from ..record import Record, Status, as_data, program_key
from ..store import Records
from .tune import name_of

directory = click.option(
    "--records", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Where records are kept."
)
KEY_DIGITS = 12  # of a program's digest in lists


@click.group("records")
def command() -> None:
    """List, show and export tuning records (docs/autotune.md)."""


@command.command("list")
@directory
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def list_records(folder: Path | None, as_json: bool) -> None:
    """One line per program, extents and environment: how many candidates, and the best."""
    groups: dict[tuple[str, tuple[tuple[str, int], ...], Fingerprint], list[Record]] = {}
    for record in store(folder).all():
        groups.setdefault((record.key, record.bind, record.environment), []).append(record)
    found = [summary(group) for group in groups.values()]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    head = ("program", "key", "extents", "target", "threads", "candidates", "ok", "best", "x default", "weft")
    rows: list[tuple[str, ...]] = [head]
    for line in found:
        best = (time_text(line["best"]), f"{line['speed']:.2f}") if line["ok"] else ("none", "")
        rows.append((*(str(line[name]) for name in head[:7]), *best, str(line["weft"])))
    click.echo("\n".join(table(rows)))


@command.command("show")
@click.argument("program")
@directory
@click.option("--entry", metavar="NAME", help="The operator, where PROGRAM is a file that holds several.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def show(program: str, folder: Path | None, entry: str | None, as_json: bool) -> None:
    """Every record of PROGRAM: a .gir file, an operator's name, or the beginning of its key."""
    found = of_program(store(folder), program, entry)
    if as_json:
        click.echo(json.dumps([as_data(r) for r in found], indent=2))
        return
    rows = [("candidate", "extents", "status", "time", "fastest", "/ default", "predicted", "when")]
    for r in found:
        times = (time_text(r.seconds), time_text(r.minimum), f"{r.relative:.3f}") if r.samples else ("", "", "")
        mark = "default: " if r.default else ""
        rows.append((mark + name_of(r), bound(r), r.status.value, *times, time_text(r.predicted), r.when))
    click.echo("\n".join(table(rows)))
    for r in found:
        if r.detail:
            click.echo(f"{r.status.value}: {name_of(r)}: {r.detail}")


@command.command("export")
@directory
@click.option("--program", metavar="PROGRAM", help="Only of this one, as for 'show'.")
@click.option("--format", "form", type=click.Choice(["json", "csv"]), default="json", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: standard output.")
def export(folder: Path | None, program: str | None, form: str, output: Path | None) -> None:
    """Records as JSON (a list of objects) or CSV (a row each, nested fields with dots)."""
    place = store(folder)
    found = of_program(place, program, None) if program is not None else list(place.all())
    text = json.dumps([as_data(r) for r in found], indent=2) + "\n" if form == "json" else as_csv(found)
    if output is None:
        click.echo(text, nl=False)
        return
    with common.written_whole(output) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def store(folder: Path | None) -> Records:
    """Raises UserError where records are turned off and no directory is named."""
    chosen = folder or settings.records_directory()
    if chosen is None:
        raise UserError("tuning records are turned off", remedy="--records DIR, or unset WEFT_RECORDS=off")
    return Records(chosen)


def of_program(place: Records, program: str, entry: str | None) -> list[Record]:
    """Raises UserError where there is none."""
    if Path(program).suffix and Path(program).exists():
        parsed = common.read_program(Path(program), entry)
        found = place.read(program_key(parsed)) if isinstance(parsed, Op) else []
    else:
        found = [r for r in place.all() if program in (r.program, r.key[: len(program)])]
    if not found:
        raise UserError(f"no records of '{program}' in {place.directory}", remedy="weft records list")
    return found


def summary(group: list[Record]) -> dict[str, Any]:
    """Of the records of one program, extents and environment. Of several of one plan the last one counts."""
    last = {r.plan: r for r in group}
    counts = Counter(r.status for r in last.values())
    best = fastest([r for r in last.values() if r.status is Status.OK])
    first = group[0]
    return {
        "program": first.program,
        "key": first.key[:KEY_DIGITS],
        "extents": bound(first),
        "target": first.environment.target,
        "threads": first.environment.threads,
        "candidates": len(last),
        "ok": counts[Status.OK],
        "best": best.seconds if best else 0.0,
        "speed": 1 / best.relative if best else 0.0,
        "weft": first.environment.weft,
    }


def bound(record: Record) -> str:
    return " ".join(f"{name}={value}" for name, value in record.bind)


def as_csv(records: Iterable[Record]) -> str:
    rows = [flat(as_data(r)) for r in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def flat(data: dict[str, object]) -> dict[str, object]:
    """The environment's fields by `environment.name`; other nested fields as JSON, because their names vary."""
    out: dict[str, object] = {}
    for name, value in data.items():
        if name == "environment" and isinstance(value, dict):
            out |= {f"{name}.{k}": v for k, v in value.items()}
        else:
            out[name] = json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
    return out
