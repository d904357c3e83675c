"""Permutations of axes: blocks through registers, tails with masks, reads that are followed; on both targets."""

from __future__ import annotations

import numpy as np
import pytest
from weft import compile as weft_compile
from weft.backends.machine import load_machine
from weft.compiler.lower import LowerOptions, lower
from weft.ir.binding import specialise
from weft.ir.gir import Loop, Prefetch, walk
from weft.ir.gir_printer import print_program
from weft.ir.op_text import parse_op

PLAIN = "op t(x: {0}[M, N]) -> (y: {0}[N, M]) {{ y[j, i] = x[i, j] }}"
IMAGES = "op t(x: {0}[B, M, N, 5]) -> (y: {0}[B, N, 5, M]) {{ y[b, h, w, c] = x[b, c, h, w] }}"
BESIDE = "op t(x: {0}[M, N], z: {0}[N, M]) -> (y: {0}[N, M]) {{ y[j, i] = x[i, j] + z[j, i] }}"
MACHINE = load_machine("avx512")


@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "i8"])
def test_odd_extents(dtype: str) -> None:
    rng = np.random.default_rng(0)
    for text, m, n in ((PLAIN, 33, 130), (IMAGES, 19, 17), (BESIDE, 40, 31))[: 3 if dtype == "f32" else 1]:
        op = parse_op(text.format(dtype))
        symbols = {s.name: {"B": 2, "M": m, "N": n}[s.name] for s in op.symbols}
        bound = specialise(op, symbols)
        inputs = {
            t.name: rng.integers(-9, 9, tuple(int(e.value) for e in t.shape)).astype(t.dtype.numpy)
            for t in bound.inputs
        }
        x = inputs["x"].astype(np.float64)
        want = (
            x.transpose(0, 2, 3, 1)
            if text is IMAGES
            else x.T + (inputs["z"].astype(np.float64) if "z" in inputs else 0)
        )
        targets = ("cpu", "c") if (dtype, m) == ("f32", 33) else ("cpu",)
        for target in targets:
            for program, options in ((bound, {}), (op, {"specialise": "never"})):
                got = weft_compile(program, target=target, **options)(**inputs)
                np.testing.assert_array_equal(got.astype(np.float64), want)


def test_rows_that_begin_anywhere_are_written_in_long_pieces_behind_prefetches() -> None:
    op = specialise(parse_op(PLAIN.format("f32")), {"M": 4095, "N": 1001})
    program = lower(op, MACHINE, LowerOptions()).program
    outer = next(s for k in program.kernels for s in walk(k.body) if isinstance(s, Loop))
    assert outer.var == "i_t" and outer.step >= 64
    hints = [s for k in program.kernels for s in walk(k.body) if isinstance(s, Prefetch)]
    assert len(hints) >= 16 and hints[0].count == 16
    x = np.random.default_rng(1).random((4095, 1001), np.float32)
    np.testing.assert_array_equal(weft_compile(op)(x=x), x.T)


def test_rows_of_whole_lines_go_past_the_caches() -> None:
    op = specialise(parse_op(PLAIN.format("f32")), {"M": 4096, "N": 2048})
    text = print_program(lower(op, MACHINE, LowerOptions()).program)
    assert text.index("unit i_t") < text.index("loop j") < text.index("streaming")
