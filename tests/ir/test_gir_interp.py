"""The interpreter: right programs give right results in any order, and every mistake is an error."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from weft.ir.errors import BindError, CallError, VerifyError
from weft.ir.gir_interp import interpret
from weft.ir.gir_parser import parse_program

HEAD = """program t(M, N) {
  tensor x: f32[M, N] input
  tensor t0: f32[M, N] temp
  tensor y: f32[M, N] output
  kernel k {
"""
GENERATOR = np.random.default_rng(11)


def run(body: str, m: int = 5, n: int = 19, **options: Any) -> np.ndarray[Any, Any]:
    x = GENERATOR.standard_normal((m, n)).astype(np.float32)
    return np.stack([x, interpret(parse_program(HEAD + body + "\n}}"), {"x": x}, **options)["y"]])


ROWS = """parallel unit i in 0..M {
  alloc acc: f32<4> reg
  acc = -inf
  loop j in 0..N step 4 {
    v = load<4> x[i, j + @0] where j + @0 < N else -inf
    acc = max(acc, v)
  }
  m = reduce max acc over 0
  loop j in 0..N step 4 {
    v = load<4> x[i, j + @0] where j + @0 < N else 0.0
    store<4> y[i, j + @0] = exp(v - m) where j + @0 < N streaming
  }
}"""


@pytest.mark.parametrize("order", ["forward", "reverse", "shuffle"])
@pytest.mark.parametrize(("m", "n"), [(5, 19), (1, 1), (3, 4), (2, 3), (0, 7), (4, 0)])
def test_rows_in_any_order_and_extent(order: str, m: int, n: int) -> None:
    x, y = run(ROWS, m, n, unit_order=order)
    expected = np.exp(x - x.max(1, keepdims=True)) if n else x
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def test_kernels_see_the_writes_of_earlier_kernels() -> None:
    body = """parallel unit i in 0..M { loop j in 0..N { v = load x[i, j]
        store t0[i, j] = v * 2.0 } }
      } kernel second { parallel unit j in 0..N { loop i in 0..M { v = load t0[i, j]
        store y[i, j] = v + 1.0 } }"""
    x, y = run(body)
    np.testing.assert_array_equal(y, x * 2 + 1)


def test_a_wavefront_reads_what_earlier_turns_wrote() -> None:
    body = """loop w in 0..M + N {
      parallel unit i in max(0, w - N + 1)..min(M, w + 1) {
        up = load y[i - 1, w - i] where i > 0 else 0.0
        v = load x[i, w - i]
        store y[i, w - i] = v + up } }"""
    x, y = run(body)
    np.testing.assert_allclose(y, np.cumsum(x, axis=0), rtol=1e-5, atol=1e-6)


def test_units_share_the_sram_of_their_group() -> None:
    body = """parallel group i in 0..M {
      alloc s: f32[4] sram
      parallel unit u in 0..4 {
        alloc sum: f32<> reg
        sum = 0.0
        loop j in u..N step 4 { v = load x[i, j]
          sum = sum + v }
        store s[u] = sum
        sync sram
        all = load<4> s[@0]
        total = reduce add all over 0
        loop j in u..N step 4 { store<1> y[i, j + @0] = total }
      } }"""
    x, y = run(body)
    np.testing.assert_allclose(y, np.broadcast_to(x.sum(1, keepdims=True), x.shape), rtol=1e-4, atol=1e-5)
    with pytest.raises(VerifyError, match="no sync between"):
        run(body.replace("sync sram", ""))


def test_a_sync_across_groups_orders_dram() -> None:
    body = """parallel group g in 0..M { parallel unit u in 0..4 {
        loop j in u..N step 4 { v = load x[g, j]
          store t0[g, j] = v }
        sync dram
        loop j in u..N step 4 { v = load t0[(g + 1) % M, j]
          store y[g, j] = v }
      } }"""
    x, y = run(body)
    np.testing.assert_array_equal(y, np.roll(x, -1, axis=0))
    with pytest.raises(VerifyError, match="no sync between"):
        run(body.replace("sync dram", "sync sram"))


def test_moves_transpose_pad_and_gather() -> None:
    text = """program t(N) {
      tensor x: f32[N, N] input
      tensor idx: i32[N] input
      tensor y: bf16[N, N + 2] output
      kernel k { alloc s: f32[N, N] sram
        move<N, N> s[@1, @0] = x[@0, @1]
        loop j in 0..N { k = load idx[j]
          row: i64 = i64(k)
          move<N + 2> y[j, @0] = s[row, @0 - 1] where @0 > 0 and @0 <= N else -1.0
        } } }"""
    x = GENERATOR.standard_normal((6, 6)).astype(np.float32)
    idx = np.array([5, 0, 3, 3, 1, 2], np.int32)
    y = interpret(parse_program(text), {"x": x, "idx": idx})["y"]
    expected = np.pad(x.T[idx], ((0, 0), (1, 1)), constant_values=-1).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(y.view(np.uint16), expected.view(np.uint16))


def test_narrow_storage_rounds_and_wraps() -> None:
    text = """program t(N) { tensor x: i8[N] input
      tensor y: u8[N] output
      tensor h: f16[N] output
      kernel k { loop i in 0..N { v = load x[i]
        store y[i] = v * 3_i32
        store h[i] = f32(v) / 3.0 } } }"""
    x = np.array([-128, -1, 0, 100, 127], np.int8)
    out = interpret(parse_program(text), {"x": x})
    np.testing.assert_array_equal(out["y"], (x.astype(np.int32) * 3).astype(np.uint8))
    np.testing.assert_array_equal(out["h"], (x.astype(np.float32) / np.float32(3)).astype(np.float16))


def test_undefined_memory_shows() -> None:
    """Failure 8: what was never written, or not by this iteration, is no number that looks right."""
    _, y = run("loop i in 0..M { loop j in 0..N { v = load t0[i, j]\n store y[i, j] = v } }")
    assert np.isnan(y).all()
    body = "loop i in 0..M { alloc s: i32[1] sram\n v = load s[0]\n loop j in 0..N { store y[i, j] = f32(v) } }"
    assert not np.isin(run(body)[1], [0.0, 1.0, -1.0]).any()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("loop i in 0..M { v = load x[i, N] }", "outside of dimension 1"),
        ("loop i in 0..M { v = load x[i - 1, 0] }", "index -1 is outside"),
        ("loop i in 0..M { v = load<4> x[i, @0 * 7] where @0 < 4 else 0.0 }", "of 'x', 0..19"),
        ("alloc a: f32<4> reg\n b: f32<4> = a", "read before it is assigned"),
        ("a: f32 = 1.0\n a: f32 = 1.0", "assigned twice"),
        ("loop i in 0..M { a: f32 = 1.0 }\n b: f32 = a", "not in scope"),
        ("alloc a: f32<> reg\n parallel unit i in 0..M { a = 1.0 }", "outer iteration"),
        ("alloc a: f32<4> reg\n a: f32<2> = 1.0", "is assigned"),
        ("parallel unit i in 0..M { store y[0, 0] = 1.0 }", "wrote too"),
        ("parallel unit i in 0..M { store t0[i, 0] = 1.0\n v = load t0[(i + 1) % M, 0] }", "no sync between"),
        ("parallel unit i in 0..M { v = load t0[(i + 1) % M, 0]\n store t0[i, 0] = 1.0 }", "no sync between"),
        ("store<4> y[0, @0 // 2] = 1.0", "to one element"),
        ("parallel unit i in 0..M { when i < 2 { sync dram } }", "same sync"),
        ("store<4> y[0, @0] = 1.0", "not written completely"),
        ("v = load<4> x[0, @0] where @0 < 2", "no fill"),
        ("x: f32 = 1.0", "in use already"),
        ("loop N in 0..4 { }", "in use already"),
    ],
)
@pytest.mark.parametrize("order", ["forward", "reverse", "shuffle"])
def test_mistakes_are_errors(body: str, message: str, order: str) -> None:
    """Failure 4 and failure 6 where they happen: accesses outside, and what is shared without a sync between."""
    with pytest.raises(VerifyError, match=message):
        run(body, unit_order=order)


def test_two_readers_before_a_writer_are_both_remembered() -> None:
    body = """parallel unit i in 0..M { v = load t0[0, 0]
        when i == %d { store t0[0, 0] = 1.0 } }"""
    for writer in range(5):
        for order in ("forward", "reverse"):
            with pytest.raises(VerifyError, match="no sync between"):
                run(body % writer, unit_order=order)


def test_nested_parallel_loops_race_only_within_one_run() -> None:
    body = """parallel unit i in 0..M { loop r in 0..3 { parallel lane j in 0..N { store y[i, j] = f32(r) } } }"""
    _, y = run(body)
    assert (y == 2).all()


def test_errors_carry_the_instruction() -> None:
    with pytest.raises(VerifyError, match=r"in: v = load x\[i, N\]"):
        run("loop i in 0..M { v = load x[i, N] }")


def test_bad_inputs_are_refused() -> None:
    program = parse_program(HEAD + ROWS + "}}")
    x = np.zeros((3, 4), np.float32)
    with pytest.raises(CallError):
        interpret(program, {"x": x.astype(np.float64)})
    with pytest.raises(CallError):
        interpret(program, {}, {"M": 3, "N": 4})
    with pytest.raises(BindError):
        interpret(program, {"x": x}, {"M": 4})
    with pytest.raises(BindError):
        interpret(program, {})
    facts = parse_program("program t(N) where N % 2 == 0 { tensor x: f32[N] input }")
    with pytest.raises(BindError, match="fact"):
        interpret(facts, {"x": np.zeros(3, np.float32)})


def test_the_inputs_of_the_caller_stay_as_they_are() -> None:
    x = GENERATOR.standard_normal((3, 8)).astype(np.float32)
    before = x.copy()
    interpret(parse_program(HEAD + ROWS + "}}"), {"x": x})
    np.testing.assert_array_equal(x, before)
