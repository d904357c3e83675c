"""Failure 25: how compile time grows with the number of definitions.

Growth is counted in function calls, which do not depend on the load of the machine; a program of 1,000
definitions is lowered besides, and bounds on what is fused are tested by compiling programs that need them.
"""

from __future__ import annotations

import cProfile
import time
from collections.abc import Callable

import numpy as np
import pytest
import weft
from weft.backends.machine import load_machine
from weft.compiler.lower import LowerOptions, lower
from weft.compiler.passes.inline import Inline
from weft.compiler.passes.streaming import Streaming
from weft.compiler.plan import block_definitions
from weft.compiler.planner.groups import MOST_FUSED
from weft.ir.binding import specialise
from weft.ir.op import Op
from weft.ir.op_text import parse_op

GROWTH = 7.0  # most, of the work for four times the definitions: every pair of them would give 16


def op_of(outputs: str, body: list[str], inputs: str = "x: f32[M, N]") -> Op:
    lines = "\n".join(body)
    op = parse_op(f"op f({inputs}) -> ({outputs}) {{\n{lines}\n}}")
    return specialise(op, {s.name: 64 for s in op.symbols})


def chained(step: str, count: int) -> Op:
    """`count` definitions, each of them from the one before."""
    steps = [step.format(k=k, p=k - 1) for k in range(1, count - 1)]
    return op_of("y: f32[M, N]", ["t0[i, j] = x[i, j] + 1.0", *steps, f"y[i, j] = t{count - 2}[i, j]"])


def alternating(count: int) -> Op:
    body = ["t0[i, j] = x[i, j] + 1.0"]
    for k in range(1, count // 2):
        body += [f"r{k}[i] = sum[j] t{k - 1}[i, j]", f"t{k}[i, j] = t{k - 1}[i, j] - r{k}[i] * 0.001"]
    return op_of("y: f32[M, N]", [*body, f"y[i, j] = t{count // 2 - 1}[i, j]"])


def normalised(count: int) -> Op:
    body = ["y0[i, j] = x[i, j] + 1.0"]
    for k in range(1, count // 4):
        body += [f"m{k}[i] = max[j] y{k - 1}[i, j]", f"e{k}[i, j] = exp(y{k - 1}[i, j] - m{k}[i])"]
        body += [f"s{k}[i] = sum[j] e{k}[i, j]", f"y{k}[i, j] = e{k}[i, j] / s{k}[i]"]
    return op_of("y: f32[M, N]", [*body, f"y[i, j] = y{count // 4 - 1}[i, j]"])


def products(count: int) -> Op:
    body = ["t0[i, j] = x[i, j] + 1.0"]
    for k in range(1, count // 2):
        body += [f"h{k}[i, j] = sum[k] t{k - 1}[i, k] * w[k, j]", f"t{k}[i, j] = tanh(h{k}[i, j])"]
    return op_of("y: f32[M, N]", [*body, f"y[i, j] = t{count // 2 - 1}[i, j]"], "x: f32[M, N], w: f32[N, N]")


def many_outputs(expr: str, shape: str) -> Callable[[int], Op]:
    def make(count: int) -> Op:
        outputs = ", ".join(f"y{k}: f32{shape}" for k in range(count))
        return op_of(outputs, [expr.format(k=k) for k in range(count)])

    return make


PROGRAMS: dict[str, Callable[[int], Op]] = {
    "pointwise": lambda n: chained("t{k}[i, j] = tanh(t{p}[i, j]) * 0.5 + x[i, j]", n),
    "squares": lambda n: chained("t{k}[i, j] = t{p}[i, j] * t{p}[i, j] + x[i, j]", n),
    "recurrences": lambda n: chained("t{k}[i, j] = t{k}.pad(0.0)[i, j - 1] * 0.5 + t{p}[i, j]", n),
    "maps and sums": alternating,
    "normalised": normalised,
    "products": products,
    "outputs": many_outputs("y{k}[i, j] = x[i, j] * {k}.5", "[M, N]"),
    "sums": many_outputs("y{k}[i] = sum[j] x[i, j] * {k}.5", "[M]"),
}


def work(op: Op) -> int:
    """Function calls of lowering an op."""
    machine = load_machine("avx512")
    profile = cProfile.Profile()
    profile.enable()
    lower(op, machine, LowerOptions(search=False))
    profile.disable()
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.parametrize("kind", PROGRAMS)
def test_growth(kind: str) -> None:
    """Failure 25: four times the definitions take little more than four times the work."""
    make = PROGRAMS[kind]
    work(make(12))  # what is done once per process
    assert work(make(96)) < GROWTH * work(make(24))


def test_a_thousand_definitions() -> None:
    started = time.process_time()
    lower(PROGRAMS["outputs"](1000), load_machine("avx512"), LowerOptions(search=False))
    assert time.process_time() - started < 30


def test_the_search_keeps_to_its_number_of_plans() -> None:
    """Failure 25, of the search."""
    """Plans that are costed, whatever they lead to, and plans that were met before."""
    op = parse_op("op f(x: f32[M, K], w: f32[K, N]) -> (y: f32[M, N]) { y[i, j] = tanh(sum[k] x[i, k] * w[k, j]) }")
    for nodes in (1, 5, 12):
        report = lower(op, load_machine("avx512"), LowerOptions(nodes=nodes)).report
        starts = len({c.alternative for c in report.candidates})
        assert len(report.candidates) <= max(nodes, starts)
        assert report.repeated <= 8 * max(nodes, starts)


def test_kernels_hold_a_bounded_number_of_definitions() -> None:
    plan = lower(PROGRAMS["outputs"](300), load_machine("avx512"), LowerOptions(search=False)).plan
    held = [len(list(block_definitions(k.body))) for k in plan.kernels]
    assert sum(held) == 300 and max(held) == MOST_FUSED


def test_inlining_repeats_little() -> None:
    """A link of a chain that is read twice would double at each step, one that all later links read would pile up."""
    squares = Inline().run(PROGRAMS["squares"](40))
    assert max(len(d.reads) for d in squares.definitions) <= 2 * Inline().few + 2 * Inline().few
    piled = Inline().run(alternating(60))
    assert max(len(d.reads) for d in piled.definitions) <= 2 * Inline().few + 2


def test_streams_reach_a_bounded_number_of_reductions() -> None:
    """Reductions further on than `reach` are left to streams of their own."""
    op = PROGRAMS["sums"](40)
    far = Streaming(most=100, reach=9).run(op)
    assert max(len(s.components) for s in far.streams) == 10


def test_several_passes_of_one_kernel() -> None:
    """Streams side by side, one after the other: a plan in which each has its own loop."""
    for kind, count in (("products", 12), ("normalised", 12), ("sums", 20)):
        report = lower(PROGRAMS[kind](count), load_machine("avx512"), LowerOptions(nodes=12)).report
        assert report.candidates and not report.refused


def test_a_deep_chain_of_values_compiles() -> None:
    """Targets follow values that stay in registers by recursion: a nest begins anew before that gets too deep."""
    steps = [f"t{k}[i] = (t{k - 1}[i] * 0.5 + x[i]) * (t{k - 1}[i] - 0.25)" for k in range(1, 100)]
    source = "op f(x: f32[N]) -> (y: f32[N]) {\n t0[i] = x[i] * 0.5\n" + "\n".join(steps) + "\n y[i] = t99[i]\n}"
    x = np.linspace(-1.0, 1.0, 64, dtype=np.float32)
    expected = x * np.float32(0.5)
    for _ in steps:
        expected = (expected * np.float32(0.5) + x) * (expected - np.float32(0.25))
    np.testing.assert_allclose(weft.compile(source, "cpu")(x), expected, rtol=1e-3, atol=1e-5)
