"""Dead stores, unused tiles, allocations and temporaries go; results stay."""

from gir_programs import F32, add, assert_same_result, count, f32, random_program
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.compiler.passes.dead_store import DeadStore
from weft.ir.expr import Coord, Ref, Var, const
from weft.ir.gir import (
    Access,
    Alloc,
    Compute,
    Kernel,
    Level,
    Load,
    Loop,
    LoopKind,
    Program,
    Role,
    Stmt,
    Store,
    Tensor,
    walk,
)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_results_stay_the_same(seed: int) -> None:
    sample = random_program(seed)
    after = DeadStore().run(sample.program)
    assert_same_result(sample, after)
    assert count(after, Store) <= count(sample.program, Store)
    assert DeadStore().run(after) == after


X = Access("x", (Coord(0),))
Y = Access("y", (Coord(0),))
TENSORS = (Tensor("x", F32, (const(4),), Role.INPUT), Tensor("y", F32, (const(4),), Role.OUTPUT))


def cleaned(*body: Stmt) -> tuple[Stmt, ...]:
    return DeadStore().run(Program("p", (), TENSORS, (Kernel("k", body),))).kernels[0].body


def test_scratch_that_is_never_read_goes() -> None:
    s = Access("s", (Coord(0),))
    load, store = Load("t", (4,), X), Store(Y, (4,), Ref("t"))
    assert cleaned(Alloc("s", F32, (const(4),), Level.SRAM), load, Store(s, (4,), Ref("t")), store) == (load, store)


def test_a_store_that_is_overwritten_goes_unless_read_between() -> None:
    first, last = Store(Y, (4,), f32(1)), Store(Y, (4,), f32(2))
    assert cleaned(first, last) == (last,)
    read = Load("t", (4,), Y)
    kept = (first, read, Store(Y, (4,), add(Ref("t"), f32(1))))
    assert cleaned(*kept) == kept


def test_a_reassigned_index_is_another_place() -> None:
    at = Access("y", (add(Ref("k"), Coord(0)),))
    body = (
        Alloc("k", F32, (), Level.REG),
        Compute("k", (), const(0), F32),
        Store(at, (2,), f32(1)),
        Compute("k", (), const(2), F32),
        Store(at, (2,), f32(2)),
    )
    assert cleaned(*body) == body


def test_an_accumulator_nobody_reads_goes_with_its_loop() -> None:
    loop = Loop("j", const(0), const(4), 1, LoopKind.SERIAL, (Compute("a", (), add(Ref("a"), f32(1)), F32),))
    store = Store(Y, (4,), f32(0))
    assert cleaned(Alloc("a", F32, (), Level.REG), Compute("a", (), f32(0), F32), loop, store) == (store,)


def test_a_tile_in_a_loop_bound_is_live() -> None:
    bound = Load("n", (), Access("x", (const(0),)))
    body = (bound, Loop("j", const(0), Ref("n"), 1, LoopKind.SERIAL, (Store(Access("y", (Var("j"),)), (), f32(0)),)))
    assert cleaned(*body) == body


def test_unused_temporary_and_its_kernel_go() -> None:
    tensors = (*TENSORS, Tensor("tmp", F32, (const(4),), Role.TEMP))
    idle = Kernel("idle", (Store(Access("tmp", (Coord(0),)), (4,), f32(1)),))
    work = Kernel("work", (Store(Y, (4,), f32(1)),))
    after = DeadStore().run(Program("p", (), tensors, (idle, work)))
    assert after.kernels == (work,) and after.tensors == TENSORS
    assert not [s for k in after.kernels for s in walk(k.body) if isinstance(s, Load)]
