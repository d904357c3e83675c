"""The op-level pipeline: every operator that comes along, and random ones, mean the same after each pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from equivalence import assert_same
from random_ops import RandomOp
from weft.compiler.passes.base import Pass
from weft.compiler.passes.normal import NORMAL, normalise
from weft.ir.op_text import parse_file, parse_op
from weft.ir.op_verify import verify

ROOT = Path(__file__).parents[2]
FILES = sorted(ROOT.glob("ops/*.gir")) + [
    f for f in sorted(ROOT.glob("examples/*.gir")) if "\nprogram " not in f.read_text()
]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_operators_keep_their_meaning(path: Path) -> None:
    for op in parse_file(path.read_text(), str(path)):
        symbols = {s.name: s.default if s.default is not None else 4 + k % 3 for k, s in enumerate(op.symbols)}
        new = normalise(op)
        verify(new)
        assert_same(op, new, symbols, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(100, 130))
def test_random_ops_after_each_pass(seed: int) -> None:
    op = parse_op(RandomOp(seed, definitions=7).text)
    for p in NORMAL:
        new = p.run(op)
        verify(new)
        # Streaming may move a scale out of a sum, which rounds otherwise; nothing else may change a bit.
        exact = p.name != "streaming" or not new.streams
        assert_same(
            op, new, {"M": 4, "N": 5}, seed, special=0.2, rtol=0.0 if exact else 1e-4, atol=0.0 if exact else 1e-4
        )
        op = new


def test_passes_are_passes() -> None:
    assert all(isinstance(p, Pass) and p.form == "op" for p in NORMAL)
