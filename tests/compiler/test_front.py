"""What compile() and the command line take for a program is verified, whatever it came as."""

from __future__ import annotations

from pathlib import Path

import pytest
import weft
from weft.compiler import front
from weft.ir.errors import VerifyError
from weft.ir.op_text import parse_op

OUTSIDE = "op f(x: f32[N]) -> (y: f32[N]) { y[i] = x[i + 5] }"


def test_a_read_outside_is_refused_in_every_kind_of_source(tmp_path: Path) -> None:
    """Failure 4: text and files were parsed only, and the read reached the emitted code."""
    path = tmp_path / "f.gir"
    path.write_text(OUTSIDE)
    for source in (OUTSIDE, path, str(path), parse_op(OUTSIDE)):
        with pytest.raises(VerifyError, match=r"index 0 of `x`, i \+ 5, may leave 0\.\.N"):
            weft.compile(source)


def test_other_guarantees_are_checked_in_text_too() -> None:
    with pytest.raises(VerifyError, match="both earlier and later"):
        front.parse("op f(x: f32[N]) -> (y: f32[N]) { y[i] = y.pad(0.0)[i - 1] + y.pad(0.0)[i + 1] + x[i] }", "f.gir")
