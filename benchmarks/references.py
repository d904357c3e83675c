"""The answer of every program in float64, in NumPy. Inputs arrive in float64 (indices as they are)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _softmax(x: Array, axis: int = -1) -> Array:
    e = x - x.max(axis, keepdims=True)
    np.exp(e, out=e)
    e /= e.sum(axis, keepdims=True)
    return e


def _log_softmax(x: Array) -> Array:
    c = x - x.max(1, keepdims=True)
    return c - np.log(np.exp(c).sum(1, keepdims=True))


def _cross_entropy(x: Array, label: Array) -> Array:
    """By blocks of rows: the full matrix of logarithms would take gigabytes."""
    blocks = range(0, len(x), 256)
    each = [-np.take_along_axis(_log_softmax(x[b : b + 256]), label[b : b + 256, None], 1)[:, 0] for b in blocks]
    return np.concatenate(each)


def _layer_norm(x: Array, gamma: Array, beta: Array, eps: Array) -> Array:
    c = x - x.mean(1, keepdims=True)
    return c / np.sqrt((c**2).mean(1, keepdims=True) + eps) * gamma + beta


def _gelu(t: Array) -> Array:
    return 0.5 * t * (1 + _erf(t * math.sqrt(0.5)))


def _erf(x: Array) -> Array:
    """NumPy has none. Exact values on a grid of spacing h, then the third-order Taylor series, whose remainder is below
    h^4 / 24 * 3 (the largest fourth derivative is below 3): 2e-12."""
    h, last = 1 / 512, 6.0
    grid = np.array([math.erf(k * h) for k in range(int(last / h) + 1)])
    a = np.minimum(np.abs(x), last)
    k = np.rint(a / h).astype(np.int64)
    g = k * h
    d = a - g
    slope = 2 / math.sqrt(math.pi) * np.exp(-g * g)
    return np.copysign(grid[k] + slope * d * (1 - g * d + (2 * g * g - 1) / 3 * d * d), x)


def _gelu_tanh(x: Array, b: Array) -> Array:
    t = x + b
    return 0.5 * t * (1 + np.tanh(0.7978845608028654 * (t + 0.044715 * t**3)))


def _chain6(x: Array, z: Array, b: Array) -> Array:
    s = (x + b) * 0.5
    return (np.maximum(s, 0) + z) ** 2 - s


def _rotary(x: Array, c: Array, s: Array) -> Array:
    c, s = c[:, None], s[:, None]
    return np.stack([x[:, :, 0] * c - x[:, :, 1] * s, x[:, :, 1] * c + x[:, :, 0] * s], 2)


def attend(q: Array, k: Array, v: Array, causal: bool = False, every: int = 1) -> Array:
    """(..., S, D), (..., T, D), (..., T, E) -> (..., ceil(S / every), E): the answers of every `every`-th query."""
    size = q.shape[-2]
    s = q[..., ::every, :] @ k.swapaxes(-1, -2)
    s /= math.sqrt(q.shape[-1])
    if causal:
        s[..., np.arange(k.shape[-2]) - np.arange(0, size, every)[:, None] > k.shape[-2] - size] = -np.inf
    return _softmax(s) @ v


def _heads(q: Array, k: Array, v: Array, causal: bool = False, every: int = 1) -> Array:
    """Head by head: all scores at once would take gigabytes."""
    return np.array([attend(*one, causal, every) for one in zip(q, k, v, strict=True)])


def _decode(q: Array, k: Array, v: Array, length: Array) -> Array:
    return attend(q, k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3))


REFERENCES: dict[str, Callable[..., Any]] = {
    "softmax": _softmax,
    "softmax_axis": lambda x: _softmax(x, 1),
    "log_softmax": _log_softmax,
    "cross_entropy": _cross_entropy,
    "layer_norm": _layer_norm,
    "rms_norm": lambda x, gamma, eps: x / np.sqrt((x**2).mean(1, keepdims=True) + eps) * gamma,
    "residual_layer_norm": lambda x, z, gamma, beta, eps: (x + z, _layer_norm(x + z, gamma, beta, eps)),
    "bias_gelu": lambda x, b: _gelu(x + b),
    "bias_gelu_tanh": _gelu_tanh,
    "chain6": _chain6,
    "sum_rows": lambda x: x.sum(1),
    "sum_columns": lambda x: x.sum(0),
    "cumsum_rows": lambda x: x.cumsum(1),
    "transpose": lambda x: x.T,
    "nchw_to_nhwc": lambda x: x.transpose(0, 2, 3, 1),
    "swap_heads": lambda x: x.transpose(0, 2, 1, 3),
    "gather_rows": lambda table, index: table[index],
    "rotary": _rotary,
    "matmul": np.matmul,
    "matmul_nt": lambda a, b: a @ b.T,
    "matmul_bias": lambda a, b, bias: a @ b + bias,
    "matmul_bias_gelu": lambda a, b, bias: _gelu(a @ b + bias),
    "matmul_residual": lambda a, b, bias, r: a @ b + bias + r,
    "attention": _heads,
    "attention_causal": lambda q, k, v, every: _heads(q, k, v, True, every),
    "attention_decode": _decode,
}
