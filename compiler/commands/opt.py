"""`weft opt FILE.gir --passes a,b{option=value},lower,c --print-ir-after NAME|all`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from ...ir import gir
from ...ir.errors import InternalError, UserError, VerifyError
from ...ir.op import Op
from . import common

if TYPE_CHECKING:
    from ..passes.base import Pass


@dataclass(frozen=True)
class Lower:
    """The step from index notation to the scheduled form, in the place of a pass; the command runs it."""

    name: ClassVar[str] = "lower"
    form: ClassVar[str] = "op"

    def run(self, program: Any) -> Any:
        return program


def _list(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    from ..pass_registry import registry

    if not wanted or ctx.resilient_parsing:
        return
    for name, cls in registry().items():
        options = " ".join(f"{f.name}={f.default}" for f in fields(cls))
        summary = (cls.__doc__ or "").strip().splitlines()[0]
        summary = "" if summary.startswith(f"{cls.__name__}(") else f": {summary}"
        click.echo(f"{name} ({cls.form!s}){' {' + options + '}' if options else ''}{summary}")
    ctx.exit()


@click.command("opt")
@common.program_options
@click.option("--passes", metavar="LIST", help="Passes in order; 'lower' schedules. Default: lower, the whole way.")
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
    from ..pass_registry import make, parse, registry

    values = common.bindings(bind)
    known = {**registry(), Lower.name: Lower}
    chosen = [make(name, options, known) for name, options in parse("lower" if passes is None else passes)]
    names = [step.name for step in chosen]
    for name in after:
        if name != "all" and name not in names:
            raise UserError(f"--print-ir-after {name}: that pass does not run", remedy=", ".join(["all", *names]))
    program = common.read_program(file, entry)
    if isinstance(program, Op):
        program = _bound(program, values)
    for step in chosen:
        with common.progress(f"running {step.name}"):
            program = _run(step, program, target, machine)
        if step.name in after or "all" in after:
            click.echo(f"# after {step.name}\n{_text(program).rstrip()}\n")
    if not after:
        click.echo(_text(program).rstrip())


def _bound(op: Op, values: dict[str, int]) -> Op:
    from ...ir.binding import specialise
    from .. import extents
    from ..signature import signature_of

    extents.check_bindings(signature_of(op), values, "--bind")
    return specialise(op, values) if values else op


def _run(step: Pass, program: Op | gir.Program, target: str | None, machine: str | None) -> Op | gir.Program:
    """One pass and the verifier. A pass that breaks a program is our fault, and leaves a reproducer."""
    from ...ir.gir_verify import verify
    from ..front import read
    from ..reproducer import guarded

    result: Op | gir.Program
    form = "op" if isinstance(program, Op) else "gir"
    if step.form != form:
        raise UserError(
            f"pass '{step.name}' works on the form '{step.form!s}', the program is in '{form}'",
            remedy="put 'lower' before it" if form == "op" else "a program in index notation",
        )
    with guarded(f"running pass '{step.name}'", lambda: _text(program)):
        result = _lower(program, target, machine) if isinstance(step, Lower) else step.run(program)
        try:
            if isinstance(result, Op):
                return read(result)
            verify(result)
            return result
        except VerifyError as error:
            raise InternalError(f"pass '{step.name}' gave a program that does not verify: {error}") from error


def _lower(program: Op | gir.Program, target: str | None, machine: str | None) -> gir.Program:
    from ... import settings
    from ...backends.target import get_target
    from ..driver import lower_op
    from ..lower import LowerOptions

    assert isinstance(program, Op)
    chosen = get_target(target or settings.current().target, machine or settings.current().machine)
    return lower_op(program, {}, chosen, LowerOptions()).program


def _text(program: Op | gir.Program) -> str:
    from ...ir.gir_printer import print_program
    from ...ir.op_printer import print_op

    return print_op(program) if isinstance(program, Op) else print_program(program)
