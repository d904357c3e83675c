"""The slow, obvious meaning of GIR: every instruction is a NumPy operation on whole tiles.

It is built to make mistakes show: memory nobody wrote is NaN (or a garbage pattern), accesses are checked against the
buffer wherever their predicate holds, iterations of parallel loops run in a shuffled order, run up to each `Sync`
together, and are checked for races (`gir_memory.py`), and outputs must be written completely.
Everything a program does wrong raises VerifyError with the text of the instruction.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random
from typing import Any

import numpy as np

from . import gir
from .affine import Affine, affine
from .dtypes import DType
from .errors import NOWHERE, BindError, CallError, UserError, VerifyError
from .expr import Coord, Expr, Ref, Var
from .gir import Alloc, Branch, Compute, Level, Load, Loop, LoopKind, Move, Reduce, Role, Stmt, Store, Sync
from .gir_memory import Buffer, Contexts, ParallelRun, Race, undefined
from .scalar_functions import Array, Value, cast, evaluate, from_storage, reduce, scan, strong, to_storage


class UnitOrder(Enum):
    """In which order the iterations of a parallel loop run."""

    FORWARD = "forward"
    REVERSE = "reverse"
    SHUFFLE = "shuffle"


def interpret(
    program: gir.Program,
    inputs: Mapping[str, Any],
    symbols: Mapping[str, int] | None = None,
    *,
    unit_order: UnitOrder | str = UnitOrder.SHUFFLE,
    seed: int = 0,
    check_races: bool = True,
) -> dict[str, Array]:
    """Run `program` and return its outputs by name.

    `inputs` are arrays of the declared shape and dtype; symbols that are a whole extent of an input are bound by it,
    the others by `symbols` or their default. Raises BindError or CallError for inputs that do not fit, VerifyError
    for what the program does wrong.
    """
    env = bind_symbols(program, inputs, symbols or {})
    machine = _Machine(program, env, UnitOrder(unit_order), seed, check_races)
    buffers = {t.name: machine.tensor(t, inputs) for t in program.tensors}
    for kernel in program.kernels:
        frame = _Frame(dict(env), dict(buffers))
        for _ in machine.run(kernel.body, frame):
            pass  # outside of parallel loops nobody has to be waited for
    for tensor in program.tensors:
        if tensor.role is Role.OUTPUT and not buffers[tensor.name].written.all():
            missing = np.unravel_index(int(np.argmin(buffers[tensor.name].written)), buffers[tensor.name].shape)
            raise VerifyError(
                f"output '{tensor.name}' is not written completely: element {list(map(int, missing))} is undefined",
                tensor.location,
                "let the loops cover every element of the output",
            )
    return {
        t.name: buffers[t.name].data.reshape(buffers[t.name].shape) for t in program.tensors if t.role is Role.OUTPUT
    }


def bind_symbols(program: gir.Program, inputs: Mapping[str, Any], symbols: Mapping[str, int]) -> dict[str, int]:
    """The value of every symbol. Raises BindError where one has none or two, or a fact does not hold."""
    env = {s.name: int(symbols[s.name]) for s in program.symbols if s.name in symbols}
    for tensor in program.tensors:
        if tensor.role is not Role.INPUT or tensor.name not in inputs:
            continue
        for extent, size in zip(tensor.shape, np.shape(inputs[tensor.name]), strict=False):
            if isinstance(extent, Var) and env.setdefault(extent.name, int(size)) != size:
                raise BindError(
                    f"symbol '{extent.name}' is {env[extent.name]} and, by '{tensor.name}', {size}", tensor.location
                )
    for symbol in program.symbols:
        if symbol.name not in env:
            if symbol.default is None:
                raise BindError(f"symbol '{symbol.name}' has no value", symbol.location, "give it a value by name")
            env[symbol.name] = symbol.default
    for fact in program.facts:
        if not scalar(fact, env):
            raise BindError("a declared fact does not hold", program.location, "bind symbols that satisfy it")
    return env


def scalar(expr: Expr, env: Mapping[str, int]) -> int:
    """The value of an expression over symbols and loop indices alone."""

    def leaf(e: Expr) -> Value:
        if isinstance(e, Var) and e.name in env:
            return np.asarray(env[e.name], dtype=np.int64)
        raise VerifyError(f"'{getattr(e, 'name', e)}' has no value here", getattr(e, "location", NOWHERE))

    return int(np.asarray(evaluate(expr, leaf)))


@dataclass
class _Tile:
    value: Array | None  # None until assigned
    alloc: Alloc | None = None  # set for mutable tiles
    depth: int = 0


@dataclass
class _Frame:
    """What one iteration sees: integer names, buffers, tiles, and the parallel iterations it is in (outer first)."""

    env: dict[str, int]
    buffers: dict[str, Buffer]
    tiles: dict[str, _Tile] = field(default_factory=dict)
    stack: list[tuple[ParallelRun, int]] = field(default_factory=list)
    context: int = 0

    def fork(self) -> _Frame:
        return replace(
            self, env=dict(self.env), buffers=dict(self.buffers), tiles=dict(self.tiles), stack=list(self.stack)
        )


Steps = Generator[Sync, None, None]


class _Machine:
    def __init__(self, program: gir.Program, env: dict[str, int], order: UnitOrder, seed: int, races: bool) -> None:
        self.env = env
        self.order = order
        self.random = Random(seed)
        self.contexts = Contexts()
        self.runs = 0
        self.forms: dict[int, Affine | None] = {}
        written = (a for k in program.kernels for s in gir.walk(k.body) for a in _writes(s))
        self.tracked = set(written) if races else set()

    def tensor(self, tensor: gir.Tensor, inputs: Mapping[str, Any]) -> Buffer:
        shape = tuple(scalar(e, self.env) for e in tensor.shape)
        if any(e < 0 for e in shape):
            raise BindError(f"'{tensor.name}' has a negative extent: {list(shape)}", tensor.location)
        content = undefined(shape, tensor.dtype)
        if tensor.role is Role.INPUT:
            if tensor.name not in inputs:
                raise CallError(f"input '{tensor.name}' is missing", tensor.location)
            content = np.array(inputs[tensor.name], order="C")  # a copy: a program cannot harm its caller
            if content.dtype != tensor.dtype.numpy or content.shape != shape:
                raise CallError(
                    f"input '{tensor.name}' is {content.dtype}{list(content.shape)}, not {tensor.dtype}{list(shape)}",
                    tensor.location,
                )
        return Buffer(tensor.name, content, tensor.dtype, Level.DRAM, 0, tensor.name in self.tracked)

    # ---- control

    def run(self, body: Iterable[Stmt], frame: _Frame) -> Steps:
        """Run a body, whose names end with it; a sync is handed to whoever runs the enclosing parallel loop."""
        tiles, buffers, env = set(frame.tiles), dict(frame.buffers), dict(frame.env)
        for stmt in body:
            try:
                match stmt:
                    case Loop(kind=kind):
                        yield from self.parallel(stmt, frame) if kind.is_parallel else self.serial(stmt, frame)
                    case Branch(condition, then, otherwise):
                        yield from self.run(then if self.number(condition, frame) else otherwise, frame)
                    case Sync():
                        yield stmt
                    case _:
                        self.step(stmt, frame)
            except Race as race:
                raise _error(
                    race.what, stmt, "put a sync between, or let iterations touch different elements"
                ) from None
            except UserError as error:
                raise (
                    error if error.location.line or "\n" in error.message else _error(error.message, stmt, "")
                ) from None
        for name in [n for n in frame.tiles if n not in tiles]:
            del frame.tiles[name]
        frame.buffers, frame.env = buffers, env

    def span(self, loop: Loop, frame: _Frame) -> range:
        if loop.step < 1:
            raise _error(f"the step of a loop is {loop.step}", loop, "a positive step")
        return range(self.number(loop.lo, frame), self.number(loop.hi, frame), loop.step)

    def serial(self, loop: Loop, frame: _Frame) -> Steps:
        self.fresh(loop.var, loop, frame)
        for value in self.span(loop, frame):
            frame.env[loop.var] = value
            yield from self.run(loop.body, frame)
        frame.env.pop(loop.var, None)

    def parallel(self, loop: Loop, frame: _Frame) -> Steps:
        self.fresh(loop.var, loop, frame)
        self.runs += 1
        run = ParallelRun(self.runs)
        span = list(self.span(loop, frame))
        waiting: list[tuple[_Frame, Steps]] = []
        for number, value in enumerate(span):
            inner = frame.fork()
            inner.env[loop.var] = value
            inner.stack.append((run, number))
            waiting.append((inner, self.run(loop.body, inner)))
        while waiting:
            syncs: list[Sync | None] = []
            for inner, steps in self.ordered(waiting):
                inner.context = self.contexts.enter(inner.stack)
                sync = next(steps, None)
                while sync is not None and sync.scope is Level.SRAM and loop.kind is LoopKind.GROUP:
                    inner.context = self.contexts.enter(inner.stack)
                    sync = next(steps, None)  # groups do not share sram: nobody to wait for
                syncs.append(sync)
            first = syncs[0]
            if any(s is not first for s in syncs):
                raise _error(
                    "not every iteration reaches the same sync", loop, "move the sync out of the branch or loop"
                )
            if first is None:
                return
            yield first
            for level in (Level.SRAM, Level.DRAM) if first.scope is Level.DRAM else (Level.SRAM,):
                run.syncs[level] += 1

    def ordered(self, waiting: list[tuple[_Frame, Steps]]) -> list[tuple[_Frame, Steps]]:
        out = list(waiting)
        if self.order is UnitOrder.REVERSE:
            out.reverse()
        elif self.order is UnitOrder.SHUFFLE:
            self.random.shuffle(out)
        return out

    # ---- values

    def fresh(self, name: str, stmt: Stmt, frame: _Frame) -> None:
        if name in frame.env or name in frame.buffers or name in frame.tiles:
            raise _error(f"the name '{name}' is in use already", stmt, "another name")

    def number(self, expr: Expr, frame: _Frame) -> int:
        value = np.asarray(self.value(expr, (), frame))
        return int(value.reshape(()))

    def value(self, expr: Expr, shape: tuple[int, ...], frame: _Frame) -> Value:
        """An expression at every coordinate of `shape` (the result broadcasts to it)."""

        def leaf(e: Expr) -> Value:
            match e:
                case Var(name) if name in frame.env:
                    return np.asarray(frame.env[name], dtype=np.int64)
                case Ref(name) if name in frame.tiles:
                    found = frame.tiles[name].value
                    if found is None:
                        raise VerifyError(f"tile '{name}' is read before it is assigned")
                    return found
                case Coord(axis) if axis < len(shape):
                    return _coordinate(axis, shape)
            raise VerifyError(f"{type(e).__name__} '{getattr(e, 'name', getattr(e, 'axis', ''))}' is not in scope")

        return evaluate(expr, leaf)

    def box(self, expr: Expr, shape: tuple[int, ...], frame: _Frame) -> Array:
        value = np.asarray(self.value(expr, shape, frame))
        try:
            return np.broadcast_to(value, shape)
        except ValueError:
            raise VerifyError(f"a value of shape {list(value.shape)} does not broadcast to {list(shape)}") from None

    def index(self, expr: Expr, shape: tuple[int, ...], frame: _Frame) -> Array:
        """An index; affine ones are computed from their form, which is the same and quicker."""
        form = self.form(expr)
        if form is None or any(n[0] != "@" and n not in frame.env for n, _ in form.terms):
            return self.box(expr, shape, frame)
        total: Any = form.constant
        for name, factor in form.terms:
            if name[0] == "@" and int(name[1:]) >= len(shape):
                return self.box(expr, shape, frame)
            total = total + factor * (_coordinate(int(name[1:]), shape) if name[0] == "@" else frame.env[name])
        return np.broadcast_to(np.asarray(total, dtype=np.int64), shape)

    def form(self, expr: Expr) -> Affine | None:
        if id(expr) not in self.forms:  # the program outlives this table, so an id names one expression
            self.forms[id(expr)] = affine(expr)
        return self.forms[id(expr)]

    def place(self, access: gir.Access, shape: tuple[int, ...], holds: Array, frame: _Frame) -> tuple[Buffer, Array]:
        """The buffer and the flat indices of the coordinates where `holds`. Raises VerifyError out of bounds."""
        buffer = frame.buffers.get(access.buffer)
        if buffer is None:
            raise VerifyError(f"there is no buffer '{access.buffer}' here")
        if len(access.index) != len(buffer.shape):
            raise VerifyError(f"'{access.buffer}' has {len(buffer.shape)} dimensions, not {len(access.index)}")
        flat = np.zeros(int(holds.sum()), dtype=np.int64)
        for k, (expr, extent) in enumerate(zip(access.index, buffer.shape, strict=True)):
            index = self.index(expr, shape, frame)[holds]
            if index.size and not (index.min() >= 0 and index.max() < extent):
                bad = int(index[(index < 0) | (index >= extent)][0])
                raise VerifyError(f"index {bad} is outside of dimension {k} of '{access.buffer}', 0..{extent}")
            flat = flat * extent + index
        return buffer, flat

    def holds(self, predicate: Expr | None, shape: tuple[int, ...], frame: _Frame) -> Array:
        return np.ones(shape, dtype=bool) if predicate is None else self.box(predicate, shape, frame) != 0

    # ---- instructions

    def step(self, stmt: Stmt, frame: _Frame) -> None:
        match stmt:
            case Alloc(name, dtype, extents, level):
                self.fresh(name, stmt, frame)
                shape = tuple(self.number(e, frame) for e in extents)
                if level is Level.REG:
                    frame.tiles[name] = _Tile(None, stmt, len(frame.stack))
                    return
                content = undefined(shape, dtype)
                frame.buffers[name] = Buffer(name, content, dtype, level, len(frame.stack), name in self.tracked)
            case Load(tile, shape, source, predicate, fill):
                value = self.pairs(stmt, frame) if stmt.pairs else self.load(source, shape, predicate, fill, frame)
                self.assign(tile, value, stmt, frame)
            case Compute(tile, shape, expr, dtype):
                self.assign(tile, strong(self.box(expr, shape, frame), dtype.arithmetic), stmt, frame)
            case Reduce(tile, fn, name, axes):
                operand = np.asarray(self.value(Ref(name), (), frame))
                value = scan(fn, operand, axes[0]) if stmt.running else reduce(fn, operand, axes)
                self.assign(tile, value, stmt, frame)
            case Store(target, shape, value, predicate):
                where = self.holds(predicate, shape, frame)
                self.store(target, shape, self.box(value, shape, frame), where, frame)
            case Move(target, source, extents, predicate, fill):
                shape = tuple(max(0, self.number(e, frame)) for e in extents)
                where = self.holds(predicate, shape, frame)
                everywhere = where if fill is None else np.ones(shape, dtype=bool)
                self.store(
                    target, shape, self.load(source, shape, predicate, fill, frame, move=True), everywhere, frame
                )
            case gir.Prefetch():
                pass
            case _:
                raise _error(f"unknown statement {type(stmt).__name__}", stmt, "")

    def load(
        self,
        source: gir.Access,
        shape: tuple[int, ...],
        predicate: Expr | None,
        fill: Expr | None,
        frame: _Frame,
        move: bool = False,
    ) -> Array:
        where = self.holds(predicate, shape, frame)
        if predicate is not None and fill is None and not move:
            raise VerifyError("a load with a predicate has no fill")
        buffer, flat = self.place(source, shape, where, frame)
        arithmetic = buffer.dtype.arithmetic
        out = np.zeros(shape, dtype=arithmetic.numpy)
        if fill is not None:
            out[...] = strong(self.box(fill, shape, frame), arithmetic)
        out[where] = from_storage(buffer.read(flat, frame.context, len(frame.stack), self.contexts))
        return out

    def pairs(self, stmt: Load, frame: _Frame) -> Array:
        """The bits of two neighbours, the first in the low half."""
        where = self.holds(stmt.predicate, stmt.shape, frame)
        out = np.zeros(stmt.shape, dtype=np.int32)
        if stmt.fill is not None:
            out[...] = strong(self.box(stmt.fill, stmt.shape, frame), DType.I32)
        buffer, flat = self.place(stmt.source, stmt.shape, where, frame)
        if flat.size and not buffer.shape:
            raise VerifyError(f"'{stmt.source.buffer}' has one element and no pairs")
        if (flat % max(1, buffer.shape[-1]) + 1 == buffer.shape[-1]).any():
            raise VerifyError(f"the second of a pair is outside of '{stmt.source.buffer}', 0..{buffer.shape[-1]}")
        first, second = (
            buffer.read(at, frame.context, len(frame.stack), self.contexts).view(np.uint16).astype(np.uint32)
            for at in (flat, flat + 1)
        )
        out[where] = (first | second << 16).view(np.int32)
        return out

    def store(self, target: gir.Access, shape: tuple[int, ...], value: Array, where: Array, frame: _Frame) -> None:
        buffer, flat = self.place(target, shape, where, frame)
        if np.unique(flat).size != flat.size:
            raise VerifyError(f"two coordinates of the tile are stored to one element of '{target.buffer}'")
        values = to_storage(value[where], buffer.dtype)
        buffer.write(flat, values, frame.context, len(frame.stack), self.contexts)

    def assign(self, name: str, value: Array, stmt: Stmt, frame: _Frame) -> None:
        known = frame.tiles.get(name)
        if known is None:
            self.fresh(name, stmt, frame)
            frame.tiles[name] = _Tile(value)
            return
        if known.alloc is None:
            raise _error(f"tile '{name}' is assigned twice", stmt, "allocate it at level reg to make it mutable")
        if known.depth != len(frame.stack):
            raise _error(f"tile '{name}' belongs to an outer iteration", stmt, "allocate it inside the parallel loop")
        shape = tuple(self.number(e, frame) for e in known.alloc.shape)
        if value.shape != shape:
            raise _error(f"tile '{name}' is {list(shape)} and is assigned {list(value.shape)}", stmt, "equal shapes")
        known.value = cast(value, known.alloc.dtype)


def _coordinate(axis: int, shape: tuple[int, ...]) -> Array:
    return np.arange(shape[axis], dtype=np.int64).reshape([-1 if k == axis else 1 for k in range(len(shape))])


def _writes(stmt: Stmt) -> list[str]:
    match stmt:
        case Store(target=target) | Move(target=target):
            return [target.buffer]
    return []


def _error(message: str, stmt: Stmt, remedy: str) -> VerifyError:
    from .gir_printer import print_stmt  # only when something went wrong

    return VerifyError(f"{message}\n  in: {print_stmt(stmt)}", getattr(stmt, "location", NOWHERE), remedy)


__all__ = ["UnitOrder", "bind_symbols", "interpret", "scalar"]
