"""Extents around every tile: one kernel with open symbols serves them all, and nothing beside its outputs changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from weft.backends.machine import load_machine
from weft.backends.target import get_target
from weft.compiler.lower import rewrite_op, write_out
from weft.compiler.planner import Choices
from weft.ir.gir import Role
from weft.ir.gir_interp import scalar
from weft.ir.op_text import parse_op

Array = np.ndarray[Any, np.dtype[Any]]
TEXTS: dict[str, tuple[str, Callable[..., Array]]] = {
    "rows": (
        """op rows(x: f32[M, N]) -> (y: f32[M, N]) {
          m[i] = max[j] x[i, j]
          s[i] = sum[j] exp(x[i, j] - m[i])
          y[i, j] = exp(x[i, j] - m[i]) / s[i]
        }""",
        lambda x: (
            np.exp(x - x.max(1, keepdims=True, initial=-np.inf))
            / np.exp(x - x.max(1, keepdims=True, initial=-np.inf)).sum(1, keepdims=True)
        ),
    ),
    "columns": ("op columns(x: f32[M, N]) -> (y: f32[N]) { y[j] = sum[i] x[i, j] }", lambda x: x.sum(0)),
    "turned": ("op turned(x: f32[M, N]) -> (y: f32[N, M]) { y[j, i] = x[i, j] + 1.0 }", lambda x: x.T + 1),
    "product": (
        "op product(x: f32[M, N], z: f32[N, M]) -> (y: f32[M, M]) { y[i, k] = max(sum[j] x[i, j] * z[j, k], 0.0) }",
        lambda x, z: np.maximum(x @ z, 0),
    ),
}
CHOICES = (Choices(), Choices(vectors=1, rows=3, stream=48, chunk=32))
TILES = (3, 6, 16, 32, 48, 64, 96)  # rows, lanes, vectors of lanes, chunks and tiles of streams of both
EXTENTS = sorted({0, 1, 53, 131, *(t + d for t in TILES for d in (-1, 0, 1)), 129, 193})


@pytest.mark.parametrize("choices", CHOICES, ids=["default", "small"])
@pytest.mark.parametrize("name", TEXTS)
def test_failure_1_extents_around_every_tile(name: str, choices: Choices) -> None:
    """Failure 1: tails dropped, loops cut short, a wrong modulo where a tile does not divide."""
    text, reference = TEXTS[name]
    program = write_out(rewrite_op(parse_op(text)), load_machine("avx512"), choices).program
    executable = get_target("cpu").load(program)
    rng = np.random.default_rng(0)
    for n, extent in enumerate(EXTENTS):
        other = EXTENTS[(5 * n + 2) % len(EXTENTS)]
        for values in ({"M": extent, "N": other}, {"M": other, "N": extent}):
            arrays, rooms = {}, {}
            for t in program.tensors:
                shape = [scalar(e, values) for e in t.shape]
                room = rooms[t.name] = np.full(int(np.prod(shape)) + 32, np.nan, t.dtype.numpy)
                arrays[t.name] = room[16 : room.size - 16].reshape(shape)
                if t.role is Role.INPUT:
                    arrays[t.name][...] = rng.standard_normal(shape)
            executable([a.ctypes.data for a in arrays.values()], [values[s.name] for s in program.symbols], 2)
            want = reference(*(arrays[t.name] for t in program.tensors if t.role is Role.INPUT))
            np.testing.assert_allclose(arrays["y"], want, rtol=2e-4, atol=2e-5, err_msg=str(values))
            assert all(np.isnan(r[:16]).all() and np.isnan(r[-16:]).all() for r in rooms.values()), values
