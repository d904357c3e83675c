"""The verifier: programs that hold, and for each guarantee programs that break it."""

from __future__ import annotations

import pytest
from weft.ir.errors import UserError, VerifyError
from weft.ir.gir_parser import parse_program
from weft.ir.gir_verify import verify

HEAD = """program t(M, N) where M % 4 == 0 {
  tensor x: f32[M, N] input
  tensor idx: i64[N] input
  tensor t0: f32[M, N] temp
  tensor y: f32[M, N] output
  kernel k {
"""


def check(body: str, sram: int | None = None) -> list[str]:
    return verify(parse_program(HEAD + body + "\n}}"), sram)


COPY = "parallel unit i in 0..M { loop j in 0..N step 16 { %s } }"
FULL = COPY % (
    "v = load<16> x[i, j + @0] where j + @0 < N else 0.0\n store<16> y[i, j + @0] = v where j + @0 < N streaming"
)


def test_a_masked_copy_is_proved() -> None:
    assert check(FULL) == []


def test_a_split_loop_is_proved() -> None:
    main = "loop j in 0..N // 16 * 16 step 16 { v = load<16> x[i, j + @0]\n store<16> y[i, j + @0] = v }"
    tail = (
        "loop j in N // 16 * 16..N step 16 { v = load<16> x[i, j + @0] where j + @0 < N else 0.0\n"
        "store<16> y[i, j + @0] = v where j + @0 < N }"
    )
    assert check(f"parallel unit i in 0..M {{ {main}\n{tail} }}") == []


def test_a_divisible_extent_needs_no_predicate() -> None:
    body = "parallel unit i in 0..M step 4 { loop j in 0..N { v = load<4> x[i + @0, j]\n store<4> y[i + @0, j] = v } }"
    assert check(body) == []


def test_both_sides_of_a_branch_cover() -> None:
    body = (
        "parallel unit i in 0..M { loop j in 0..N { when i < 5 { store y[i, j] = 1.0 } else { store y[i, j] = 2.0 } } }"
    )
    assert check(body) == []
    body = "parallel unit i in 0..M { loop j in 0..N { when i < 5 { store y[i, j] = 1.0 } } }"
    assert any("coverage" in u for u in check(body))


def test_nested_parallel_tiles_are_disjoint() -> None:
    body = """parallel group g in 0..M step 4 { parallel unit u in 0..4 { loop j in 0..N {
        store y[g + u, j] = 1.0 } } }"""
    assert check(body) == []


def test_shared_sram_with_a_sync_is_proved() -> None:
    body = """parallel group g in 0..M {
      alloc s: f32[64] sram
      parallel unit u in 0..4 {
        store<16> s[u * 16 + @0] = 1.0
        sync sram
        v = load<64> s[@0]
        loop j in 0..N step 4 { r = reduce add v over 0
          store<1> y[g, j + u + @0] = r where j + u + @0 < N }
      } }"""
    assert not any("race" in u for u in check(body))
    racy = check(body.replace("sync sram", ""))
    assert any("race" in u for u in racy)


def test_a_sync_in_a_serial_loop_orders_its_turns() -> None:
    body = """parallel group g in 0..M {
      alloc s: f32[4] sram
      parallel unit u in 0..4 { loop j in 0..N {
        store s[u] = f32(j)
        sync sram
        v = load<4> s[@0]
        r = reduce add v over 0
        when u == 0 { store<1> y[g, j + @0] = r }
        %s
      } } }"""
    assert not any("race" in u for u in check(body % "sync sram"))
    assert any("race" in u for u in check(body % ""))


def test_a_wavefront_is_proved() -> None:
    body = """loop w in 0..M + N {
      parallel unit i in max(0, w - N + 1)..min(M, w + 1) {
        v = load t0[i - 1, w - i] where i > 0 else 0.0
        store t0[i, w - i] = v + 1.0
      } }"""
    assert [u for u in check(FULL + body) if "race" in u or "bounds" in u] == []
    same = body.replace("t0[i - 1, w - i] where i > 0", "t0[i - 1, w - i + 1] where i > 0 and w - i + 1 < N")
    assert any("race" in u for u in check(FULL + same))


@pytest.mark.parametrize(
    ("number", "body"),
    [
        (1, "loop i in 0..M { loop i in 0..M { } }"),
        (1, "loop x in 0..M { }"),
        (1, "alloc N: f32[4] sram"),
        (2, "store y[0, 0] = v"),
        (2, "v = load z[0]"),
        (2, "loop i in 0..M { v: f32 = 1.0 }\n store y[0, 0] = v"),
        (2, "store y[0, k] = 1.0"),
        (3, "v: f32 = 1.0\n v: f32 = 2.0"),
        (3, "alloc a: f32<4> reg\n a: f32<8> = 1.0"),
        (3, "alloc a: f32<4> reg\n parallel unit i in 0..M { a = 1.0 }"),
        (4, "v: f32 = 1"),
        (4, "v: f32 = 1.0_f64"),
        (4, "v: bf16 = 1.0"),
        (4, "store y[0, 0] = 1.0 where 3"),
        (4, "v: f64 = 1.0_f64\n w: f64 = v + f32(v)"),
        (4, "v: f32<4> = f32(@0) + @0"),
        (4, "store y[0, 1.5] = 1.0"),
        (5, "v: f32<4> = f32(@1)"),
        (5, "v: f32<4> = 1.0\n w: f32<8> = v"),
        (5, "v: f32<0> = 1.0"),
        (5, "v: f32<2000000> = 1.0"),
        (5, "v: f32<4> = 1.0\n r = reduce add v over 1"),
        (5, "v: f32<4> = 1.0\n r = reduce and v over 0"),
        (5, "v: i64<4> = @0\n loop i in 0..v { }"),
        (6, "store x[0, 0] = 1.0"),
        (6, "move<N> y[0, @0] = y[1, @0]"),
        (6, "alloc s: f32[1024] sram\n alloc r: f32[1024] sram"),
        (7, "v = load x[0]"),
        (7, "v = load<4> x[0, @0] where @0 < N"),
        (11, "parallel unit i in 0..M { when i < 3 { sync dram } }"),
        (11, "parallel unit i in 0..M { loop j in 0..i { sync dram } }"),
        (11, "sync reg"),
    ],
)
def test_what_breaks_a_guarantee_is_refused(number: int, body: str) -> None:
    with pytest.raises(VerifyError) as caught:
        check(body, sram=4096 + 512)
    assert f"[{number}]" in str(caught.value)
    assert caught.value.location.line >= 7, "every refusal has a place"


@pytest.mark.parametrize(
    "body",
    [
        "loop i in 0..M { store y[i, N] = 1.0 }",
        "loop i in 0..M { store y[i + 1, 0] = 1.0 where N > 0 }",
        "loop i in 0..M { loop j in 0..N step 16 { v = load<16> x[i, j + @0] } }",
        "loop i in 0..M { loop j in 0..N { v = load x[i, j - 1] } }",
        "loop i in 0..M { loop j in 0..N { v = load x[i, j + 1] where j < N else 0.0 } }",
    ],
)
def test_an_access_outside_is_refused_with_a_witness(body: str) -> None:
    with pytest.raises(VerifyError, match="out of bounds"):
        check(body)


def test_what_cannot_be_proved_is_reported() -> None:
    gather = "loop i in 0..M { loop j in 0..N { k = load idx[j]\n v = load x[i, k]\n store y[i, j] = v } }"
    assert [u for u in check(gather) if "x[i, k]" in u]
    guarded = gather.replace("x[i, k]", "x[i, k] where k >= 0 and k < N else 0.0")
    assert check(guarded) == []


def test_races_are_reported() -> None:
    """Failure 6: a missing barrier. The interpreter finds what is reported here (`test_mistakes_are_errors`)."""
    reported = check("parallel unit i in 0..M { loop j in 0..N { store y[j // 2, 0] = 1.0 where j < M and N > 0 } }")
    assert any(u.startswith("race") for u in reported)
    copies = check(COPY % "store<16> t0[i, j] = 1.0")
    assert any("share an element" in u for u in copies)
    exchange = """parallel unit i in 0..M { store t0[i, 0] = 1.0 where N > 0
      sync dram
      v = load t0[M - 1 - i, 0] where N > 0 else 0.0 }"""
    assert not any(u.startswith("race") for u in check(exchange))
    assert any(u.startswith("race") for u in check(exchange.replace("sync dram", "sync sram")))
    assert any(u.startswith("race") for u in check(exchange.replace("sync dram", "")))


def test_mutable_indices_are_not_trusted_across_statements() -> None:
    body = """loop i in 0..M { alloc k: i64<> reg
      k = 0
      when k < N { k = 1000000
        v = load x[i, k] where N > 0 else 0.0 } }"""
    assert any("bounds" in u for u in check(body))


def test_empty_programs_and_kernels_hold() -> None:
    assert verify(parse_program("program t() { kernel k { } }")) == []


def test_errors_name_the_statement() -> None:
    with pytest.raises(UserError, match=r"in: store y\[0, 0\] = v"):
        check("store y[0, 0] = v")


def test_tiles_of_tiles_cut_at_the_end_cover() -> None:
    body = """parallel unit it in 0..M step 64 { parallel unit jt in 0..N step 32 {
      when jt + 32 <= N {
        loop i in it..min(it + 64, M) { loop j in jt..jt + 32 step 16 { store<16> y[i, j + @0] = 1.0 } }
      } else {
        loop i in it..min(it + 64, M) { loop j in jt..N step 16 { store<16> y[i, j + @0] = 1.0 where j + @0 < N } }
      } } }"""
    assert check(body) == []
    assert any("coverage" in u for u in check(body.replace("it + 64, M", "it + 63, M")))


def test_backward_stores_cover() -> None:
    assert check("parallel unit i in 0..M { loop j in 0..N { store y[M - 1 - i, N - 1 - j] = 1.0 } }") == []
    assert any("coverage" in u for u in check("parallel unit i in 1..M { loop j in 0..N { store y[M - i, j] = 1.0 } }"))


def test_stores_in_a_loop_that_may_not_run_do_not_cover() -> None:
    body = "parallel unit i in 0..M { loop j in 0..N { %s store y[i, j] = 1.0 } }"
    assert any("coverage" in u for u in check(body % "loop r in 0..M - 4 {" + " }"))
    assert check((body % "loop r in 0..4 {") + " }") == []


def test_a_length_known_at_run_time_guards_an_empty_buffer() -> None:
    text = """program t() {
      tensor list: i64[2, 0] input
      tensor count: i64[2] input
      tensor y: i64[2] output
      kernel k { parallel unit i in 0..2 { alloc s: i64 reg s = 0
        %s
        store y[i] = s } } }"""
    verify(parse_program(text % "n = load count[i] loop b in 0..n { v = load list[i, b] s = s + v }"))
    with pytest.raises(VerifyError, match="out of bounds at"):
        verify(parse_program(text % "loop b in 0..3 { v = load list[i, b] s = s + v }"))


def test_an_access_that_is_never_reached_is_not_refused() -> None:
    text = """program t() {
      tensor x: f32[8] input
      tensor y: f32[8] output
      kernel k { parallel unit i in 0..8 {
        v = load x[i + 8] where i * i %% 4 == %d else 0.0
        store y[i] = v } } }"""
    verify(parse_program(text % 3))  # no square is 3 modulo 4; the prover does not know
    with pytest.raises(VerifyError, match="out of bounds at i ="):
        verify(parse_program(text % 1))
