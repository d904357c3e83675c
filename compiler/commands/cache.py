"""`weft cache show [--json] | clear`: the kernel cache of the settings."""

from __future__ import annotations

import json

import click

from ...ir.errors import UserError


@click.group("cache")
def command() -> None:
    """Show or clear the kernel cache (docs/cache.md)."""


@command.command("show")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def show(as_json: bool) -> None:
    """Where it is, how much it holds, and whether it is used."""
    from ..cache.shelf import describe

    found = describe()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        click.echo(f"{name:<11} {value}")


@command.command("clear")
def clear() -> None:
    """Delete every kernel in it; processes that run go on with what they have loaded."""
    from ..cache.shelf import store
    from ..cache.store import Unusable

    place = store()
    if place is None:
        raise UserError("the kernel cache is turned off", remedy="unset WEFT_CACHE and WEFT_CACHE_DIR=off")
    try:
        removed = place.clear()
    except Unusable as problem:
        raise UserError(
            f"the kernel cache is not used: {problem}", remedy="delete it by hand, or set WEFT_CACHE_DIR"
        ) from None
    click.echo(f"{removed.entries} kernels, {removed.bytes} bytes deleted from {place.folder}")
