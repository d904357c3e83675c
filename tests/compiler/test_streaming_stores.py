"""Whole lines of large outputs that are not read again are stored past the caches."""

import pytest
from gir_programs import COLUMN, F32, ROW, add, assert_same_result, call, f32, random_program
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.compiler.passes.guards import Guards
from weft.compiler.passes.streaming_stores import StreamingStores
from weft.ir.expr import Coord, Expr, Fn, Ref, Var, const
from weft.ir.gir import Access, Kernel, Load, Loop, LoopKind, Program, Role, Stmt, Store, Tensor, walk
from weft.ir.op import Symbol

WIDE: Expr = const(64)
SMALL = StreamingStores(cache_bytes=1, line_bytes=16)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_results_stay_the_same(seed: int) -> None:
    sample = random_program(seed)
    symbols = tuple(sample.symbols.items())
    after = StreamingStores(cache_bytes=1, line_bytes=4, symbols=symbols).run(Guards().run(sample.program))
    assert_same_result(sample, after)


def streamed(*body: Stmt, extent: Expr = WIDE, step: int = 4, options: StreamingStores = SMALL) -> bool:
    columns = Loop("j", const(0), const(64), step, LoopKind.SERIAL, body)
    rows = Loop("i", const(0), const(64), 1, LoopKind.UNIT, (columns,))
    square = (const(64), extent)
    tensors = (Tensor("x", F32, square, Role.INPUT), Tensor("y", F32, square, Role.OUTPUT))
    after = options.run(Program("p", (Symbol("N"),), tensors, (Kernel("k", (rows,)),)))
    return any(isinstance(s, Store) and s.streaming for s in walk(after.kernels[0].body))


AT = Access("y", (ROW, add(COLUMN, Coord(0))))
STORE = Store(AT, (4,), f32(1))


def test_whole_lines_stream() -> None:
    assert streamed(STORE)


@pytest.mark.parametrize(
    "store",
    [
        Store(AT, (4,), f32(1), call(Fn.LT, add(COLUMN, Coord(0)), const(60))),
        Store(AT, (2,), f32(1)),
        Store(Access("y", (ROW, add(COLUMN, add(Coord(0), const(1))))), (4,), f32(1)),
        Store(Access("y", (add(COLUMN, Coord(0)), ROW)), (4,), f32(1)),
        Store(Access("y", (ROW, Coord(0))), (4,), f32(1)),
    ],
    ids=["guarded", "part of a line", "misaligned", "strided", "stored in every iteration"],
)
def test_these_do_not(store: Store) -> None:
    assert not streamed(store)


def test_data_that_is_read_does_not() -> None:
    assert not streamed(STORE, Load("t", (4,), AT), Store(Access("x", AT.index), (4,), Ref("t")))


def test_small_outputs_do_not() -> None:
    assert not streamed(STORE, options=StreamingStores(line_bytes=16))


def test_unknown_extents_do_not_and_bound_ones_do() -> None:
    assert not streamed(STORE, extent=Var("N"))
    bound = StreamingStores(cache_bytes=1, line_bytes=16, symbols=(("N", 64),))
    assert streamed(STORE, extent=Var("N"), options=bound)
