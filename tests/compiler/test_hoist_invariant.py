"""Invariant loads and computations leave serial loops."""

from gir_programs import COLUMN, F32, ROW, add, assert_same_result, call, f32, random_program
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.compiler.passes.guards import Guards
from weft.compiler.passes.hoist_invariant import HoistInvariant
from weft.ir.expr import Coord, Expr, Fn, Ref, Var, const
from weft.ir.gir import Access, Compute, Kernel, Load, Loop, LoopKind, Program, Role, Stmt, Store, Tensor
from weft.ir.op import Symbol


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=20, deadline=None)
def test_results_stay_the_same(seed: int, guards: bool) -> None:
    sample = random_program(seed)
    program = Guards().run(sample.program) if guards else sample.program
    assert_same_result(sample, HoistInvariant().run(program))


V = Load("v", (4,), Access("v", (add(ROW, Coord(0)),)))
X = Load("x", (4,), Access("x", (add(ROW, Coord(0)), COLUMN)))


def hoisted(extent: Expr, *inner: Stmt, kind: LoopKind = LoopKind.SERIAL) -> tuple[Stmt, ...]:
    store = Store(Access("y", (add(ROW, Coord(0)), COLUMN)), (4,), add(Ref("x"), Ref("v")))
    loop = Loop("j", const(0), extent, 1, kind, (*inner, store))
    rows = Loop("i", const(0), const(8), 4, LoopKind.UNIT, (loop,))
    square, row = (const(8), extent), (const(8),)
    tensors = (
        Tensor("v", F32, row, Role.INPUT),
        Tensor("x", F32, square, Role.INPUT),
        Tensor("y", F32, square, Role.OUTPUT),
    )
    after = HoistInvariant().run(Program("p", (Symbol("N"),), tensors, (Kernel("k", (rows,)),)))
    outer = after.kernels[0].body[0]
    assert isinstance(outer, Loop)
    return outer.body


def test_a_load_leaves_a_loop_that_runs() -> None:
    first, loop = hoisted(const(8), V, X)
    assert first == V and isinstance(loop, Loop) and loop.body[0] == X


def test_a_load_stays_in_a_loop_that_may_not_run() -> None:
    assert len(hoisted(Var("N"), V, X)) == 1


def test_a_computation_leaves_any_loop() -> None:
    c = Compute("v", (4,), call(Fn.MUL, f32(2), f32(3)), F32)
    first, _ = hoisted(Var("N"), c, X)
    assert first == c


def test_nothing_leaves_a_parallel_loop() -> None:
    assert len(hoisted(const(8), V, X, kind=LoopKind.UNIT)) == 1


def test_a_buffer_written_in_the_loop_pins_its_loads() -> None:
    own = Load("v", (4,), Access("y", (add(ROW, Coord(0)), const(0))))
    assert len(hoisted(const(8), own, X)) == 1


def test_copies_of_a_loop_get_names_of_their_own() -> None:
    store = Store(Access("y", (add(ROW, Coord(0)), COLUMN)), (4,), add(Ref("x"), Ref("v")))
    loops = tuple(Loop("j", const(lo), const(lo + 4), 1, LoopKind.SERIAL, (V, X, store)) for lo in (0, 4))
    square = (const(4), const(8))
    tensors = (
        Tensor("v", F32, (const(4),), Role.INPUT),
        Tensor("x", F32, square, Role.INPUT),
        Tensor("y", F32, square, Role.OUTPUT),
    )
    rows = Loop("i", const(0), const(4), 4, LoopKind.UNIT, loops)
    after = HoistInvariant().run(Program("p", (), tensors, (Kernel("k", (rows,)),)))
    outer = after.kernels[0].body[0]
    assert isinstance(outer, Loop)
    tiles = [s.tile for s in outer.body if isinstance(s, Load)]
    assert len(tiles) == len(set(tiles)) == 2
