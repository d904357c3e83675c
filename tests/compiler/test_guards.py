"""Guard hoisting: full iterations lose their tests, empty iterations go, results stay."""

from gir_programs import COLUMN, F32, ROW, add, assert_same_result, call, count, f32, random_program
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.compiler.passes.guards import Guards
from weft.ir.expr import Coord, Expr, Fn, Ref, Var, const
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
    Program,
    Reduce,
    Role,
    Stmt,
    Store,
    Tensor,
    walk,
)
from weft.ir.op import Symbol

N = Var("N")


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_results_stay_the_same(seed: int) -> None:
    sample = random_program(seed)
    assert_same_result(sample, Guards().run(sample.program))


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_copies_are_bounded(seed: int) -> None:
    program = random_program(seed).program
    for copies in (1, 2, 4):
        after = Guards(max_copies=copies).run(program)
        assert count(after, Store) <= copies * count(program, Store)


def copy(extent: Expr, facts: tuple[Expr, ...] = ()) -> Program:
    at = add(Var("j"), Coord(0))
    inside = call(Fn.LT, at, extent)
    body = (Load("t", (16,), Access("x", (at,)), inside, f32(0)), Store(Access("y", (at,)), (16,), Ref("t"), inside))
    loop = Loop("j", const(0), extent, 16, LoopKind.SERIAL, body)
    tensors = (Tensor("x", F32, (extent,), Role.INPUT), Tensor("y", F32, (extent,), Role.OUTPUT))
    return Program("p", (Symbol("N"),), tensors, (Kernel("k", (loop,)),), facts)


def loops(program: Program) -> list[tuple[Expr, Expr]]:
    return [(s.lo, s.hi) for s in walk(program.kernels[0].body) if isinstance(s, Loop)]


def test_symbolic_tail_becomes_a_full_loop_and_a_tail() -> None:
    after = Guards().run(copy(N))
    whole = call(Fn.MUL, call(Fn.FLOORDIV, N, const(16)), const(16))
    assert loops(after) == [(const(0), whole), (whole, N)]
    guards = [s.predicate is not None for s in walk(after.kernels[0].body) if isinstance(s, Load)]
    assert guards == [False, True]


def test_divisible_extent_needs_no_tail() -> None:
    fact = call(Fn.EQ, call(Fn.MOD, N, const(32)), const(0))
    for program in (copy(N, (fact,)), copy(const(64))):
        after = Guards().run(program)
        assert len(loops(after)) == 1
        assert all(s.predicate is None for s in walk(after.kernels[0].body) if isinstance(s, Load | Store))


def test_short_constant_extent_keeps_its_guard() -> None:
    program = copy(const(5))
    assert Guards().run(program) == program


def causal(kind: LoopKind) -> Program:
    """r[i] = sum over j <= i of x[j], 64 rows and 16 columns at a time; 64 divides N."""
    row, column = add(ROW, Coord(1)), add(COLUMN, Coord(0))
    mask = call(Fn.LE, column, row)
    inner: tuple[Stmt, ...] = (
        Load("x1", (16, 1), Access("x", (column,))),
        Compute("m", (16, 64), call(Fn.SELECT, mask, Ref("x1"), f32(0)), F32),
        Reduce("s", Fn.ADD, "m", (0,)),
        Compute("a", (1, 64), add(Ref("a"), Ref("s")), F32),
    )
    body: tuple[Stmt, ...] = (
        Alloc("a", F32, (const(1), const(64)), Level.REG),
        Compute("a", (1, 64), f32(0), F32),
        Loop("j", const(0), N, 16, LoopKind.SERIAL, inner),
        Store(Access("r", (row,)), (1, 64), Ref("a")),
    )
    tensors = (Tensor("x", F32, (N,), Role.INPUT), Tensor("r", F32, (N,), Role.OUTPUT))
    fact = call(Fn.EQ, call(Fn.MOD, N, const(64)), const(0))
    loop = Loop("i", const(0), N, 64, kind, body)
    return Program("causal", (Symbol("N"),), tensors, (Kernel("k", (loop,)),), (fact,))


def test_causal_mask_is_full_partial_and_empty() -> None:
    for kind in (LoopKind.UNIT, LoopKind.SERIAL):
        after = Guards().run(causal(kind))
        assert loops(after)[1:] == [(const(0), ROW), (ROW, add(ROW, const(64)))]
        computes = [s.expr for s in walk(after.kernels[0].body) if isinstance(s, Compute) and s.tile == "m"]
        assert computes[0] == Ref("x1")


def test_an_effect_in_the_empty_part_keeps_it() -> None:
    program = causal(LoopKind.UNIT)
    outer = program.kernels[0].body[0]
    assert isinstance(outer, Loop)
    counting = tuple(
        Loop(s.var, s.lo, s.hi, s.step, s.kind, (*s.body, Compute("a", (1, 64), add(Ref("a"), f32(1)), F32)))
        if isinstance(s, Loop)
        else s
        for s in outer.body
    )
    kept = Loop(outer.var, outer.lo, outer.hi, outer.step, outer.kind, counting)
    after = Guards().run(Program("p", program.symbols, program.tensors, (Kernel("k", (kept,)),), program.facts))
    assert loops(after)[-1][1] == N


def test_parallel_tail_is_a_second_version_of_the_body() -> None:
    program = copy(N)
    loop = program.kernels[0].body[0]
    assert isinstance(loop, Loop)
    parallel = Loop(loop.var, loop.lo, loop.hi, loop.step, LoopKind.UNIT, loop.body)
    after = Guards().run(Program("p", program.symbols, program.tensors, (Kernel("k", (parallel,)),)))
    (outer,) = after.kernels[0].body
    assert isinstance(outer, Loop)
    (branch,) = outer.body
    assert isinstance(branch, Branch)
    assert all(s.predicate is None for s in branch.then if isinstance(s, Load | Store))
    assert all(s.predicate is not None for s in branch.otherwise if isinstance(s, Load | Store))


def test_nan_is_an_effect() -> None:
    """Multiplying an accumulator by zero where the mask is empty is not a step without effect."""
    program = causal(LoopKind.UNIT)
    outer = program.kernels[0].body[0]
    assert isinstance(outer, Loop)
    scaled = Compute("a", (1, 64), call(Fn.ADD, Ref("a"), call(Fn.MUL, Ref("a"), Ref("s"))), F32)
    body = tuple(
        Loop(s.var, s.lo, s.hi, s.step, s.kind, (*s.body, scaled)) if isinstance(s, Loop) else s for s in outer.body
    )
    kept = Loop(outer.var, outer.lo, outer.hi, outer.step, outer.kind, body)
    after = Guards().run(Program("p", program.symbols, program.tensors, (Kernel("k", (kept,)),), program.facts))
    assert loops(after)[-1][1] == N


def test_a_boundary_is_peeled() -> None:
    """y[j] = x[j - 1] if j is not 0 else 0: the first iteration is split off."""
    column = Var("j")
    left = call(Fn.SELECT, call(Fn.EQ, column, const(0)), f32(0), Ref("t"))
    source = Access("x", (call(Fn.MAX, call(Fn.SUB, column, const(1)), const(0)),))
    body = (Load("t", (), source), Store(Access("y", (column,)), (), left))
    tensors = (Tensor("x", F32, (N,), Role.INPUT), Tensor("y", F32, (N,), Role.OUTPUT))
    loop = Loop("j", const(0), N, 1, LoopKind.SERIAL, body)
    after = Guards().run(Program("p", (Symbol("N"),), tensors, (Kernel("k", (loop,)),)))
    assert loops(after) == [(const(0), call(Fn.MIN, const(1), N)), (const(1), N)]
    values = [s.value for s in walk(after.kernels[0].body) if isinstance(s, Store)]
    assert values == [f32(0), Ref("t")]
