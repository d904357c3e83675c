"""`weft inspect FILE.gir [--bind M=4096] [--search] [--json]`: the cost report of an operator, or what the search
considered."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ...ir.errors import UserError
from ...ir.op import Op
from ..report import as_data, as_text
from . import common


@click.command("inspect")
@common.program_options
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option(
    "--text", "form", type=click.Choice(["op", "gir", "graph"]), help="Print this form of the program instead."
)
@click.option("--search", "search", is_flag=True, help="Show every plan that was considered, and why one won.")
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
    search: bool,
) -> None:
    """Bytes at each level beside the compulsory bytes, flops, the binding limit and the predicted time."""
    from ..driver import compile

    values = common.bindings(bind)
    if search:
        click.echo(_considered(file, entry, values, target, machine, as_json))
        return
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


def _considered(
    file: Path, entry: str | None, values: dict[str, int], target: str | None, machine: str | None, as_json: bool
) -> str:
    """What `--search` prints: the search's own answer, and where a tuning record overrides it, that it does."""
    from ... import settings
    from ...backends.target import get_target
    from .. import extents
    from ..driver import lower_op, tuned
    from ..lower_options import LowerOptions
    from ..plain_data import to_plain
    from ..search import considered
    from ..signature import signature_of

    op = common.read_program(file, entry)
    if not isinstance(op, Op):
        raise UserError(f"'{op.name}' was scheduled by hand: nothing was searched", remedy="an op")
    given = extents.check_bindings(signature_of(op), values, "--bind")
    now = settings.current()
    chosen = get_target(target or now.target, machine or now.machine)
    with common.progress(f"searching {file.name}"):
        bound = {n: s.value for n, s in given.items()}
        result = lower_op(op, bound, chosen, LowerOptions())
        record = tuned(op, bound, chosen, None, settings.records_directory())
        if as_json:
            data = considered.as_data(result, chosen.machine)
            return json.dumps({**data, "record": None if record is None else to_plain(record)}, indent=2)
        text = f"{op.name} on {chosen.name}\n{considered.as_text(result, chosen.machine)}"
        return text if record is None else f"{text}\na tuning record overrides this: {considered.named(record)}"
