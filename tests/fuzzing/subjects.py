"""What `make fuzz` asks about: programs with extents, inputs and the right answer, by kind and number alone."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from op_chains import ChainOp
from op_random import RandomOp, random_inputs
from weft.ir.expr import Cast, walk
from weft.ir.op import Op
from weft.ir.op_interp import interpret
from weft.ir.op_text import parse_op

PROGRAM, CHAIN = "program", "chain"
EXTENTS = (0, 1, 2, 3, 5, 7, 13, 16, 17, 31, 64, 67)
# Differences allowed, relative to the largest magnitude (at least 1), by the narrowest float type that is stored.
TOLERANCE = {"bf16": 6e-2, "f16": 1e-2, "f32": 3e-4, "f64": 1e-9}


@dataclass(frozen=True)
class Subject:
    """`expected`: outputs by name, from the interpreter of the op; `allowed`: the difference that rounding explains."""

    kind: str
    number: int
    op: Op
    extents: dict[str, int]
    inputs: dict[str, Any]
    expected: dict[str, Any]
    allowed: float

    def random(self, purpose: str) -> random.Random:
        """Random numbers that do not depend on what else was drawn."""
        return random.Random(f"{self.kind} {self.number} {purpose}")

    def wrong(self, found: Mapping[str, Any]) -> str:
        """What is wrong with these outputs, if anything."""
        for name, reference in self.expected.items():
            error = difference(np.asarray(found[name]), np.asarray(reference))
            if not error <= self.allowed:
                return f"'{name}' differs by {error:.3g} (allowed {self.allowed:.3g})"
        return ""


def text_of(kind: str, number: int) -> str:
    return RandomOp(number).text if kind == PROGRAM else ChainOp(number).text


def subject(kind: str, number: int) -> Subject:
    """Raises whatever the parser and the interpreter raise: every program is legal."""
    op = parse_op(text_of(kind, number))
    if kind == PROGRAM:
        rng = random.Random(number)
        extents = {name: rng.choice(EXTENTS) for name in "MNK"}
    else:
        extents = ChainOp(number).extents
    inputs = random_inputs(op, extents, number)
    expected = interpret(op, inputs, extents)
    stored = {t.dtype.value for d in op.definitions for t in d.targets if t.dtype.is_float}
    stored |= {t.dtype.arithmetic.value for t in op.inputs if t.dtype.is_float}  # computed with, if not stored
    casts = (x.dtype for d in op.definitions for e in d.expressions for x in walk(e) if isinstance(x, Cast))
    stored |= {d.arithmetic.value for d in casts if d.is_float}
    allowed = max([TOLERANCE[d] for d in stored], default=0.0)
    return Subject(kind, number, op, extents, inputs, expected, allowed)


def difference(found: Any, reference: Any) -> float:
    """Largest difference relative to the largest magnitude (at least 1); infinite where kinds of value differ."""
    if found.shape != reference.shape:
        return float("inf")
    if reference.dtype.kind in "iub":
        return 0.0 if np.array_equal(found, reference) else float("inf")
    a, b = found.astype(np.float64), reference.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(a[finite]).all():
        return float("inf")
    return float(np.abs(a[finite] - b[finite]).max() / max(1.0, np.abs(b[finite]).max())) if finite.any() else 0.0
