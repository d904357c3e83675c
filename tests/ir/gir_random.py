"""Random legal GIR programs, for round trips (hypothesis draws the choices)."""

from __future__ import annotations

from hypothesis import strategies as st
from weft.ir.dtypes import DType
from weft.ir.expr import ASSOCIATIVE, LOGICAL, Call, Cast, Const, Coord, Expr, Fn, Ref, Var, const
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
    Prefetch,
    Program,
    Reduce,
    Role,
    Stmt,
    Store,
    Sync,
    Tensor,
)
from weft.ir.op import Symbol

ARITHMETIC = (DType.F64, DType.F32, DType.I64, DType.I32, DType.BOOL)
# names that are words of the statements are legal names too
NAMES = ("x", "load", "store", "reduce", "step", "input", "streaming", "over", "when", "a$1", "loop", "sram", "tile")


def fits(shape: tuple[int, ...], box: tuple[int, ...]) -> bool:
    pairs = zip(shape[::-1], box[::-1], strict=False)
    return len(shape) <= len(box) and all(s in (1, b) for s, b in pairs)


class Maker:
    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.count = 0

    def pick(self, options):  # type: ignore[no-untyped-def]
        return self.draw(st.sampled_from(tuple(options)))

    def flip(self) -> bool:
        return self.draw(st.booleans())

    def name(self) -> str:
        self.count += 1
        return f"{self.pick(NAMES)}_{self.count}" if self.count > len(NAMES) else NAMES[self.count - 1]

    # expressions of a wanted type over `numbers`, tiles (name -> (shape, dtype)) and the coordinates of `box`
    def expr(self, want: DType, box, numbers, tiles, depth: int = 3) -> Expr:  # type: ignore[no-untyped-def]
        leaves: list[Expr] = [self.const(want)]
        leaves += [Ref(n) for n, (shape, dtype) in tiles.items() if dtype is want and fits(shape, box)]
        if want is DType.I64:
            leaves += [Var(n) for n in numbers] + [Coord(k) for k in range(len(box))]
        if depth == 0 or self.flip():
            return self.pick(leaves)

        def sub(dtype: DType) -> Expr:
            return self.expr(dtype, box, numbers, tiles, depth - 1)

        if self.draw(st.integers(0, 4)) == 0:
            if want is DType.BOOL or self.flip():
                return Cast(want, sub(self.pick(ARITHMETIC)))
            narrow = [d for d in DType if d.arithmetic is want]
            return Cast(self.pick(narrow), sub(self.pick(ARITHMETIC)))
        if want is DType.BOOL:
            fn = self.pick((Fn.LT, Fn.LE, Fn.GT, Fn.GE, Fn.EQ, Fn.NE, Fn.AND, Fn.OR, Fn.NOT, Fn.ISNAN))
            if fn is Fn.NOT:
                return Call(fn, (sub(DType.BOOL),))
            if fn is Fn.ISNAN:
                return Call(fn, (sub(DType.F32),))
            dtype = DType.BOOL if fn in LOGICAL else self.pick(ARITHMETIC[:4])
            return Call(fn, (sub(dtype), sub(dtype)))
        common = (Fn.ADD, Fn.SUB, Fn.MUL, Fn.MAX, Fn.MIN, Fn.NEG, Fn.ABS, Fn.SELECT)
        fn = self.pick(common + ((Fn.FLOORDIV, Fn.MOD) if want.is_int else (Fn.DIV, Fn.EXP, Fn.POW, Fn.FMA, Fn.TANH)))
        if fn is Fn.SELECT:
            return Call(fn, (sub(DType.BOOL), sub(want), sub(want)))
        arity = {Fn.NEG: 1, Fn.ABS: 1, Fn.EXP: 1, Fn.TANH: 1, Fn.FMA: 3}.get(fn, 2)
        return Call(fn, tuple(sub(want) for _ in range(arity)))

    def const(self, dtype: DType) -> Const:
        if dtype is DType.BOOL:
            return Const(self.flip(), dtype)
        if dtype.is_int:
            return Const(self.draw(st.integers(-(2**31), 2**31 - 1)), dtype)
        return Const(self.draw(st.floats(width=32)), dtype)

    def box(self) -> tuple[int, ...]:
        return tuple(self.draw(st.lists(st.sampled_from((1, 2, 16)), max_size=2)))

    def body(self, depth: int, numbers, tiles, mutable, buffers) -> tuple[Stmt, ...]:  # type: ignore[no-untyped-def]
        tiles, mutable, buffers = dict(tiles), dict(mutable), dict(buffers)
        out: list[Stmt] = []
        for _ in range(self.draw(st.integers(0, 4))):
            out.append(self.stmt(depth, numbers, tiles, mutable, buffers))
        return tuple(out)

    def stmt(self, depth: int, numbers, tiles, mutable, buffers) -> Stmt:  # type: ignore[no-untyped-def]
        kinds = ["alloc", "load", "compute", "reduce", "store", "move", "prefetch", "sync"]
        kinds += ["loop", "branch"] * (depth > 0)
        kind = self.pick(kinds)
        box = self.box()

        def e(want: DType, where=box) -> Expr:  # type: ignore[no-untyped-def]
            return self.expr(want, where, numbers, tiles)

        def access(name: str) -> Access:
            return Access(name, tuple(e(DType.I64) for _ in buffers[name][1]))

        if kind == "alloc":
            dtype = self.pick(DType)
            level = self.pick((Level.REG, Level.SRAM))
            name = self.name()
            if level is Level.REG:
                tiles[name] = mutable[name] = (box, dtype.arithmetic)
                return Alloc(name, dtype, tuple(map(const, box)), level)
            shape = tuple(const(b) for b in box)
            buffers[name] = (dtype, shape, True)
            return Alloc(name, dtype, shape, level)
        if kind == "load":
            source = self.pick(buffers)
            dtype = buffers[source][0].arithmetic
            same = [n for n, t in mutable.items() if t == (box, dtype)]
            guarded = self.flip()
            predicate, fill = (e(DType.BOOL), e(dtype)) if guarded else (None, None)
            load = access(source)
            name = self.pick(same) if same and self.flip() else self.name()
            tiles[name] = (box, dtype)
            return Load(name, box, load, predicate, fill)
        if kind == "reduce" and any(s for s, _ in tiles.values()):
            source = self.pick([n for n, (s, _) in tiles.items() if s])
            shape, dtype = tiles[source]
            axes = tuple(self.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True)))
            fn = self.pick(sorted((f for f in ASSOCIATIVE if (f in LOGICAL) == (dtype is DType.BOOL)), key=str))
            name = self.name()
            running = len(axes) == 1 and self.flip()
            tiles[name] = (shape if running else tuple(1 if k in axes else s for k, s in enumerate(shape)), dtype)
            return Reduce(name, fn, source, axes, running=running)
        if kind == "store":
            target = self.pick([n for n in buffers if buffers[n][2]])
            predicate = e(DType.BOOL) if self.flip() else None
            return Store(access(target), box, e(buffers[target][0].arithmetic), predicate, self.flip())
        if kind == "move":
            pairs = [
                (a, b)
                for a in buffers
                for b in buffers
                if buffers[a][2] and a != b and buffers[a][0].arithmetic is buffers[b][0].arithmetic
            ]
            if pairs:
                target, source = self.pick(pairs)
                scalars = {n: t for n, t in tiles.items() if not t[0]}
                rank = self.draw(st.integers(0, 2))
                extents = tuple(self.expr(DType.I64, (), numbers, scalars, 2) for _ in range(rank))
                where = tuple(1 for _ in range(rank))

                def index(name: str) -> Access:
                    return Access(
                        name, tuple(self.expr(DType.I64, where, numbers, scalars, 2) for _ in buffers[name][1])
                    )

                guarded = self.flip()
                predicate = self.expr(DType.BOOL, where, numbers, scalars, 2) if guarded else None
                dtype = buffers[target][0].arithmetic
                fill = self.expr(dtype, where, numbers, scalars, 2) if guarded and self.flip() else None
                return Move(index(target), index(source), extents, predicate, fill)
        if kind == "prefetch":
            source = self.pick(list(buffers))
            index = tuple(self.expr(DType.I64, (), numbers, {}, 2) for _ in buffers[source][1])
            return Prefetch(Access(source, index), self.draw(st.integers(1, 64)))
        if kind == "sync":
            return Sync(self.pick((Level.SRAM, Level.DRAM)))
        if kind == "loop":
            lo, hi = e(DType.I64, ()), e(DType.I64, ())
            var = self.name()
            kind_of_loop = self.pick((LoopKind.SERIAL, LoopKind.UNROLL))
            step = self.pick((1, 2, 16))
            return Loop(var, lo, hi, step, kind_of_loop, self.body(depth - 1, [*numbers, var], tiles, mutable, buffers))
        if kind == "branch":
            condition = e(DType.BOOL, ())
            then = self.body(depth - 1, numbers, tiles, mutable, buffers)
            otherwise = self.body(depth - 1, numbers, tiles, mutable, buffers) if self.flip() else ()
            return Branch(condition, then, otherwise)
        dtype = self.pick(ARITHMETIC)
        same = [n for n, t in mutable.items() if t == (box, dtype)]
        value = e(dtype)
        name = self.pick(same) if same and self.flip() else self.name()
        tiles[name] = (box, dtype)
        return Compute(name, box, value, dtype)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    maker = Maker(draw)
    symbols = tuple(Symbol(n, draw(st.none() | st.integers(-3, 9))) for n in ("M", "N"))
    tensors = []
    for role in (Role.INPUT, Role.TEMP, Role.OUTPUT):
        shape = tuple(draw(st.lists(st.sampled_from((Var("M"), Var("N"), const(7))), max_size=3)))
        tensors.append(Tensor(maker.name(), maker.pick(DType), shape, role))
    buffers = {t.name: (t.dtype, t.shape, t.role is not Role.INPUT) for t in tensors}
    facts = (Call(Fn.EQ, (Call(Fn.MOD, (Var("N"), const(4))), const(0))),) if draw(st.booleans()) else ()
    kernels = []
    for k in range(draw(st.integers(0, 2))):
        body = maker.body(2, ["M", "N"], {}, {}, buffers)
        if draw(st.booleans()):
            body = (Loop(maker.name(), const(0), Var("M"), 1, maker.pick((LoopKind.UNIT, LoopKind.GROUP)), body),)
        kernels.append(Kernel(f"k{k}", body))
    return Program("random", symbols, tuple(tensors), tuple(kernels), facts)
