"""Random legal schedules: rewrites of the op, a walk over the search's own neighbours, passes in a random order.

Nothing here knows the fields of `Choices`: a step of the walk draws a field among those that some neighbour changes,
then one of the neighbours that change it, so that a decision the search learns is tried as often as the others.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from weft.backends.host import runs_here
from weft.backends.machine import Machine, load_machine, machine_names
from weft.backends.target import get_target
from weft.compiler.axes import unify_axes
from weft.compiler.instantiate import instantiate
from weft.compiler.lower import write_out
from weft.compiler.passes.base import Pass, run_passes
from weft.compiler.passes.chunking import Chunking
from weft.compiler.passes.inline import recomputed
from weft.compiler.passes.monotone import Monotone, fixpoint
from weft.compiler.passes.normal import NORMAL
from weft.compiler.passes.split_reduction import SplitReduction
from weft.compiler.passes.wavefront import Wavefront
from weft.compiler.pipeline import FINISH, STORED_PASSES
from weft.compiler.planner import Choices, make_plan
from weft.compiler.search.best_first import Candidate
from weft.compiler.search.neighbours import neighbours
from weft.compiler.search.refusals import refusal, scratch_refusal
from weft.ir import gir
from weft.ir.binding import specialise
from weft.ir.errors import ScheduleError
from weft.ir.op import Op, Reduction

STEPS = (1, 1, 2, 3, 4, 6, 9)
CHUNKS = (1, 2, 3, 4, 5, 8, 16, 64)
ROUNDS = 12


@dataclass(frozen=True)
class Schedule:
    """One way to run an op. `target` is a CPU target, `machine` what the plan is made for; `order`: of the monotone
    rewrites, after everything else; None for the way that compiling goes. `words`: what was done, for people."""

    target: str
    machine: Machine
    op: Op
    choices: Choices
    order: tuple[Pass, ...] | None
    words: str

    def program(self) -> gir.Program:
        """The scheduled program."""
        written = write_out(self.op, self.machine, self.choices, monotone=self.order is None)
        return written.program if self.order is None else fixpoint(written.program, self.order, ROUNDS)


def random_schedule(op: Op, extents: dict[str, int], rng: random.Random) -> Schedule:
    """Raises what planning and the rewrites raise: no choice may be illegal."""
    target, machine = random_machine(rng)
    is_open = rng.random() < 0.25
    rewritten, done = random_rewrite(op if is_open else specialise(op, extents), rng)
    choices = random_choices(rewritten, machine, rng)
    rewrites = Monotone(room=machine.sram_bytes).rewrites
    order = tuple(rng.sample(rewrites, len(rewrites))) if rng.random() < 0.5 else None
    what = [target, f"{machine.name}: {machine.units} units, {machine.sram_bytes} bytes of sram", *done]
    what += ["symbols open"] if is_open else []
    what += [said(choices), " ".join(p.name for p in order or ())]
    return Schedule(target, machine, rewritten, choices, order, "; ".join(filter(None, what)))


def random_machine(rng: random.Random) -> tuple[str, Machine]:
    """A CPU target that runs here, and its machine with another number of units or less room."""
    name = rng.choice(("", "", *(f":{n}" for n in machine_names() if runs_here(load_machine(n).instructions))))
    machine = get_target(f"cpu{name}").machine
    if rng.random() < 0.3:
        machine = replace(machine, units=rng.choice((1, 3, 16)))
    if rng.random() < 0.3:
        machine = replace(machine, sram_bytes=rng.choice((1 << 15, 1 << 17)))
    return f"cpu{name}", machine


def random_rewrite(op: Op, rng: random.Random) -> tuple[Op, list[str]]:
    """One of the alternatives of the search, at chunk sizes and on definitions that it would not take; and in words."""
    before: list[Pass] = []
    for name in [d.name for d in op.definitions if d.self_reads]:
        kind, chunk = rng.random(), rng.choice(CHUNKS)
        if kind < 0.5:
            before.append(Chunking(name, chunk) if kind < 0.3 else Wavefront(name))
    op, said = attempt(op, before)
    if rng.random() < 0.3:
        return unify_axes(run_passes(op, STORED_PASSES)), [*said, "stored"]
    op = unify_axes(run_passes(op, NORMAL))
    reductions = [d for d in op.definitions if isinstance(d.body, Reduction)]
    splits: list[Pass] = []
    if rng.random() < 0.4:
        for d in rng.sample(reductions, min(len(reductions), rng.randint(1, 2))):
            splits.append(SplitReduction(d.name, rng.choice(CHUNKS), rng.choice(d.body.axes).name))
    op, more = attempt(op, splits)
    return unify_axes(run_passes(op, FINISH)), said + more


def attempt(op: Op, steps: Sequence[Pass]) -> tuple[Op, list[str]]:
    """The op after those that are possible, and which these are."""
    done = []
    for p in steps:
        with contextlib.suppress(ScheduleError):
            op = p.run(op)
            done.append(str(p))
    return op, done


def random_choices(op: Op, machine: Machine, rng: random.Random) -> Choices:
    """Steps that the search would refuse are not made."""
    choices = Choices()
    for _ in range(rng.choice(STEPS)):
        current = recomputed(op, choices.recompute)
        plan = make_plan(current, machine, choices)
        kinds: dict[str, list[Choices]] = {}
        for other in neighbours(Candidate("", choices, plan, current, 0.0, 0.0, "")):
            kinds.setdefault(" ".join(changed(choices, other)), []).append(other)
        if kinds:
            step = rng.choice(kinds[rng.choice(sorted(kinds))])
            choices = step if is_legal(op, machine, step) else choices
    return choices


def is_legal(op: Op, machine: Machine, choices: Choices) -> bool:
    op = recomputed(op, choices.recompute)
    plan = make_plan(op, machine, choices)
    if refusal(op, plan, choices, machine) is not None:
        return False
    return scratch_refusal(instantiate(op, plan, machine.sram_bytes), machine) is None


def changed(a: Choices, b: Choices) -> list[str]:
    """The fields in which two differ."""
    return [f.name for f in fields(Choices) if getattr(a, f.name) != getattr(b, f.name)]


def said(choices: Choices) -> str:
    """What differs from the default."""
    given = {name: getattr(choices, name) for name in changed(Choices(), choices)}
    return ", ".join(f"{k}={sorted(v) if isinstance(v, frozenset) else v}" for k, v in given.items())
