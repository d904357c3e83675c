"""What every pass makes of small programs, as text: tests/goldens/passes/<pass>.gir.

A case begins with a line `#### pass{option=value}`, then come the program and, after a line `#### gives`, the program
after the pass. The inputs are written by hand; `pytest --update-goldens` writes what they become.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from weft.compiler import front
from weft.compiler.pass_registry import make, parse, registry
from weft.ir.gir_printer import print_program
from weft.ir.gir_verify import verify
from weft.ir.op import Op
from weft.ir.op_printer import print_op

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"
_CASE = re.compile(r"^#### (?!gives$)(.+)\n", re.MULTILINE)
GIVES = "#### gives\n"


def cases(name: str) -> list[tuple[str, str]]:
    """Pass with options, and program, of every case of a file."""
    parts = _CASE.split((GOLDENS / "passes" / f"{name}.gir").read_text())
    assert parts[0] == "", f"{name}.gir must begin with a case"
    return [(head, body.split(GIVES)[0]) for head, body in zip(parts[1::2], parts[2::2], strict=True)]


def text(program: object) -> str:
    return (print_op(program) if isinstance(program, Op) else print_program(program)).rstrip() + "\n"


@pytest.mark.parametrize("name", sorted(registry()))
def test_pass(name: str, golden: Callable[[str, str], None]) -> None:
    out = ""
    for head, source in cases(name):
        ((called, options),) = parse(head)
        assert called == name
        step = make(called, options)
        before = front.parse(source, f"{name}.gir")
        after = step.run(before)
        if not isinstance(after, Op):
            verify(after)
        shown = text(after)
        assert text(front.read(shown)) == shown, "what is printed must read back as the same program"
        out += f"#### {head}\n{source}{GIVES}" + ("# the same\n" if shown == text(before) else shown)
    golden(f"passes/{name}.gir", out)


def test_no_file_without_a_pass() -> None:
    """And no pass without one: write tests/goldens/passes/NAME.gir, then run pytest --update-goldens."""
    assert sorted(p.stem for p in (GOLDENS / "passes").iterdir()) == sorted(registry())
