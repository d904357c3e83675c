"""What a legal GIR program guarantees. `verify` raises VerifyError where a guarantee is broken, and returns what it
could not prove (of 7 to 10) as texts: those hold or not, and the interpreter checks them at run time.

 1. Names are well formed, no words of the expression language, and unique; nothing shadows anything in scope.
 2. What is used is in scope: loop indices and symbols (as integers), tiles, buffers.
 3. A tile is assigned once, unless an `Alloc` at level reg made it mutable; then its shape and type stay the same, and
    only the parallel iteration that holds the `Alloc` assigns it.
 4. Expressions are typed: literals carry their type, widening is explicit, indices, bounds and extents are i64,
    predicates, conditions and facts bool, a stored value or a fill has the arithmetic type of its buffer. Extents and
    facts are over symbols only (an `Alloc` or a `Move` may use loop indices and rank-0 tiles).
 5. Tile shapes are static and positive; operands broadcast to the instruction's shape; `@k` is an axis of it; bounds
    and conditions use tiles of rank 0 only; a reduction folds axes that exist, with an associative function.
 6. Tensors live in dram and inputs are never written; registers are not accessed by index; no `Move` stays inside one
    buffer; what lives in sram at once fits the machine (where its size is given).
 7. Every access has one index per dimension and stays in the buffer wherever its predicate holds; a load with a
    predicate has a fill.
 8. The coordinates of one instruction are stored to different elements.
 9. Iterations of a parallel loop touch different elements where one of them writes, or a sync of a scope that covers
    the buffer stands between.
10. Every element of every output is written.
11. A sync is at sram or dram, and every iteration of the parallel loops around it reaches it: no branch or loop bound
    on the way depends on a parallel index or on data.
12. Steps are positive; nesting (40) and the depth of expressions (160) are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .dtypes import DType
from .errors import NOWHERE, Location, UserError, VerifyError
from .expr import ASSOCIATIVE, LOGICAL, Coord, Expr, Fn, Param, Read, Ref, Var, as_int, variables, walk
from .expr_text import MAX_DEPTH, depth, is_reserved
from .gir import (
    Access,
    Alloc,
    Branch,
    Compute,
    Level,
    Load,
    Loop,
    Move,
    Prefetch,
    Program,
    Reduce,
    Role,
    Stmt,
    Store,
    Sync,
    bodies,
)
from .gir_coverage import check_coverage
from .gir_parser import MAX_NESTING
from .gir_printer import print_stmt
from .gir_races import check_bounds, check_distinct, check_races
from .gir_sites import Path, Site, TileType, accesses
from .typing import TypeEnv, elaborate

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*", re.ASCII)
MAX_TILE = 1 << 20  # elements of one register tile: beyond, nobody means it


def verify(program: Program, sram_bytes: int | None = None) -> list[str]:
    """Check every guarantee; returns the texts of what was not proved, in program order.

    `sram_bytes` is the machine's sram, where known. Raises VerifyError naming the guarantee that is broken.
    """
    checker = _Checker(program, sram_bytes)
    checker.program_head()
    for kernel in program.kernels:
        if kernel.location.line == 0 and not NAME.fullmatch(kernel.name):
            raise VerifyError(f"[1] '{kernel.name}' is not a name", kernel.location)
        scope = _Scope(dict(checker.buffers), dict.fromkeys(s.name for s in program.symbols))
        checker.body(kernel.body, scope)
    unproved = checker.unproved
    check_bounds(program, checker.sites, unproved)
    check_distinct(program, checker.sites, unproved)
    check_races(program, checker.sites, checker.levels, unproved)
    check_coverage(program, unproved)
    return unproved


@dataclass(frozen=True)
class _Memory:
    """A buffer in scope; `home` as in `Site`."""

    dtype: DType
    shape: tuple[Expr, ...]
    level: Level
    role: Role | None
    home: int


@dataclass
class _Scope:
    buffers: dict[str, _Memory]
    numbers: dict[str, None]
    tiles: dict[str, TileType] = field(default_factory=dict)
    path: Path = ()
    sram: int = 0

    def inner(self, path: Path, number: str | None = None) -> _Scope:
        numbers = {**self.numbers, **({number: None} if number is not None else {})}
        return replace(self, buffers=dict(self.buffers), numbers=numbers, tiles=dict(self.tiles), path=path)


class _Checker:
    def __init__(self, program: Program, sram_bytes: int | None) -> None:
        self.program = program
        self.sram_bytes = sram_bytes
        self.buffers: dict[str, _Memory] = {}
        self.sites: list[Site] = []
        self.levels: dict[int, Level] = {}
        self.unproved: list[str] = []

    # ---- the head

    def program_head(self) -> None:
        program = self.program
        seen: set[str] = set()
        named = [(program.name, program.location)]
        named += [(s.name, s.location) for s in program.symbols] + [(t.name, t.location) for t in program.tensors]
        for name, location in named[1:] + [(k.name, k.location) for k in program.kernels]:
            _well_formed(name, location)
            if name in seen:
                raise VerifyError(f"[1] the name '{name}' is used twice", location, "another name")
            seen.add(name)
        _well_formed(*named[0])
        symbols = _Scope({}, dict.fromkeys(s.name for s in program.symbols))
        for tensor in program.tensors:
            for extent in tensor.shape:
                self.typed(extent, DType.I64, symbols, tensor.location, (), "an extent")
            self.buffers[tensor.name] = _Memory(tensor.dtype, tensor.shape, Level.DRAM, tensor.role, 0)
        for fact in program.facts:
            self.typed(fact, DType.BOOL, symbols, program.location, (), "a fact")

    # ---- statements

    def body(self, body: tuple[Stmt, ...], scope: _Scope) -> None:
        if len(scope.path) > MAX_NESTING:
            raise VerifyError(f"[12] more than {MAX_NESTING} loops and branches inside each other")
        for stmt in body:
            try:
                self.stmt(stmt, scope)
            except UserError as error:
                if "\n  in: " not in error.message:
                    error.message += f"\n  in: {print_stmt(stmt)}"
                if not error.location.line:
                    error.location = _where(stmt)
                raise

    def stmt(self, stmt: Stmt, scope: _Scope) -> None:
        for access, is_write, reach, guard in accesses(stmt):
            self.access(access, is_write, reach, guard, stmt, scope)
        match stmt:
            case Alloc():
                self.alloc(stmt, scope)
            case Load(tile, shape, source, predicate, fill):
                dtype = stmt.dtype(scope.buffers[source.buffer].dtype)
                if stmt.pairs:
                    self.pairs(stmt, scope)
                if (predicate is None) != (fill is None):
                    raise VerifyError("[7] a load has a predicate and a fill, or neither", _where(stmt))
                if fill is not None:
                    self.typed(fill, dtype, scope, _where(stmt), shape, "a fill")
                self.assign(tile, shape, dtype, stmt, scope)
            case Compute(tile, shape, expr, dtype):
                if dtype.arithmetic is not dtype:
                    raise VerifyError(f"[4] {dtype} is a storage type", _where(stmt), f"compute in {dtype.arithmetic}")
                self.typed(expr, dtype, scope, _where(stmt), shape, "the value")
                self.assign(tile, shape, dtype, stmt, scope)
            case Reduce(tile, fn, source_tile, axes):
                self.reduce(stmt, tile, fn, source_tile, axes, scope)
            case Store(target, shape, value):
                dtype = scope.buffers[target.buffer].dtype.arithmetic
                self.typed(value, dtype, scope, _where(stmt), shape, "the stored value")
            case Move(target, source, box, predicate, fill):
                self.move(stmt, target, source, box, predicate, fill, scope)
            case Prefetch(source, count):
                self.prefetch(stmt, source, count, scope)
            case Sync(level):
                self.sync(level, stmt, scope)
            case Loop(var, lo, hi, step, _, inner):
                self.fresh(var, stmt, scope)
                for end in (lo, hi):
                    self.typed(end, DType.I64, scope, _where(stmt), (), "a loop bound")
                if step < 1:
                    raise VerifyError(f"[12] the step of a loop is {step}", _where(stmt), "a positive step")
                self.body(inner, scope.inner((*scope.path, (stmt, True)), var))
            case Branch(condition):
                self.typed(condition, DType.BOOL, scope, _where(stmt), (), "a condition")
                for inner, side in zip(bodies(stmt), (True, False), strict=True):
                    self.body(inner, scope.inner((*scope.path, (stmt, side))))

    def alloc(self, stmt: Alloc, scope: _Scope) -> None:
        self.fresh(stmt.name, stmt, scope)
        for extent in stmt.shape:
            self.typed(extent, DType.I64, scope, stmt.location, (), "an extent")
        extents = [as_int(e) for e in stmt.shape]
        if stmt.level is Level.REG:
            if any(e is None for e in extents):
                raise VerifyError("[5] a register tile has a static shape", stmt.location, "integers, or another level")
            shape = tuple(e for e in extents if e is not None)
            _static(shape, stmt.location)
            scope.tiles[stmt.name] = TileType(shape, stmt.dtype.arithmetic, True, len(scope.path))
            return
        scope.buffers[stmt.name] = _Memory(stmt.dtype, stmt.shape, stmt.level, None, len(scope.path))
        if stmt.level is not Level.SRAM or self.sram_bytes is None:
            return
        if any(e is None for e in extents):
            self.unproved.append(f"sram: the size of '{stmt.name}' is symbolic: {print_stmt(stmt)}")
            return
        size = stmt.dtype.bytes
        for e in extents:
            size *= max(0, e or 0)
        scope.sram += size
        if scope.sram > self.sram_bytes:
            raise VerifyError(
                f"[6] '{stmt.name}' brings sram to {scope.sram} bytes, the machine has {self.sram_bytes}",
                stmt.location,
                "a smaller tile",
            )

    def pairs(self, stmt: Load, scope: _Scope) -> None:
        stored = scope.buffers[stmt.source.buffer].dtype
        if not (stored.is_float and stored.bytes == 2):
            raise VerifyError(f"[4] pairs of {stored}", _where(stmt), "a buffer of bf16 or f16")
        given = [*stmt.source.index, *([stmt.predicate] if stmt.predicate is not None else [])]
        if any(isinstance(n, Ref) and scope.tiles[n.name].shape for e in given for n in walk(e)):
            raise VerifyError("[5] pairs are not gathered", _where(stmt), "load the elements one by one")

    def reduce(self, stmt: Reduce, tile: str, fn: Fn, source: str, axes: tuple[int, ...], scope: _Scope) -> None:
        operand = scope.tiles.get(source)
        if operand is None:
            raise VerifyError(f"[2] there is no tile '{source}' here", _where(stmt))
        if not axes or len(set(axes)) != len(axes) or any(not 0 <= a < len(operand.shape) for a in axes):
            raise VerifyError(f"[5] {list(axes)} are not axes of a tile of shape {list(operand.shape)}", _where(stmt))
        if fn not in ASSOCIATIVE or (fn in LOGICAL) != (operand.dtype is DType.BOOL):
            raise VerifyError(f"[5] '{fn}' does not fold a tile of {operand.dtype}", _where(stmt))
        if stmt.running and len(axes) != 1:
            raise VerifyError(f"[5] a scan runs over one axis, not {list(axes)}", _where(stmt), "one scan for each")
        self.assign(tile, stmt.folded(operand.shape), operand.dtype, stmt, scope)

    def move(
        self,
        stmt: Move,
        target: Access,
        source: Access,
        box: tuple[Expr, ...],
        predicate: Expr | None,
        fill: Expr | None,
        scope: _Scope,
    ) -> None:
        for extent in box:
            self.typed(extent, DType.I64, scope, stmt.location, (), "an extent")
        if target.buffer == source.buffer:
            raise VerifyError("[6] a move inside one buffer", stmt.location, "load and store through a tile")
        stored, read = (scope.buffers[a.buffer].dtype.arithmetic for a in (target, source))
        if stored is not read:
            raise VerifyError(f"[4] a move from {read} to {stored}", stmt.location, "load, cast and store")
        if fill is not None and predicate is None:
            raise VerifyError("[7] a fill without a predicate", stmt.location, "leave one out, or give both")
        if fill is not None:
            self.typed(fill, stored, scope, stmt.location, None, "a fill", len(box))

    def prefetch(self, stmt: Prefetch, source: Access, count: int, scope: _Scope) -> None:
        buffer = scope.buffers.get(source.buffer)
        if buffer is None:
            raise VerifyError(f"[2] there is no buffer '{source.buffer}' here", stmt.location)
        if len(source.index) != len(buffer.shape):
            raise VerifyError(f"[5] '{source.buffer}' has {len(buffer.shape)} dimensions", stmt.location)
        for index in source.index:
            self.typed(index, DType.I64, scope, stmt.location, (), "an index")
        _static((count,), stmt.location)

    def sync(self, level: Level, stmt: Stmt, scope: _Scope) -> None:
        if level is Level.REG:
            raise VerifyError("[11] registers belong to one unit: nothing to sync", _where(stmt), "sram or dram")
        first = next((k for k, (n, _) in enumerate(scope.path) if isinstance(n, Loop) and n.kind.is_parallel), None)
        if first is None:
            return
        varying = {n.var for n, _ in scope.path if isinstance(n, Loop) and n.kind.is_parallel}
        for node, _ in scope.path[first + 1 :]:
            deciding = [node.lo, node.hi] if isinstance(node, Loop) else [node.condition]
            if isinstance(node, Loop) and node.kind.is_parallel:
                continue
            for expr in deciding:
                if variables(expr) & varying or any(isinstance(n, Ref) for n in walk(expr)):
                    raise VerifyError(
                        "[11] not every iteration of the parallel loop reaches this sync", _where(stmt), "move it out"
                    )
                if isinstance(node, Loop) and variables(node.lo) & varying:
                    varying.add(node.var)

    # ---- names and tiles

    def fresh(self, name: str, stmt: Stmt, scope: _Scope) -> None:
        _well_formed(name, _where(stmt))
        if name in scope.numbers or name in scope.tiles or name in scope.buffers:
            raise VerifyError(f"[1] the name '{name}' is in scope already", _where(stmt), "another name")

    def assign(self, name: str, shape: tuple[int, ...], dtype: DType, stmt: Stmt, scope: _Scope) -> None:
        _static(shape, _where(stmt))
        known = scope.tiles.get(name)
        if known is None:
            self.fresh(name, stmt, scope)
            scope.tiles[name] = TileType(shape, dtype, False, len(scope.path))
            return
        if not known.mutable:
            raise VerifyError(f"[3] tile '{name}' is assigned twice", _where(stmt), "allocate it at level reg")
        if (known.shape, known.dtype) != (shape, dtype):
            raise VerifyError(
                f"[3] tile '{name}' is {known.dtype}{list(known.shape)} and is assigned {dtype}{list(shape)}",
                _where(stmt),
                "equal shapes and types",
            )
        if any(isinstance(n, Loop) and n.kind.is_parallel for n, _ in scope.path[known.home :]):
            raise VerifyError(
                f"[3] tile '{name}' of an outer iteration is assigned inside a parallel loop",
                _where(stmt),
                "allocate it inside the parallel loop",
            )

    def access(
        self,
        access: Access,
        is_write: bool,
        shape: tuple[Expr, ...],
        predicate: Expr | None,
        stmt: Stmt,
        scope: _Scope,
    ) -> None:
        memory = scope.buffers.get(access.buffer)
        if memory is None:
            hint = "registers are not indexed: use the tile by name" if access.buffer in scope.tiles else ""
            raise VerifyError(f"[2] there is no buffer '{access.buffer}' here", _where(stmt), hint)
        if is_write and memory.role is Role.INPUT:
            raise VerifyError(f"[6] the input '{access.buffer}' is written", _where(stmt), "a temp or an output")
        if len(access.index) != len(memory.shape):
            raise VerifyError(
                f"[7] '{access.buffer}' has {len(memory.shape)} dimensions, the access {len(access.index)}",
                _where(stmt),
                "one index per dimension",
            )
        extents = [as_int(e) for e in shape]
        static = tuple(e for e in extents if e is not None) if None not in extents else None
        if static is not None and not isinstance(stmt, Move):
            _static(static, _where(stmt))
        for index in access.index:
            self.typed(index, DType.I64, scope, _where(stmt), static, "an index", len(shape))
        if predicate is not None:
            self.typed(predicate, DType.BOOL, scope, _where(stmt), static, "a predicate", len(shape))
        tiles: Mapping[str, TileType] = dict(scope.tiles)
        site = Site(access, memory.shape, memory.home, is_write, shape, predicate, scope.path, stmt, tiles)
        self.sites.append(site)
        self.levels[id(site)] = memory.level

    def typed(
        self,
        expr: Expr,
        want: DType,
        scope: _Scope,
        location: Location,
        shape: tuple[int, ...] | None,
        what: str,
        rank: int | None = None,
    ) -> None:
        """Guarantees 2, 4, 5 and 12 for one expression; `shape` is None where the box is symbolic (of rank `rank`)."""
        if depth(expr) > MAX_DEPTH:
            raise VerifyError(f"[12] {what} is deeper than {MAX_DEPTH}", location, "split it over several tiles")
        axes = len(shape) if shape is not None else rank or 0
        for node in walk(expr):
            here = getattr(node, "location", location)
            here = here if here.line else location
            match node:
                case Var(name) if name not in scope.numbers:
                    raise VerifyError(f"[2] there is no index or symbol '{name}' here", here)
                case Ref(name) if name not in scope.tiles:
                    raise VerifyError(f"[2] there is no tile '{name}' here", here, "assign it before")
                case Ref(name):
                    have = scope.tiles[name].shape
                    if (have if shape is None else not _broadcasts(have, shape)) and not (shape is None and not have):
                        box = "one value" if not axes else str(list(shape or ()))
                        raise VerifyError(f"[5] tile '{name}' of shape {list(have)} does not broadcast to {box}", here)
                case Coord(axis) if axis >= axes:
                    raise VerifyError(f"[5] @{axis}: {what} has {axes} tile axes here", here)
                case Read() | Param():
                    raise VerifyError(f"[2] {type(node).__name__} belongs to the op form", here)
        try:
            types = TypeEnv(refs={n: t.dtype for n, t in scope.tiles.items()})
            full, _ = elaborate(expr, types, want, exact=True)
        except UserError as error:
            if not error.location.line:
                error.location = location
            error.message = f"[4] {error.message}" if not error.message.startswith("[") else error.message
            raise
        if full != expr:
            raise VerifyError(f"[4] {what} leaves a type or a widening unsaid", location, "type literals, write casts")


def _broadcasts(shape: tuple[int, ...], box: tuple[int, ...]) -> bool:
    if len(shape) > len(box):
        return False
    return all(s in (1, b) for s, b in zip(reversed(shape), reversed(box), strict=False))


def _static(shape: tuple[int, ...], location: Location) -> None:
    size = 1
    for extent in shape:
        size *= extent
        if extent < 1 or size > MAX_TILE:
            raise VerifyError(f"[5] a tile of shape {list(shape)}", location, f"1 to {MAX_TILE} elements")


def _well_formed(name: str, location: Location) -> None:
    if not NAME.fullmatch(name) or is_reserved(name):
        raise VerifyError(f"[1] '{name}' cannot be a name", location, "letters, digits, `_` and `$`; no reserved word")


def _where(stmt: Stmt) -> Location:
    location: Location = getattr(stmt, "location", NOWHERE)
    return location
