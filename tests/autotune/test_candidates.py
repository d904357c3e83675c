"""The candidates of tuning: many, distinct, the default plan first, and the same at smaller extents."""

from __future__ import annotations

import pytest
from weft.autotune.candidates import best_trials
from weft.autotune.reference import evaluated, reduced
from weft.backends.target import get_target
from weft.compiler import front
from weft.compiler.driver import lower_op
from weft.compiler.lower_options import LowerOptions
from weft.ir.gir_parser import parse_program
from weft.ir.gir_printer import print_program
from weft.ir.op import Op

TEXTS = {
    "rows": """op rows(x: f32[M, N]) -> (y: f32[M, N]) {
      m[i] = max[j] x[i, j]
      e[i, j] = exp(x[i, j] - m[i])
      s[i] = sum[j] e[i, j]
      y[i, j] = e[i, j] / s[i]
    }""",
    "product": """op product(a: f32[M, N], b: f32[N, K]) -> (c: f32[M, K]) {
      c[i, j] = sum[k] a[i, k] * b[k, j]
    }""",
}
BIND = {"M": 512, "N": 256, "K": 512}
SMALLER = {"M": 64, "N": 32, "K": 64}


def op_of(text: str) -> Op:
    op = front.parse(text, "some.gir")
    assert isinstance(op, Op)
    return op


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_enough_candidates(name: str) -> None:
    op, target = op_of(TEXTS[name]), get_target("cpu")
    full, small = ({s.name: b[s.name] for s in op.symbols} for b in (BIND, SMALLER))
    found = best_trials(op, full, small, target.machine, 50)
    assert len(found) == len({t.chosen.plan for t in found}) == 50
    assert [t.default for t in found] == [True] + [False] * 49
    predicted = [t.predicted for t in found[1:]]
    assert predicted == sorted(predicted) and found[0].predicted <= 1.1 * predicted[0]
    usual = lower_op(op, full, target, LowerOptions())
    assert found[0].program() == print_program(usual.program)
    for trial in found[:3]:
        program = parse_program(trial.small() or "", "small")
        assert [t.shape for t in program.tensors if t.name in ("x", "a")] == [
            parse_program(print_program(lower_op(op, small, target, LowerOptions()).program), "s").tensors[0].shape
        ]
        again = lower_op(op, full, target, LowerOptions(chosen=trial.chosen))
        assert print_program(again.program) == trial.program()


def test_smaller_extents_obey_the_facts() -> None:
    op = op_of("op f(x: f32[M, N]) -> (y: f32[M]) where N % 24 == 0, M >= 100 {\n  y[i] = sum[j] x[i, j]\n}")
    full = {"M": 5000, "N": 4800}
    assert evaluated(op, full) == 24_000_000
    small = reduced(op, full, 100_000)
    assert small is not None and small["N"] % 24 == 0 and small["M"] >= 100 and evaluated(op, small) <= 100_000
    assert reduced(op, full, 1000) is None
    assert reduced(op, full, 10**9) == full
    assert reduced(op_of("op g(x: f32[4096, 4096]) -> (y: f32[4096]) {\n  y[i] = sum[j] x[i, j]\n}"), {}, 1000) is None
