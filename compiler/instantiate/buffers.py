"""Where the value of every definition lives: in registers only, in `sram` of some scope, or in `dram`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

from ...ir.dtypes import DType
from ...ir.expr import Expr, as_int, const, substitute
from ...ir.folding import fold
from ...ir.gir import Level
from ...ir.op import Compact, Definition, Op, Sort
from ..assumed import assumed_symbols
from ..axes import all_axes, reduction_axes
from ..plan import Block, KernelPlan, Nest, Pack, Tile, step_definitions, step_loops
from .scope import add, floordiv, round_up

SMALL = 4096  # bytes of a buffer that is never moved out of sram
Path = tuple[int, ...]  # block numbers from the kernel's body inwards


@dataclass(frozen=True)
class Buffer:
    """A stored target. `order[k]` is the target's dimension that buffer dimension k holds; `offsets[d]` is the axis
    whose enclosing tile the target's dimension d is relative to, None where it is absolute."""

    name: str
    dtype: DType
    level: Level
    shape: tuple[Expr, ...]  # in buffer order
    order: tuple[int, ...]
    offsets: tuple[str | None, ...]
    scope: Path  # the block in whose body it is allocated (sram)


@dataclass
class Layout:
    """Everything instantiation needs to know about one kernel's plan before it writes it out."""

    buffers: dict[str, Buffer] = field(default_factory=dict)
    nest_of: dict[str, Path] = field(default_factory=dict)


def block_at(plan: KernelPlan, path: Path) -> Block:
    blocks = plan.body
    block: Block | None = None
    for number in path:
        block = blocks[number]
        blocks = block.body if isinstance(block, Tile) else ()
    assert block is not None
    return block


def tiles_along(plan: KernelPlan, path: Path) -> list[Tile]:
    """The Tile blocks on the way to `path`, itself included when it is one, outermost first."""
    chain = [block_at(plan, path[: n + 1]) for n in range(len(path))]
    return [b for b in chain if isinstance(b, Tile)]


def nest_paths(plan: KernelPlan) -> list[tuple[Path, Nest]]:
    found: list[tuple[Path, Nest]] = []

    def visit(blocks: tuple[Block, ...], at: Path) -> None:
        for number, block in enumerate(blocks):
            if isinstance(block, Nest):
                found.append(((*at, number), block))
            elif isinstance(block, Tile):
                visit(block.body, (*at, number))

    visit(plan.body, ())
    return found


def register_sizes(plan: KernelPlan) -> dict[str, list[int]]:
    """Every register tile size that some nest uses for an axis."""
    sizes: dict[str, set[int]] = {}
    for _, nest in nest_paths(plan):
        for tile in (*nest.loops, *step_loops(nest.body)):
            sizes.setdefault(tile.axis, set()).add(tile.size)
    return {axis: sorted(values) for axis, values in sizes.items()}


def padded(extent: Expr, sizes: list[int]) -> Expr:
    """The extent rounded up so that no register tile of the given sizes reaches past it."""
    if as_int(extent) is not None:
        return const(max([as_int(extent) or 0] + [as_int(round_up(extent, s)) or 0 for s in sizes]))
    if not sizes:
        return extent
    slack = max((s - 1 for s in sizes if max(sizes) % s), default=0)
    return add(round_up(extent, max(sizes)), const(slack))


def lay_out(op: Op, plan: KernelPlan, external: set[str], sram_bytes: int) -> Layout:
    """Choose a buffer for every target that is read outside of its nest. `external` names the targets that other
    kernels read or that are outputs: they are `dram` tensors of the program."""
    layout = Layout()
    steps: dict[str, tuple[Path, Nest]] = {}
    for path, nest in nest_paths(plan):
        for name in step_definitions(nest.body):
            steps[name] = (path, nest)
            layout.nest_of[name] = path
    sizes = register_sizes(plan)
    definitions = {d.name: d for d in op.definitions if d.name in steps}
    readers: dict[str, list[Definition]] = {}
    for definition in definitions.values():
        for read in definition.reads:
            readers.setdefault(read.tensor, []).append(definition)
    for name, definition in definitions.items():
        path, nest = steps[name]
        state_scope = _state_scope(plan, path, definition)
        for position, target in enumerate(definition.targets):
            if target.name in external:
                layout.buffers[target.name] = _dram(target.name, target.dtype, target.shape)
                continue
            inside = [d for d in readers.get(target.name, []) if d.name != name]
            local = all(steps[d.name][0] == path for d in inside) and not definition.is_recurrence
            if local and state_scope is None and not isinstance(definition.body, Compact | Sort):
                continue
            scope = path[:-1] if state_scope is None else state_scope
            for reader in inside:
                scope = _common(scope, steps[reader.name][0][:-1])
            buffer = _sram(definition, position, plan, scope, nest.lanes, sizes)
            layout.buffers[target.name] = buffer
    _spill(op, plan, layout, sram_bytes)
    return layout


def _spill(op: Op, plan: KernelPlan, layout: Layout, sram_bytes: int) -> None:
    """Move the largest buffers to dram until the scratch of the kernel, its packed copies included, fits."""
    known = {n: const(v) for n, v in assumed_symbols(op).items()}
    packed = sum(
        op.tensors[pack.tensor].dtype.bytes
        * (2 if pack.pairs else 1)
        * _elements((e for _, e, _ in pack_dimensions(op, plan, path, pack)), known)
        for path, pack in _packs(plan)
    )
    room = sram_bytes - sram_bytes // 16 - packed  # a sixteenth for copies of earlier states
    kept = {n: b.dtype.bytes * _elements(b.shape, known) for n, b in layout.buffers.items() if b.level is Level.SRAM}
    for name in sorted(kept, key=lambda n: -kept[n]):
        if sum(kept.values()) <= room or kept[name] < SMALL:
            break
        del kept[name]
        target = op.tensors[name]
        layout.buffers[name] = _dram(name, target.dtype, target.shape)


def _packs(plan: KernelPlan) -> list[tuple[Path, Pack]]:
    found: list[tuple[Path, Pack]] = []

    def visit(blocks: tuple[Block, ...], at: Path) -> None:
        for number, block in enumerate(blocks):
            if isinstance(block, Pack):
                found.append(((*at, number), block))
            elif isinstance(block, Tile):
                visit(block.body, (*at, number))

    visit(plan.body, ())
    return found


def _state_scope(plan: KernelPlan, path: Path, definition: Definition) -> Path | None:
    """The scope just outside the outermost Tile over an axis that the definition reduces over."""
    reduced = {a.name for a in reduction_axes(definition)}
    for depth in range(len(path)):
        block = block_at(plan, path[: depth + 1])
        if isinstance(block, Tile) and block.axis in reduced:
            return path[:depth]
    return None


def _common(a: Path, b: Path) -> Path:
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return a[:n]


def _dram(name: str, dtype: DType, shape: tuple[Expr, ...]) -> Buffer:
    rank = len(shape)
    return Buffer(name, dtype, Level.DRAM, shape, tuple(range(rank)), (None,) * rank, ())


def _sram(
    definition: Definition,
    position: int,
    plan: KernelPlan,
    scope: Path,
    lanes: str | None,
    sizes: dict[str, list[int]],
) -> Buffer:
    target = definition.targets[position]
    tiled = {t.axis: t for t in tiles_along(plan, scope)}
    axes = [a.name for a in definition.axes]
    shape: list[Expr] = []
    offsets: list[str | None] = []
    for dim, extent in enumerate(target.shape):
        axis = axes[dim] if dim < len(axes) else None
        if axis is not None and axis in tiled:
            extent = const(tiled[axis].size)
            offsets.append(axis)
        else:
            offsets.append(None)
        shape.append(padded(extent, sizes.get(axis or "", [])))
    order = list(range(len(shape)))
    if lanes in axes:
        order.remove(axes.index(lanes))
        order.append(axes.index(lanes))
    return Buffer(
        target.name, target.dtype, Level.SRAM, tuple(shape[d] for d in order), tuple(order), tuple(offsets), scope
    )


def _elements(shape: Iterable[Expr], known: Mapping[str, Expr]) -> int:
    """How many elements there are when symbols have these values; what is left open counts as 1."""
    return prod(as_int(fold(substitute(e, dict(known)))) or 1 for e in shape)


def pack_dimensions(op: Op, plan: KernelPlan, path: Path, pack: Pack) -> list[tuple[str, Expr, str | None]]:
    """(axis, padded extent, enclosing tile axis or None) of every dimension of a packed copy; of an axis in pairs, the
    number of pairs."""
    tiled = {t.axis: t for t in tiles_along(plan, path)}
    extents = {a.name: a.hi for d in op.definitions for a in all_axes(d)}
    sizes = register_sizes(plan)
    out: list[tuple[str, Expr, str | None]] = []
    for axis in pack.axes:
        inside = axis in tiled
        extent = padded(const(tiled[axis].size) if inside else extents[axis], sizes.get(axis, []))
        if axis == pack.pairs:
            extent = floordiv(add(extent, const(1)), 2)
        out.append((axis, extent, axis if inside else None))
    return out


__all__ = ["Buffer", "Layout", "Path", "lay_out", "nest_paths", "pack_dimensions", "tiles_along"]
