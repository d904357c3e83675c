"""Verifier against interpreter: what is proved never fails, whatever the extents, the order and the program."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from weft.ir.errors import VerifyError
from weft.ir.gir_interp import interpret
from weft.ir.gir_parser import parse_program
from weft.ir.gir_verify import verify

TERMS = ("0", "1", "i", "j", "u", "@0", "i + @0", "j + @0", "i * 2 + @0", "i // 2", "i % 3", "u * 2 + j", "M - 1 - i")
TERMS += ("i - u", "j * 4 + @0", "min(i, 3)", "i + u", "M - 1", "u * 4 + @0", "(i + 1) % M", "max(i - 1, 0)")
GUARDS = ("", " where %s < M", " where i > u", " where %s < M and %s >= 0", " where @0 == 0 and %s < M and i >= 1")
FILL = " else 0.0"


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Two buffers, one parallel loop around (or inside) others, a few accesses, a sync perhaps."""

    def access(write: bool) -> str:
        buffer = draw(st.sampled_from(("t0", "s") if write else ("x", "t0", "s")))
        term = draw(st.sampled_from(TERMS))
        guard = draw(st.sampled_from(GUARDS))
        guard = guard.replace("%s", f"({term})")
        if write:
            return f"store<2> {buffer}[{term}] = 1.0{guard}"
        nonlocal count
        count += 1
        return f"v{count} = load<2> {buffer}[{term}]{guard}{FILL if guard else ''}"

    count = 0
    sync = draw(st.sampled_from(("", "sync sram", "sync dram")))
    body = [access(draw(st.booleans())) for _ in range(draw(st.integers(1, 3)))]
    body.insert(draw(st.integers(0, len(body))), sync)
    tail = [access(draw(st.booleans())) for _ in range(draw(st.integers(0, 1)))]
    tail.append(draw(st.sampled_from(("", sync))))
    step = draw(st.sampled_from(("", " step 2")))
    kind = draw(st.sampled_from(("parallel unit", "parallel group", "loop")))
    inner = draw(st.sampled_from(("loop", "parallel unit")))
    lines = "\n".join(body)
    end = "\n".join(tail)
    return f"""program t(M) {{
      tensor x: f32[M] input
      tensor t0: f32[M] temp
      kernel k {{
        alloc s: f32[M] sram
        {kind} i in 0..M{step} {{
          loop u in 0..2 {{ {inner} j in 0..2 {{
            {lines} }}
            {end}
          }} }} }} }}"""


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts(), st.integers(0, 5), st.integers(0, 99))
def test_proved_programs_run_without_error(text: str, extent: int, seed: int) -> None:
    program = parse_program(text)
    try:
        unproved = verify(program)
    except VerifyError:
        return
    x = np.zeros(extent, np.float32)
    for order in ("forward", "reverse", "shuffle"):
        try:
            interpret(program, {"x": x}, unit_order=order, seed=seed)
        except VerifyError as error:
            assert unproved, f"{error}\n{text}"
            return


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts())
def test_refused_accesses_do_fail_somewhere(text: str) -> None:
    """A refusal for bounds is no false alarm: some extent shows it."""
    program = parse_program(text)
    try:
        verify(program)
    except VerifyError as error:
        if "out of bounds" not in str(error):
            return
        shown = False
        for extent in range(10):
            try:
                interpret(program, {"x": np.zeros(extent, np.float32)}, check_races=False)
            except VerifyError:
                shown = True  # often the access itself, sometimes a mistake before it
        assert shown, f"{error}\n{text}"


@st.composite
def covers(draw: st.DrawFn) -> str:
    """Nested loops around one or two stores to an output of one dimension."""

    def pick(*options: str) -> str:
        return draw(st.sampled_from(options))

    def store() -> str:
        term = pick("i + @0", "j + @0", "i", "j", "M - 1 - i", "M - 1 - j", "i + j", "i * 2 + @0", "j + i + @0")
        return f"store<{pick('1', '2', '4')}> y[{term}] = 1.0 where {term} < M and {pick(term + ' >= 0', 'i >= 0')}"

    outer = f"loop i in {pick('0', '1', '0')}..{pick('M', 'M - 1', '(M + 1) // 2', '4')} step {pick('1', '2', '4')}"
    inner = f"loop j in {pick('0', 'i')}..{pick('min(i + 4, M)', 'min(i + 2, M)', 'M', '2', '4')} step {pick('1', '2')}"
    body = f"{inner} {{ {store()} }}\n{pick('', store().replace('j', 'i'))}"
    if draw(st.booleans()):
        body = f"when i + {pick('2', '4')} <= M {{ {body} }} else {{ {inner} {{ {store()} }} }}"
    return f"program t(M) {{ tensor y: f32[M] output\n kernel k {{ {outer} {{ {body} }} }} }}"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(covers())
def test_outputs_shown_to_be_complete_are(text: str) -> None:
    program = parse_program(text)
    try:
        unproved = verify(program)
    except VerifyError:
        return
    if any("coverage" in u for u in unproved):
        return
    for extent in range(10):
        try:
            interpret(program, {}, {"M": extent})
        except VerifyError as error:
            assert "completely" not in str(error), text
