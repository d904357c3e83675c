"""Inlining: what is inlined by itself, composition of boundaries, rounding, and bit equality on random ops."""

from __future__ import annotations

import pytest
from equivalence import assert_same
from random_ops import RandomOp
from weft.compiler.passes.compose import size
from weft.compiler.passes.inline import MAX_SIZE, Inline, inlinable, inline_definition, repeats
from weft.ir.errors import ScheduleError
from weft.ir.op_text import parse_op, print_op
from weft.ir.op_verify import verify


def body(text: str) -> list[str]:
    """The definitions of the inlined op."""
    op = parse_op(text)
    new = Inline().run(op)
    verify(new)
    assert_same(op, new, {s.name: 4 + k for k, s in enumerate(op.symbols)}, special=0.2)
    return [line.strip() for line in print_op(new).splitlines()[1:-1]]


def test_a_chain_of_single_readers_becomes_one_definition() -> None:
    text = """op f(x: f32[N]) -> (y: f32[N]) {
      a[i] = exp(x[i])
      b[i] = tanh(a[i])
      y[i] = b[i] * 2.0
    }"""
    assert body(text) == ["y[i] = tanh(exp(x[i])) * 2.0"]


def test_dear_definitions_read_twice_stay() -> None:
    text = "op f(x: f32[N]) -> (y: f32[N], z: f32[N]) { a[i] = exp(x[i])\n y[i] = a[i] + 1.0\n z[i] = a[i] - 1.0 }"
    assert len(body(text)) == 3
    assert len(body(text.replace("exp(x[i])", "x[i] * 3.0"))) == 2


def test_work_is_not_repeated_along_other_axes() -> None:
    text = """op f(x: f32[M, K], w: f32[K, N]) -> (y: f32[M, N]) {
      a[i, k] = x[i, k] * 2.0
      y[i, j] = sum[k] a[i, k] * w[k, j]
    }"""
    assert len(body(text)) == 2
    moved = text.replace("a[i, k] = x[i, k] * 2.0", "a[k, i] = x[i, k]").replace("a[i, k] * w", "a[k, i] * w")
    assert body(moved) == ["y[i, j] = sum[k] x[i, k] * w[k, j]"]


def test_outputs_are_kept() -> None:
    text = "op f(x: f32[N]) -> (a: f32[N], y: f32[N]) { a[i] = x[i] + 1.0\n y[i] = a[i] * 2.0 }"
    assert len(body(text)) == 2
    op = inline_definition(parse_op(text), "a")
    assert "y[i] = (x[i] + 1.0) * 2.0" in print_op(op) and len(op.definitions) == 2


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
def test_rounding_stays(dtype: str) -> None:
    text = f"op f(x: f32[N]) -> (y: f32[N]) {{ a[i]: {dtype} = x[i] * 1.1\n y[i] = a[i] * 2.0 }}"
    assert body(text) == [f"y[i] = {dtype}(x[i] * 1.1) * 2.0"]
    copied = f"op f(x: {dtype}[N]) -> (y: f32[N]) {{ a[i]: {dtype} = x[i]\n y[i] = a[i] * 2.0 }}"
    assert body(copied) == ["y[i] = x[i] * 2.0"]


def test_a_wider_target_casts() -> None:
    assert body("op f(x: f32[N]) -> (y: f64[N]) { a[i]: f64 = x[i] * x[i]\n y[i] = a[i] * a[i] }") == [
        "y[i] = f64(x[i] * x[i]) * f64(x[i] * x[i])"
    ]


def test_literals_take_the_type_of_their_target() -> None:
    assert body("op f(x: f64[N]) -> (y: f64[N]) { a[i: N]: f32 = 0.1\n y[i] = f64(a[i]) * x[i] }")


@pytest.mark.parametrize("mode", ["clamp", "wrap", "reflect", "pad(2.0)", "pad(nan)"])
@pytest.mark.parametrize(
    "source", ["x[i]", "x[i] * 3.0", "x[N - 1 - i] * 3.0", "x.pad(1.0)[i + 1]", "x[i] + f32(i)", "1.0 / x[i]"]
)
@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_boundaries_compose(mode: str, source: str, n: int) -> None:
    text = f"""op f(x: f32[N]) -> (y: f32[N]) {{
      a[i: N] = {source}
      y[i: N] = a.{mode}[i - 1] + a.{mode}[i + 1] * a.{mode}[2 * i]
    }}"""
    op = parse_op(text)
    new = inline_definition(op, "a")
    verify(new)
    assert len(new.definitions) == 1
    assert_same(op, new, {"N": n})


def test_a_copy_passes_its_boundary_on() -> None:
    assert body("op f(x: f32[N]) -> (y: f32[N]) { a[i] = x[i]\n y[i: N] = a.pad(1.0)[i - 1] }") == [
        "y[i] = x.pad(1.0)[i - 1]"
    ]
    assert body("op f(x: f32[N]) -> (y: f32[N]) { a[i] = exp(x[i])\n y[i: N] = a.clamp[i - 1] }") == [
        "y[i] = exp(x.clamp[i - 1])"
    ]


def test_padded_reads_are_tested_only_where_they_can_leave() -> None:
    text = "op f(x: f32[M, N]) -> (y: f32[M, N]) { a[i, j] = exp(x[i, j])\n y[i: M, j: N] = a.pad(0.0)[i, j - 1] }"
    assert body(text) == ["y[i, j] = exp(x.pad(0.0)[i, j - 1]) if 0 <= j - 1 else 0.0"]


def test_computed_values_stay_out_of_indices_and_bounds() -> None:
    text = """op f(x: f32[N], n: i64[N]) -> (y: f32[N]) {
      a[i] = n[i] + 1
      y[i] = sum[j in 0..a[i]] x.clamp[j]
    }"""
    assert len(body(text)) == 2


def test_recurrences_and_reductions_are_not_inlined() -> None:
    op = parse_op("op f(x: f32[N]) -> (y: f32[N]) { h[i] = h.pad(0.0)[i - 1] + x[i]\n y[i] = h[i] * 2.0 }")
    assert not inlinable(op.definitions[0])
    assert len(Inline().run(op).definitions) == 2
    with pytest.raises(ScheduleError, match="cannot be inlined"):
        inline_definition(op, "h")


def test_into_chosen_readers() -> None:
    op = parse_op("op f(x: f32[N]) -> (y: f32[N], z: f32[N]) { a[i] = exp(x[i])\n y[i] = a[i]\n z[i] = a[i] }")
    new = inline_definition(op, "a", frozenset({"z"}))
    assert [len(d.reads) for d in new.definitions] == [1, 1, 1]
    assert "z[i] = exp(x[i])" in print_op(new) and "y[i] = a[i]" in print_op(new)


def test_expressions_stay_small() -> None:
    lines = ["t0[i] = x[i] + 1.0"] + [f"t{k}[i] = t{k - 1}[i] * t{k - 1}[i]" for k in range(1, 40)]
    op = parse_op("op f(x: f32[N]) -> (y: f32[N]) {\n" + "\n".join(lines) + "\ny[i] = t39[i]\n}")
    new = Inline(max_cost=10_000).run(op)
    verify(new)
    assert all(size(e) <= MAX_SIZE for d in new.definitions for e in d.expressions)


def test_repeats() -> None:
    op = parse_op("op f(a: f32[M, N]) -> (y: f32[M]) { y[i] = sum[j] a[i, j] * a.clamp[i, i] * a.clamp[i, j // 2] }")
    d = op.definitions[0]
    assert [repeats(r, d) for r in d.reads] == [False, True, True]


@pytest.mark.parametrize("seed", range(40))
def test_random_ops_bit_for_bit(seed: int) -> None:
    op = parse_op(RandomOp(seed).text)
    for new in (Inline().run(op), Inline(max_cost=1000).run(op)):
        verify(new)
        assert_same(op, new, {"M": 5, "N": 4}, seed, special=0.3)
    for d in op.definitions:
        if inlinable(d):
            new = inline_definition(op, d.name)
            verify(new)
            assert_same(op, new, {"M": 3, "N": 1}, seed, special=0.3)
