"""unify_axes: equal axes get one name, different axes different names, and the meaning stays."""

from __future__ import annotations

from weft.compiler.axes import all_axes, unify_axes
from weft.ir.op_text import parse_op, print_op
from weft.ir.op_verify import verify


def axes(text: str) -> list[list[str]]:
    op = unify_axes(parse_op(text))
    verify(op)
    assert parse_op(print_op(op)) == op
    return [[a.name for a in all_axes(d)] for d in op.definitions]


def test_consumers_take_the_producers_axes() -> None:
    found = axes("op f(x: f32[M, N]) -> (y: f32[M, N]) { m[i] = max[j] x[i, j]\n y[a, b] = x[a, b] - m[a] }")
    assert found == [["i", "j"], ["i", "j"]]


def test_shifted_reads_do_not_merge() -> None:
    found = axes("op f(x: f32[M]) -> (y: f32[M]) { t[i] = x[i] * 2.0\n y[i] = t.pad(0.0)[i - 1] }")
    assert found[0] == ["i"]
    assert found[1] == ["i"] or found[1][0].startswith("i$")


def test_two_axes_of_one_definition_stay_two() -> None:
    found = axes("op f(x: f32[N]) -> (y: f32[N, N]) { t[i] = x[i] * 2.0\n y[i, j] = t[i] + t[j] }")
    assert len(set(found[1])) == 2


def test_different_extents_stay_apart() -> None:
    found = axes("op f(x: f32[N]) -> (y: f32[N], z: f32[3]) { y[i] = x[i] + 1.0\n z[i: 3] = f32(i) }")
    assert found[0] != found[1]


def test_streams_keep_their_axis() -> None:
    text = """op f(x: f32[M, N]) -> (m: f32[M], s: f32[M]) {
      m[i] = max[j] x[i, j]
      s[i] = sum[k] exp(x[i, k] - m[i])
    }"""
    from weft.compiler.passes.streaming import Streaming

    op = unify_axes(Streaming().run(parse_op(text)))
    names = {a.name for d in op.definitions for a in all_axes(d)}
    assert [s.axis in names for s in op.streams] == [True]
