"""The cost model: what a scheduled program moves and computes, how long that takes, and what binds.

Everything is counted statically: each instruction times the iterations of the loops around it (symbols are given;
loops that data ends run most of the way that their other bounds and their tensors allow; a branch runs its sides in the
proportion found by sampling the loop index in its condition).

    bytes     dram, l3, l2: misses of the cache above by the footprint model (footprint.py); l1: bytes of all loads
              and stores; sram: those of scratch tiles
    issue     vector instructions per straight-line body: cycles = max(loads / 2, stores, (alu + fma) / pipes,
              fma / fma_per_cycle, all / 4); a loop that updates an accumulator takes at least `fma_latency` cycles
              an iteration; tiles beyond the vector registers add a load and a store each
    parallel  an iteration count n on U units takes ceil(n / U) iterations: the imbalance is part of it
    seconds   per kernel the larger of two: the sum over its phases (phases.py) of max(dram, l3, l2, issue), each
              unit at its own bandwidths; and max(dram / bandwidth of all units, l1 / ..., fma / clock). With loop
              overhead (2 cycles an iteration) and launch. A plain store also reads its line (`dram_allocate`); a
              streaming store does not.

A program whose tensors all fit in half of the last cache finds them there: its memory is as fast as that cache.

Dram time grows where accesses come in short runs of neighbouring addresses, by 1 + run_lost_bytes / (run + line); less
where several runs are asked for at once, or prefetches ask for the next ones, and for stores past the caches, which
nothing waits for (STREAM_LOST). Lines that a loop would find in a cache again if they did not fall into few sets
(conflicts.py) cost cycles each.

`compulsory` counts every input element that is used once and every output once: no schedule moves less.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from ...backends.machine import Machine
from ...ir.gir import Program, Role
from .footprint import Kind, Traffic, sizes
from .nests import NestModel, Node
from .phases import copied, in_sequence, seconds

_LAUNCH = 0.5e-6


class Bound(Enum):
    """The resource that takes longest."""

    DRAM = "dram"
    L3 = "l3"
    L2 = "l2"
    L1 = "l1"
    ISSUE = "issue"
    FMA = "fma"
    OVERHEAD = "overhead"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Bytes:
    """Bytes that cross one level, by direction."""

    read: float = 0.0
    written: float = 0.0

    @property
    def total(self) -> float:
        return self.read + self.written


@dataclass(frozen=True)
class KernelCost:
    """`seconds` by resource (`times`), their maximum plus overhead (`predicted_seconds`), and what they come from."""

    name: str
    levels: Mapping[str, Bytes]  # dram, l3, l2, l1, sram
    dram_allocate: float  # lines read because a plain store touches them
    flops: float
    transcendentals: float
    instructions: Mapping[str, float]
    units: float  # at work on average
    loop_overhead: float
    times: Mapping[Bound, float]
    predicted_seconds: float
    bound: Bound


@dataclass(frozen=True)
class CostReport:
    """Sums over the kernels of a program (data that stays in a cache between kernels crosses no level below it)."""

    levels: Mapping[str, Bytes]
    dram_allocate: float
    compulsory: Bytes
    flops: float
    transcendentals: float
    instructions: Mapping[str, float]
    loop_overhead: float
    predicted_seconds: float
    least_seconds: float  # compulsory bytes over bandwidth: no schedule can be faster
    bound: Bound
    kernels: tuple[KernelCost, ...]

    @property
    def dram_bytes(self) -> float:
        return self.levels["dram"].total

    @property
    def compulsory_bytes(self) -> float:
        return self.compulsory.total


def analyse(program: Program, machine: Machine, symbols: Mapping[str, int] | None = None) -> CostReport:
    """The cost of one call. `symbols` gives what has no default; unknown symbols count as 1024."""
    known = {s.name: float(1024 if s.default is None else s.default) for s in program.symbols}
    known.update({n: float(v) for n, v in (symbols or {}).items()})
    nodes, stretches = [], []
    model = NestModel(program, machine, known)
    for kernel in program.kernels:
        model.enter(kernel.body)
        nodes.append(model.body(kernel.body, known, {}, False))
        stretches.append(model.stretch)
    if sum(t.bytes for t in model.tensors.values()) <= machine.l3_bytes / 2:
        # what was just written or used is still in the last cache: memory is as fast as that
        machine = replace(
            machine, dram_gbs=machine.l3_gbs, dram_gbs_all=machine.l3_gbs * machine.units, dram_read_gbs=0.0
        )
        stretches = [{} for _ in stretches]
    whole, shares = model.sequence(nodes)
    kernels = tuple(
        _kernel(k.name, n, share, stretch, machine)
        for k, n, share, stretch in zip(program.kernels, nodes, shares, stretches, strict=True)
    )
    touched = sizes(whole, model.tensors, known, 1)
    roles = {t.name: t.role for t in program.tensors}
    compulsory = Bytes(
        sum(v for (n, kind), v in touched.items() if roles.get(n) is Role.INPUT and kind is Kind.READ),
        sum(math.prod(model.tensors[t.name].extents) * t.dtype.bytes for t in program.tensors if t.role is Role.OUTPUT),
    )
    times = {b: sum(k.times[b] for k in kernels) for b in Bound}
    return CostReport(
        levels={name: _sum(k.levels[name] for k in kernels) for name in ("dram", "l3", "l2", "l1", "sram")},
        dram_allocate=sum(k.dram_allocate for k in kernels),
        compulsory=compulsory,
        flops=sum(k.flops for k in kernels),
        transcendentals=sum(k.transcendentals for k in kernels),
        instructions={n: sum(k.instructions[n] for k in kernels) for n in _CLASSES},
        loop_overhead=sum(k.loop_overhead for k in kernels),
        predicted_seconds=sum(k.predicted_seconds for k in kernels),
        least_seconds=compulsory.total / (machine.dram_gbs_all * 1e9),
        bound=max(times, key=lambda b: times[b]),
        kernels=kernels,
    )


_CLASSES = ("load", "compute", "reduce", "store", "move", "sync")


def _sum(parts: Iterable[Bytes]) -> Bytes:
    parts = list(parts)
    return Bytes(sum(p.read for p in parts), sum(p.written for p in parts))


def _kernel(
    name: str,
    node: Node,
    traffic: tuple[Traffic, Traffic, Traffic],
    stretch: Mapping[tuple[str, Kind], float],
    machine: Machine,
) -> KernelCost:
    work = node.work
    units = min(float(machine.units), node.busy / node.cycles) if node.cycles else 1.0
    l2, l3, dram = (_directions(t) for t in traffic)
    allocate = sum(v for (_, k), v in traffic[2].items() if k is Kind.WRITE)
    fill = [sum(v for (_, k), v in t.items() if k is Kind.WRITE) for t in traffic]
    stretched = sum(v * stretch.get((str(n), k), 1.0) for (n, k), v in traffic[2].items())
    hertz = machine.clock_ghz * 1e9
    l1 = Bytes(work.l1_read, work.l1_written)
    times = {
        Bound.DRAM: (stretched + fill[2]) / (min(machine.dram_gbs * units, machine.dram_gbs_all) * 1e9),
        Bound.L3: (l3.total + fill[1]) / (machine.l3_gbs * units * 1e9),
        Bound.L2: (l2.total + fill[0]) / (machine.l2_gbs * units * 1e9),
        Bound.L1: l1.total / (machine.l1_gbs * units * 1e9),
        Bound.ISSUE: node.cycles / hertz,
        Bound.FMA: node.fma / hertz,
    }
    settled = in_sequence(copied(node.phases), traffic, 0.0)
    each = [seconds(p, machine, units, stretch) for p in settled]
    one_after_another = sum(max(t.values()) for t in each)
    overhead = node.overhead / hertz + node.forks * machine.fork_join_us * 1e-6 + _LAUNCH
    longest = max(*times.values(), one_after_another)
    if one_after_another == longest and len(each) > 1:  # what binds is what the phases wait for longest
        binding = [max(t, key=lambda name: t[name]) for t in each]
        for name in dict.fromkeys(binding):
            own = sum(max(t.values()) for t, b in zip(each, binding, strict=True) if b == name)
            times[Bound(name)] = max(times[Bound(name)], own)
    times[Bound.OVERHEAD] = overhead
    order = (Bound.OVERHEAD, Bound.FMA, Bound.ISSUE, Bound.DRAM, Bound.L3, Bound.L2, Bound.L1)
    counts = (work.load_count, work.compute_count, work.reduce_count, work.store_count, work.move_count)
    return KernelCost(
        name,
        {"dram": dram, "l3": l3, "l2": l2, "l1": l1, "sram": Bytes(work.sram_read, work.sram_written)},
        allocate,
        work.flops,
        work.transcendentals,
        dict(zip(_CLASSES, (*counts, work.sync_count), strict=True)),
        units,
        overhead,
        times,
        longest + overhead,
        max(order, key=lambda b: times[b]),
    )


def _directions(traffic: Traffic) -> Bytes:
    read = sum(v for (_, k), v in traffic.items() if k is Kind.READ)
    return Bytes(read, sum(traffic.values()) - read)
