"""Kernels with open extents: versions for classes of extents, one of which serves every size."""

from __future__ import annotations

import re

import numpy as np
import pytest
import weft
from weft import ops
from weft.backends.machine import load_machine
from weft.compiler.assumed import assumed_symbols
from weft.compiler.kernel import Kernel
from weft.compiler.lower import lower
from weft.compiler.lower_options import LowerOptions
from weft.compiler.versions import merged, versions
from weft.ir.expr_text import print_expr
from weft.ir.gir_parser import parse_program
from weft.ir.gir_printer import print_program
from weft.ir.gir_verify import verify
from weft.ir.op_text import parse_op

AVX512 = load_machine("avx512")
SOFTMAX = """op softmax(x: f32[M, N]) -> (y: f32[M, N]) {
  m[i] = max[j] x[i, j]
  e[i, j] = exp(x[i, j] - m[i])
  s[i] = sum[j] e[i, j]
  y[i, j] = e[i, j] / s[i]
}"""


def classes(name: str) -> list[list[str]]:
    op = ops.load(name)
    return [[print_expr(f) for f in v.facts if f not in op.facts] for v in versions(op, AVX512)]


def test_classes() -> None:
    large = f"M * N >= {AVX512.l3_bytes // 8}"
    assert classes("softmax") == [
        ["N >= 8192", f"M <= {8 * AVX512.units - 1}"],
        ["N <= 128", "N % 16 == 0", large],
        ["N <= 128"],
        ["N % 16 == 0", large],
        [],
    ]
    assert classes("matmul") == [["M <= 16"], ["N % 16 == 0", large], []]
    assert classes("attention")[-2:] == [["D % 16 == 0", "E % 16 == 0", "D <= 256", "E <= 256"], []]


def test_bound_programs_have_one() -> None:
    assert versions(parse_op(SOFTMAX.replace("M", "3").replace("N", "4")), AVX512)[1:] == []


@pytest.fixture(scope="module")
def softmax() -> Kernel:
    return weft.compile(SOFTMAX, "cpu", specialise="never")


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (0, 4),
        (4, 0),
        (1, 1),
        (5, 3),
        (33, 128),
        (7, 129),
        (2, 9001),
        (1, 70000),
        (66000, 64),
        (1030, 4096),
        (1025, 4097),
    ],
)
def test_every_size(softmax: Kernel, rows: int, columns: int) -> None:
    x = np.random.default_rng(0).standard_normal((rows, columns), dtype=np.float32)
    got = softmax(x)
    e = np.exp(x - x.max(1, keepdims=True, initial=-np.inf))
    np.testing.assert_allclose(got, e / e.sum(1, keepdims=True), rtol=1e-5, atol=1e-7)


def test_one_program_with_tests_at_its_head() -> None:
    program = lower(parse_op(SOFTMAX), AVX512, LowerOptions()).program
    verify(program, AVX512.sram_bytes)
    text = print_program(program)
    assert print_program(parse_program(text)) == text
    assert [s.default for s in program.symbols] == [None, None] and not program.facts
    _, _, general = text.partition(f"when N % 16 == 0 and M * N >= {AVX512.l3_bytes // 8}")
    whole, _, general = general.partition("} else {")
    assert "streaming" in whole and "prefetch" in whole and "prefetch" in general and "streaming" not in general


def test_rows_known_to_be_whole_have_no_tails() -> None:
    op = parse_op(SOFTMAX.replace(" {\n", " where N % 128 == 0 {\n", 1))
    text = print_program(lower(op, AVX512, LowerOptions()).program)
    assert not re.search(r"(load|store)<[^\n]* where ", text)


def test_temporaries_of_other_shapes_get_names_of_their_own() -> None:
    op = parse_op("op f(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] }")
    text = """program f(N) {{
  tensor x: f32[N] input
  tensor y: f32[N] output
  tensor t: f32[{0}] temp
  kernel f_0 {{
    loop i in 0..N {{
      v = load<> x[i]
      store<> t[{1}] = v
      w = load<> t[{1}]
      store<> y[i] = w
    }}
  }}
}}"""
    wide, narrow = (parse_program(text.format(*shape)) for shape in (("N", "i"), ("1", "0")))
    special = versions(parse_op(SOFTMAX), AVX512)[2]
    both = merged(op, [(special, narrow), (op, wide)])
    assert [t.name for t in both.tensors] == ["x", "y", "t", "t$v1"]
    verify(both)
    assert merged(op, [(special, wide), (op, wide)]).kernels[0].body == wide.kernels[0].body


def test_assumed_extents() -> None:
    op = parse_op(
        "op f(x: f32[A, B, C, D]) -> (y: f32[A, B, C, D]) where B % 48 == 0 and C <= 100 and D == 7"
        " { y[a, b, c, d] = x[a, b, c, d] }"
    )
    assert assumed_symbols(op) == {"A": 4096, "B": 4128, "C": 100, "D": 7}
