"""Random inputs for any operator of the examples and the library, from its declaration and the extents asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from weft.ir.expr import Var, as_int
from weft.ir.op import Op

Array = NDArray[Any]

# Index tensors: the symbol that bounds their entries (from 0), and for counts and lengths the largest value itself.
_INDEX = {"label": "N", "index": "VN", "column": "Q", "list": "Q"}
_COUNT = {"count": "L", "length": "T"}


def random_inputs(op: Op, symbols: dict[str, int], seed: int = 0) -> dict[str, Array]:
    """Arrays by name: floats from a normal distribution, decays from 0.9 to 1, indices within their bounds."""
    rng = np.random.default_rng(seed)
    out: dict[str, Array] = {}
    for tensor in op.inputs:
        shape = tuple(_extent(e, symbols) for e in tensor.shape)
        out[tensor.name] = _values(op.name, tensor.name, tensor.dtype.numpy, shape, symbols, rng)
    return out


def _extent(expr: Any, symbols: dict[str, int]) -> int:
    if isinstance(expr, Var):
        return symbols[expr.name]
    value = as_int(expr)
    if value is None:
        raise ValueError(f"inputs have extents that are symbols or integers, not {expr}")
    return value


def _values(
    op: str, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], symbols: dict[str, int], rng: np.random.Generator
) -> Array:
    if name == "eps":
        return np.array(1e-5, dtype)
    if name in _INDEX and dtype.kind == "i":
        bound = next(symbols[s] for s in _INDEX[name] if s in symbols)
        return rng.integers(0, max(bound, 1), shape).astype(dtype)
    if name in _COUNT and dtype.kind == "i":
        return rng.integers(0, symbols[_COUNT[name]] + 1, shape).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.3
    if op.startswith("decay") and name == "a":
        return rng.uniform(0.9, 1.0, shape).astype(dtype)
    if op == "sparse_rows" and name == "a":
        return (rng.standard_normal(shape) * (rng.random(shape) < 0.2)).astype(dtype)
    return np.asarray(rng.standard_normal(shape)).astype(dtype)
