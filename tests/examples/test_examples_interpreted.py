"""Every example program against its NumPy reference, by the interpreter in float64: odd, zero and one extents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))

import reference  # noqa: E402
from inputs import random_inputs  # noqa: E402
from weft.ir.op import Op  # noqa: E402
from weft.ir.op_interp import interpret  # noqa: E402
from weft.ir.op_parser import parse_file  # noqa: E402

_SEQUENCE = [
    {"S": 7, "T": 7, "D": 5, "E": 3},
    {"S": 1, "T": 1, "D": 1, "E": 1},
    {"S": 5, "T": 11, "D": 3, "E": 2},
    {"S": 0, "T": 3, "D": 2, "E": 2},
]
_GRID = [{"X": 5, "Y": 3, "Z": 7}, {"X": 1, "Y": 1, "Z": 1}, {"X": 2, "Y": 1, "Z": 3}, {"X": 3, "Y": 0, "Z": 2}]
_MATRIX = [
    {"M": 5, "N": 7, "K": 3},
    {"M": 1, "N": 1, "K": 1},
    {"M": 0, "N": 3, "K": 2},
    {"M": 3, "N": 0, "K": 2},
    {"M": 2, "N": 3, "K": 0},
]
_SCAN = [
    {"T": 7, "D": 3, "E": 5, "C": 4},
    {"T": 1, "D": 1, "E": 1, "C": 1},
    {"T": 0, "D": 2, "E": 2, "C": 2},
    {"T": 13, "D": 0, "E": 3, "C": 0},
]
_BLOCKS = [
    {"P": 3, "L": 4, "R": 2, "C": 3, "Q": 5, "N": 7, "D": 3, "E": 2},
    {"P": 1, "L": 1, "R": 1, "C": 1, "Q": 1, "N": 1, "D": 1, "E": 1},
]
_IMAGE = [
    {"N": 2, "C": 3, "H": 7, "W": 5, "K": 4, "R": 3, "S": 3},
    {"N": 2, "C": 3, "H": 7, "W": 5, "K": 4, "R": 3, "S": 3, "U": 2, "V": 1, "P": 1, "Q": 1},
    {"N": 1, "C": 1, "H": 11, "W": 13, "K": 1, "R": 5, "S": 2, "U": 3, "V": 2, "P": 0, "Q": 1},
    {"N": 1, "C": 1, "H": 1, "W": 1, "K": 1, "R": 1, "S": 1},
    {"N": 0, "C": 2, "H": 3, "W": 3, "K": 2, "R": 3, "S": 3},
    {"N": 1, "C": 0, "H": 3, "W": 3, "K": 2, "R": 3, "S": 3},
]
SIZES: dict[str, list[dict[str, int]]] = {
    "softmax.gir": _MATRIX,
    "layernorm.gir": _MATRIX,
    "matmul.gir": _MATRIX,
    "attention.gir": [*_SEQUENCE, {"S": 9, "T": 9, "D": 2, "E": 2, "W": 3}],
    "conv2d.gir": _IMAGE,
    "stencil7.gir": _GRID,
    "gauss_seidel.gir": _GRID,
    "decay.gir": _SCAN,
    "block_sparse.gir": [*_BLOCKS, {"P": 2, "L": 0, "R": 2, "C": 3, "Q": 2, "N": 3, "D": 2, "E": 2}],
}
SIZES["block_sparse.gir"] = [s | {"M": 5, "K": s["Q"]} for s in SIZES["block_sparse.gir"]]


def programs() -> list[Op]:
    found: list[Op] = []
    for file in SIZES:
        found += parse_file((ROOT / "examples" / file).read_text(), f"examples/{file}")
    return found


def cases() -> list[Any]:
    out = []
    for op in programs():
        for sizes in SIZES[Path(op.location.file).name]:
            own = {s.name: sizes[s.name] for s in op.symbols if s.name in sizes}
            out.append(pytest.param(op, own, id=f"{op.name}-{'x'.join(map(str, own.values()))}"))
    return out


def expected(op: Op, inputs: dict[str, np.ndarray[Any, Any]], symbols: dict[str, int]) -> tuple[Any, ...]:
    """The reference in float64; parameters (symbols with a default) are handed on by name."""
    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in inputs.values()]
    parameters = {s.name: symbols[s.name] for s in op.symbols if s.default is not None and s.name in symbols}
    result = getattr(reference, op.name)(*wide, **parameters)
    return result if isinstance(result, tuple) else (result,)


def test_every_example_file_has_sizes() -> None:
    assert set(SIZES) == {p.name for p in (ROOT / "examples").glob("*.gir") if not p.name.startswith("scheduled")}


@pytest.mark.parametrize(("op", "symbols"), cases())
def test_example_against_reference(op: Op, symbols: dict[str, int]) -> None:
    inputs = random_inputs(op, symbols)
    got = interpret(op, inputs, symbols, float64=True)
    for tensor, want in zip(op.outputs, expected(op, inputs, symbols), strict=True):
        np.testing.assert_allclose(got[tensor.name], want, rtol=1e-6, atol=1e-7, err_msg=tensor.name)
