"""How fast compiled code issues vector instructions: what the cost model counts for functions, over what they take.

A machine does more independent instructions a cycle than code with the chains and constants of a vector function.
So each of some functions runs over values in the first cache, through the target like any program, and the model's
count of its instructions is divided by the cycles. Their geometric mean is `alu_per_cycle`: with it the model's
cycles for these functions are right on the whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ...backends.cpu.target import CpuTarget
from ...backends.machine import Machine
from ...backends.target import Executable
from ...compiler.cost.issue import Work, work_of
from ...ir.gir import Compute, Program, Store, walk
from ...ir.gir_parser import parse_program
from .probes import Probe

FUNCTIONS = ("exp", "log", "tanh", "erf", "sigmoid", "log1p")
COUNT, TILE = 1024, 64  # elements; of f32 in a register tile


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


def issue_probes(target: CpuTarget, machine: Machine) -> Iterator[Probe]:
    """A probe for each function, in instructions a second."""
    one = replace(machine, units=1)
    x, y = np.linspace(0.1, 4.0, COUNT, dtype=np.float32), np.zeros(COUNT, np.float32)
    for name in FUNCTIONS:
        program = function_program(name)
        yield Probe("function", name, instructions(program, one), _timed(target.load(program), x, y))


def _timed(run: Executable, x: Any, y: Any) -> Callable[[int], float]:
    def timed(times: int) -> float:
        start = time.perf_counter()
        run([x.ctypes.data, y.ctypes.data], [times], 1)
        return time.perf_counter() - start

    return timed
