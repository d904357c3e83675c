"""The monotone set: results stay, no traffic figure grows, and the order of application does not matter."""

from random import Random

from gir_programs import assert_same_result, random_program
from hypothesis import given, settings
from hypothesis import strategies as st
from weft.backends.machine import load_machine
from weft.compiler.cost.model import CostReport, analyse
from weft.compiler.passes.dead_store import DeadStore
from weft.compiler.passes.guards import Guards
from weft.compiler.passes.monotone import REWRITES, Monotone, fixpoint
from weft.ir.gir import Program

MACHINE = load_machine("avx512")


def traffic(program: Program, symbols: dict[str, int]) -> dict[str, float]:
    """Bytes that cross each cache. Those of scratch are in them: what promotion takes from dram is counted at l1."""
    report: CostReport = analyse(program, MACHINE, symbols)
    levels = {n: b for n, b in report.levels.items() if n != "sram"}
    return {f"{n} {d}": getattr(b, d) for n, b in levels.items() for d in ("read", "written")}


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=12, deadline=None)
def test_results_stay_the_same(seed: int, guards: bool) -> None:
    sample = random_program(seed)
    program = Guards().run(sample.program) if guards else sample.program
    after = Monotone().run(program)
    assert_same_result(sample, after)
    assert Monotone().run(after) == after


@given(st.integers(0, 10**6))
@settings(max_examples=12, deadline=None)
def test_no_pass_raises_traffic(seed: int) -> None:
    sample = random_program(seed)
    program = Guards().run(sample.program)
    for p in REWRITES:
        after = p.run(program)
        before, now = traffic(program, sample.symbols), traffic(after, sample.symbols)
        assert all(now[k] <= before[k] * 1.0001 for k in before), (p.name, before, now)
        program = after


@given(st.integers(0, 10**6), st.integers(0, 1000))
@settings(max_examples=12, deadline=None)
def test_order_does_not_matter(seed: int, order: int) -> None:
    sample = random_program(seed)
    passes = list(REWRITES)
    Random(order).shuffle(passes)
    shuffled = fixpoint(sample.program, passes, 20)
    assert traffic(shuffled, sample.symbols) == traffic(Monotone().run(sample.program), sample.symbols)


def test_the_set_leaves_a_clean_program_alone() -> None:
    sample = random_program(1)
    clean = Monotone().run(sample.program)
    assert DeadStore().run(clean) == clean
