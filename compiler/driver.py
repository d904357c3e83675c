"""compile() and load(): from a program to a Kernel.

program -> verify -> bind symbols -> lower (rewrites, instantiate, search) -> GIR -> target -> Kernel
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import settings
from ..backends.host import usable_cores
from ..backends.machine import Machine
from ..backends.target import Target, get_target
from ..ir import gir
from ..ir.errors import InternalError, ScheduleError, UserError, VerifyError
from ..ir.gir_printer import print_program
from ..ir.op import Op
from ..ir.op_printer import print_op
from . import extents, front
from .cache.shelf import Shelf
from .kernel import Kernel, Options, Specialise
from .lower_options import Chosen, LowerOptions
from .plain_data import from_plain, to_plain
from .reproducer import guarded
from .signature import signature_of

if TYPE_CHECKING:
    from .lower import LowerResult

# The module that finds a tuned plan: `chosen(folder, op, bindings, target, threads) -> Chosen | None`. It is imported
# by name, where there are records, because tuning stands on the compiler and not the other way round.
TUNED = "weft.autotune.lookup"


def compile(
    op: Any,
    target: str | None = None,
    *,
    bind: Mapping[str, int] | None = None,
    threads: int | None = None,
    specialise: str = "auto",
    entry: str | None = None,
    machine: str | None = None,
    cache: bool = True,
    records: bool | str | Path = True,
    **schedule: Any,
) -> Kernel:
    """Compile `op` (an Op, a function under `@weft.op`, the path of a `.gir` file, or its text) for `target`.

    `bind` gives symbols their values now; with all of them bound (or none declared) scheduling happens here, otherwise
    at the first call with new extents (`specialise="auto"`) or once with symbolic extents (`"never"`). `threads` is
    the number of threads of a call (default: WEFT_THREADS, then all cores that the process may use). `entry` chooses
    an operator of a file with several; `machine` a machine description; `cache=False` compiles anew whatever was
    compiled before and keeps nothing (see docs/cache.md). A plan that `weft.tune` has measured as the best for these
    extents, machine and threads is taken; `records` names another directory to look in, False looks nowhere (see
    docs/autotune.md). Further options are those of `LowerOptions`; with any of them records are not asked.

    Raises a UserError for what is wrong with the program or the request, InternalError for a bug of weft.
    """
    now = settings.current()
    program = front.read(op, entry)
    options = Options(
        target=target or now.target,
        bind=_bound(program, bind or {}),
        threads=_positive("threads", threads),
        specialise=_specialise(specialise),
        machine=machine or now.machine,
        schedule=_schedule(schedule) if schedule else None,
    )
    kernel = make_kernel(program, options, cache, records)
    if len(options.bind) == len(kernel.signature.symbols):
        kernel.variant(**dict(options.bind))
    return kernel


def make_kernel(
    program: Op | gir.Program, options: Options, cache: bool = True, records: bool | str | Path = True
) -> Kernel:
    """A kernel with nothing scheduled yet; `cache`: it may use and fill the kernel cache; `records` as in `compile`.

    Raises TargetError for an unknown target or machine.
    """
    target = get_target(options.target, options.machine)
    now = settings.current()
    shelf = Shelf(target, options.schedule) if cache else None
    if isinstance(program, gir.Program):
        return Kernel(program, target, options, None, now.variants, not front.covers(program), shelf)
    op = program
    folder = _records(records) if options.schedule is None else None

    def choose(bindings: Mapping[str, int]) -> LowerOptions | None:
        found = tuned(op, bindings, target, options.threads, folder)
        return options.schedule if found is None else LowerOptions(chosen=found)

    def schedule(bindings: Mapping[str, int], lowering: LowerOptions | None) -> LowerResult:
        try:
            return lower_op(op, bindings, target, lowering or LowerOptions())
        except ScheduleError:
            if lowering is options.schedule:
                raise
            return lower_op(op, bindings, target, LowerOptions())  # the record is of another state of weft

    return Kernel(op, target, options, schedule, now.variants, shelf=shelf, choose=choose)


def tuned(
    op: Op, bindings: Mapping[str, int], target: Target, threads: int | None, folder: Path | None
) -> Chosen | None:
    """The plan of the best record in `folder` for calls with these extents and threads (None: the default), if any."""
    if folder is None or not folder.is_dir():
        return None
    now = settings.current()
    found: Chosen | None = import_module(TUNED).chosen(
        folder, op, bindings, target, threads or now.threads or usable_cores()
    )
    return found


def _records(given: bool | str | Path) -> Path | None:
    """The directory of tuning records, if any. Raises UserError."""
    if given is True:
        return settings.records_directory()
    if given is False:
        return None
    if not isinstance(given, str | Path):
        raise UserError(f"records={given!r} is not a directory, True or False")
    return Path(given)


def lower(op: Op, machine: Machine, options: LowerOptions) -> LowerResult:
    """See `compiler/lower.py`. It is imported here, when something has to be scheduled: a kernel from the cache was."""
    from . import lower as scheduling

    if options.chosen is not None:
        from .chosen import lower_chosen

        return lower_chosen(op, machine, options.chosen)
    return scheduling.lower(op, machine, options)


def lower_op(op: Op, bindings: Mapping[str, int], target: Target, options: LowerOptions) -> LowerResult:
    """Schedule `op` with some symbols bound. A bug on the way leaves a reproducer and raises InternalError."""
    from ..ir.binding import bind_symbols
    from ..ir.binding import specialise as bind_op

    def describe() -> str:
        bound = " ".join(f"--bind {k}={v}" for k, v in bindings.items())
        return f"# weft compile THIS --target {target.name} {bound}\n# {options}\n{print_op(op)}"

    with guarded(f"compiling '{op.name}' for {target.name}", describe):
        if len(bindings) == len(op.symbols):
            bind_symbols(op, {}, bindings)  # refuses what only the inside of the op makes impossible
        lowered = lower(bind_op(op, dict(bindings)), target.machine, options)
        if settings.current().verify:
            _verify(lowered.program, target)
        return lowered


def _verify(program: gir.Program, target: Target) -> None:
    """On request (WEFT_VERIFY): a program of ours that breaks a guarantee is our fault."""
    from ..ir.gir_verify import verify

    try:
        verify(program, target.machine.sram_bytes)
    except VerifyError as error:
        raise InternalError(f"the scheduled program does not verify: {error}\n{print_program(program)}") from error


def load(directory: str | Path) -> Kernel:
    """The kernel that `Kernel.save` wrote. Nothing of it is run or unpickled: the manifest is checked against the
    hashes it holds, its program parsed, verified and compiled for this process.

    Raises LoadError for a directory that is missing, damaged, edited or of another version.
    """
    from . import saved

    return saved.load(Path(directory), make_kernel)


def _bound(program: Op | gir.Program, bind: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    signature = signature_of(program)
    given = extents.check_bindings(signature, bind, "bind")
    values = {s.name: given[s.name].value for s in signature.symbols if s.name in given}
    extents.check_facts(signature, values)
    for tensor in (*signature.inputs, *signature.outputs):
        extents.check_bound_shape(tensor, values)
    return tuple(values.items())


def _positive(name: str, value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 4096):
        raise UserError(f"{name}={value!r} is not a number from 1 to 4096")
    return value


def _specialise(value: str) -> Specialise:
    try:
        return Specialise(value)
    except ValueError:
        allowed = " or ".join(f'"{s.value}"' for s in Specialise)
        raise UserError(f"specialise={value!r} is not {allowed}") from None


def _schedule(given: Mapping[str, Any]) -> LowerOptions:
    """Options of the lowering by name, checked against their types. Raises UserError."""
    known = [f.name for f in fields(LowerOptions)]
    for name in given:
        if name not in known:
            raise UserError(f"compile() has no option '{name}'", remedy=", ".join(known))
    return from_plain(LowerOptions, {name: to_plain(value) for name, value in given.items()})
