"""Every example program compiled, against NumPy: bound and symbolic extents, odd, zero, one and larger."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import reference
import weft
from example_cases import ROOT, SIZES, cases, expected, programs, table
from inputs import random_inputs
from weft.ir.op import Op

_LARGER: dict[str, dict[str, int]] = {
    "softmax.gir": table("M N", (131, 1027))[0],
    "layernorm.gir": table("M N", (131, 1027))[0],
    "matmul.gir": table("M N K", (131, 257, 193))[0],
    "attention.gir": table("S T D E W", (257, 257, 64, 33, 50))[0],
    "conv2d.gir": table("N C H W K R S U V P Q", (2, 5, 31, 37, 17, 3, 3, 1, 2, 1, 0))[0],
    "stencil7.gir": table("X Y Z", (31, 37, 53))[0],
    "gauss_seidel.gir": table("X Y Z", (17, 19, 23))[0],
    "decay.gir": table("T D E C", (301, 17, 33, 70))[0],
    "block_sparse.gir": table("P L R C Q N D E M K", (9, 5, 16, 7, 8, 67, 33, 20, 40, 90))[0],
}


def check(op: Op, symbols: dict[str, int], target: str, specialise: str = "auto") -> None:
    inputs = random_inputs(op, symbols)
    got = weft.compile(op, target=target, specialise=specialise)(**inputs, **symbols)
    for found, want in zip(got if isinstance(got, tuple) else (got,), expected(op, inputs, symbols), strict=True):
        np.testing.assert_allclose(found, want, rtol=2e-4, atol=2e-5 * max(1.0, float(np.abs(want).max(initial=0))))


def first_of_each_file() -> list[Op]:
    """Compiling takes a while where extents are symbolic or a C compiler runs: one operator of each file."""
    seen: dict[str, Op] = {}
    for op in programs():
        seen.setdefault(op.location.file, op)
    return list(seen.values())


def larger(op: Op) -> dict[str, int]:
    sizes = _LARGER[Path(op.location.file).name]
    return {s.name: sizes[s.name] for s in op.symbols}


@pytest.mark.parametrize(("op", "symbols"), cases())
def test_on_cpu(op: Op, symbols: dict[str, int]) -> None:
    check(op, symbols, "cpu")


@pytest.mark.parametrize("op", programs(), ids=lambda op: op.name)
def test_larger_on_cpu(op: Op) -> None:
    check(op, larger(op), "cpu")


@pytest.mark.parametrize("op", first_of_each_file(), ids=lambda op: op.name)
def test_symbolic_extents_on_cpu(op: Op) -> None:
    check(op, larger(op), "cpu", specialise="never")


@pytest.mark.parametrize("op", first_of_each_file(), ids=lambda op: op.name)
def test_larger_as_c(op: Op) -> None:
    check(op, larger(op), "c")


@pytest.mark.parametrize("op", programs(), ids=lambda op: op.name)
def test_odd_as_c_under_sanitizers(op: Op) -> None:
    """A process of its own whose arrays have exactly their sizes: a read or write past one ends it."""
    sizes = SIZES[Path(op.location.file).name][0]
    check(op, {s.name: sizes[s.name] for s in op.symbols if s.name in sizes}, "c:sanitize")


@pytest.mark.parametrize("target", ["cpu", "c"])
@pytest.mark.parametrize("shape", [(3, 37), (1, 1), (0, 5), (33, 65), (70, 256)])
@pytest.mark.parametrize("name", ["softmax", "transpose"])
def test_scheduled_by_hand(name: str, shape: tuple[int, int], target: str) -> None:
    x = np.random.default_rng(3).standard_normal(shape, dtype=np.float32)
    y = weft.compile(ROOT / "examples" / f"scheduled_{name}.gir", target=target)(x)
    np.testing.assert_allclose(y, reference.softmax(x) if name == "softmax" else x.T, rtol=1e-5, atol=1e-7)


def test_every_example_file_has_larger_sizes() -> None:
    assert set(_LARGER) == set(SIZES)
