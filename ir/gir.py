"""GIR: the scheduled form. A program is a list of kernels over `dram` tensors; a kernel is a nest of loops around
instructions on register tiles and on slices.

Machine words: `lane`, `unit` (a core, a warp), `group` (units that share `sram`), `device`. Memory levels: `reg` (of a
unit), `sram` (of a group; on a CPU a cache-resident scratch tile, private to the iteration of the innermost parallel
loop that holds its `Alloc`), `dram`.

Tiles. A register tile is a dense box of values with a static shape; rank 0 is a scalar. Values are combined
elementwise, and sizes of 1 broadcast as NumPy's do (ranks are aligned at the right). The last tile axis is the one
that lies across lanes.

Accesses. `Access(buffer, index)` maps the coordinates of a tile (`Coord(k)`, printed `@k`) and the loop indices to one
element of the buffer: `x[i, j + @0]`, `x[h*2 + u, (w + @1)*2 + v]`. An index may hold `Ref(tile)` for a gather (the
tile's value at that coordinate). What it reaches must lie inside the buffer wherever `predicate` holds.

Instructions.
  Load     tile  = buffer elements; where `predicate` is false, `fill` (which must then be given). With `pairs`, of a
           buffer of 16-bit floats: the bits, as i32, of the element (low half) and of the next one along the last
           dimension (high half), as `dot2_bf16` takes them.
  Compute  tile  = scalar expression over `Ref`, `Coord`, loop indices and symbols, at every coordinate.
  Reduce   tile  = `fn` folded over `axes` of one tile, which become size 1 (order unspecified); or, running, the
           folds of everything up to each element of one axis.
  Store    buffer elements = expression, where `predicate` holds; `streaming` marks data not read again soon.
  Move     a bulk copy between two slices of the same shape (a loop of Load and Store that is not written out).
  Prefetch a hint without effect: `count` elements from `source` on will be read soon. They may lie outside the buffer.
  Sync     all units of the scope wait for each other and see each other's writes.
Load, Compute and Reduce either introduce a new tile (a name not seen before in scope: it is assigned just here) or,
where the name was introduced by `Alloc` at level reg, assign the whole of that mutable tile.

Narrow storage: Load gives `dtype.arithmetic` of the buffer (bits for `pairs`); Store rounds to the buffer's dtype.

Loops. `Loop(var, lo, hi, step, kind, body)` runs `var = lo, lo+step, ... < hi`. SERIAL in order, UNROLL in order and
written out by the back end, PARALLEL iterations are independent and may run at once on units (or groups). A name
introduced in a body is not visible outside of it. `lo` and `hi` may hold `Ref` of a rank-0 tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from .dtypes import DType
from .errors import NOWHERE, Location
from .expr import Expr, Fn
from .op import Symbol


class Level(Enum):
    REG = "reg"
    SRAM = "sram"
    DRAM = "dram"

    def __str__(self) -> str:
        return self.value


class Role(Enum):
    INPUT = "input"
    OUTPUT = "output"
    TEMP = "temp"  # dram, allocated by the run-time for the length of a call

    def __str__(self) -> str:
        return self.value


class LoopKind(Enum):
    SERIAL = "loop"
    UNROLL = "unroll"
    UNIT = "parallel unit"
    GROUP = "parallel group"
    LANE = "parallel lane"

    def __str__(self) -> str:
        return self.value

    @property
    def is_parallel(self) -> bool:
        return self in (LoopKind.UNIT, LoopKind.GROUP, LoopKind.LANE)


@dataclass(frozen=True)
class Tensor:
    """A `dram` tensor, row-major and contiguous; extents are integers or expressions over symbols."""

    name: str
    dtype: DType
    shape: tuple[Expr, ...]
    role: Role
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Access:
    buffer: str
    index: tuple[Expr, ...]


@dataclass(frozen=True)
class Stmt:
    """Base of statements."""


@dataclass(frozen=True)
class Alloc(Stmt):
    """A buffer that lives until the end of the enclosing body. `reg` shapes are integers; content is undefined."""

    name: str
    dtype: DType
    shape: tuple[Expr, ...]
    level: Level
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Load(Stmt):
    tile: str
    shape: tuple[int, ...]
    source: Access
    predicate: Expr | None = None
    fill: Expr | None = None
    location: Location = field(default=NOWHERE, compare=False)
    pairs: bool = False

    def dtype(self, stored: DType) -> DType:
        """The type of the tile, from that of the buffer."""
        return DType.I32 if self.pairs else stored.arithmetic


@dataclass(frozen=True)
class Compute(Stmt):
    tile: str
    shape: tuple[int, ...]
    expr: Expr
    dtype: DType  # the arithmetic type of the result
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Reduce(Stmt):
    """With `running`, over one axis: element k of the result is the fold of elements 0..k."""

    tile: str
    fn: Fn
    source: str
    axes: tuple[int, ...]
    location: Location = field(default=NOWHERE, compare=False)
    running: bool = False

    def folded(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the result, from that of the source."""
        return shape if self.running else tuple(1 if k in self.axes else n for k, n in enumerate(shape))


@dataclass(frozen=True)
class Store(Stmt):
    target: Access
    shape: tuple[int, ...]
    value: Expr
    predicate: Expr | None = None
    streaming: bool = False
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Move(Stmt):
    """`target[...] = source[...]` for every coordinate of the box `shape` (extents may be symbolic)."""

    target: Access
    source: Access
    shape: tuple[Expr, ...]
    predicate: Expr | None = None
    fill: Expr | None = None
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Prefetch(Stmt):
    """`count` elements along the last dimension of the buffer, from `source` on, will be read soon."""

    source: Access
    count: int
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Sync(Stmt):
    scope: Level
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Loop(Stmt):
    var: str
    lo: Expr
    hi: Expr
    step: int
    kind: LoopKind
    body: tuple[Stmt, ...]
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Branch(Stmt):
    """`condition` is a boolean over loop indices, symbols and rank-0 tiles."""

    condition: Expr
    then: tuple[Stmt, ...]
    otherwise: tuple[Stmt, ...] = ()
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Kernel:
    name: str
    body: tuple[Stmt, ...]
    location: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Program:
    """Kernels run one after another; each sees all the dram writes of those before it."""

    name: str
    symbols: tuple[Symbol, ...]
    tensors: tuple[Tensor, ...]
    kernels: tuple[Kernel, ...]
    facts: tuple[Expr, ...] = ()
    location: Location = field(default=NOWHERE, compare=False)

    def tensor(self, name: str) -> Tensor:
        return next(t for t in self.tensors if t.name == name)


def bodies(stmt: Stmt) -> tuple[tuple[Stmt, ...], ...]:
    """The nested bodies of a statement."""
    match stmt:
        case Loop(body=body):
            return (body,)
        case Branch(then=then, otherwise=otherwise):
            return (then, otherwise)
    return ()


def walk(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Every statement, outer before inner, in program order."""
    for stmt in body:
        yield stmt
        for inner in bodies(stmt):
            yield from walk(inner)
