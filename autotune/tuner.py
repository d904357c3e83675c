"""tune(): measure the search's best candidates, keep what came of each as a record, and name the best."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import settings
from ..backends.host import usable_cores
from ..backends.target import get_target
from ..compiler import arrays, extents, front
from ..compiler.signature import signature_of
from ..ir.errors import UserError
from ..ir.op import Op
from .candidates import Trial, best_trials
from .fingerprint import Fingerprint, fingerprint
from .lookup import best
from .lookup import extents as by_name
from .measure import Laboratory, Limits, Outcome
from .process import folder_for_arrays
from .record import Record, Status, program_key
from .reference import POINTS, Reference, prepare
from .store import Records

GROUP = 6  # candidates that are timed in turns with the default plan
FINALISTS = 3  # that are timed once more, against each other: the best of many is partly the luckiest

Progress = Callable[[int, int, str], None]  # trials done, trials planned, words


@dataclass(frozen=True)
class Tuned:
    """What a run of `tune` did. `best` is what `weft.compile` takes from now on, None where nothing was verified;
    `measured` are the records of this run, `known` the number of candidates that had one before."""

    best: Record | None
    measured: tuple[Record, ...]
    known: int
    file: Path

    @property
    def counts(self) -> dict[str, int]:
        """How many of the measured have each status."""
        found = Counter(r.status for r in self.measured)
        return {s.value: found[s] for s in Status if found[s]}


def tune(
    op: Any,
    target: str | None = None,
    *,
    bind: Mapping[str, int] | None = None,
    trials: int = 64,
    seconds: float = 60.0,
    records: str | Path | None = None,
    threads: int | None = None,
    entry: str | None = None,
    machine: str | None = None,
    inputs: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Tuned:
    """Measure up to `trials` of the plans that the search ranks best for `op` (as `weft.compile` takes it) with the
    symbols `bind`, for about `seconds`; `weft.compile` takes the best from then on.

    Each candidate runs in a process of its own kind, on copies of `inputs` (random ones by default), and has a time
    only if its results are right; what crashes, hangs or is wrong is a status of its record. Records go to `records`
    (default: WEFT_RECORDS, then the user's data directory). Candidates that have a record from this environment are
    not measured again, so that a run that was interrupted goes on where it was.

    Raises UserError for what is wrong with the program or the request, or where no measuring process can be had.
    """
    return Tuner(op, target, bind or {}, records, threads, entry, machine, inputs or {}).run(trials, seconds, progress)


class Tuner:
    """One op with all symbols bound, on one target with a number of threads."""

    def __init__(
        self,
        op: Any,
        target: str | None,
        bind: Mapping[str, int],
        records: str | Path | None,
        threads: int | None,
        entry: str | None,
        machine: str | None,
        inputs: Mapping[str, Any],
        limits: Limits | None = None,
        points: int = POINTS,
        group: int = GROUP,
    ) -> None:
        now = settings.current()
        program = front.read(op, entry)
        if not isinstance(program, Op):
            raise UserError(f"'{program.name}' was scheduled by hand: there is nothing to tune", remedy="an op")
        self.op = program
        self.target = get_target(target or now.target, machine or now.machine)
        self._machine = machine or now.machine
        self.threads = _count("threads", threads or now.threads or usable_cores())
        folder = Path(records) if records is not None else settings.records_directory(now)
        if folder is None:
            raise UserError("tuning records are turned off", remedy="--records DIR, or unset WEFT_RECORDS=off")
        self.store = Records(folder)
        self.key = program_key(program)
        self._inputs, self.bindings = _adopted(program, bind, inputs)
        self.bind = by_name(program, self.bindings)
        self._limits = limits or Limits()
        self._points = points
        self._group = group

    def run(self, trials: int, seconds: float, progress: Progress | None = None) -> Tuned:
        """See `tune`."""
        _count("trials", trials)
        end = time.monotonic() + seconds
        tell = progress or (lambda done, planned, words: None)
        here = fingerprint(self.target, self.threads)
        known = self._known(here)
        measured: list[Record] = []
        with folder_for_arrays() as folder:
            tell(0, trials, "computing the reference")
            reference = prepare(self.op, self.bindings, self._inputs, folder, self._points)
            tell(0, trials, "searching")
            found = best_trials(self.op, self.bindings, reference.smaller, self.target.machine, trials)
            left = [t for t in found if t.chosen.plan not in known]
            skipped = len(found) - len(left)
            if left:
                measured = self._measure(found, left, reference, here, end, lambda n, w: tell(n, len(left), w))
        return Tuned(self.best(), tuple(measured), skipped, self.store.path(self.key))

    def best(self) -> Record | None:
        """The record that `weft.compile` takes here."""
        return best(self.store.read(self.key), self.bind, fingerprint(self.target, self.threads))

    def _measure(
        self,
        found: Sequence[Trial],
        left: Sequence[Trial],
        reference: Reference,
        here: Fingerprint,
        end: float,
        tell: Callable[[int, str], None],
    ) -> list[Record]:
        """Those of `left` group by group, the default plan in each, then the best of `found` once more. A group's
        records are written when it is through."""
        done: dict[str, Record] = {}

        def keep(outcomes: Sequence[Outcome], final: int = 0) -> None:
            for outcome in outcomes:
                record = self._record(outcome, reference, here, final)
                self.store.append(record)
                done[record.plan] = record

        default = found[0]
        others = [t for t in left if t is not default]
        with Laboratory(self.target.name, self._machine, self.threads, reference, self._limits) as laboratory:
            for at in range(0, max(1, len(others)), self._group):
                if done and time.monotonic() >= end:
                    break
                tell(len(done), "measuring")
                outcomes = laboratory.measure([default, *others[at : at + self._group]])
                keep(outcomes if at == 0 and default in left else outcomes[1:])
            known = self._known(here)
            finalists = _finalists(found, known)
            if finalists:
                tell(len(done), "comparing the best")
                keep(laboratory.measure([default, *finalists]), 1 + max(r.final for r in known.values()))
        tell(len(done), "done")
        return list(done.values())

    def _known(self, here: Fingerprint) -> dict[str, Record]:
        """The last record of each plan in this environment."""
        return {r.plan: r for r in self.store.read(self.key) if r.bind == self.bind and r.environment == here}

    def _record(self, outcome: Outcome, reference: Reference, here: Fingerprint, final: int) -> Record:
        trial, right = outcome.trial, outcome.status is Status.OK
        return Record(
            program=self.op.name,
            key=self.key,
            bind=self.bind,
            alternative=trial.chosen.alternative,
            choices=trial.chosen.choices,
            plan=trial.chosen.plan,
            status=outcome.status,
            environment=here,
            detail=outcome.detail,
            seconds=outcome.seconds if right else 0.0,
            minimum=min(outcome.samples) if right else 0.0,
            samples=len(outcome.samples) if right else 0,
            baseline=outcome.baseline if right else 0.0,
            relative=outcome.relative if right else 1.0,
            final=final,
            predicted=trial.predicted,
            dram_bytes=trial.dram_bytes,
            bound=trial.bound,
            errors=tuple(sorted(outcome.errors.items())) if right else (),
            checked=reference.words,
            default=trial.default,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _finalists(found: Sequence[Trial], known: Mapping[str, Record]) -> list[Trial]:
    """The fastest verified ones, the default plan aside."""
    right = [t for t in found if not t.default and t.chosen.plan in known]
    right = [t for t in right if known[t.chosen.plan].status is Status.OK]
    return sorted(right, key=lambda t: known[t.chosen.plan].relative)[:FINALISTS]


def _adopted(op: Op, bind: Mapping[str, int], inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """The given inputs as arrays, and the values of all symbols. Raises CallError, BindError."""
    signature = signature_of(op)
    tensors = {t.name: t for t in op.inputs}
    for name in inputs:
        if name not in tensors:
            raise UserError(f"'{op.name}' has no input '{name}'", remedy=", ".join(tensors))
    adopted: dict[str, np.ndarray[Any, Any]] = {n: arrays.adopt(v, tensors[n]) for n, v in inputs.items()}
    given = extents.check_bindings(signature, bind, "bind")
    return dict(adopted), extents.solve(signature, [(tensors[n], a.shape) for n, a in adopted.items()], given)


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{name}={value!r} is not a positive number")
    return value
