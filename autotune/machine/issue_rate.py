"""How fast compiled code issues vector instructions: what the cost model counts for functions, over what they take.

A machine does more independent instructions a cycle than code with the chains and constants of a vector function.
So each of some functions runs over values in the first cache, through the target like any program, and the model's
count of its instructions is divided by the cycles. Their geometric mean is `alu_per_cycle`: with it the model's
cycles for these functions are right on the whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ...backends.cpu.target import CpuTarget
from ...backends.machine import Machine
from ...backends.target import Executable
from ...compiler.issue import Work, work_of
from ...ir.gir import Compute, Program, Store, walk
from ...ir.gir_parser import parse_program

FUNCTIONS = ("exp", "log", "tanh", "erf", "sigmoid", "log1p")
COUNT, TILE = 1024, 64  # elements; of f32 in a register tile
REPEATS = 400


def function_program(name: str) -> Program:
    return parse_program(
        f"""
program busy(R) {{
  tensor x: f32[{COUNT}] input
  tensor y: f32[{COUNT}] output
  kernel main {{
    loop r in 0..R {{
      loop i in 0..{COUNT} step {TILE} {{
        v = load<{TILE}> x[i + @0]
        store<{TILE}> y[i + @0] = {name}(v)
      }}
    }}
  }}
}}""",
        "<issue rate>",
    )


def instructions(program: Program, machine: Machine) -> float:
    """Vector instructions of one repeat by the model's count, loads and stores aside."""
    total = Work()
    types = {t.name: (t.dtype.bytes, False, (float(COUNT),)) for t in program.tensors}
    for s in walk(program.kernels[0].body):
        if isinstance(s, Compute | Store):
            total.add(work_of(s, {"v": (TILE,)}, types, machine, {}))
    return (total.alu + total.fma) * (COUNT / TILE)


def cycles(run: Executable, clock_ghz: float, rounds: int) -> float:
    """Of one repeat, the best of some rounds."""
    x, y = np.linspace(0.1, 4.0, COUNT, dtype=np.float32), np.zeros(COUNT, np.float32)
    best = math.inf
    for _ in range(rounds):
        start = time.perf_counter()
        run([x.ctypes.data, y.ctypes.data], [REPEATS], 1)
        best = min(best, time.perf_counter() - start)
    return best * clock_ghz * 1e9 / REPEATS


def issue_rates(target: CpuTarget, machine: Machine, clock_ghz: float, tell: Callable[[str], None]) -> dict[str, float]:
    """Instructions per cycle by function."""
    found = {}
    one = replace(machine, units=1)
    for name in FUNCTIONS:
        tell(name)
        program = function_program(name)
        found[name] = instructions(program, one) / cycles(target.load(program), clock_ghz, 20)
    return found
