"""Machine descriptions: the facts about a machine that scheduling and the cost model use, read from TOML.

Those that come along lie in `machines/`; `weft machine --measure` writes one of this machine, and anybody may write
one by hand. A file has every field of `Machine` that has no default (`name`: by default that of the file), and two
tables: `[host]`, what it was measured on, and `[measured]`, all figures it was made from. Nothing computes with these.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from ..ir.errors import Location, TargetError
from .isa import INSTRUCTION_SETS, InstructionSet

MACHINES = Path(__file__).parent / "machines"
_MOST_BYTES = 1 << 16  # of a description


@dataclass(frozen=True)
class Machine:
    """Sizes in bytes, bandwidths in GB/s (of one unit, except `dram_gbs_all`), rates per second of one unit."""

    name: str
    isa: str  # of isa.py
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
    fork_join_us: float = 4.0  # what a parallel loop costs beside its iterations
    l3_latency: float = 190.0  # cycles
    window_cycles: float = 150.0  # work that is in flight at once: shorter parts of a body overlap
    l1_ways: int = 8  # lines of one set
    l2_ways: int = 8
    l3_ways: int = 16
    l1_conflict_cycles: float = 2.5  # of a line that is fetched again because its set was full
    l2_conflict_cycles: float = 7.0  # the same, on top, where it left the second cache too
    l3_conflict_cycles: float = 14.0
    run_lost_bytes: float = 640.0  # of dram time where a run of neighbouring addresses ends (a page walk, no prefetch)
    has_masks: bool = False  # masked loads and stores cost as plain ones
    has_streaming_stores: bool = True

    def lanes(self, element_bytes: int) -> int:
        return max(1, self.vector_bytes // element_bytes)

    @property
    def instructions(self) -> InstructionSet:
        return INSTRUCTION_SETS[self.isa]


@dataclass(frozen=True)
class Description:
    """A machine and where its description comes from. `processor`: what it was measured on, empty where it was not;
    `cores`: usable ones at that time; `figures`: the tables of `[measured]`."""

    machine: Machine
    path: Path
    processor: str = ""
    cores: int = 0
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@cache
def load_machine(name: str) -> Machine:
    """The description `machines/<name>.toml`. Raises KeyError for an unknown name."""
    path = MACHINES / f"{name}.toml"
    if name not in machine_names():
        raise KeyError(name)
    return read_description(path).machine


def machine_names() -> list[str]:
    return sorted(p.stem for p in MACHINES.glob("*.toml"))


def is_path(name: str) -> bool:
    """Whether `machine=` names a file and not a description that comes along."""
    return name.endswith(".toml") or "/" in name or "\\" in name


def find_machine(name: str) -> Machine:
    """The machine of a name or of a file. Raises TargetError."""
    if is_path(name):
        return read_description(Path(name)).machine
    try:
        return load_machine(name)
    except KeyError:
        known = ", ".join(machine_names())
        raise TargetError(f"unknown machine '{name}'", remedy=f"one of {known}, or the path of a .toml file") from None


def read_description(path: Path) -> Description:
    """Read and check a file. Raises TargetError with the line that is wrong."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1).decode("utf-8")
    except OSError as error:
        raise TargetError(f"machine description {path}: {error.strerror or error}", remedy="weft machine") from None
    except UnicodeDecodeError:
        raise _wrong(path, "", 1, "it is not UTF-8 text") from None
    if len(text) > _MOST_BYTES:
        raise _wrong(path, "", 1, f"it is longer than {_MOST_BYTES} bytes")
    return parse_description(text, path)


def parse_description(text: str, path: Path) -> Description:
    """The same for a text; `path` is named in errors and gives the machine a name where the text gives none."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        at = re.search(r"\(at line (\d+)", str(error))
        raise _wrong(path, text, int(at[1]) if at else len(text.splitlines()), f"not TOML: {error}") from None
    host, figures = data.pop("host", {}), data.pop("measured", {})
    known = {f.name: f for f in fields(Machine)}
    values: dict[str, Any] = {"name": path.stem}
    for name, value in data.items():
        if name not in known:
            near = ", ".join(known)
            raise _wrong(path, text, _line_of(text, name), f"a machine has no field '{name}'", near)
        try:
            values[name] = _checked(name, str(known[name].type), value)
        except ValueError as error:
            raise _wrong(path, text, _line_of(text, name), f"'{name}' = {value!r} is not {error}") from None
    missing = [n for n, f in known.items() if n not in values and f.default is MISSING]
    if missing:
        raise _wrong(path, text, len(text.splitlines()), f"it lacks {', '.join(missing)}")
    machine = Machine(**values)
    _check_together(machine, path, text)
    if not _is_table(host, str | int) or not _is_table(figures, dict) or not _numbers(figures):
        place = _line_of(text, "[host" if not _is_table(host, str | int) else "[measured")
        raise _wrong(path, text, place, "[host] has to be a table of texts and numbers, [measured] tables of numbers")
    cores = host.get("cores", 0)
    return Description(machine, path, str(host.get("processor", "")), cores if type(cores) is int else 0, figures)


def _checked(name: str, kind: str, value: Any) -> Any:
    """A field's value in its type. Raises ValueError saying what is allowed."""
    if name == "isa" and value not in INSTRUCTION_SETS:
        raise ValueError(f"an instruction set: {', '.join(INSTRUCTION_SETS)}")
    if kind == "str":
        if not isinstance(value, str) or not re.fullmatch(r"[\w.() @-]{1,80}", value):
            raise ValueError("a short text")
        return value
    if kind == "bool":
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number")
    if kind == "int":
        if not isinstance(value, int) or not 1 <= value <= 1 << 50:
            raise ValueError("a positive integer")
        if name in ("line_bytes", "vector_bytes") and (value & (value - 1) or not 8 <= value <= 1024):
            raise ValueError("a power of two from 8 to 1024")
        return value
    least = 0.0 if name in ("dram_read_gbs", "fork_join_us", "window_cycles") else 1e-3
    if not math.isfinite(value) or not least <= value <= 1e9:
        raise ValueError(f"a number from {least:g} to 1e9")
    return float(value)


def _check_together(m: Machine, path: Path, text: str) -> None:
    if m.vector_bytes > m.instructions.vector_bytes:
        why = f"{m.isa} has vectors of {m.instructions.vector_bytes} bytes, not of {m.vector_bytes}"
        raise _wrong(path, text, _line_of(text, "vector_bytes"), why)
    for small, large in (("l1_bytes", "l2_bytes"), ("l2_bytes", "l3_bytes")):
        if getattr(m, small) > getattr(m, large):
            why = f"{small} is more than {large} (where a machine has no such cache: the size of the one before)"
            raise _wrong(path, text, _line_of(text, small), why)


def _is_table(value: Any, kinds: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, kinds) for v in value.values())


def _numbers(figures: Mapping[str, Mapping[str, Any]]) -> bool:
    return all(type(v) in (int, float) for table in figures.values() for v in table.values())


def _line_of(text: str, name: str) -> int:
    found = re.search(rf"^\s*[\"']?{re.escape(name)}(?!\w)", text, re.MULTILINE)
    return text[: found.start()].count("\n") + 1 + found[0].count("\n") if found else 1


def _wrong(path: Path, text: str, line: int, why: str, remedy: str = "") -> TargetError:
    lines = text.splitlines()
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    return TargetError(
        f"machine description: {why}", Location(str(path), max(line, 1), 1), remedy or "docs/machines.md", shown
    )
