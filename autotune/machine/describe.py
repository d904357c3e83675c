"""From figures to a machine description, and its text.

    clock_ghz       additions of integers in a chain, one in a cycle
    fma_per_cycle   the peak of f32 over clock and lanes;   fma_latency  its chain over the clock
    alu_per_cycle   instructions of compiled vector functions, as the cost model counts them (issue_rate.py)
    l1_gbs          reads of one thread
    l2_gbs, l3_gbs  reads, or a copy counted as the cost model counts it (a stored line is read first): the slower
    dram_gbs        a copy past the caches, both ways, of one thread; dram_gbs_all of all; dram_read_gbs reads alone
    fork_join_us    a parallel loop with an iteration for each thread, less one iteration alone
    sram_bytes      three quarters of the second cache

Cores, caches and line size are what the system tells. What neither it nor a loop can tell (`window_cycles`) is taken
over from the description that comes along for the instruction set.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import fields, replace

from ...backends.machine import Machine

Figures = dict[str, dict[str, float]]


def described(base: Machine, name: str, figures: Figures) -> Machine:
    """`base`: the description that comes along, with the cores and caches found. `figures` has tables `read_gbs`,
    `copy_gbs`, `stream_gbs`, `peak_gops`, `rate`, `latency_ns`, `issue_per_cycle` and `overhead_us`."""
    read, copy, stream = figures["read_gbs"], figures["copy_gbs"], figures["stream_gbs"]
    clock = figures["rate"]["clock_ghz"]
    everyone = "dram_all" if "dram_all" in stream else "dram_1"

    def level(key: str) -> float:
        return min(read[key], copy[key] * 1.5) if key in read else read["l2_1"]

    return replace(
        base,
        name=name,
        clock_ghz=rounded(clock),
        fma_per_cycle=rounded(figures["peak_gops"]["f32_1"] / (2 * base.lanes(4) * clock), 2),
        alu_per_cycle=rounded(_mean(figures["issue_per_cycle"].values()), 2),
        fma_latency=max(1, round(figures["latency_ns"]["fma_f32"] * clock)),
        sram_bytes=base.l2_bytes * 3 // 4,
        l1_gbs=rounded(read["l1_1"]),
        l2_gbs=rounded(level("l2_1")),
        l3_gbs=rounded(level("l3_1")),
        dram_gbs=rounded(stream["dram_1"]),
        dram_gbs_all=rounded(max(stream[everyone], stream["dram_1"])),
        dram_read_gbs=rounded(min(read["dram_1"], stream["dram_1"])),
        fork_join_us=rounded(figures["overhead_us"].get("fork_join", base.fork_join_us), 2),
    )


def _mean(values: Collection[float]) -> float:
    """Geometric."""
    return math.exp(sum(map(math.log, values)) / len(values))


def rounded(value: float, digits: int = 3) -> float:
    """To so many significant digits: more would not come out again."""
    return round(value, digits - 1 - math.floor(math.log10(value))) if value > 0 else 0.0


def text_of(machine: Machine, head: str, host: Mapping[str, str | int], figures: Figures) -> str:
    """The file: comments, the fields of the machine, `[host]` and the tables of `[measured]`."""
    out = [f"# {line}" for line in head.splitlines()]
    for f in fields(Machine):
        out.append(f"{f.name} = {_toml(getattr(machine, f.name))}")
    out += ["", "[host]", *(f"{k} = {_toml(v)}" for k, v in host.items())]
    for table, values in figures.items():
        out += ["", f"[measured.{table}]", *(f"{k} = {_toml(rounded(v))}" for k, v in values.items())]
    return "\n".join(out) + "\n"


def _toml(value: str | bool | int | float) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(c for c in value if c.isprintable() and c not in '"\\') + '"'
    return repr(value)
