"""How long lowering takes for operators of many definitions, in processor time of this process."""

from __future__ import annotations

import time

import pytest
from weft.backends.machine import load_machine
from weft.compiler.lower import LowerOptions, lower
from weft.ir.op_text import parse_op

# How many, and what one definition is.
STEPS = {
    "pointwise": (200, "t{k}[i] = t{p}[i] * 0.5 + x[i]"),
    "recurrences": (200, "t{k}[i] = t{k}.pad(0.0)[i - 1] + t{p}[i]"),
    "read twice": (60, "t{k}[i] = t{p}[i] * t{p}[N - 1 - i]"),
    "windows": (40, "t{k}[i] = t{p}[i] + t{p}.pad(0.0)[i + 1]"),
}


@pytest.mark.parametrize("kind", STEPS)
def test_many_definitions(kind: str) -> None:
    """Failure 25: definitions that read one another are planned and written out in bounded time."""
    count, step = STEPS[kind]
    steps = "\n".join(step.format(k=k, p=k - 1) for k in range(1, count))
    op = parse_op(f"op f(x: f32[N]) -> (y: f32[N]) {{\n t0[i] = x[i] + 1.0\n {steps}\n y[i] = t{count - 1}[i]\n}}")
    started = time.process_time()
    lower(op, load_machine("avx512"), LowerOptions(search=False))
    assert time.process_time() - started < 30


def test_the_search_keeps_to_its_number_of_plans() -> None:
    """Failure 25: plans that are costed, whatever they lead to."""
    op = parse_op("op f(x: f32[M, K], w: f32[K, N]) -> (y: f32[M, N]) { y[i, j] = tanh(sum[k] x[i, k] * w[k, j]) }")
    for nodes in (1, 5, 12):
        report = lower(op, load_machine("avx512"), LowerOptions(nodes=nodes)).report
        starts = len({c.alternative for c in report.candidates})
        assert len(report.candidates) <= max(nodes, starts)
