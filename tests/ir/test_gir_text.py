"""GIR's text: round trips, contextual words, and errors for everything that is no program."""

from __future__ import annotations

import random
import time
from contextlib import suppress

import pytest
from gir_random import programs
from hypothesis import HealthCheck, given, settings
from weft.ir.errors import ParseError, UserError
from weft.ir.gir import Program
from weft.ir.gir_parser import parse_program
from weft.ir.gir_printer import print_program
from weft.ir.gir_verify import verify

TEXT = """program t(M, N = 128) where N % 16 == 0, M > 0 {
  tensor x: bf16[M, N] input
  tensor s: f32[] temp
  tensor y: f32[M, N] output
  kernel k {
    parallel unit i in 0..M {
      alloc acc: f32<16> reg
      alloc box: f32[4, N // 2] sram
      acc = -inf
      loop j in 0..N step 16 {
        v = load<16> x[i, j + @0] where j + @0 < N else -inf
        acc = max(acc, v)
        w: f32<16> = v * 2.0 if j > 0 else acc
      }
      m = reduce max acc over 0
      move<4, N // 2> box[@0, @1] = s[] where @1 < N else 0.0
      sync sram
      unroll u in 0..2 {
        store<16> y[i, u * 16 + @0] = exp(acc - m) where @0 > u streaming
      }
      when i == 0 {
        store s[] = 1.0
      } else {
        z: i32 = i32(i) // 3_i32
      }
    }
  }
}
"""


def test_the_printed_form_is_the_written_form() -> None:
    assert print_program(parse_program(TEXT)) == TEXT


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_random_programs_round_trip(program: Program) -> None:
    text = print_program(program)
    again = parse_program(text)
    assert again == program
    assert print_program(again) == text


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_the_verifier_ends_in_a_list_or_a_user_error(program: Program) -> None:
    with suppress(UserError):
        assert all(isinstance(u, str) for u in verify(program))


def test_statement_words_are_names_too() -> None:
    text = """program load(step) {
  tensor store: f32[step] output
  kernel sync {
    loop loop in 0..step {
      load: f32 = f32(loop)
      reduce: f32 = load
      when: bool = load < 16.0
      streaming: f32 = load if when else reduce
      store store[loop] = load
      over: f32 = streaming
      store store[loop] = load streaming
    }
  }
}
"""
    program = parse_program(text)
    assert print_program(program) == text
    assert verify(program) == []


@pytest.mark.parametrize(
    ("body", "line", "column", "what"),
    [
        ("v = load<16> x[i, @0 where true else 0.0", 3, 22, "expected `]`"),
        ("v = 1.0", 3, 1, "has no type"),
        ("v: f32 = y[3]", 3, 10, "inside an expression"),
        ("v: f33 = 1.0", 3, 4, "expected an element type"),
        ("loop i in 0..4 step 0 { }", 3, 6, "step of a loop is 0"),
        ("parallel core i in 0..4 { }", 3, 10, "what runs in parallel"),
        ("if i { }", 3, 1, "`if` belongs to expressions"),
        ("r = reduce sub v over 0", 3, 12, "expected a fold"),
        ("alloc a: f32[N] reg", 3, 7, "static shape"),
        ("}", 4, 2, "after the end"),
        ("jump", 3, 1, "expected a statement"),
    ],
)
def test_errors_point_at_the_place(body: str, line: int, column: int, what: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_program("program t(N) {\nkernel k {\n" + body + "\n}}")
    assert what in str(caught.value)
    assert (caught.value.location.line, caught.value.location.column) == (line, column)


@pytest.mark.parametrize("opening", ["when true {", "loop i in 0..((((", "v: f32 = not ", "x[", "v: f32 = -", "{", "<"])
def test_deep_nesting_is_refused_quickly(opening: str) -> None:
    start = time.monotonic()
    with pytest.raises(UserError):
        parse_program("program t() { kernel k { " + opening * 20_000)
    assert time.monotonic() - start < 5


def test_damaged_text_is_refused_or_read() -> None:
    generator = random.Random(3)
    for _ in range(400):
        kind = generator.randrange(4)
        at = generator.randrange(len(TEXT))
        if kind == 0:
            damaged = TEXT[:at]
        elif kind == 1:
            damaged = TEXT[:at] + chr(generator.choice((0, 10, 34, 64, 91, 123, 125, 255, 0x1F600))) + TEXT[at + 1 :]
        elif kind == 2:
            damaged = TEXT[:at] + chr(ord(TEXT[at]) ^ (1 << generator.randrange(7))) + TEXT[at + 1 :]
        else:
            other = generator.randrange(len(TEXT))
            damaged = TEXT[:at] + TEXT[min(at, other) : max(at, other)] + TEXT[at:]
        try:
            verify(parse_program(damaged))
        except UserError as error:
            assert str(error)
