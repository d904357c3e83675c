"""What candidates are compared with before a time counts.

Where the float64 interpreter is quick enough at these extents, with its results. Elsewhere twice: their choices at
smaller extents with the interpreter's results there, and at the full extents with those of the default plan, which was
compared at the smaller ones as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from ..compiler import gathers
from ..compiler.agreement import random_inputs
from ..compiler.extents import check_bound_shape, check_facts
from ..compiler.planner.facts import extents as axis_extents
from ..compiler.signature import signature_of
from ..ir.binding import specialise
from ..ir.errors import WeftError
from ..ir.op import Op
from ..ir.op_interp import interpret
from .case import Array, write_case, write_expected

POINTS = 1 << 25  # of all definitions together that the interpreter evaluates: a few seconds
SMALL_POINTS = 1 << 21
SMALLEST = 2  # a symbol is not made smaller than this


@dataclass(frozen=True)
class Reference:
    """Folders of cases (case.py). `full` is compared with the default plan's results where `by_default_plan`; then
    `small` is the case at `smaller` extents, None where the op has no smaller ones."""

    full: Path
    small: Path | None
    smaller: dict[str, int] | None
    by_default_plan: bool

    @property
    def words(self) -> str:
        """What a record says of it."""
        if not self.by_default_plan:
            return "interpreter"
        return "default plan" if self.small is None else "default plan; interpreter at smaller extents"


def prepare(
    op: Op, bindings: Mapping[str, int], given: Mapping[str, Array], folder: Path, points: int = POINTS, seed: int = 0
) -> Reference:
    """Inputs (random ones where none are given) and expected results, in new folders under `folder`.

    Raises BindError and CallError for inputs that do not fit.
    """
    full = folder / "full"
    inputs = random_inputs(op, given, bindings, seed)
    gathers.check(gathers.find(op), bindings, inputs)
    write_case(full, op, bindings, inputs)
    if evaluated(op, bindings) <= points:
        write_expected(full, interpret(op, inputs, dict(bindings), float64=True))
        return Reference(full, None, None, False)
    smaller = reduced(op, bindings, min(points, SMALL_POINTS))
    if smaller is None:
        return Reference(full, None, None, True)
    small = folder / "small"
    try:
        drawn = random_inputs(op, {}, smaller, seed)
        expected = interpret(op, drawn, smaller, float64=True)
    except WeftError:  # random indices that mean nothing there
        return Reference(full, None, None, True)
    write_case(small, op, smaller, drawn)
    write_expected(small, expected)
    return Reference(full, small, smaller, True)


def evaluated(op: Op, bindings: Mapping[str, int]) -> int:
    """Points of all definitions, reductions included."""
    bound = specialise(op, dict(bindings))
    return sum(prod(axis_extents(d).values()) for d in bound.definitions)


def reduced(op: Op, bindings: Mapping[str, int], points: int) -> dict[str, int] | None:
    """Smaller values of the symbols that obey the op's facts: the largest that can be halved is halved until at most
    `points` are left. None where that cannot be reached."""
    values = dict(bindings)
    while evaluated(op, values) > points:
        for name in sorted(values, key=lambda n: (-values[n], n)):
            halved = values | {name: values[name] // 2}
            if halved[name] >= SMALLEST and _allowed(op, halved):
                values = halved
                break
        else:
            return None
    return values


def _allowed(op: Op, values: Mapping[str, int]) -> bool:
    try:
        check_facts(signature_of(op), values)
        for tensor in (*op.inputs, *op.outputs):
            check_bound_shape(tensor, values)
        specialise(op, dict(values))
    except WeftError:
        return False
    return True
