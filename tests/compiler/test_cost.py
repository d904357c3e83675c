"""The cost model against traffic that can be counted by hand."""

from dataclasses import replace

import pytest
from gir_programs import COLUMN, F32, ROW, add, call, f32, random_program
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.backends.machine import Machine
from weft.compiler.cost.model import Bound, CostReport, analyse
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
    Role,
    Stmt,
    Store,
    Tensor,
)
from weft.ir.op import Symbol

KB = 1024
MACHINE = Machine(
    name="test", isa="avx512", units=2, vector_bytes=64, vector_registers=32, fma_per_cycle=1.0, alu_per_cycle=2.0,
    fma_latency=4, clock_ghz=2.0, line_bytes=64, l1_bytes=16 * KB, l2_bytes=128 * KB, l3_bytes=1024 * KB,
    sram_bytes=64 * KB, l1_gbs=128.0, l2_gbs=64.0, l3_gbs=32.0, dram_gbs=10.0, dram_gbs_all=15.0, has_masks=True,
)  # fmt: skip
M, N = Var("M"), Var("N")
AT = Access("x", (ROW, add(COLUMN, Coord(0))))
TO = Access("y", AT.index)


def loop(var: str, extent: Expr, step: int, *body: Stmt, kind: LoopKind = LoopKind.SERIAL) -> Loop:
    return Loop(var, const(0), extent, step, kind, body)


def cost(*body: Stmt, m: int = 512, n: int = 1024, tensors: tuple[Tensor, ...] = ()) -> CostReport:
    square = (Tensor("x", F32, (M, N), Role.INPUT), Tensor("y", F32, (M, N), Role.OUTPUT))
    program = Program("p", (Symbol("M"), Symbol("N")), (*square, *tensors), (Kernel("k", body),))
    return analyse(program, MACHINE, {"M": m, "N": n})


def copy_rows(streaming: bool = False, kind: LoopKind = LoopKind.SERIAL) -> Stmt:
    store = Store(TO, (16,), Ref("t"), None, streaming)
    return loop("i", M, 1, loop("j", N, 16, Load("t", (16,), AT), store), kind=kind)


BYTES = 512 * 1024 * 4


def test_a_copy_moves_what_it_must() -> None:
    report = cost(copy_rows())
    assert report.levels["dram"].read == report.levels["dram"].written == BYTES
    assert report.compulsory_bytes == report.dram_bytes == 2 * BYTES
    assert report.dram_allocate == BYTES and cost(copy_rows(True)).dram_allocate == 0
    assert report.bound is Bound.DRAM
    assert cost(copy_rows(True)).predicted_seconds < report.predicted_seconds


def test_two_units_share_the_iterations() -> None:
    one, two = cost(copy_rows()), cost(copy_rows(kind=LoopKind.UNIT))
    assert two.kernels[0].units == pytest.approx(2)
    assert two.predicted_seconds < one.predicted_seconds


def test_an_odd_number_of_iterations_leaves_a_unit_idle() -> None:
    report = cost(copy_rows(kind=LoopKind.UNIT), m=3)
    assert report.kernels[0].units == pytest.approx(1.5)


@pytest.mark.parametrize(("n", "reads"), [(1024, 1), (1024 * 1024, 2)])
def test_a_second_pass_over_a_row_is_free_while_the_row_fits(n: int, reads: int) -> None:
    first = loop("j", N, 16, Load("t", (16,), AT), Compute("a", (16,), add(Ref("a"), Ref("t")), F32))
    second = loop("j", N, 16, Load("t", (16,), AT), Store(TO, (16,), add(Ref("t"), Ref("a"))))
    alloc = Alloc("a", F32, (const(16),), Level.REG)
    report = cost(loop("i", M, 1, alloc, first, second), m=4, n=n)
    assert report.levels["dram"].read == reads * 4 * n * 4


def test_reading_columns_costs_whole_lines_unless_they_are_still_there() -> None:
    column = Access("x", (add(COLUMN, Coord(0)), ROW))
    body = Load("t", (16,), column), Store(TO, (16,), Ref("t"))
    small = cost(loop("i", M, 1, loop("j", N, 16, *body)), m=1024, n=1024)
    assert small.levels["dram"].read == 1024 * 1024 * 4  # 1024 lines fit, the next column finds them
    large = cost(loop("i", M, 1, loop("j", N, 16, *body)), m=32 * 1024, n=32 * 1024)
    assert large.levels["dram"].read == 16 * 32 * 1024 * 32 * 1024 * 4


def test_a_small_tensor_is_read_once() -> None:
    weights = Tensor("w", F32, (N,), Role.INPUT)
    load = Load("w", (16,), Access("w", (add(COLUMN, Coord(0)),)))
    body = load, Load("t", (16,), AT), Store(TO, (16,), add(Ref("t"), Ref("w")))
    report = cost(loop("i", M, 1, loop("j", N, 16, *body)), tensors=(weights,))
    assert report.levels["dram"].read == BYTES + 4 * 1024
    assert report.levels["l1"].read == 2 * BYTES


def test_neighbours_share_their_lines() -> None:
    near = [Load(f"t{k}", (16,), Access("x", (call(Fn.ADD, ROW, const(k)), add(COLUMN, Coord(0))))) for k in (0, 1, 2)]
    total = add(add(Ref("t0"), Ref("t1")), Ref("t2"))
    report = cost(loop("i", call(Fn.SUB, M, const(2)), 1, loop("j", N, 16, *near, Store(TO, (16,), total))))
    assert report.levels["dram"].read == BYTES


def test_causal_loops_count_half() -> None:
    inner = loop("j", ROW, 1, Compute("c", (16,), add(f32(1), Ref("c")), F32))
    alloc = Alloc("c", F32, (const(16),), Level.REG)
    report = cost(loop("i", M, 1, alloc, inner), m=1024)
    assert report.instructions["compute"] == pytest.approx(1024 * 1024 / 2, rel=0.01)


def test_scratch_costs_no_dram() -> None:
    s = Access("s", (Coord(0),))
    body = Alloc("s", F32, (const(16),), Level.SRAM), Load("t", (16,), AT), Store(s, (16,), Ref("t"))
    report = cost(loop("i", M, 1, loop("j", N, 16, *body, Load("u", (16,), s), Store(TO, (16,), Ref("u")))))
    assert report.dram_bytes == 2 * BYTES
    assert report.levels["sram"].read == report.levels["sram"].written == BYTES


def test_a_temporary_that_fits_is_not_read_again() -> None:
    def kernels(extent: int) -> CostReport:
        shape = (const(extent),)
        there = Access("tmp", (add(COLUMN, Coord(0)),))
        at = (add(COLUMN, Coord(0)),)
        first = loop("j", const(extent), 16, Load("t", (16,), Access("x", at)), Store(there, (16,), Ref("t")))
        second = loop("j", const(extent), 16, Load("t", (16,), there), Store(Access("y", at), (16,), Ref("t")))
        tensors = tuple(
            Tensor(n, F32, shape, r) for n, r in (("x", Role.INPUT), ("tmp", Role.TEMP), ("y", Role.OUTPUT))
        )
        return analyse(Program("p", (), tensors, (Kernel("a", (first,)), Kernel("b", (second,)))), MACHINE)

    assert kernels(16 * KB).levels["dram"].read == 64 * KB
    assert kernels(KB * KB).levels["dram"].read == 2 * 4 * KB * KB
    assert len(kernels(KB).kernels) == 2


def test_accumulators_hide_the_latency_of_the_multiply_add() -> None:
    def seconds(rows: int) -> float:
        update = Compute("c", (rows, 16), call(Fn.FMA, f32(2), Ref("t"), Ref("c")), F32)
        alloc = Alloc("c", F32, (const(rows), const(16)), Level.REG)
        body = loop("j", N, 1, Load("t", (1, 16), Access("x", (const(0), Coord(1)))), update)
        return cost(alloc, body, n=2**20).predicted_seconds / rows

    assert seconds(4) < seconds(2) < seconds(1)
    assert seconds(64) > seconds(16)  # more than the registers hold


def test_branches_count_by_how_often_they_are_taken() -> None:
    last = call(Fn.GE, ROW, call(Fn.SUB, M, const(1)))
    branch = Branch(
        last, (Compute("a", (), f32(1), F32),), (Compute("b", (), f32(1), F32), Compute("c", (), f32(1), F32))
    )
    assert cost(loop("i", M, 1, branch)).instructions["compute"] == pytest.approx(1024, rel=0.01)


def test_extent_zero_costs_nothing() -> None:
    assert cost(copy_rows(), m=0).dram_bytes == 0


def test_flops_and_transcendentals_are_counted() -> None:
    body = Load("t", (16,), AT), Store(TO, (16,), call(Fn.EXP, call(Fn.FMA, Ref("t"), Ref("t"), f32(1))))
    report = cost(loop("i", M, 1, loop("j", N, 16, *body)))
    assert report.flops == 3 * 512 * 1024 and report.transcendentals == 512 * 1024


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_random_programs(seed: int) -> None:
    """Deterministic; no resource counts below zero; a larger cache never adds dram bytes; guards add none."""
    sample = random_program(seed)
    report = analyse(sample.program, MACHINE, sample.symbols)
    assert report == analyse(sample.program, MACHINE, sample.symbols)
    assert report.predicted_seconds > 0 and report.dram_bytes > 0
    large = analyse(sample.program, replace(MACHINE, l3_bytes=2**30), sample.symbols)
    assert large.dram_bytes <= report.dram_bytes
    split = analyse(Guards().run(sample.program), replace(MACHINE, l3_bytes=2**30), sample.symbols)
    assert split.dram_bytes <= large.dram_bytes * 1.01
