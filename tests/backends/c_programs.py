"""Random GIR programs that run: straight lines of tile instructions in a parallel loop, every result stored."""

from __future__ import annotations

from random import Random
from typing import Any

import ml_dtypes  # noqa: F401  (NumPy learns bfloat16)
import numpy as np
from weft.ir.dtypes import DType
from weft.ir.expr import Call, Cast, Const, Coord, Expr, Fn, Ref, Var, const
from weft.ir.gir import (
    Access,
    Alloc,
    Branch,
    Compute,
    Kernel,
    Level,
    Load,
    Loop,
    LoopKind,
    Move,
    Program,
    Reduce,
    Role,
    Stmt,
    Store,
    Tensor,
)
from weft.ir.op import Symbol

ARITHMETIC = (DType.F64, DType.F32, DType.I64, DType.I32, DType.BOOL)
SHAPES = ((), (1,), (5,), (16,), (48,), (4, 16), (3, 7), (2, 3, 8), (6, 1), (5, 32), (1, 4), (70, 16), (90,))
SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, -2.5, 0.5, 1.5, 65519.9, 3e38, -3e9, 2147483648.0, 7e-8)
Box = tuple[int, ...]


def call(fn: Fn, *args: Expr) -> Expr:
    return Call(fn, args)


class Maker:
    """Draws one program. `exact` leaves out functions that are not correctly rounded everywhere."""

    def __init__(self, seed: int, exact: bool = True, shape: Box | None = None, steps: int = 14) -> None:
        self.r = Random(seed)
        self.exact = exact
        self.shape = self.r.choice(SHAPES) if shape is None else shape
        self.tiles: dict[str, tuple[Box, DType]] = {}
        self.mutable: dict[str, tuple[Box, DType]] = {}
        self.outputs: list[Tensor] = []
        self.steps = steps
        self.count = 0

    def name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def flip(self, chance: float = 0.5) -> bool:
        return self.r.random() < chance

    # ---- expressions

    def expr(self, want: DType, box: Box, depth: int = 3) -> Expr:
        if depth == 0 or self.flip(0.2):
            return self.leaf(want, box)

        def sub(dtype: DType) -> Expr:
            return self.expr(dtype, box, depth - 1)

        if self.flip(0.2):
            if want is DType.BOOL:
                return Cast(want, sub(self.r.choice(ARITHMETIC)))
            return Cast(self.r.choice([d for d in DType if d.arithmetic is want]), sub(self.r.choice(ARITHMETIC)))
        if want is DType.BOOL:
            fn = self.r.choice((Fn.LT, Fn.LE, Fn.GT, Fn.GE, Fn.EQ, Fn.NE, Fn.AND, Fn.OR, Fn.NOT, Fn.ISNAN, Fn.SELECT))
            if fn is Fn.SELECT:
                return call(fn, *(sub(DType.BOOL) for _ in range(3)))
            if fn is Fn.NOT:
                return call(fn, sub(want))
            if fn is Fn.ISNAN:
                return call(fn, sub(self.r.choice((DType.F32, DType.F64))))
            dtype = DType.BOOL if fn in (Fn.AND, Fn.OR) else self.r.choice(ARITHMETIC[:4])
            return call(fn, sub(dtype), sub(dtype))
        fns = [Fn.ADD, Fn.SUB, Fn.MUL, Fn.MAX, Fn.MIN, Fn.NEG, Fn.ABS, Fn.SELECT, Fn.FLOORDIV, Fn.MOD]
        if want.is_float:
            fns += [Fn.DIV, Fn.FLOOR, Fn.CEIL, Fn.ROUND, Fn.DIV]
            if not self.exact:
                fns += [Fn.EXP, Fn.TANH, Fn.FMA, Fn.SQRT, Fn.RSQRT, Fn.SIGMOID, Fn.ERF, Fn.LOG1P, Fn.COS, Fn.FMA]
                fns = [f for f in fns if f not in (Fn.FLOORDIV, Fn.MOD, Fn.FLOOR, Fn.CEIL, Fn.ROUND)]
        fn = self.r.choice(fns)
        if fn is Fn.SELECT:
            return call(fn, sub(DType.BOOL), sub(want), sub(want))
        arity = 3 if fn is Fn.FMA else 2
        if fn in (Fn.NEG, Fn.ABS, Fn.FLOOR, Fn.CEIL, Fn.ROUND) or fn.value in (
            ["exp", "tanh", "sqrt", "rsqrt", "sigmoid", "erf", "log1p", "cos"]
        ):
            arity = 1
        return call(fn, *(sub(want) for _ in range(arity)))

    def leaf(self, want: DType, box: Box) -> Expr:
        fits = [
            Ref(n)
            for n, (s, d) in self.tiles.items()
            if d is want and len(s) <= len(box) and all(a in (1, b) for a, b in zip(s[::-1], box[::-1], strict=False))
        ]
        if fits and self.flip(0.75):
            return self.r.choice(fits)
        if want is DType.I64 and self.flip():
            return self.r.choice([Var("i"), Var("N"), *(Coord(k) for k in range(len(box)))])
        if want is DType.BOOL:
            return Const(self.flip(), want)
        if want.is_int:
            small = self.flip()
            value = self.r.randint(-9, 9) if small else self.r.choice((2**31 - 1, -(2**31), 1 << 20))
            return Const(value, want)
        return Const(self.r.choice((*SPECIAL, 1.0, 3.25, -7.0)), want)

    # ---- instructions

    def box(self) -> Box:
        if self.flip(0.6):
            return self.shape
        cut = self.r.randint(0, len(self.shape))
        return tuple(1 if self.flip(0.3) else n for n in self.shape[cut:])

    def assign(self, box: Box, dtype: DType) -> str:
        """A new tile, or a mutable one that fits."""
        fits = [n for n, t in self.mutable.items() if t == (box, dtype)]
        return self.r.choice(fits) if fits and self.flip() else self.name("t")

    def place(self, box: Box, first: Expr, second: Expr) -> tuple[Expr, Expr]:
        """An index into [M, N], inside or not."""
        rows: list[Expr] = [first, const(self.r.randint(0, 2))]
        columns: list[Expr] = [const(self.r.randint(0, 3)), second]
        for k in range(len(box)):
            scale = self.r.choice((1, 1, 1, 2, 3, -1))
            term = Coord(k) if scale == 1 else call(Fn.MUL, Coord(k), const(scale))
            (columns if k == len(box) - 1 and self.flip(0.8) else rows).append(term)
        self.r.shuffle(rows)
        index = []
        for terms in (rows, columns):
            total = terms[0]
            for t in terms[1:]:
                total = call(Fn.ADD, total, t)
            index.append(total)
        if self.flip(0.15):  # a gather
            index[1] = Cast(DType.I64, self.expr(DType.I64, box, 1))
        if self.flip(0.1):
            index[0] = call(Fn.MOD, index[0], Var("M"))
        return index[0], index[1]

    def inside(self, index: tuple[Expr, Expr]) -> Expr:
        tests = [call(Fn.LT, index[0], Var("M")), call(Fn.LT, index[1], Var("N"))]
        tests += [call(Fn.GE, index[0], const(0)), call(Fn.LE, const(0), index[1])]
        self.r.shuffle(tests)
        out = tests[0]
        for t in tests[1:]:
            out = call(Fn.AND, out, t)
        return out

    def load(self) -> Stmt:
        box = self.box()
        dtype = self.r.choice(list(DType))
        index = self.place(box, Var("i"), const(0))
        predicate = self.inside(index)
        if self.flip(0.15):
            predicate = call(Fn.AND, predicate, self.expr(DType.BOOL, box, 1))
        fill = self.expr(dtype.arithmetic, box, self.r.randint(0, 1))
        tile = self.assign(box, dtype.arithmetic)
        self.tiles[tile] = (box, dtype.arithmetic)
        return Load(tile, box, Access(f"x_{dtype}", index), predicate, fill)

    def load_whole(self) -> Stmt:
        """Without a predicate: the table is as large as the largest tile."""
        box = self.box()
        dtype = self.r.choice(list(DType))
        index = tuple(Coord(k) if n > 1 else const(0) for k, n in enumerate(box))
        index = (const(0),) * (3 - len(box)) + index
        tile = self.assign(box, dtype.arithmetic)
        self.tiles[tile] = (box, dtype.arithmetic)
        return Load(tile, box, Access(f"z_{dtype}", index))

    def compute(self) -> Stmt:
        box = self.box()
        dtype = self.r.choice(ARITHMETIC)
        expr = self.expr(dtype, box)
        tile = self.assign(box, dtype)
        self.tiles[tile] = (box, dtype)
        return Compute(tile, box, expr, dtype)

    def reduce(self) -> Stmt | None:
        options = [n for n, (s, _) in self.tiles.items() if s]
        if not options:
            return None
        source = self.r.choice(options)
        shape, dtype = self.tiles[source]
        axes = tuple(sorted(self.r.sample(range(len(shape)), self.r.randint(1, len(shape)))))
        fns = (Fn.AND, Fn.OR) if dtype is DType.BOOL else (Fn.MAX, Fn.MIN)
        if dtype.is_int or not self.exact:
            fns += (Fn.ADD,)
        tile = self.name("t")
        made = Reduce(tile, self.r.choice(fns), source, axes, running=len(axes) == 1 and self.r.random() < 0.3)
        self.tiles[tile] = (made.folded(shape), dtype)
        return made

    def alloc(self) -> list[Stmt]:
        box, dtype = self.box(), self.r.choice(list(DType))
        name = self.name("m")
        value = self.expr(dtype.arithmetic, box)
        self.tiles[name] = self.mutable[name] = (box, dtype.arithmetic)
        out: list[Stmt] = [Alloc(name, dtype, tuple(map(const, box)), Level.REG)]
        out.append(Compute(name, box, value, dtype.arithmetic))
        again = Compute(name, box, self.expr(dtype.arithmetic, box), dtype.arithmetic)
        kind = self.r.choice((LoopKind.SERIAL, LoopKind.UNROLL))
        out.append(Loop("k", const(0), const(self.r.randint(0, 3)), 1, kind, (again,)))
        if self.flip():
            condition = call(Fn.LT, Var("i"), const(1))
            out.append(Branch(condition, (Compute(name, box, self.expr(dtype.arithmetic, box, 1), dtype.arithmetic),)))
        return out

    def scratch(self) -> list[Stmt]:
        """A window of an input through sram."""
        dtype = self.r.choice(list(DType))
        other = self.r.choice([d for d in DType if d.arithmetic is dtype.arithmetic])
        name, tile = self.name("s"), self.name("t")
        self.tiles[tile] = ((4,), dtype.arithmetic)
        shape = (Var("N"), const(4))
        index = (Coord(0), Coord(1))
        source = Access(f"x_{other}", (Var("i"), Coord(0)))
        move = Move(Access(name, index), source, shape, call(Fn.LT, Coord(1), const(3)), Const(1, dtype.arithmetic))
        load = Load(tile, (4,), Access(name, (call(Fn.SUB, Var("N"), const(1)), Coord(0))))
        return [Alloc(name, dtype, shape, Level.SRAM), move, load]

    def store(self, tile: str) -> list[Stmt]:
        box, arithmetic = self.tiles[tile]
        dtype = self.r.choice([d for d in DType if d.arithmetic is arithmetic])
        if self.exact and self.flip(0.2):
            dtype = self.r.choice(list(DType))
        name = self.name("y_")
        self.outputs.append(Tensor(name, dtype, (Var("M"), *map(const, box)), Role.OUTPUT))
        index = (Var("i"), *(Coord(k) for k in range(len(box))))
        if self.flip(0.2) and box:  # transposed
            self.outputs[-1] = Tensor(name, dtype, (Var("M"), *map(const, box[::-1])), Role.OUTPUT)
            index = (Var("i"), *(Coord(k) for k in reversed(range(len(box)))))
        value: Expr = Ref(tile)
        if self.flip(0.3):
            test = call(Fn.LT, Coord(len(box) - 1), Var("i")) if box and self.flip() else self.expr(DType.BOOL, box, 1)
            other = self.expr(arithmetic, box, 1)
            return [
                Store(Access(name, index), box, value, test),
                Store(Access(name, index), box, other, call(Fn.NOT, test)),
            ]
        return [Store(Access(name, index), box, value, streaming=self.flip(0.3))]

    def program(self) -> Program:
        body: list[Stmt] = []
        makers = (self.load, self.load, self.load_whole, self.compute, self.compute, self.compute, self.reduce)
        for _ in range(self.steps):
            if self.flip(0.12):
                body += self.alloc()
            elif self.flip(0.1):
                body += self.scratch()
            else:
                stmt = self.r.choice(makers)()
                body += [] if stmt is None else [stmt]
        for tile in self.r.sample(sorted(self.tiles), min(len(self.tiles), 8)):
            body += self.store(tile)
        if not self.outputs:
            return Maker(self.r.randint(0, 1 << 30), self.exact, self.shape, self.steps).program()
        tables = [Tensor(f"x_{d}", d, (Var("M"), Var("N")), Role.INPUT) for d in DType]
        tables += [Tensor(f"z_{d}", d, (const(2), const(90), const(90)), Role.INPUT) for d in DType]
        loop = Loop("i", const(0), Var("M"), 1, LoopKind.UNIT, tuple(body))
        kernels = (Kernel("k", (loop,)),)
        return Program("fuzz", (Symbol("M"), Symbol("N")), (*tables, *self.outputs), kernels)


def random_inputs(program: Program, env: dict[str, int], seed: int) -> dict[str, Any]:
    """Inputs with a share of awkward values."""
    rng = np.random.default_rng(seed)
    out: dict[str, Any] = {}
    for t in program.tensors:
        if t.role is not Role.INPUT:
            continue
        shape = tuple(env[e.name] if isinstance(e, Var) else int(e.value) for e in t.shape)  # type: ignore[attr-defined]
        with np.errstate(all="ignore"):
            if t.dtype.is_float:
                values = np.where(rng.random(shape) < 0.2, rng.choice(SPECIAL, shape), 4 * rng.normal(size=shape))
                out[t.name] = values.astype(t.dtype.numpy)
            elif t.dtype is DType.BOOL:
                out[t.name] = rng.random(shape) < 0.5
            else:
                limits = np.iinfo(t.dtype.numpy)
                wild = rng.choice((limits.min, limits.max, 0), shape)
                out[t.name] = np.where(rng.random(shape) < 0.1, wild, rng.integers(0, 9, shape)).astype(t.dtype.numpy)
    return out
