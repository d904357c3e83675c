"""`weft compile FILE.gir --target T --bind M=4096 -o DIR --emit source,header,library,manifest`."""

from __future__ import annotations

from pathlib import Path

import click

from . import common


@click.command("compile")
@common.program_options
@common.cache_option
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where to write.")
@click.option("--emit", metavar="PARTS", help="Some of source,header,library,manifest (default: all that can be made).")
@click.option("--threads", type=click.IntRange(1, 4096), help="Threads of a call.")
def command(
    file: Path,
    entry: str | None,
    bind: tuple[str, ...],
    target: str | None,
    machine: str | None,
    output: Path,
    emit: str | None,
    threads: int | None,
    cache: bool,
) -> None:
    """Write header, source, library and manifest of the operator in FILE to DIR, all at once."""
    from ..driver import compile
    from ..saved import PARTS

    parts = None if emit is None else [p.strip() for p in emit.split(",") if p.strip()]
    if parts is not None and (not parts or any(p not in PARTS for p in parts)):
        raise click.BadParameter(f"'{emit}' is not a list of {', '.join(PARTS)}", param_hint="--emit")
    values = common.bindings(bind)
    with common.progress(f"compiling {file.name}"):
        kernel = compile(file, target, bind=values, threads=threads, entry=entry, machine=machine, cache=cache)
        written = kernel.save(output, parts)
    for name in sorted(p.name for p in written.iterdir()):
        click.echo(output / name)
