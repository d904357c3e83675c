"""measure(): run all probes in turns for some seconds, and make a description of what came out.

The best turn of each counts. Others only slow a loop down, and turns of all probes are spread over the whole time, so
that what lasts for a while disturbs a few turns of each and not all turns of one. Probes whose turns differ much are
named: the machine was busy, or it is not the same machine all the time (virtual ones are moved).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ...backends import host
from ...backends.cpu.target import CpuTarget
from ...backends.machine import Machine, load_machine
from ...compiler.reproducer import version
from ...ir.errors import UserError
from ...ir.gir_parser import parse_program
from .describe import Figures, described, text_of
from .issue_rate import issue_probes
from .loops import Loops
from .probes import Bench, Probe
from .team import team

Progress = Callable[[int, int, str], None]  # tenths of a second done, of how many, words
LEAST_ROUNDS = 3
BANDWIDTHS = ("read", "write", "copy", "stream", "fill")
_WORK = 20_000  # multiply-adds, one after the other, of an iteration: about 20 us, so that every thread takes one
_PARALLEL_LOOP = """
program forked(U, R) {
  tensor y: f32[U, 16] output
  kernel main {
    parallel unit u in 0..U {
      alloc a: f32<16> reg
      a = 1.0
      loop r in 0..R {
        a = fma(a, 0.5, 0.25)
      }
      store<16> y[u, @0] = a
    }
  }
}"""


@dataclass(frozen=True)
class Measured:
    """`text` is a description that `read_description` takes; `unsteady` names figures that moved."""

    machine: Machine
    figures: Figures
    unsteady: tuple[str, ...]
    text: str


def measure(seconds: float = 10.0, threads: int | None = None, progress: Progress | None = None) -> Measured:
    """Measure this machine for about `seconds` on `threads` threads (default: every core that this process may use).

    Raises UserError where the memory is too small for arrays beyond the caches, TargetError without the instructions
    that the target `cpu` needs."""
    tell = progress or (lambda done, planned, words: None)
    name = host.machine_name()
    base = host.with_cores_and_caches(load_machine(name))
    base = load_machine(name) if base.l1_bytes > base.l2_bytes or base.l2_bytes > base.l3_bytes else base
    count = threads or host.usable_cores()
    flags = host.cpu_flags()
    tell(0, 1, "compiling loops")
    target = CpuTarget("cpu", name, native=True, given=base)
    loops = Loops(target.processor, base.vector_bytes, base.instructions.has_fma or "fma" in flags, flags)
    turns = fork_join_turns(target, count)  # before and after, when threads are not held where they are
    with team(count) as members:
        tell(0, 1, "filling arrays")
        bench = Bench(loops, members, base, room())
        probes = [*bench.probes(), *issue_probes(target, base)]
        end = time.monotonic() + seconds
        rounds = 0
        for rounds in _rounds(end):  # noqa: B007 (written into the file)
            for probe in probes:
                left = max(end - time.monotonic(), 0.0)
                tell(round((seconds - left) * 10), round(seconds * 10), f"{probe.group} {probe.name}")
                probe.turn()
    figures = tables(probes)
    if count > 1:
        figures["overhead_us"]["fork_join"] = fork_join([*turns, *fork_join_turns(target, count)]) * 1e6
    machine = described(base, _name(host.processor()), figures)
    about: dict[str, str | int] = {
        "processor": host.processor(),
        "architecture": host.architecture(),
        "cores": count,
        "weft": version(),
        "rounds": rounds,
    }
    head = "Measured by `weft machine --measure`; docs/machines.md says what the fields are."
    unsteady = tuple(f"{p.group} {p.name}" for p in probes if p.unsteady)
    return Measured(machine, figures, unsteady, text_of(machine, head, about, figures))


def _rounds(end: float) -> Iterator[int]:
    """Numbers of rounds until the time is up."""
    done = 0
    while done < LEAST_ROUNDS or time.monotonic() < end:
        done += 1
        yield done


def tables(probes: list[Probe]) -> Figures:
    """The best of every probe in the unit of its table."""
    out: Figures = {f"{group}_gbs": {} for group in BANDWIDTHS}
    for other in ("peak_gops", "rate", "latency_ns", "issue_per_cycle", "overhead_us"):
        out[other] = {}
    clock = next(p.rate for p in probes if p.group == "clock")
    for p in probes:
        rate = p.rate / 1e9
        match p.group:
            case "peak":
                out["peak_gops"][p.name] = rate
            case "issue":
                out["rate"]["mix_per_ns"] = rate
            case "clock":
                out["rate"]["clock_ghz"] = rate
            case "function":
                out["issue_per_cycle"][p.name] = p.rate / clock
            case "chain" | "chase":
                out["latency_ns"][p.name] = 1 / rate
            case group:
                out[f"{group}_gbs"][p.name] = rate
    return out


def fork_join_turns(target: CpuTarget, threads: int, turns: int = 60) -> list[tuple[float, float]]:
    """Seconds of a parallel loop with one iteration for each thread, and of one iteration alone."""
    run = target.load(parse_program(_PARALLEL_LOOP, "<fork join>"))
    y = np.zeros((threads, 16), np.float32)

    def spent(count: int, calls: int = 20) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            run([y.ctypes.data], [count, _WORK], count)
        return (time.perf_counter() - start) / calls

    spent(threads)
    return [(spent(threads), spent(1)) for _ in range(turns)]


def fork_join(turns: list[tuple[float, float]]) -> float:
    """By the better quarter of both: the very best are turns in which a thread was not needed."""
    together, alone = (sorted(t[k] for t in turns)[len(turns) // 4] for k in (0, 1))
    return max(together - alone, 1e-8)


def room() -> int:
    """Bytes that the arrays may take: a quarter of what is free. Raises UserError where that is too little."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, OSError, ValueError):
        return 1 << 30
    if free < 32 << 20:
        raise UserError(f"only {4 * free >> 20} MiB of memory are free", remedy="measure when more is free")
    return free


def _name(processor: str) -> str:
    """A name for a file: lower case, letters and digits."""
    plain = "".join(c if c.isalnum() and c.isascii() else " " for c in processor.lower())
    return "-".join(plain.split())[:60] or "host"
