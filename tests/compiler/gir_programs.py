"""Random small legal GIR programs, for property tests of passes: guards and tails, causal masks, accumulators, scratch
buffers, invariant and repeated loads, dead stores, temporaries between kernels."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
from weft.ir.dtypes import DType
from weft.ir.expr import Call, Const, Coord, Expr, Fn, Ref, Var, const
from weft.ir.gir import (
    Access,
    Alloc,
    Compute,
    Kernel,
    Level,
    Load,
    Loop,
    LoopKind,
    Move,
    Prefetch,
    Program,
    Reduce,
    Role,
    Stmt,
    Store,
    Tensor,
    walk,
)
from weft.ir.gir_interp import interpret
from weft.ir.gir_verify import verify
from weft.ir.op import Symbol

F32 = DType.F32
ROW, COLUMN = Var("i"), Var("j")


def f32(value: float) -> Const:
    return Const(float(value), F32)


def call(fn: Fn, *args: Expr) -> Call:
    return Call(fn, args)


def add(a: Expr, b: Expr) -> Call:
    return Call(Fn.ADD, (a, b))


@dataclass(frozen=True)
class Sample:
    program: Program
    symbols: dict[str, int]
    inputs: dict[str, np.ndarray]

    def run(self, program: Program | None = None, seed: int = 0) -> dict[str, np.ndarray]:
        return interpret(program or self.program, self.inputs, self.symbols, seed=seed)


class _Maker:
    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.count = 0
        sizes = [1, 2, 3, 4, 5, 7, 8, 12, 13, 16]
        self.m, self.n = rng.choice(sizes), rng.choice(sizes)
        self.symbolic = rng.random() < 0.6
        self.ti, self.tj = rng.choice([1, 2, 4]), rng.choice([1, 2, 4, 8])
        self.M: Expr = Var("M") if self.symbolic else const(self.m)
        self.N: Expr = Var("N") if self.symbolic else const(self.n)
        self.tiles: list[tuple[str, tuple[int, int]]] = []

    def name(self, base: str) -> str:
        self.count += 1
        return f"{base}{self.count}"

    def row_guard(self) -> Expr:
        return call(Fn.LT, add(ROW, Coord(0)), self.M)

    def column_guard(self) -> Expr:
        return call(Fn.LT, add(COLUMN, Coord(1)), self.N)

    def guard(self) -> Expr:
        return call(Fn.AND, self.row_guard(), self.column_guard())

    def at(self, name: str) -> Access:
        return Access(name, (add(ROW, Coord(0)), add(COLUMN, Coord(1))))

    def new(self, base: str, shape: tuple[int, int]) -> str:
        name = self.name(base)
        self.tiles.append((name, shape))
        return name

    def load(self, buffers: list[str]) -> Stmt:
        shape = (self.ti, self.tj)
        match self.rng.randrange(4):
            case 0:  # the element to the left
                index = (add(ROW, Coord(0)), call(Fn.SUB, add(COLUMN, Coord(1)), const(1)))
                inside = call(Fn.AND, self.guard(), call(Fn.GE, add(COLUMN, Coord(1)), const(1)))
                return Load(self.new("left", shape), shape, Access("x", index), inside, f32(0))
            case 1:  # invariant in j
                shape = (self.ti, 1)
                return Load(self.new("v", shape), shape, Access("v", (add(ROW, Coord(0)),)), self.row_guard(), f32(1))
            case 2:
                shape = (1, self.tj)
                return Load(
                    self.new("w", shape), shape, Access("w", (add(COLUMN, Coord(1)),)), self.column_guard(), f32(2)
                )
        fill = self.rng.choice([0.0, 1.0])
        return Load(self.new("t", shape), shape, self.at(self.rng.choice(buffers)), self.guard(), f32(fill))

    def value(self, depth: int = 2) -> Expr:
        rng = self.rng
        if depth == 0 or rng.random() < 0.2:
            return Ref(rng.choice(self.tiles)[0]) if self.tiles and rng.random() < 0.85 else f32(rng.randrange(-2, 3))
        if rng.random() < 0.25:
            mask = rng.choice(
                [
                    call(Fn.LE, add(COLUMN, Coord(1)), add(ROW, Coord(0))),
                    call(Fn.GT, add(COLUMN, Coord(1)), add(ROW, Coord(0))),
                    call(Fn.LT, add(COLUMN, Coord(1)), const(rng.randrange(8))),
                    call(Fn.OR, call(Fn.GE, COLUMN, const(3)), call(Fn.EQ, ROW, const(0))),
                ]
            )
            return call(Fn.SELECT, mask, self.value(depth - 1), self.value(depth - 1))
        fn = rng.choice([Fn.ADD, Fn.SUB, Fn.MAX, Fn.MIN, Fn.MUL])
        return call(fn, self.value(depth - 1), f32(2) if fn is Fn.MUL else self.value(depth - 1))

    def compute(self) -> Stmt:
        shape = (self.ti, self.tj)
        expr = self.value()
        return Compute(self.new("c", shape), shape, expr, F32)

    def inner(self, buffers: list[str], outputs: list[str], reductions: list[tuple[str, Fn]]) -> tuple[Stmt, ...]:
        rng, out = self.rng, list[Stmt]()
        shape = (self.ti, self.tj)
        mark = len(self.tiles)
        for _ in range(rng.randrange(1, 4)):
            out.append(self.load(buffers))
        if rng.random() < 0.2:
            out.append(Prefetch(Access(rng.choice(buffers), (add(ROW, const(1)), COLUMN)), 4))
        if rng.random() < 0.4:
            first = out[0]
            assert isinstance(first, Load)
            out.append(Load(self.new("again", first.shape), first.shape, first.source, first.predicate, first.fill))
        out.append(self.compute())
        if rng.random() < 0.5:  # through scratch memory
            scratch, box = self.name("s"), (Coord(0), Coord(1))
            out.append(Alloc(scratch, F32, (const(self.ti), const(self.tj)), Level.SRAM))
            out.append(Store(Access(scratch, box), shape, self.value()))
            if rng.random() < 0.8:
                out.append(Load(self.new("back", shape), shape, Access(scratch, box)))
        out.append(self.compute())
        for acc, fn in reductions:
            identity = f32(0) if fn is Fn.ADD else f32(-np.inf)
            keep = self.column_guard()
            if rng.random() < 0.5:
                keep = call(Fn.AND, keep, call(Fn.LE, add(COLUMN, Coord(1)), add(ROW, Coord(0))))
            masked, total = self.name("m"), self.name("r")
            out.append(Compute(masked, shape, call(Fn.SELECT, keep, self.value(1), identity), F32))
            out.append(Reduce(total, fn, masked, (1,)))
            out.append(Compute(acc, (self.ti, 1), call(fn, Ref(acc), Ref(total)), F32))
        for name in outputs:
            value = self.value()
            if rng.random() < 0.3:  # written twice: the first one is dead
                out.append(Store(self.at(name), shape, self.value(1), self.guard()))
            out.append(Store(self.at(name), shape, value, self.guard()))
            if rng.random() < 0.3 and name in outputs[:1]:  # read back what was just stored
                out.append(Load(self.new("g", shape), shape, self.at(name), self.guard(), f32(0)))
        del self.tiles[mark:]
        return tuple(out)

    def kernel(self, name: str, buffers: list[str], outputs: list[str], reductions: list[tuple[str, Fn]]) -> Kernel:
        body: list[Stmt] = []
        states = [(self.name("acc"), fn) for _, fn in reductions]
        for acc, fn in states:
            body.append(Alloc(acc, F32, (const(self.ti), const(1)), Level.REG))
            body.append(Compute(acc, (self.ti, 1), f32(0) if fn is Fn.ADD else f32(-np.inf), F32))
        self.tiles = []
        inner = self.inner(buffers, outputs, states)
        body.append(Loop("j", const(0), self.N, self.tj, LoopKind.SERIAL, inner))
        for (acc, _), (target, _) in zip(states, reductions, strict=True):
            body.append(Store(Access(target, (add(ROW, Coord(0)),)), (self.ti, 1), Ref(acc), self.row_guard()))
        kind = self.rng.choice([LoopKind.UNIT, LoopKind.UNIT, LoopKind.SERIAL])
        return Kernel(name, (Loop("i", const(0), self.M, self.ti, kind, tuple(body)),))


def random_program(seed: int) -> Sample:
    """The same program for the same seed; every program is legal and writes its outputs completely."""
    rng = Random(seed)
    make = _Maker(rng)
    square, rows, cols = (make.M, make.N), (make.M,), (make.N,)
    tensors = [
        Tensor("x", F32, square, Role.INPUT),
        Tensor("v", F32, rows, Role.INPUT),
        Tensor("w", F32, cols, Role.INPUT),
        Tensor("y", F32, square, Role.OUTPUT),
    ]
    reductions: list[tuple[str, Fn]] = []
    for k in range(rng.randrange(3)):
        tensors.append(Tensor(f"r{k}", F32, rows, Role.OUTPUT))
        reductions.append((f"r{k}", rng.choice([Fn.ADD, Fn.MAX])))
    two = rng.random() < 0.5
    first = ["tmp"] if two else ["y"]
    if two:
        tensors.append(Tensor("tmp", F32, square, Role.TEMP))
    if rng.random() < 0.3:
        tensors.append(Tensor("unused", F32, square, Role.TEMP))
        first = [*first, "unused"]
    kernels = [make.kernel("first", ["x"], first, reductions)]
    if two and rng.random() < 0.3:
        zero = (Coord(0), Coord(1))
        kernels.append(Kernel("copy", (Move(Access("y", zero), Access("tmp", zero), square),)))
    elif two:
        kernels.append(make.kernel("second", ["x", "tmp"], ["y"], []))
    symbols = tuple(Symbol(n) for n in ("M", "N")) if make.symbolic else ()
    data = np.random.default_rng(seed)
    inputs = {
        "x": data.integers(-4, 5, (make.m, make.n)).astype(np.float32),
        "v": data.integers(-4, 5, (make.m,)).astype(np.float32),
        "w": data.integers(-4, 5, (make.n,)).astype(np.float32),
    }
    program = Program("random", symbols, tuple(tensors), tuple(kernels))
    return Sample(program, {"M": make.m, "N": make.n} if make.symbolic else {}, inputs)


def count(program: Program, kind: type[Stmt]) -> int:
    return sum(isinstance(s, kind) for k in program.kernels for s in walk(k.body))


def assert_same_result(sample: Sample, after: Program) -> None:
    verify(after)
    before, now = sample.run(), sample.run(after)
    assert before.keys() == now.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(now[name], array, err_msg=name)
