"""`weft opt FILE.gir --passes a,b{option=value},lower,c --print-ir-after NAME|all`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...ir import gir
from ...ir.errors import UserError
from ...ir.op import Op
from . import common

if TYPE_CHECKING:
    from ..pass_registry import Pass

LOWER = "lower"  # the step from index notation to the scheduled form, which is not a pass


def _list(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    from dataclasses import fields

    from .. import pass_registry

    if not wanted or ctx.resilient_parsing:
        return
    for name, cls in pass_registry.registry().items():
        options = " ".join(f"{f.name}={f.default}" for f in fields(cls))
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        click.echo(f"{name} ({cls.form}){' {' + options + '}' if options else ''}: {summary}")
    ctx.exit()


@click.command("opt")
@common.program_options
@click.option("--passes", metavar="LIST", help="Passes in order; 'lower' schedules. Default: the whole way.")
@click.option("--print-ir-after", "after", multiple=True, metavar="NAME|all", help="Print the program after a pass.")
@click.option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="List the passes and their options."
)
def command(
    file: Path,
    entry: str | None,
    bind: tuple[str, ...],
    target: str | None,
    machine: str | None,
    passes: str | None,
    after: tuple[str, ...],
) -> None:
    """Run passes on FILE and print the program; the verifier runs after every pass."""
    from ... import settings
    from ...backends.target import get_target
    from ...ir.op_specialise import specialise
    from .. import pass_registry
    from ..driver import lower_op
    from ..lower import LowerOptions
    from ..pipeline import default_passes

    program = common.read_program(file, entry)
    values = common.bindings(bind)
    if values and isinstance(program, Op):
        program = specialise(program, values)
    wanted = default_passes(program) if passes is None else pass_registry.parse(passes)
    names = [name for name, _ in wanted]
    for name in after:
        if name != "all" and name not in names:
            raise UserError(f"--print-ir-after {name}: that pass does not run", remedy=", ".join(["all", *names]))
    chosen = get_target(target or settings.current().target, machine)
    for name, options in wanted:
        if name == LOWER:
            if not isinstance(program, Op):
                raise UserError("'lower' needs index notation; the program is in the scheduled form already")
            with common.progress("scheduling"):
                program = lower_op(program, {}, chosen, LowerOptions()).program
        else:
            program = _run(pass_registry.make(name, options), program)
        if name in after or "all" in after:
            click.echo(f"# after {name}\n{_text(program)}")
    if not after:
        click.echo(_text(program), nl=False)


def _run(step: Pass, program: Op | gir.Program) -> Op | gir.Program:
    """One pass and the verifier. A pass that breaks a program is our fault, and leaves a reproducer."""
    from ...ir.errors import InternalError, VerifyError
    from ..front import read
    from ..reproducer import guarded

    form = "op" if isinstance(program, Op) else "gir"
    if step.form != form:
        raise UserError(
            f"pass '{step.name}' works on the form '{step.form}', the program is in '{form}'",
            remedy="put 'lower' before it" if form == "op" else "a program in index notation",
        )
    with guarded(f"running pass '{step.name}'", lambda: _text(program)):
        result = step.run(program)
        try:
            return read(result)
        except VerifyError as error:
            raise InternalError(f"pass '{step.name}' gave a program that does not verify: {error}") from error


def _text(program: Op | gir.Program) -> str:
    from ...ir.gir_printer import print_program
    from ...ir.op_printer import print_op

    return print_op(program) if isinstance(program, Op) else print_program(program)
