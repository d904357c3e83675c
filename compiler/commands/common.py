"""What commands share: options, `name=value` arguments, progress, files that appear whole."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ...ir import gir
from ...ir.errors import UserError
from ...ir.op import Op

PATIENCE = 1.0  # seconds before anything is said about progress
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def program_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """FILE, --entry, --bind and --target."""
    decorators: list[Decorator] = [
        click.argument("file", type=click.Path(path_type=Path)),
        click.option("--entry", metavar="NAME", help="The operator, where the file holds several."),
        click.option("--bind", "bind", multiple=True, metavar="SYMBOL=N", help="Fix a symbol; may be repeated."),
        click.option("--target", metavar="T", help="Target (default: WEFT_TARGET, then cpu)."),
        click.option("--machine", metavar="M", help="Machine description used for scheduling: a name or a file."),
    ]
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


cache_option: Decorator = click.option(
    "--no-cache", "cache", flag_value=False, default=True, help="Compile anew, and keep nothing in the kernel cache."
)


def bindings(given: Sequence[str]) -> dict[str, int]:
    """`("M=4", "N=8,K=2")` as a dict. Raises click.BadParameter."""
    out: dict[str, int] = {}
    for item in (part for group in given for part in group.split(",")):
        name, mark, value = item.partition("=")
        try:
            number = int(value.replace("_", ""), 10)
        except ValueError:
            mark = ""
            number = 0
        if not mark or not name:
            raise click.BadParameter(f"'{item}' is not SYMBOL=INTEGER", param_hint="--bind")
        if out.get(name, number) != number:
            raise click.BadParameter(f"'{name}' is bound to {out[name]} and {number}", param_hint="--bind")
        out[name] = number
    return out


def pairs(given: Sequence[str], option: str) -> dict[str, Path]:
    """`("x=a.npy",)` as a dict of paths. Raises click.BadParameter."""
    out: dict[str, Path] = {}
    for item in given:
        name, mark, value = item.partition("=")
        if not mark or not name or not value:
            raise click.BadParameter(f"'{item}' is not NAME=FILE", param_hint=option)
        if name in out:
            raise click.BadParameter(f"'{name}' is given twice", param_hint=option)
        out[name] = Path(value)
    return out


def read_program(file: Path, entry: str | None) -> Op | gir.Program:
    from .. import front

    return front.parse(front.read_text(file), str(file), entry)


@contextmanager
def progress(what: str) -> Iterator[None]:
    """A spinner on a terminal's standard error once the body has taken PATIENCE seconds; otherwise nothing."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    finished = threading.Event()
    started = time.monotonic()
    console = Console(stderr=True)

    def show() -> None:
        if finished.wait(PATIENCE):
            return
        with console.status(what) as status:
            while not finished.wait(0.5):
                status.update(f"{what} {time.monotonic() - started:.0f} s")

    watcher = threading.Thread(target=show, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` when the body succeeds. Raises UserError where it cannot be written."""
    path = Path(os.path.abspath(path))
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
