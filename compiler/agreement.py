"""Inputs to try an operator on, and how far its results may be from the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..ir import gir
from ..ir.dtypes import DType
from ..ir.errors import BindError
from ..ir.expr import Read
from ..ir.op import Op
from . import extents, gathers
from .signature import signature_of

# Largest error of a result, in units of the largest magnitude of the reference, that is accepted.
TOLERANCE = {DType.F64: 1e-10, DType.F32: 1e-4, DType.F16: 1e-2, DType.BF16: 4e-2}


def random_inputs(
    program: Op | gir.Program, given: Mapping[str, Any], bind: Mapping[str, int], seed: int
) -> dict[str, Any]:
    """The given arrays and random ones for the rest: floats normal, indices anywhere in what they index, other
    integers and booleans 0 or 1. Raises BindError for a symbol that nothing determines."""
    signature = signature_of(program)
    rng = np.random.default_rng(seed)
    named = extents.check_bindings(signature, bind, "--bind")
    known = [(t, np.shape(given[t.name])) for t in signature.inputs if t.name in given]
    try:
        values = extents.solve(signature, [(t, s) for t, s in known if len(s) == len(t.shape)], named)
    except BindError as error:
        error.remedy = error.remedy and "--bind SYMBOL=N for every symbol that no --input determines"
        raise
    limits = _index_limits(program, values) if isinstance(program, Op) else {}
    out: dict[str, Any] = {}
    for tensor in signature.inputs:
        if tensor.name in given:
            out[tensor.name] = given[tensor.name]
            continue
        shape = extents.shape_of(tensor, values)
        below = limits.get(tensor.name, 2)
        drawn = rng.standard_normal(shape) if tensor.dtype.is_float else rng.integers(0, below, shape)
        out[tensor.name] = np.asarray(drawn).astype(tensor.dtype.numpy)
    return out


def _index_limits(op: Op, values: Mapping[str, int]) -> dict[str, int]:
    """Index tensor -> the smallest extent that its entries, as they are, index."""
    out: dict[str, int] = {}
    for gather in gathers.find(op):
        if isinstance(gather.index, Read):
            largest = int(np.iinfo(op.tensors[gather.index.tensor].dtype.numpy).max)
            limit = max(1, min(largest, extents.evaluate(gather.extent, values)))
            out[gather.index.tensor] = min(limit, out.get(gather.index.tensor, limit))
    return out


def largest_error(found: Any, expected: Any, dtype: DType) -> float:
    """Relative to the largest finite magnitude of the reference (at least 1); infinite where NaN or infinities differ,
    or where integers do."""
    actual, reference = np.asarray(found), np.asarray(expected)
    if not dtype.is_float:
        return 0.0 if np.array_equal(actual, reference) else float("inf")
    actual, reference = actual.astype(np.float64), reference.astype(np.float64)
    finite = np.isfinite(reference)
    if not np.array_equal(actual[~finite], reference[~finite], equal_nan=True) or not np.isfinite(actual[finite]).all():
        return float("inf")
    if not finite.any():
        return 0.0
    scale = max(1.0, float(np.abs(reference[finite]).max()))
    return float(np.abs(actual[finite] - reference[finite]).max()) / scale
