"""Candidates on the bench: compared with the reference, then timed in turns, in a worker that is replaced when one of
them breaks it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from ..ir.errors import WeftError
from .candidates import Trial
from .process import Died, NoWorker, Process, alone
from .record import Status
from .reference import Reference

FULL, SMALL = "full", "small"
CALLS = 3  # of the default plan that a turn has time for, unless it would be longer than this many seconds
LONGEST_TURN = 1.0


@dataclass(frozen=True)
class Limits:
    """Seconds and counts. `run` is allowed on top of `slack` times what the default plan takes; `first` while that is
    not known. A candidate slower than `hopeless` times the default plan is not timed again."""

    load: float = 120.0
    first: float = 300.0
    run: float = 20.0
    slack: float = 50.0
    rounds: int = 7
    turn: float = 0.03
    hopeless: float = 3.0


@dataclass
class Outcome:
    """What came of a trial. `turns`: seconds of a call, one list of samples for each round it had a turn in."""

    trial: Trial
    status: Status = Status.OK
    detail: str = ""
    turns: list[list[float]] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)
    baseline: float = 0.0
    relative: float = 1.0

    @property
    def samples(self) -> list[float]:
        return [sample for turn in self.turns for sample in turn]

    @property
    def seconds(self) -> float:
        return median(self.samples) if self.samples else 0.0


class _Broken(Exception):
    def __init__(self, status: Status, why: str) -> None:
        super().__init__(why)
        self.status = status


class Laboratory:
    """One worker at a time on one device, with the arrays of a reference. To be closed."""

    def __init__(
        self, target: str, machine: str | None, threads: int, reference: Reference, limits: Limits | None = None
    ) -> None:
        self.limits = limits or Limits()
        self._how = (target, machine, threads)
        self._reference = reference
        self._process: Process | None = None
        self._loaded: set[str] = set()
        self._texts: dict[str, str | None] = {}
        self._kept = not reference.by_default_plan
        self._usual = 0.0  # seconds that the first trial, the default plan, takes

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.close()
        self._process = None
        self._loaded = set()

    @property
    def worker(self) -> int | None:
        """The number of the process, for who wants to look at it."""
        return None if self._process is None else self._process.pid

    def measure(self, trials: Sequence[Trial]) -> list[Outcome]:
        """One outcome per trial, in order. The first trial is the default plan: the others' `baseline`. Waits while
        another tuner of this user measures."""
        with alone():
            return self._measure(trials)

    def _measure(self, trials: Sequence[Trial]) -> list[Outcome]:
        outcomes = [Outcome(t) for t in trials]
        for outcome in outcomes:
            with self._judging(outcome):
                self._admit(outcome)
                if not self._usual:  # how long the others may take
                    self._turn(outcome)
                    self._usual = outcome.seconds
                    outcome.turns.clear()  # it is no round of the others
        for _ in range(self.limits.rounds):
            for outcome in outcomes:
                if outcome.status is Status.OK and not self._hopeless(outcome):
                    with self._judging(outcome):
                        self._turn(outcome)
            if outcomes[0].status is Status.OK:
                self._usual = outcomes[0].seconds
        for outcome in outcomes:
            if outcome.status is Status.OK:
                with self._judging(outcome):  # still right after all those calls?
                    self._check(outcome.trial)
        right = outcomes[0].status is Status.OK
        for outcome in outcomes:
            outcome.baseline = outcomes[0].seconds if right else 0.0
            outcome.relative = _relative(outcome, outcomes[0]) if right else 1.0
        self._drop([o.trial.chosen.plan for o in outcomes[1:]])
        return outcomes

    @contextlib.contextmanager
    def _judging(self, outcome: Outcome) -> Iterator[None]:
        """What goes wrong inside is the candidate's: it gets a status, and whatever it may have damaged is thrown
        away with the process."""
        try:
            yield
        except NoWorker:
            raise
        except (_Broken, Died) as fault:
            outcome.status, outcome.detail = fault.status, str(fault)
            if fault.status is not Status.ERROR:
                self.close()
        except WeftError as error:
            outcome.status, outcome.detail = Status.ERROR, str(error)

    def _admit(self, outcome: Outcome) -> None:
        trial = outcome.trial
        small: dict[str, float] = {}
        if self._reference.small is not None:
            text = _written(trial.small)
            if text is not None:
                name = f"{SMALL} {trial.chosen.plan}"
                self._ask({"do": "load", "id": name, "program": text}, self.limits.load)
                small = self._ask({"do": "check", "id": name, "case": SMALL}, self._limit)["errors"]
                self._ask({"do": "drop", "ids": [name]}, self.limits.run)
        self._load(trial)
        if not self._kept:
            if not trial.default:
                raise _Broken(Status.ERROR, "the default plan gives no results to compare with")
            self._ask({"do": "keep", "id": trial.chosen.plan, "case": FULL}, self._limit)
            self._kept = True
        outcome.errors = self._check(trial) | small  # the interpreter's word rather than the default plan's

    def _check(self, trial: Trial) -> dict[str, float]:
        self._load(trial)
        errors: dict[str, float] = self._ask({"do": "check", "id": trial.chosen.plan, "case": FULL}, self._limit)[
            "errors"
        ]
        return errors

    def _turn(self, outcome: Outcome) -> None:
        self._load(outcome.trial)
        seconds = max(self.limits.turn, min(CALLS * self._usual, LONGEST_TURN))
        request = {"do": "time", "id": outcome.trial.chosen.plan, "case": FULL, "seconds": seconds}
        outcome.turns.append(self._ask(request, self._limit + seconds)["samples"])

    def _hopeless(self, outcome: Outcome) -> bool:
        return bool(outcome.samples) and 0.0 < self.limits.hopeless * self._usual < min(outcome.samples)

    @property
    def _limit(self) -> float:
        return self.limits.run + self.limits.slack * self._usual if self._usual else self.limits.first

    def _load(self, trial: Trial) -> None:
        if trial.chosen.plan in self._loaded:
            return
        text = self._texts.get(trial.chosen.plan)
        if text is None:
            text = self._texts[trial.chosen.plan] = _written(trial.program)
        assert text is not None
        self._ask({"do": "load", "id": trial.chosen.plan, "program": text}, self.limits.load)
        self._loaded.add(trial.chosen.plan)

    def _drop(self, plans: list[str]) -> None:
        for plan in plans:
            self._texts.pop(plan, None)
        if self._process is not None and self._loaded:
            self._loaded -= set(plans)
            self._ask({"do": "drop", "ids": plans}, self.limits.run)

    def _ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        """Raises Died, _Broken."""
        if self._process is None:
            self._start()
        assert self._process is not None
        reply = self._process.ask(request, limit)
        if not reply["ok"]:
            raise _Broken(Status(reply["status"]), reply["why"])
        return reply

    def _start(self) -> None:
        """Raises UserError where no worker can be had: that is no candidate's fault."""
        self._process = process = Process(*self._how)
        self._loaded = set()
        cases = {FULL: self._reference.full} | ({SMALL: self._reference.small} if self._reference.small else {})
        for name, folder in cases.items():
            try:
                reply = process.ask({"do": "case", "case": name, "folder": str(folder)}, self.limits.first)
            except Died as died:
                raise NoWorker(f"the measuring process died while it read the inputs: {died}") from None
            if not reply["ok"]:
                raise NoWorker(f"the measuring process cannot hold the inputs: {reply['why']}")


def _relative(outcome: Outcome, usual: Outcome) -> float:
    """Round by round, because what disturbs a turn mostly disturbs its neighbours; the fastest call of a turn, because
    nothing makes a call faster than it is."""
    ratios = [min(mine) / min(other) for mine, other in zip(outcome.turns, usual.turns, strict=False)]
    return median(ratios) if ratios else 1.0


def _written(program: Callable[[], str | None]) -> str | None:
    """A trial's text. Raises _Broken where lowering it fails: a bug of ours that must not end the others' tuning."""
    try:
        return program()
    except Exception as error:
        raise _Broken(Status.ERROR, f"cannot be written out: {type(error).__name__}: {error}") from error
