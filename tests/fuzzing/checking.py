"""What every program of `make fuzz` goes through. Findings are texts; a program is right when there are none.

Every program, by the interpreter of ops:
  each pass of `OP_PASSES` in turn: where it changes something, the result verifies and gives the same.
Every program in a random schedule (schedules.py):
  by the interpreter of GIR where its loops make no more than INTERPRETED steps (races, undefined memory and accesses
  outside are errors there); by the static verifier where they make more, and for every other program;
  on a target, with buffers that have guards around them: even numbers on `cpu`, odd ones in C.
Every other pair of programs (numbers 2 and 3 of 4) the usual way, `weft.compile` for `cpu` and a call: symbols bound or
  open, every other one verified; every WHOLE_SEARCH-th with the whole search, the others with FEW_NODES plans; every
  eighth also in C.
C: what a batch of BATCH programs has for it, in one call of the compiler, -O2, -O1 or -O0 by LEVELS (-O0 for programs
  of more than LARGE statements); every
  WHOLE_SEARCH-th program also through `weft.compile` for `c`. Other targets (`c:sanitize`) go through it alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import weft
from c_batches import Headers, Source, built, call
from schedules import random_schedule
from subjects import PROGRAM, Subject, subject
from weft.backends.target import get_target
from weft.compiler.lower_options import LowerOptions
from weft.compiler.pipeline import OP_PASSES
from weft.ir import gir
from weft.ir.errors import WeftError
from weft.ir.gir_interp import interpret as run_gir
from weft.ir.gir_interp import scalar
from weft.ir.gir_verify import verify as verify_gir
from weft.ir.op_interp import interpret
from weft.ir.op_verify import verify

BATCH = 16  # programs per call of the C compiler
LEVELS = ("-O0", "-O1", "-O0", "-O1", "-O0", "-O1", "-O0", "-O2")  # of batches in turn; target `c` has -O2
WHOLE_SEARCH = 32
FEW_NODES = 8
LARGE = 100  # statements: from here on the C compiler takes many seconds for one program
INTERPRETED = 4000  # steps of GIR loops
_HEADERS: dict[str, Headers] = {}


@dataclass(frozen=True)
class Pending:
    """A scheduled program that waits for the C compiler."""

    subject: Subject
    words: str
    source: Source

    @property
    def size(self) -> int:
        """Statements in it."""
        return sum(1 for k in self.source.program.kernels for _ in gir.walk(k.body))


def check(number: int, targets: Sequence[str], kind: str = PROGRAM) -> Iterator[str]:
    """The findings of one program: passes, and the usual way on each target with the whole search."""
    about = subject(kind, number)
    yield from passes(about)
    for target in targets:
        yield from usual(about, target, LowerOptions())


def check_all(kind: str, numbers: Sequence[int], targets: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(number, finding) of programs that share a call of the C compiler."""
    pending: list[Pending] = []
    for number in numbers:
        try:
            about = subject(kind, number)
            for finding in examine(about, targets, pending):
                yield number, finding
        except Exception as error:
            yield number, f"{type(error).__name__}: {error}"
    small = [p for p in pending if p.size <= LARGE]
    if small:
        yield from compiled(small, LEVELS[numbers[0] // BATCH % len(LEVELS)])
    if len(small) < len(pending):
        yield from compiled([p for p in pending if p.size > LARGE], "-O0")


def examine(about: Subject, targets: Sequence[str], pending: list[Pending]) -> Iterator[str]:
    yield from passes(about)
    yield from scheduled(about, targets, pending)
    whole = about.number % WHOLE_SEARCH == 2
    os.environ["WEFT_VERIFY"] = str(int(about.number % 4 == 2))
    for target in targets:
        if whole or (target != "c" and about.number % 4 in (2, 3)):
            lowering = LowerOptions() if whole else LowerOptions(nodes=FEW_NODES)
            also_c = target == "cpu" and "c" in targets and about.number % 8 == 3
            yield from usual(about, target, lowering, pending if also_c else None)


def usual(about: Subject, target: str, lowering: LowerOptions, pending: list[Pending] | None = None) -> Iterator[str]:
    """Compile and call; what was scheduled waits in `pending` for the C compiler too."""
    specialise = "never" if about.random("symbols").random() < 0.3 else "auto"
    try:
        kernel = weft.compile(about.op, target, specialise=specialise, search=True, nodes=lowering.nodes)
        given = {s.name: about.extents[s.name] for s in about.op.symbols}
        result = kernel(**about.inputs, **given)
        results = result if isinstance(result, tuple) else (result,)
        wrong = about.wrong(dict(zip([t.name for t in about.op.outputs], results, strict=True)))
        if pending is not None:
            pending.append(
                Pending(about, f"in C ({specialise})", Source(kernel.variant().program, kernel.target.machine))
            )
    except WeftError as error:
        wrong = f"{type(error).__name__}: {error}"
    if wrong:
        yield f"target {target} ({specialise}), {about.extents}: {wrong}"


def passes(about: Subject) -> Iterator[str]:
    changed = about.op
    for step in OP_PASSES:
        before = changed
        try:
            changed = step.run(changed)
            if changed == before:
                continue
            verify(changed)
            wrong = about.wrong(interpret(changed, about.inputs, about.extents))
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            yield f"pass {step.name}, {about.extents}: {wrong}"
            break


def scheduled(about: Subject, targets: Sequence[str], pending: list[Pending]) -> Iterator[str]:
    """One random schedule."""
    rng = about.random("schedule")
    words = "before it was drawn"
    try:
        schedule = random_schedule(about.op, about.extents, rng)
        words = schedule.words
        program = schedule.program()
        interpreted = steps(program, about.extents) <= INTERPRETED
        if not interpreted or about.number % 2:
            verify_gir(program, schedule.machine.sram_bytes)
        wrong = about.wrong(run_gir(program, about.inputs, about.extents, seed=about.number)) if interpreted else ""
        if wrong:
            wrong = f"interpreter: {wrong}"
        elif "c" in targets and (about.number % 2 or "cpu" not in targets):
            pending.append(Pending(about, f"in C, schedule ({words})", Source(program, schedule.machine)))
        elif "cpu" in targets:
            executable = get_target(schedule.target).load(program)
            threads, misaligned = rng.choice((1, 2, 3)), rng.random() < 0.5
            wrong = about.wrong(call(program, executable, about.inputs, about.extents, threads, misaligned))
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    if wrong:
        yield f"schedule ({words}), {about.extents}: {wrong}"


def compiled(pending: Sequence[Pending], level: str) -> Iterator[tuple[int, str]]:
    if level not in _HEADERS:
        _HEADERS[level] = Headers(level)
    executables = built([p.source for p in pending], _HEADERS[level])
    for p, executable in zip(pending, executables, strict=True):
        rng = p.subject.random("call")
        wrong = ""
        if isinstance(executable, WeftError):
            wrong = str(executable)
        else:
            try:
                threads, misaligned = rng.choice((1, 2, 3)), rng.random() < 0.5
                found = call(p.source.program, executable, p.subject.inputs, p.subject.extents, threads, misaligned)
                wrong = p.subject.wrong(found)
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}"
        if wrong:
            yield p.subject.number, f"{p.words} {level}, {p.subject.extents}: {wrong}"


def steps(program: gir.Program, extents: dict[str, int]) -> int:
    """About how many instructions the interpreter visits: loops whose bounds are read from data count 8 iterations."""
    known = {s.name: extents[s.name] for s in program.symbols}

    def inside(body: Sequence[gir.Stmt], env: dict[str, int]) -> int:
        total = 0
        for s in body:
            if isinstance(s, gir.Loop):
                try:
                    lo, hi = scalar(s.lo, env), scalar(s.hi, env)
                except WeftError:
                    lo, hi = 0, 8 * s.step
                count = max(0, -(-(hi - lo) // s.step))
                total += count * inside(s.body, env | {s.var: (lo + hi) // 2}) if count else 0
            else:
                total += 1 + sum(inside(b, env) for b in gir.bodies(s))
        return total

    return sum(inside(k.body, known) for k in program.kernels)
