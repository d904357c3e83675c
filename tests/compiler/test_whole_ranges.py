"""Reductions over a part of what was computed: the pass, and the loops that come of it."""

from __future__ import annotations

import numpy as np
import pytest
import weft
from weft import ops
from weft.backends.machine import load_machine
from weft.compiler.lower import write_out
from weft.compiler.planner import Choices, make_plan
from weft.compiler.search.alternatives import alternatives
from weft.ir import gir
from weft.ir.binding import specialise
from weft.ir.gir_tools import loops_around


@pytest.mark.parametrize("keys", [1, 7, 130])
def test_what_lies_beyond_the_length_is_never_used(keys: int) -> None:
    """NaN behind the end of each sequence, and sequences of length 0 and of all places."""
    rng = np.random.default_rng(0)
    q = rng.standard_normal((3, 2, 3, 20), dtype=np.float32)
    k = rng.standard_normal((3, keys, 2, 20), dtype=np.float32)
    v = rng.standard_normal((3, keys, 2, 17), dtype=np.float32)
    length = np.array([0, (keys + 1) // 2, keys])
    for b, n in enumerate(length):
        k[b, n:] = np.nan
        v[b, n:] = np.nan
    out = weft.compile(ops.load("attention_decode"), "cpu")(q, k, v, length)
    expected = np.zeros_like(out, dtype=np.float64)
    for b, n in enumerate(length):
        if n:
            s = np.einsum("grd,tgd->grt", q[b].astype(np.float64), k[b, :n].astype(np.float64)) / np.sqrt(20)
            p = np.exp(s - s.max(-1, keepdims=True))
            expected[b] = np.einsum("grt,tge->gre", p / p.sum(-1, keepdims=True), v[b, :n].astype(np.float64))
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)


def test_one_kernel_whose_loop_ends_with_the_data() -> None:
    op = specialise(ops.load("attention_decode"), {"B": 4, "G": 8, "R": 4, "T": 512, "D": 64, "E": 64})
    machine = load_machine("avx512")
    streamed = next(a for a in alternatives(op, machine) if a.label == "streams")
    program = write_out(streamed.op, machine, Choices(), make_plan(streamed.op, machine, Choices())).program
    (kernel,) = program.kernels
    inner = [s for s, around in loops_around(kernel.body) if isinstance(s, gir.Compute) and len(around) > 4]
    guarded = [s for s in inner if "length" in str(s.expr)]
    assert inner and len(guarded) <= len(inner) // 3, "only the last tile compares with the length"
