"""Plans: one way of scheduling an op, as data.

A plan says for every kernel which loops run where, which definitions share a loop nest, which axis lies across lanes,
the register tile, and what is copied into `sram` first. `instantiate` turns (op, plan) into GIR; the search makes and
compares plans; a tuning record stores one. Axes are named as in the op after `unify_axes`, so that one name means the
same axis in every definition of a kernel.

    KernelPlan  body of blocks
    Block     = Tile(axis, size, kind, body of blocks, lag)   a loop over tiles of an axis
              | Pack(tensor, axes, pairs)                copy the part of a tensor that this scope reads into sram
              | Nest(loops, lanes, body of steps)        loops over register tiles
    Step      = Map(definition)                          its value at this point of the nest
              | Fold(loops, definitions, body of steps, pairs)  loops over reduction axes, accumulating the definitions

A definition that reduces over the axis of an enclosing `Tile` keeps its state in memory between tiles; if it belongs
to a stream of the op, the state is repaired first (docs/rules.md, section 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..ir.gir import LoopKind


@dataclass(frozen=True)
class AxisTile:
    """A loop over an axis in steps of `size` elements, which lie in one register tile."""

    axis: str
    size: int = 1


@dataclass(frozen=True)
class Map:
    definition: str


@dataclass(frozen=True)
class Fold:
    """`pairs`: a sum of products of two bf16 tensors takes two elements of this axis at a time."""

    loops: tuple[AxisTile, ...]
    definitions: tuple[str, ...]
    body: tuple[Step, ...] = ()
    pairs: str = ""


Step = Map | Fold


@dataclass(frozen=True)
class Nest:
    loops: tuple[AxisTile, ...]
    lanes: str | None
    body: tuple[Step, ...]


@dataclass(frozen=True)
class Pack:
    """`tensor` is read in this scope only at indices that are single axes; the copy has dimensions `axes`, in order.
    `pairs`: neighbours along this axis lie side by side, in one more dimension, the last."""

    tensor: str
    axes: tuple[str, ...]
    pairs: str = ""


@dataclass(frozen=True)
class Tile:
    """A loop over tiles of `size` elements. `lag` names the axis of an enclosing serial Tile (both of known extent): in
    turn T of that, tile number k of this one works on tile number T - k of that axis. All k of one turn are independent
    where reads go back, or stay, along both axes, and no further than a tile along this one."""

    axis: str
    size: int
    kind: LoopKind
    body: tuple[Block, ...]
    lag: str = ""


Block = Tile | Pack | Nest


@dataclass(frozen=True)
class KernelPlan:
    name: str
    body: tuple[Block, ...]


@dataclass(frozen=True)
class Plan:
    """`plain`: outputs whose stores go through the caches; `prefetch`: whether hints are added."""

    kernels: tuple[KernelPlan, ...]
    plain: tuple[str, ...] = ()
    prefetch: bool = True


def step_definitions(steps: tuple[Step, ...]) -> Iterator[str]:
    """Definitions in the order in which their values become known."""
    for step in steps:
        match step:
            case Map(name):
                yield name
            case Fold(definitions=names, body=body):
                yield from step_definitions(body)
                yield from names


def block_definitions(blocks: tuple[Block, ...]) -> Iterator[str]:
    for block in blocks:
        match block:
            case Tile(body=body):
                yield from block_definitions(body)
            case Nest(body=body):
                yield from step_definitions(body)


def walk_tiles(blocks: tuple[Block, ...]) -> Iterator[Tile]:
    """Every tile loop, outer ones first."""
    for block in blocks:
        if isinstance(block, Tile):
            yield block
            yield from walk_tiles(block.body)


def folds(steps: tuple[Step, ...]) -> Iterator[Fold]:
    """Every fold, outer ones first."""
    for step in steps:
        if isinstance(step, Fold):
            yield step
            yield from folds(step.body)


def step_loops(steps: tuple[Step, ...]) -> Iterator[AxisTile]:
    for step in steps:
        if isinstance(step, Fold):
            yield from step.loops
            yield from step_loops(step.body)


def describe(plan: Plan) -> str:
    """The plan as indented text, for people."""
    out: list[str] = []

    def loops(items: tuple[AxisTile, ...]) -> str:
        return ", ".join(f"{t.axis}:{t.size}" for t in items)

    def steps(items: tuple[Step, ...], depth: int) -> None:
        for item in items:
            match item:
                case Map(name):
                    out.append("  " * depth + name)
                case Fold(tiles, names, body, pairs):
                    how = f" in pairs of {pairs}" if pairs else ""
                    out.append("  " * depth + f"fold {loops(tiles)}{how} -> {', '.join(names)}")
                    steps(body, depth + 1)

    def blocks(items: tuple[Block, ...], depth: int) -> None:
        for item in items:
            match item:
                case Tile(axis, size, kind, body, lag):
                    out.append("  " * depth + f"{kind} {axis} by {size}" + (f" behind {lag}" if lag else ""))
                    blocks(body, depth + 1)
                case Pack(tensor, axes, pairs):
                    how = f" in pairs of {pairs}" if pairs else ""
                    out.append("  " * depth + f"pack {tensor} as [{', '.join(axes)}]{how}")
                case Nest(tiles, lanes, body):
                    out.append("  " * depth + f"nest {loops(tiles)} lanes {lanes}")
                    steps(body, depth + 1)

    for kernel in plan.kernels:
        out.append(f"kernel {kernel.name}")
        blocks(kernel.body, 1)
    out += [f"plain stores of {name}" for name in plan.plain] + ["no prefetches"] * (not plan.prefetch)
    return "\n".join(out)
