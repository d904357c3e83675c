"""Scans: recurrences that fold with an associative function run along the lanes, on both targets."""

from __future__ import annotations

import numpy as np
import pytest
from equivalence import random_inputs
from weft import compile as weft_compile
from weft.backends.machine import load_machine
from weft.backends.target import get_target
from weft.compiler.lower import LowerOptions, lower, rewrite_op, write_out
from weft.compiler.planner import Choices
from weft.compiler.planner.scans import scanned
from weft.ir import gir, gir_interp, op_interp
from weft.ir.binding import specialise
from weft.ir.gir_parser import parse_program
from weft.ir.gir_printer import print_program
from weft.ir.gir_verify import verify
from weft.ir.op_text import parse_op

SCANS = {
    "sum": "op f(x: f32[M, N]) -> (y: f32[M, N]) { y[i, j] = y.pad(0.0)[i, j - 1] + x[i, j] }",
    "sum of i32": "op f(x: i32[M, N]) -> (y: i32[M, N]) { y[i, j] = x[i, j] * 2 + y.pad(3)[i, j - 1] - 1 }",
    "product of i32": "op f(x: i32[M, N]) -> (y: i32[M, N]) { y[i, j] = y.pad(1)[i, j - 1] * (x[i, j] + 1) }",
    "sum of f64": "op f(x: f64[M, N]) -> (y: f64[M, N]) { y[i, j] = y.pad(1.5)[i, j - 1] + x[i, j] }",
    "difference": "op f(x: f32[M, N]) -> (y: f32[M, N]) { y[i, j] = y.pad(0.0)[i, j - 1] - x[i, j] }",
    "maximum": "op f(x: f32[M, N]) -> (y: f32[M, N]) { y[i, j] = max(y.pad(-inf)[i, j - 1], x[i, j]) }",
    "from bf16": "op f(x: bf16[M, N]) -> (y: f32[M, N]) { y[i, j] = y.pad(0.0)[i, j - 1] + x[i, j] }",
    "start": "op f(x: f32[M, N], h: f32[M]) -> (y: f32[M, N]) { y[i, j] = y.pad(h[i])[i, j - 1] + x[i, j] + 1.0 }",
    "across": "op f(x: f32[N, M]) -> (y: f32[M, N]) { y[i, j] = y.pad(0.0)[i, j - 1] + x[j, i] }",
    "read": """op f(x: f32[M, N]) -> (z: f32[M, N], s: f32[M]) {
      y[i, j] = y.pad(0.0)[i, j - 1] + x[i, j]
      z[i, j] = y[i, j] * 0.5
      s[i] = max[j] z[i, j]
    }""",
    "line": "op f(x: f32[N]) -> (y: f32[N]) { y[j] = y.pad(0.0)[j - 1] + x[j] }",
    "counting": "op f(x: f32[M, N]) -> (y: i64[M, N]) { y[i, j] = y.pad(0)[i, j - 1] + (1 if x[i, j] > 0.0 else 0) }",
}
SERIAL = {
    "narrow": "op f(x: bf16[M, N]) -> (y: bf16[M, N]) { y[i, j] = y.pad(0.0)[i, j - 1] + x[i, j] }",
    "product": "op f(x: f32[M, N]) -> (y: f32[M, N]) { y[i, j] = y.pad(1.0)[i, j - 1] * x[i, j] }",
    "decay": "op f(x: f32[M, N]) -> (y: f32[M, N]) { y[i, j] = y.pad(0.0)[i, j - 1] * 0.5 + x[i, j] }",
    "columns": "op f(x: f32[M, N]) -> (y: f32[M, N]) { y[i, j] = y.pad(0.0)[i - 1, j] + x[i, j] }",
    "two back": "op f(x: f32[M, N]) -> (y: f32[M, N]) { y[i, j] = y.pad(0.0)[i, j - 2] + x[i, j] }",
}
EXTENTS = ((3, 1), (2, 16), (5, 67), (2, 0))


@pytest.mark.parametrize("case", SCANS)
def test_scans_along_the_lanes_agree_with_the_recurrence(case: str) -> None:
    op = parse_op(SCANS[case])
    loose = {"rtol": 1e-4, "atol": 1e-4}
    for m, n in EXTENTS:
        symbols = {s.name: {"M": m, "N": n}[s.name] for s in op.symbols}
        bound = specialise(op, symbols)
        inputs = random_inputs(bound, {}, seed=m)
        want = op_interp.interpret(bound, inputs, {})
        for target in ("cpu", "c") if n == 67 else ("cpu",):
            got = weft_compile(bound, target=target)(**inputs)
            for value, name in zip(got if isinstance(got, tuple) else (got,), want, strict=True):
                np.testing.assert_allclose(value, want[name], err_msg=f"{case} {m} {n} {target}", **loose)


@pytest.mark.parametrize("machine", ["avx512", "avx2", "simd128"])
def test_every_machine_writes_scans_that_are_verified_and_right(machine: str) -> None:
    for case in ("sum", "start", "across", "read"):
        op = specialise(parse_op(SCANS[case]), {"M": 5, "N": 77})
        inputs = random_inputs(op, {}, seed=1)
        want = op_interp.interpret(op, inputs, {})
        rewritten = rewrite_op(op)
        definition = next(d for d in rewritten.definitions if scanned(d) is not None)
        for vectors in (1, 4):
            choices = Choices(vectors=vectors, lanes=((definition.name, definition.axes[-1].name),))
            program = write_out(rewritten, load_machine(machine), choices).program
            assert "scan add" in print_program(program)
            verify(program)
            got = gir_interp.interpret(program, inputs, {})
            for name, value in want.items():
                np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", SERIAL)
def test_what_depends_on_the_order_of_its_steps_is_no_scan(case: str) -> None:
    assert scanned(parse_op(SERIAL[case]).definitions[0]) is None


def test_long_rows_lie_across_the_lanes() -> None:
    op = specialise(parse_op(SCANS["sum"]), {"M": 17, "N": 100003})
    program = lower(op, load_machine("avx512"), LowerOptions()).program
    assert any(isinstance(s, gir.Reduce) and s.running for k in program.kernels for s in gir.walk(k.body))


TILES = """program t() {{
  tensor x: {dtype}[{shape}] input
  tensor y: {dtype}[{shape}] output
  tensor z: {dtype}[{one}] output
  kernel main {{
    v = load<{shape}> x[{index}]
    p = scan {fn} v over {axis}
    q = reduce {fn} v over {axis}
    store<{shape}> y[{index}] = p
    store<{one}> z[{index}] = q
  }}
}}"""


@pytest.mark.parametrize(
    ("dtype", "shape", "axis", "fn"),
    [
        ("f32", (16,), 0, "add"),
        ("f32", (4, 64), 1, "add"),
        ("f64", (3, 24), 1, "max"),
        ("i32", (5, 12), 1, "mul"),
        ("bf16", (5, 16), 0, "add"),
        ("f32", (2, 1200), 1, "min"),
        ("bool", (3, 16), 1, "or"),
        ("bool", (9, 7), 1, "and"),
        ("i8", (1, 8), 1, "add"),
        ("f32", (70, 16), 0, "add"),
    ],
)
def test_scans_of_tiles(dtype: str, shape: tuple[int, ...], axis: int, fn: str) -> None:
    one = tuple(1 if k == axis else n for k, n in enumerate(shape))
    listed = [", ".join(map(str, s)) for s in (shape, one, [f"@{k}" for k in range(len(shape))])]
    program = parse_program(
        TILES.format(dtype=dtype, shape=listed[0], one=listed[1], index=listed[2], axis=axis, fn=fn), "t"
    )
    assert parse_program(print_program(program), "t") == program
    verify(program)
    rng = np.random.default_rng(1)
    storage = program.tensors[0].dtype.numpy
    x = rng.integers(0, 2, shape).astype(bool) if dtype == "bool" else (rng.normal(size=shape) * 3).astype(storage)
    want = gir_interp.interpret(program, {"x": x})
    for target in ("cpu", "c"):
        y, z = np.zeros(shape, storage), np.zeros(one, storage)
        call = get_target(target).load(program)
        call([a.ctypes.data for a in (x, y, z)], [], 1)
        for got, name in ((y, "y"), (z, "z")):
            np.testing.assert_allclose(got.astype(np.float64), want[name].astype(np.float64), rtol=1e-5, atol=1e-5)
