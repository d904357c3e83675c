"""Phases: parts of a kernel that follow one another and do not overlap.

A processor looks a few hundred instructions ahead. Loops that are longer than that run one after the other: while one
computes, memory rests, and while the next waits for memory, nothing is computed. So time is the sum over such parts of
the longest of what each needs (its instructions, its bytes at every level), and not the longest of the sums.

Each phase holds the cycles of one unit and the bytes of all units of one execution of the node it belongs to. What a
body reads from a level twice but gets once (it fits in the cache above) is charged to the phase that touches it first;
what a prefetch asks for, to the phase of the prefetch.

Reads in short runs that jump from one iteration to the next are not foreseen: each waits for the last cache, and only
those overlap that the processor has in sight at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...backends.machine import Machine
from .footprint import Kind, Traffic

Levels = tuple[Traffic, Traffic, Traffic]  # beyond L1, L2 and L3


@dataclass(slots=True)
class Phase:
    """`hints`: buffers whose next part this phase prefetches. `jumps`: bytes read in short runs, by
    buffer, per cycle."""

    cycles: float
    traffic: Levels
    hints: frozenset[str] = frozenset()
    jumps: dict[str, float] = field(default_factory=dict)


def copied(phases: list[Phase], cycles: float = 1.0) -> list[Phase]:
    """Copies with `cycles` times the cycles."""
    return [Phase(p.cycles * cycles, _each(dict, p.traffic), p.hints, p.jumps) for p in phases]


def _each(make: type[dict], levels: Levels) -> Levels:  # type: ignore[type-arg]
    a, b, c = (make(t) for t in levels)
    return a, b, c


def in_sequence(phases: list[Phase], joined: Levels, window: float) -> list[Phase]:
    """The phases of a body, given what the whole body moves. Those that are short together are one."""
    for level, total in enumerate(joined):
        for key, left in total.items():
            for p in phases:
                mine = p.traffic[level].get(key)
                if mine is not None:
                    p.traffic[level][key] = min(mine, left)
                    left -= min(mine, left)
    if len(phases) > 1 and sum(p.cycles for p in phases) <= window:
        phases = [merged(phases)]
        phases[0].hints = frozenset()
    if len(phases) > 1:
        for p in phases:
            for name in sorted(p.hints):
                _take(p, phases, name)
            p.hints = frozenset()
    return phases


def merged(phases: list[Phase]) -> Phase:
    out = Phase(0.0, ({}, {}, {}))
    for p in phases:
        out.cycles += p.cycles
        out.hints |= p.hints
        for name, rate in p.jumps.items():
            out.jumps[name] = out.jumps.get(name, 0.0) + rate * p.cycles
        for mine, theirs in zip(out.traffic, p.traffic, strict=True):
            for key, value in theirs.items():
                mine[key] = mine.get(key, 0.0) + value
    if out.cycles:
        out.jumps = {name: total / out.cycles for name, total in out.jumps.items()}
    return out


def _take(host: Phase, phases: list[Phase], name: str) -> None:
    """What comes from beyond the second cache comes while `host` runs."""
    key = (name, Kind.READ)
    for level in (1, 2):
        total = sum(p.traffic[level].pop(key, 0.0) for p in phases)
        if total:
            host.traffic[level][key] = total


def repeated(phases: list[Phase], cycles: float, total: Levels) -> list[Phase]:
    """The phases of a loop from those of its body: `cycles` times as long, moving `total` in the same proportions."""
    out = copied(phases, cycles)
    for level, wanted in enumerate(total):
        for key, value in wanted.items():
            here = sum(p.traffic[level].get(key, 0.0) for p in out)
            if here:
                for p in out:
                    if key in p.traffic[level]:
                        p.traffic[level][key] *= value / here
    return out


def seconds(
    phase: Phase, machine: Machine, units: float, stretch: Mapping[tuple[str, Kind], float]
) -> dict[str, float]:
    """Seconds by resource: "issue", "l2", "l3", "dram"."""
    l2, l3, dram = phase.traffic
    reads = sum(v * stretch.get(k, 1.0) for k, v in dram.items() if k[1] is not Kind.STREAM)  # lines to be written too
    writes = sum(v * stretch.get(k, 1.0) for k, v in dram.items() if k[1] is not Kind.READ)
    one_way = machine.dram_read_gbs or machine.dram_gbs
    issue = phase.cycles / (machine.clock_ghz * 1e9)
    late = 0.0  # share of the iterations that wait
    for name, rate in phase.jumps.items():
        missed = l3.get((name, Kind.READ), 0.0)
        late += min(1.0, missed / (rate * phase.cycles * units)) if missed else 0.0
    waits = issue * late * machine.l3_latency / machine.window_cycles
    return {
        "issue": issue,
        "l2": _moved(l2) / (machine.l2_gbs * units * 1e9),
        "l3": max(_moved(l3) / (machine.l3_gbs * units * 1e9), waits),
        "dram": max(max(reads, writes) / one_way, (reads + writes) / machine.dram_gbs) / (units * 1e9),
    }


def _moved(traffic: Traffic) -> float:
    """Bytes both ways: a line that is written to is fetched first."""
    return sum(v * (2.0 if kind is Kind.WRITE else 1.0) for (_, kind), v in traffic.items())
