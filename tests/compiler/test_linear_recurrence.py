"""Recognition of linear recurrences."""

from __future__ import annotations

import pytest
from weft.compiler.passes.linear_recurrence import linear_recurrence
from weft.ir.expr_text import print_expr
from weft.ir.op_text import parse_op

H = "h.pad(0.0)[t - 1, c]"


def recognised(expr: str) -> tuple[str, str] | None:
    op = parse_op(f"op f(a: f32[T, C], b: f32[T, C]) -> (h: f32[T, C]) {{ h[t, c] = {expr} }}")
    found = linear_recurrence(op.definitions[0])
    if found is None:
        return None
    return print_expr(found.factor), "" if found.addend is None else print_expr(found.addend)


@pytest.mark.parametrize(
    ("expr", "factor", "addend"),
    [
        (f"a[t, c] * {H} + b[t, c]", "a[t, c]", "b[t, c]"),
        (f"b[t, c] + {H} * a[t, c]", "a[t, c]", "b[t, c]"),
        (f"{H} + b[t, c]", "1.0_None", "b[t, c]"),
        (f"b[t, c] - {H} / a[t, c]", "", ""),
        (f"a[t, c] * {H}", "a[t, c]", ""),
        (f"fma(a[t, c], {H}, b[t, c])", "a[t, c]", "b[t, c]"),
        (f"a[t, c] * ({H} + b[t, c])", "a[t, c]", "a[t, c] * b[t, c]"),
        (f"{H} if a[t, c] > 0.0 else b[t, c]", "", ""),
        (f"{H} + a[t, c] * {H}", "", ""),
    ],
)
def test_linear(expr: str, factor: str, addend: str) -> None:
    found = recognised(expr)
    assert found is not None
    if factor and "None" not in factor:
        assert found[0] == factor
    if addend:
        assert found[1] == addend


@pytest.mark.parametrize(
    "expr",
    [
        f"{H} * {H} + b[t, c]",
        f"max({H}, b[t, c])",
        f"a[t, c] / {H}",
        f"exp({H})",
        f"a[t, c] if {H} > 0.0 else b[t, c]",
        "h.pad(0.0)[t - 2, c] + b[t, c]",
        "h.pad(0.0)[t - 1, c - 1] + b[t, c]",
        f"h.pad(0.0)[t, c - 1] + {H}",
        "h.pad(0.0)[t + 1, c] + b[t, c]",
        f"f32(bf16({H})) + b[t, c]",
        "a[t, c] + b[t, c]",
    ],
)
def test_not_linear(expr: str) -> None:
    assert recognised(expr) is None


def test_the_initial_value_stands_at_the_start() -> None:
    op = parse_op("op f(a: f32[T, C], s: f32[C]) -> (h: f32[T, C]) { h[t, c] = h.pad(s[c])[t - 1, c] * a[t, c] }")
    found = linear_recurrence(op.definitions[0])
    assert found is not None and found.axis.name == "t" and print_expr(found.initial) == "s[c]"
