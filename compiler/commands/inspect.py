"""`weft inspect FILE.gir [--bind M=4096] [--json]`: the cost report of an operator."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ..report import as_data, as_text
from . import common


@click.command("inspect")
@common.program_options
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option(
    "--text", "form", type=click.Choice(["op", "gir", "graph"]), help="Print this form of the program instead."
)
@click.option("--source", "source", is_flag=True, help="Print the text that the target emits instead.")
def command(
    file: Path,
    entry: str | None,
    bind: tuple[str, ...],
    target: str | None,
    machine: str | None,
    as_json: bool,
    form: str | None,
    source: bool,
) -> None:
    """Bytes at each level beside the compulsory bytes, flops, the binding limit and the predicted time."""
    from ..driver import compile

    values = common.bindings(bind)
    with common.progress(f"compiling {file.name}"):
        kernel = compile(file, target, bind=values, entry=entry, machine=machine)
        if form is not None or source:
            shown = kernel.source if source else kernel.text(form or "gir")
        else:
            names, report = (kernel.name, kernel.target.name), kernel.cost()
            shown = json.dumps(as_data(*names, report), indent=2) if as_json else as_text(*names, report)
            open_symbols = [s.name for s in kernel.variant().program.symbols if s.default is None]
            if open_symbols:
                click.echo(f"weft: not bound, counted as 1024: {', '.join(open_symbols)} (--bind fixes them)", err=True)
    click.echo(shown.rstrip("\n"))
