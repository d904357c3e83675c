"""NumPy references for every operator of the library, and the extents that the tests try."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from inputs import random_inputs
from weft import ops
from weft.ir.op import Op

Array = np.ndarray[Any, Any]
erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + erf(x / np.sqrt(2)))


def gelu_tanh(x: Array) -> Array:
    return x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def chain6(x: Array, z: Array, b: Array) -> Array:
    s = (x + b) * 0.5
    return (np.maximum(s, 0) + z) ** 2 - s


def softmax(x: Array, axis: int) -> Array:
    if x.size == 0:
        return x
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def logsumexp(x: Array, axis: int) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(np.exp(x).sum(axis))


def layer_norm(x: Array, gamma: Array, beta: Array, eps: Array) -> Array:
    if x.size == 0:
        return x
    c = x - x.mean(1, keepdims=True)
    return c / np.sqrt((c**2).mean(1, keepdims=True) + eps) * gamma + beta


def rms_norm(x: Array, gamma: Array, eps: Array) -> Array:
    return x if x.size == 0 else x / np.sqrt((x**2).mean(1, keepdims=True) + eps) * gamma


def embedding_bag(table: Array, index: Array, count: Array) -> Array:
    rows = [table[index[b, : count[b]]].sum(0) / max(count[b], 1) for b in range(len(index))]
    return np.array(rows).reshape(len(index), table.shape[1])


def rotary(x: Array, c: Array, s: Array) -> Array:
    a, b = x[:, :, 0], x[:, :, 1]
    c, s = c[:, None], s[:, None]
    return np.stack([a * c - b * s, b * c + a * s], axis=2)


def attend(q: Array, k: Array, v: Array, visible: Array | None = None) -> Array:
    """One head. Zero where a query sees no key."""
    if k.shape[0] == 0 or q.shape[0] == 0:
        return np.zeros((len(q), v.shape[1]))
    s = q @ k.T / np.sqrt(q.shape[1])
    p = np.exp(s - s.max(1, keepdims=True)) * (1 if visible is None else visible)
    z = p.sum(1, keepdims=True)
    return (p @ v) / np.where(z == 0, 1, z)


def attention(q: Array, k: Array, v: Array) -> Array:
    return np.array([attend(*one) for one in zip(q, k, v, strict=True)])


def attention_causal(q: Array, k: Array, v: Array) -> Array:
    visible = np.tri(q.shape[1], k.shape[1], k.shape[1] - q.shape[1])
    return np.array([attend(*one, visible=visible) for one in zip(q, k, v, strict=True)])


def attention_decode(q: Array, k: Array, v: Array, length: Array) -> Array:
    out = np.zeros((*q.shape[:3], v.shape[3]))
    for b in range(q.shape[0]):
        for g in range(q.shape[1]):
            out[b, g] = attend(q[b, g], k[b, : length[b], g], v[b, : length[b], g])
    return out


REFERENCE: dict[str, Callable[..., Any]] = {
    "relu": lambda x: np.maximum(x, 0),
    "bias_gelu": lambda x, b: gelu(x + b),
    "bias_gelu_tanh": lambda x, b: gelu_tanh(x + b),
    "swiglu": lambda g, u: g * sigmoid(g) * u,
    "add": lambda x, z: x + z,
    "chain6": chain6,
    "softmax": lambda x: softmax(x, 1),
    "softmax_columns": lambda x: softmax(x, 0),
    "softmax_axis": lambda x: softmax(x, 1),
    "log_softmax": lambda x: x - logsumexp(x, 1)[:, None],
    "log_softmax_axis": lambda x: x - logsumexp(x, 1)[:, None],
    "logsumexp": lambda x: logsumexp(x, 1),
    "cross_entropy": lambda x, label: logsumexp(x, 1) - x[np.arange(len(x)), label],
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "residual_layer_norm": lambda x, z, gamma, beta, eps: (x + z, layer_norm(x + z, gamma, beta, eps)),
    "residual_rms_norm": lambda x, z, gamma, eps: (x + z, rms_norm(x + z, gamma, eps)),
    "sum_rows": lambda x: x.sum(1),
    "sum_columns": lambda x: x.sum(0),
    "sum_all": lambda x: x.sum(),
    "mean_rows": lambda x: x.mean(1),
    "max_rows": lambda x: x.max(1, initial=-np.inf),
    "max_columns": lambda x: x.max(0, initial=-np.inf),
    "argmax_rows": lambda x: x.argmax(1),
    "argmin_rows": lambda x: x.argmin(1),
    "norm_rows": lambda x: np.sqrt((x**2).sum(1)),
    "any_rows": lambda x: x.any(1),
    "count_positive": lambda x: (x > 0).sum(1),
    "cumsum_rows": lambda x: x.cumsum(1),
    "cumsum_columns": lambda x: x.cumsum(0),
    "transpose": lambda x: x.T,
    "transpose_batched": lambda x: x.transpose(0, 2, 1),
    "swap_heads": lambda x: x.transpose(0, 2, 1, 3),
    "reverse_axes": lambda x: x.transpose(2, 1, 0),
    "nchw_to_nhwc": lambda x: x.transpose(0, 2, 3, 1),
    "nhwc_to_nchw": lambda x: x.transpose(0, 3, 1, 2),
    "gather_rows": lambda table, index: table[index],
    "take_along_rows": lambda x, index: x[np.arange(len(x)), index],
    "embedding_bag": embedding_bag,
    "rotary": rotary,
    "rotary_interleaved": lambda x, c, s: rotary(x.swapaxes(2, 3), c, s).swapaxes(2, 3),
    "matmul": lambda a, b: a @ b,
    "matmul_nt": lambda a, b: a @ b.T,
    "matmul_tn": lambda a, b: a.T @ b,
    "matmul_batched": lambda a, b: a @ b,
    "matvec": lambda a, x: a @ x,
    "matmul_bias": lambda a, b, bias: a @ b + bias,
    "matmul_bias_gelu": lambda a, b, bias: gelu(a @ b + bias),
    "matmul_residual": lambda a, b, bias, r: a @ b + bias + r,
    "attention": attention,
    "attention_causal": attention_causal,
    "attention_decode": attention_decode,
}

NEEDS_AN_ELEMENT = {"cross_entropy", "argmax_rows", "argmin_rows", "mean_rows", "take_along_rows"}

# Extents for every symbol name that the library uses; an operator takes the ones it has.
ODD = dict(zip("MNKABCSHDFVTLWGRE", (5, 7, 3, 3, 2, 4, 5, 3, 6, 3, 11, 7, 4, 2, 2, 3, 5), strict=True))
LONG = ODD | {"M": 2, "N": 67, "K": 31, "T": 37, "D": 19}
ONE = dict.fromkeys(ODD, 1)
NO_ROWS = ODD | {"M": 0, "A": 0, "S": 0, "B": 0, "T": 0}
NO_COLUMNS = ODD | {"N": 0, "K": 0, "L": 0, "D": 0, "W": 0}


def cases() -> list[Any]:
    out = []
    for name in REFERENCE:
        for label, sizes in (("odd", ODD), ("long", LONG), ("one", ONE), ("no_rows", NO_ROWS)):
            out.append(pytest.param(name, sizes, id=f"{name}-{label}"))
        if name not in NEEDS_AN_ELEMENT and not name.startswith("attention"):
            out.append(pytest.param(name, NO_COLUMNS, id=f"{name}-no_columns"))
    return out


def operator_inputs(name: str, sizes: dict[str, int]) -> tuple[Op, dict[str, int], dict[str, Array]]:
    """The operator, the symbols that it has, and inputs for them."""
    op = ops.load(name)
    symbols = {s.name: sizes[s.name] for s in op.symbols}
    return op, symbols, random_inputs(op, symbols)


def expected(name: str, inputs: dict[str, Array]) -> tuple[Any, ...]:
    """The outputs in float64."""
    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in inputs.values()]
    want = REFERENCE[name](*wide)
    return want if isinstance(want, tuple) else (want,)
