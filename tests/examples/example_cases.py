"""The operators of the example programs, the extents that the tests try, and what they should give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from weft.ir.op import Op
from weft.ir.op_text import parse_file

ROOT = Path(__file__).resolve().parents[2]


def table(names: str, *rows: tuple[int, ...]) -> list[dict[str, int]]:
    """One set of extents per row; a short row leaves the last names (parameters) to their defaults."""
    return [dict(zip(names.split(), row, strict=False)) for row in rows]


_SEQUENCE = table("S T D E W", (7, 7, 5, 3), (1, 1, 1, 1), (5, 11, 3, 2), (0, 3, 2, 2), (9, 9, 2, 2, 3))
_GRID = table("X Y Z", (5, 3, 7), (1, 1, 1), (2, 1, 3), (3, 0, 2))
_MATRIX = table("M N K", (5, 7, 3), (1, 1, 1), (0, 3, 2), (3, 0, 2), (2, 3, 0))
_SCAN = table("T D E C", (7, 3, 5, 4), (1, 1, 1, 1), (0, 2, 2, 2), (13, 0, 3, 0))
_BLOCKS = table("P L R C Q N D E M K", (3, 4, 2, 3, 5, 7, 3, 2, 5, 7), (1,) * 10, (2, 0, 2, 3, 2, 3, 2, 2, 4, 1))
_IMAGE = table(
    "N C H W K R S U V P Q",
    (2, 3, 7, 5, 4, 3, 3),
    (2, 3, 7, 5, 4, 3, 3, 2, 1, 1, 1),
    (1, 1, 11, 13, 1, 5, 2, 3, 2, 0, 1),
    (1, 1, 1, 1, 1, 1, 1),
    (0, 2, 3, 3, 2, 3, 3),
    (1, 0, 3, 3, 2, 3, 3),
)
SIZES: dict[str, list[dict[str, int]]] = {
    "softmax.gir": _MATRIX,
    "layernorm.gir": _MATRIX,
    "matmul.gir": _MATRIX,
    "attention.gir": _SEQUENCE,
    "conv2d.gir": _IMAGE,
    "stencil7.gir": _GRID,
    "gauss_seidel.gir": _GRID,
    "decay.gir": _SCAN,
    "block_sparse.gir": _BLOCKS,
}


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
