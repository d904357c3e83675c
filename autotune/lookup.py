"""Which record `weft.compile` takes: the driver calls `chosen` by name (compiler/driver.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..backends.target import Target
from ..compiler.lower_options import Chosen
from ..ir.errors import UserError
from ..ir.op import Op
from .fingerprint import Fingerprint, fingerprint
from .record import Record, Status, program_key
from .store import Records

MARGIN = 0.98  # of the default plan's time: what is hardly faster was only lucky


def chosen(folder: Path, op: Op, bindings: Mapping[str, int], target: Target, threads: int) -> Chosen | None:
    """The plan of the best verified record for these extents on this machine, if any. Never an error: a record can
    only save time."""
    if len(bindings) != len(op.symbols):
        return None
    key = program_key(op)
    store = Records(folder)
    if not store.path(key).is_file():
        return None
    try:
        found = store.read(key)
    except UserError:
        return None
    winner = best(found, extents(op, bindings), fingerprint(target, threads))
    return None if winner is None else winner.chosen


def extents(op: Op, bindings: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """The bindings by name, in the order in which a record holds them."""
    return tuple(sorted((s.name, bindings[s.name]) for s in op.symbols))


def best(records: Iterable[Record], bind: tuple[tuple[str, int], ...], here: Fingerprint) -> Record | None:
    """The fastest plan for `bind` on this machine.

    Times of different fingerprints do not compare: those of this very environment are taken where there are any, else
    those of the last other one that differs in versions alone. Of several records of a plan the last one counts.
    """
    mine = [r for r in records if r.bind == bind and r.environment.same_machine(here)]
    if not mine:
        return None
    wanted = here if any(r.environment == here for r in mine) else mine[-1].environment
    last = {r.plan: r for r in mine if r.environment == wanted}
    return fastest([r for r in last.values() if r.status is Status.OK])


def fastest(verified: Sequence[Record]) -> Record | None:
    """By time over the default plan's in the same rounds; the default plan where nothing is clearly faster.

    Where the best were compared once more, only those of the last such comparison: that another was
    faster before may have been luck.
    """
    if not verified:
        return None
    last = max(r.final for r in verified)
    first = min((r for r in verified if r.final == last), key=lambda r: (r.relative, r.seconds, r.plan))
    default = next((r for r in verified if r.default), None)
    return default if default is not None and first.relative > MARGIN else first
