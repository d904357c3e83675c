"""The command line: `weft compile | run | opt | inspect | tune | records | machine | cache | doctor`;
`python -m weft` is the same.

Exit codes: 0, 1 the user's fault (program, arguments, machine), 2 wrong usage, 70 our fault, 130 interrupted. No error
is ever a bare traceback: `main` is the one place where exceptions become text. Commands are imported when they run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from ..ir.errors import InternalError, UserError, WeftError
from .reproducer import guarded, version

USER, USAGE, INTERNAL, INTERRUPTED = 1, 2, 70, 130

# name -> (module that holds `command`, one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "compile": (".commands.compile", "Write header, source, library and manifest of an operator."),
    "run": (".commands.run", "Run an operator on arrays from files."),
    "opt": (".commands.opt", "Run passes and print the program between them."),
    "inspect": (".commands.inspect", "What an operator costs: bytes at each level, flops, bound, time."),
    "tune": ("..autotune.commands.tune", "Measure plans of an operator; the best is taken from then on."),
    "records": ("..autotune.commands.records", "List, show and export what tuning has measured."),
    "machine": ("..autotune.commands.machine", "Show a machine description, or measure this machine."),
    "cache": (".commands.cache", "Show or clear the kernel cache."),
    "doctor": (".commands.doctor", "Tool chains, devices and versions on this machine."),
}


class _Lazy(click.Group):
    """Commands imported by name, so that `weft --help` needs no compiler."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0], __package__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version(), prog_name="weft")
def weft() -> None:
    """A tensor compiler for operators whose cost is moving data."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: Sequence[str]) -> int:
    """The exit code of a command line; what it has to say is printed."""
    try:
        with guarded("running the command line", lambda: f"# weft {' '.join(arguments)}"):
            return _invoke(list(arguments))
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except InternalError as error:
        _say(f"{error}\nThis is a bug of weft: please report it with the reproducer.")
        return INTERNAL
    except WeftError as error:
        _say(str(error))
        return USER
    except MemoryError:
        _say("out of memory\n  try: smaller extents")
        return USER


def _invoke(arguments: list[str]) -> int:
    try:
        weft.main(args=arguments, prog_name="weft", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return USAGE
    except SystemExit:
        return 0  # click's answer to a reader that went away (`weft ... | head`), which is no error
    except OSError as error:
        raise UserError(f"{error.filename or 'input or output'}: {error.strerror or error}") from error
    return 0


def _say(message: str) -> None:
    click.echo(f"weft: {message}", err=True)
