"""What the tests of op-level passes share: inputs with awkward values, and comparison by interpretation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from weft.ir.op import Op
from weft.ir.op_interp import interpret
from weft.ir.op_text import parse_op, print_op

SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-42, -1e-42, 1.0, -1.0, 3.4e38)


def shape_of(op: Op, name: str, symbols: Mapping[str, int]) -> tuple[int, ...]:
    from weft.ir.binding import value_of

    tensor = next(t for t in op.inputs if t.name == name)
    return tuple(int(value_of(e, symbols) or 0) for e in tensor.shape)


def random_inputs(op: Op, symbols: Mapping[str, int], seed: int = 0, special: float = 0.0) -> dict[str, Any]:
    """Inputs of the op's shapes; a share `special` of the float elements is taken from SPECIAL."""
    rng = np.random.default_rng(seed)
    out: dict[str, Any] = {}
    for t in op.inputs:
        shape = shape_of(op, t.name, symbols)
        if t.dtype.is_float:
            array = rng.normal(size=shape)
            chosen = rng.random(shape) < special
            array = np.where(chosen, rng.choice(SPECIAL, size=shape), array)
            with np.errstate(all="ignore"):
                out[t.name] = array.astype(t.dtype.numpy)
        else:
            out[t.name] = rng.integers(0, 3, size=shape).astype(t.dtype.numpy)
    return out


def assert_same(
    before: Op,
    after: Op,
    symbols: Mapping[str, int],
    seed: int = 0,
    special: float = 0.0,
    rtol: float = 0.0,
    atol: float = 0.0,
    inputs: Mapping[str, Any] | None = None,
) -> None:
    """Both ops give the same outputs (bit for bit, signs of zeros too, where `rtol` is 0); the second is text that
    parses back to itself."""
    assert parse_op(print_op(after)) == after
    arrays = random_inputs(before, symbols, seed, special) if inputs is None else inputs
    expected = interpret(before, arrays, symbols)
    found = interpret(after, arrays, symbols)
    for name, e in expected.items():
        f = found[name]
        assert f.dtype == e.dtype and f.shape == e.shape
        wide, wide_e = (f.astype(np.float64), e.astype(np.float64)) if e.dtype.kind not in "iub" else (f, e)
        np.testing.assert_allclose(wide, wide_e, rtol=rtol, atol=atol, equal_nan=True, err_msg=name)
        if rtol == 0.0 and e.dtype.kind not in "iub":
            np.testing.assert_array_equal(np.signbit(wide[~np.isnan(wide)]), np.signbit(wide_e[~np.isnan(wide_e)]))
