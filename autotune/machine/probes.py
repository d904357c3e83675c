"""What is measured: a probe runs one loop for a few milliseconds and says how much was done in how long.

read, write, copy      GB/s at every level, of one thread and of all together: each over an array of its own, half
                       as large as the cache (l3: a quarter, all together; dram: four times the last cache). A copy
                       counts both ways; no probe counts the lines that a plain store reads first
stream, fill           the same in dram with stores past the caches: a copy, and writing alone
peak_*                 operations/s in registers: multiply-adds of f64 and f32 (2 each), dot products of bf16 and i8
mix                    vector instructions/s of several kinds (the most that any code reaches)
chain_f32              multiply-adds/s of one chain: their latency
ticks                  additions/s of one chain of integers: the clock
chase                  loads/s of one chain of pointers through all lines of an array in random order
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ...backends.machine import Machine
from ...compiler.memory import LARGE, empty
from .loops import CHAINS, MIX, TICKS, WIDE, Loops
from .team import Team

TURN = 0.006  # seconds that one turn of a probe takes
LEAST_DRAM = 64 << 20  # bytes that no cache holds
WAYS = {"copy": 2, "stream": 2}  # bytes counted for a byte of the array's half; 1 for others
CHASE_STEPS = 1 << 12
Array = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@dataclass
class Probe:
    """`run(times)` does `unit * times` of something and says how long it took; `rate` is the best per second so far,
    `rates` all of them. `warm` times go before each turn, untimed: others have used the caches."""

    group: str  # read, write, ..., peak
    name: str  # l1_1, dram_all, f32_1, ...
    unit: float
    run: Callable[[int], float]
    warm: int = 0
    times: int = 0

    def __post_init__(self) -> None:
        self.rates: list[float] = []

    @property
    def rate(self) -> float:
        return max(self.rates)

    @property
    def unsteady(self) -> bool:
        """Whether the middle of the turns was far from the best."""
        return float(np.median(self.rates)) < 0.8 * self.rate

    def turn(self) -> None:
        if not self.times:
            self.times = 1
            while (spent := self.run(self.times)) < TURN / 2 and self.times < 1 << 40:
                self.times = max(self.times + 1, int(self.times * min(TURN / max(spent, 1e-7), 100.0)))
        if self.warm:
            self.run(self.warm)
        self.rates.append(self.unit * self.times / max(self.run(self.times), 1e-9))


class Bench:
    """The arrays, and all probes of a machine. `room`: bytes that the arrays may take."""

    def __init__(self, loops: Loops, team: Team, machine: Machine, room: int) -> None:
        self.loops, self.team, self.machine = loops, team, machine
        self.levels = ["l1", "l2", "l3", "dram"]
        if machine.l3_bytes < 4 * machine.l2_bytes * team.threads:
            self.levels.remove("l3")  # what is in it would be in the second level too
        self._room = room
        self.arrays = [_filled(self.size("dram", team.threads), 1) for _ in range(team.threads)]
        if self.size("dram", 1) > self.arrays[0].size:
            self.arrays[0] = _filled(self.size("dram", 1), 1)
        self.small = [_filled((2 * len(MIX) + CHAINS + 2) * loops.size, 0) for _ in range(team.threads)]
        self.sinks = [_filled(WIDE * loops.size, 3) for _ in range(team.threads)]

    def size(self, level: str, count: int) -> int:
        """Bytes of the array of each of `count` threads, in whole turns of a loop."""
        m = self.machine
        large = min(max(4 * m.l3_bytes, LEAST_DRAM) // count, self._room // (2 * count))
        size = {"l1": m.l1_bytes // 2, "l2": m.l2_bytes // 2, "l3": m.l3_bytes // (4 * count), "dram": large}[level]
        step = 2 * WIDE * self.loops.size
        return max(size // step, 1) * step

    def probes(self) -> Iterator[Probe]:
        """In the order in which they take turns."""
        teams = (1, self.team.threads) if self.team.threads > 1 else (1,)
        for count in teams:
            suffix = "1" if count == 1 else "all"
            for level in self.levels:
                for loop in ("read", "write", "copy"):
                    yield self.memory(loop, level, f"{level}_{suffix}", count)
            for loop in ("stream", "fill"):
                yield self.memory(loop, "dram", f"dram_{suffix}", count)
            yield self.arithmetic("peak", "peak_f64", f"f64_{suffix}", self.loops.size / 8 * 2 * CHAINS, count)
            yield self.arithmetic("peak", "peak_f32", f"f32_{suffix}", self.loops.size / 4 * 2 * CHAINS, count)
            for name, dot in self.loops.dots.items():
                unit = self.loops.size * dot.operations_per_byte * CHAINS
                yield self.arithmetic("peak", f"peak_{name}", f"{name}_{suffix}", unit, count)
        yield self.arithmetic("issue", "mix", "mix", 2 * len(MIX), 1)
        yield self.arithmetic("chain", "chain_f32", "fma_f32", 1, 1)
        yield self.arithmetic("clock", "ticks", "clock", TICKS, 1, integers=True)
        for level in self.levels:
            yield self.chase(level)

    def memory(self, loop: str, level: str, name: str, count: int) -> Probe:
        """Reads and writes run over the whole array of a level, copies from one half to the other."""
        function, size = self.loops.memory[loop], self.size(level, count)
        half = loop in WAYS
        length = size // 2 if half else size

        def one(k: int, times: int) -> None:
            place = self.arrays[k].ctypes.data
            function(place, place + (length if half else 0), length, times, self.sinks[k].ctypes.data)

        warm = 0 if level == "dram" else 1
        return Probe(loop, name, float(length * WAYS.get(loop, 1) * count), self._on(one, count), warm)

    def arithmetic(self, group: str, loop: str, name: str, unit: float, count: int, integers: bool = False) -> Probe:
        function = self.loops.simple[loop]
        wide = loop == "peak_f64"

        def one(k: int, times: int) -> None:
            data = self.small[k]
            if integers:
                data.view(np.int64)[:2] = (12345, 678)
            elif wide:
                data.view(np.float64)[: self.loops.size // 4] = 1.0
                data.view(np.float64)[self.loops.size // 8 :][: self.loops.size // 8] = 1e-3
            else:
                data.view(np.float32)[: self.loops.size // 2] = 1.0
                data.view(np.float32)[self.loops.size // 4 :][: self.loops.size // 4] = 1e-3
            function(times, data.ctypes.data)

        return Probe(group, name, unit * count, self._on(one, count))

    def chase(self, level: str) -> Probe:
        """Loads that wait for each other."""
        function, ring = self.loops.simple["chase"], _ring(self.size(level, 1), self.machine.line_bytes)
        place = np.array([ring.ctypes.data], np.int64)

        def one(k: int, times: int) -> None:
            function(times * CHASE_STEPS, place.ctypes.data + 0 * ring.size)  # holds the ring

        warm = 0 if level == "dram" else -(-ring.size // (self.machine.line_bytes * CHASE_STEPS))
        return Probe("chase", level, float(CHASE_STEPS), self._on(one, 1), warm)

    def _on(self, one: Callable[[int, int], None], count: int) -> Callable[[int], float]:
        """`one(k, times)` on `count` threads that begin together; seconds from the first's start to the last's end."""
        meet, here = self.loops.simple["meet"], np.zeros(1, np.int64)
        spans = [(0.0, 0.0)] * count

        def job(k: int, times: int) -> None:
            meet(count, here.ctypes.data)
            start = time.perf_counter()
            one(k, times)
            spans[k] = (start, time.perf_counter())

        def run(times: int) -> float:
            here[0] = 0
            if count == 1:
                job(0, times)
            else:
                self.team.run(lambda k: job(k, times))
            return max(end for _, end in spans) - min(start for start, _ in spans)

        return run


def _filled(size: int, value: int) -> Array:
    """Bytes that were touched, so that no page fault falls into a measurement."""
    array = empty((max(size, LARGE),), np.dtype(np.uint8), "measuring")[:size]  # large ones have huge pages
    array[...] = value
    return array


def _ring(size: int, line: int) -> Array:
    """Addresses, one a line, each of another line of the array: one cycle through all, always the same
    for a size."""
    count = max(2, size // line)
    array = _filled(count * line, 0)
    order = np.random.default_rng(count).permutation(count)  # visiting in this order and then from the start: a cycle
    places = array.view(np.int64).reshape(count, line // 8)
    places[order, 0] = array.ctypes.data + np.roll(order, -1) * line
    return array
