"""Machine descriptions: the facts about a machine that scheduling and the cost model use, read from TOML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MACHINES = Path(__file__).parent / "machines"


@dataclass(frozen=True)
class Machine:
    """Sizes in bytes, bandwidths in GB/s (of one unit, except `dram_gbs_all`), rates per second of one unit."""

    name: str
    units: int  # cores
    vector_bytes: int  # width of a vector register
    vector_registers: int
    fma_per_cycle: float  # vector FMAs issued per cycle
    alu_per_cycle: float  # vector instructions of all kinds issued per cycle, loads and stores aside
    fma_latency: int  # cycles
    clock_ghz: float
    line_bytes: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    sram_bytes: int  # scratch budget of a unit
    l1_gbs: float
    l2_gbs: float
    l3_gbs: float
    dram_gbs: float  # read + write, one unit
    dram_gbs_all: float  # read + write, all units
    dram_read_gbs: float = 0.0  # one way, one unit; 0: as fast as both ways together
    window_cycles: float = 150.0  # work that is in flight at once: shorter parts of a body overlap
    has_masks: bool = False  # masked loads and stores cost as plain ones
    has_streaming_stores: bool = True

    def lanes(self, element_bytes: int) -> int:
        return max(1, self.vector_bytes // element_bytes)


@cache
def load_machine(name: str) -> Machine:
    """The description `machines/<name>.toml`. Raises KeyError for an unknown name."""
    path = MACHINES / f"{name}.toml"
    if not path.is_file():
        raise KeyError(name)
    return Machine(name=name, **tomllib.loads(path.read_text()))


def machine_names() -> list[str]:
    return sorted(p.stem for p in MACHINES.glob("*.toml"))
