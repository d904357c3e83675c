"""Why a plan is not worth costing, though it could be written out: the search keeps the reason."""

from __future__ import annotations

from math import prod

from ...backends.machine import Machine
from ...ir.expr import as_int
from ...ir.gir import Alloc, Level, Program, Stmt, bodies
from ...ir.op import Op
from ..plan import Block, Nest, Plan, Tile, step_loops, walk_tiles
from ..planner import Choices

MOST_TILES = 2  # a register tile may be this many times as large as the register file


def refusal(op: Op, plan: Plan, choices: Choices, machine: Machine) -> str | None:
    """The reason, or None. `op` is that of the plan, after recomputation. Default plans are never refused."""
    if choices == Choices():
        return None
    kept = sorted(name for name in choices.recompute if op.definition_of(name) is not None)
    if kept:
        return f"'{kept[0]}' is read where a computed value may not stand, or would make expressions too large"
    most = MOST_TILES * machine.vector_registers
    for kernel in plan.kernels:
        parts = dict(choices.parallel)
        asked = any(part == 0 for part in parts.values())
        if asked and not any(t.kind.is_parallel for t in walk_tiles(kernel.body)):
            return f"nothing in kernel {kernel.name} runs in parallel"
        for nest in _nests(kernel.body):
            tile = prod(t.size for t in (*nest.loops, *step_loops(nest.body)))
            vectors = -(-tile // machine.lanes(4))
            if vectors > most:
                return f"a register tile of {vectors} vectors; the machine has {machine.vector_registers} registers"
    return None


def scratch_refusal(program: Program, machine: Machine) -> str | None:
    """The reason where a kernel needs more scratch than a unit has, or None."""
    for kernel in program.kernels:
        needed = _scratch(kernel.body)
        if needed > machine.sram_bytes:
            return f"{needed} bytes of scratch in kernel {kernel.name}; a unit has {machine.sram_bytes}"
    return None


def _nests(blocks: tuple[Block, ...]) -> list[Nest]:
    return [n for b in blocks for n in (_nests(b.body) if isinstance(b, Tile) else [b] if isinstance(b, Nest) else [])]


def _scratch(body: tuple[Stmt, ...]) -> int:
    """Bytes of scratch alive at once; open extents count for nothing."""
    here = sum(
        s.dtype.bytes * prod(as_int(e) or 0 for e in s.shape)
        for s in body
        if isinstance(s, Alloc) and s.level is Level.SRAM
    )
    return here + max((_scratch(inner) for s in body for inner in bodies(s)), default=0)
