"""Parallel loops that hold a `sync`, run one iteration after another: split at the sync.

parallel unit u { A; sync sram; B }  -->  parallel unit u { A };  parallel unit u { B }
"""

from __future__ import annotations

from dataclasses import replace

from ...ir.errors import ScheduleError
from ...ir.gir import Alloc, Compute, Level, Load, Loop, Reduce, Stmt, Sync, bodies
from .names import mentioned


def has_sync(loop: Loop) -> bool:
    """Whether iterations of this loop wait for each other."""
    return any(_waits(stmt) for stmt in loop.body)


def _waits(stmt: Stmt) -> bool:
    if isinstance(stmt, Sync):
        return True
    if isinstance(stmt, Loop) and stmt.kind.is_parallel:
        return any(isinstance(s, Sync) and s.scope is Level.DRAM for s in stmt.body)  # sram: the inner loop's own
    return any(_waits(s) for body in bodies(stmt) for s in body)


def fission(loop: Loop) -> tuple[Loop, ...]:
    """The loop split at its syncs. Raises ScheduleError where a sync is nested deeper or a value lives across one."""
    parts: list[list[Stmt]] = [[]]
    for stmt in loop.body:
        if isinstance(stmt, Sync):
            parts.append([])
        elif _waits(stmt):
            raise ScheduleError(
                "the cpu target cannot wait inside a loop of a parallel iteration",
                loop.location,
                "put the sync at the top of the parallel body, or exchange the two loops",
            )
        else:
            parts[-1].append(stmt)
    known: set[str] = set()
    for part in parts:
        crossing = sorted(known & set(mentioned(tuple(part))))
        if crossing:
            raise ScheduleError(
                f"'{crossing[0]}' lives across a sync, which the cpu target cannot keep",
                loop.location,
                "store it to sram or dram before the sync, or compute it again after",
            )
        known |= {name for stmt in part for name in _introduced(stmt)}
    return tuple(replace(loop, body=tuple(part)) for part in parts if part)


def _introduced(stmt: Stmt) -> tuple[str, ...]:
    match stmt:
        case Alloc(name=name):
            return (name,)
        case Load(tile=name) | Compute(tile=name) | Reduce(tile=name):
            return (name,)
    return ()
