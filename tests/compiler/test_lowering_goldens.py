"""What lowering without a search makes of small ops, as text: tests/goldens/lowering/NAME.gir.

A file begins with a line `#### MACHINE SYMBOL=EXTENT ...` and an op, written by hand; `pytest --update-goldens` writes
the op after its rewrites, the default plan, and the program.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from weft.backends.machine import load_machine
from weft.compiler.lower import LowerOptions, lower
from weft.compiler.plan import describe
from weft.ir.binding import specialise
from weft.ir.gir_printer import print_program
from weft.ir.gir_verify import verify
from weft.ir.op_printer import print_op
from weft.ir.op_text import parse_op

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"
REWRITTEN, PLAN, GIR = "#### rewritten\n", "#### plan\n", "#### gir\n"


@pytest.mark.parametrize("name", sorted(p.stem for p in (GOLDENS / "lowering").iterdir()))
def test_default_plan(name: str, golden: Callable[[str, str], None]) -> None:
    given = (GOLDENS / "lowering" / f"{name}.gir").read_text().split(REWRITTEN)[0]
    mark, machine, *bindings = given.splitlines()[0].split()
    assert mark == "####"
    extents = {symbol: int(extent) for symbol, _, extent in (b.partition("=") for b in bindings)}
    result = lower(specialise(parse_op(given), extents), load_machine(machine), LowerOptions(search=False))
    verify(result.program)
    parts = [(REWRITTEN, print_op(result.op)), (PLAN, describe(result.plan)), (GIR, print_program(result.program))]
    golden(f"lowering/{name}.gir", given + "".join(f"{title}{text.rstrip()}\n" for title, text in parts))
