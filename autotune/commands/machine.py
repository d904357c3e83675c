"""`weft machine [NAME | FILE] [--measure [--out FILE] [--seconds S]] [--json]`."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import click

from ... import settings
from ...backends import host
from ...backends.machine import MACHINES, Description, Machine, is_path, load_machine, machine_names, read_description
from ...compiler.commands.common import written_whole
from ...ir.errors import TargetError, UserError


@click.command("machine")
@click.argument("name", required=False, metavar="[NAME | FILE]")
@click.option("--measure", is_flag=True, help="Measure this machine and write its description.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Where to write it.")
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=10.0, show_default=True, help="How long.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def command(name: str | None, measure: bool, out: Path | None, seconds: float, as_json: bool) -> None:
    """Show a machine description, the one in use by default, or measure this machine."""
    if measure:
        if name is not None:
            raise click.UsageError("--measure is of this machine: it takes no NAME")
        path, warnings = measured(out, seconds)
        shown = read_description(path)
        if not as_json:
            click.echo(f"written     {path}")
            if path != settings.machine_file():
                click.echo(f"to use it   --machine {path}, or WEFT_MACHINE={path}")
            if warnings:
                click.echo(f"unsteady    {', '.join(warnings)}: measure again while nothing else runs")
    else:
        if out is not None:
            raise click.UsageError("--out goes with --measure")
        shown = chosen(name)
    click.echo(json.dumps(as_data(shown), indent=2) if as_json else describe(shown))


def chosen(name: str | None) -> Description:
    """What NAME, a file, WEFT_MACHINE or this machine is described by. Raises TargetError."""
    name = name or settings.current().machine
    if name is None:
        return host.host_description()
    if is_path(name):
        return read_description(Path(name))
    try:
        return Description(load_machine(name), MACHINES / f"{name}.toml")
    except KeyError:
        known = ", ".join(machine_names())
        raise TargetError(f"unknown machine '{name}'", remedy=f"one of {known}, or the path of a .toml file") from None


def measured(out: Path | None, seconds: float) -> tuple[Path, tuple[str, ...]]:
    """Measure and write; the file, and the figures that moved. Raises UserError."""
    from ..machine.measure import measure
    from .tune import progress_bar

    path = out or settings.machine_file()
    if path is None:
        raise UserError("there is no place for the description", remedy="--out FILE, or unset WEFT_MACHINE_DIR=off")
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    with progress_bar("measuring") as progress:
        found = measure(seconds, progress=progress)
    with written_whole(path) as temporary:
        temporary.write_text(found.text, encoding="utf-8")
    return path, found.unsteady


def as_data(shown: Description) -> dict[str, object]:
    return {
        "origin": origin(shown),
        "path": str(shown.path),
        "processor": shown.processor or None,
        "machine": {f.name: getattr(shown.machine, f.name) for f in fields(Machine)},
        "measured": {table: dict(values) for table, values in shown.figures.items()},
        "names": machine_names(),
    }


def origin(shown: Description) -> str:
    if shown.processor:
        return f"measured on {shown.processor}, {shown.cores} cores"
    return "comes along with weft" if shown.path.parent == MACHINES else "written by hand"


def describe(shown: Description) -> str:
    out = [f"{'machine':<18} {shown.machine.name}", f"{'from':<18} {shown.path}", f"{'':<18} {origin(shown)}"]
    out += [f"{f.name:<18} {value_of(shown.machine, f.name)}" for f in fields(Machine) if f.name != "name"]
    for table, values in shown.figures.items():
        out += ["", f"{table}:", *(f"  {name:<16} {value:g}" for name, value in values.items())]
    return "\n".join([*out, "", f"descriptions that come along: {', '.join(machine_names())}"])


def value_of(machine: Machine, name: str) -> str:
    value = getattr(machine, name)
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
