"""NumPy as a careful user writes it: whole-array operations, in place where that is natural."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Case

CHECKED, DTYPES, VERSION = True, ("f32",), np.__version__
Array = np.ndarray[Any, Any]


def _softmax(x: Array) -> Array:
    y = x - x.max(-1, keepdims=True)
    np.exp(y, out=y)
    y /= y.sum(-1, keepdims=True)
    return y


def _log_softmax(x: Array) -> Array:
    y = x - x.max(-1, keepdims=True)
    y -= np.log(np.exp(y).sum(-1, keepdims=True))
    return y


def _layer_norm(x: Array, gamma: Array, beta: Array, eps: Array) -> Array:
    y = x - x.mean(-1, keepdims=True)
    y *= 1 / np.sqrt(np.einsum("ij,ij->i", y, y)[:, None] / x.shape[-1] + eps)
    y *= gamma
    y += beta
    return y


def _rms_norm(x: Array, gamma: Array, eps: Array) -> Array:
    y = x * (1 / np.sqrt(np.einsum("ij,ij->i", x, x)[:, None] / x.shape[-1] + eps))
    y *= gamma
    return y


def _bias_gelu_tanh(x: Array, b: Array) -> Array:
    t = x + b
    return 0.5 * t * (1 + np.tanh(np.float32(0.7978845608) * (t + np.float32(0.044715) * t * t * t)))


def _chain6(x: Array, z: Array, b: Array) -> Array:
    s = x + b
    s *= np.float32(0.5)
    y = np.maximum(s, 0)
    y += z
    y *= y
    y -= s
    return y


def _rotary(x: Array, c: Array, s: Array) -> Array:
    c, s = c[:, None], s[:, None]
    y = np.empty_like(x)
    y[:, :, 0] = x[:, :, 0] * c - x[:, :, 1] * s
    y[:, :, 1] = x[:, :, 1] * c + x[:, :, 0] * s
    return y


def _attend(q: Array, k: Array, v: Array) -> Array:
    s = q @ k.T
    s *= np.float32(q.shape[-1] ** -0.5)
    return _softmax(s) @ v


def _attention(q: Array, k: Array, v: Array) -> Array:
    return np.array([_attend(*head) for head in zip(q, k, v, strict=True)])


def _decode(q: Array, k: Array, v: Array, length: Array) -> Array:
    return _softmax(q @ k.transpose(0, 2, 3, 1) * np.float32(q.shape[-1] ** -0.5)) @ v.transpose(0, 2, 1, 3)


def _cross_entropy(x: Array, label: Array) -> Array:
    m = x.max(1)
    y = x - m[:, None]
    np.exp(y, out=y)
    return m + np.log(y.sum(1)) - x[np.arange(len(x)), label]


def _residual_layer_norm(x: Array, z: Array, gamma: Array, beta: Array, eps: Array) -> tuple[Array, Array]:
    r = x + z
    return r, _layer_norm(r, gamma, beta, eps)


FUNCTIONS: dict[str, Callable[..., object]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "cross_entropy": _cross_entropy,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "residual_layer_norm": _residual_layer_norm,
    "bias_gelu_tanh": _bias_gelu_tanh,
    "chain6": _chain6,
    "sum_rows": lambda x: x.sum(1),
    "sum_columns": lambda x: x.sum(0),
    "cumsum_rows": lambda x: x.cumsum(1),
    "transpose": lambda x: np.ascontiguousarray(x.T),
    "nchw_to_nhwc": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)),
    "swap_heads": lambda x: np.ascontiguousarray(x.transpose(0, 2, 1, 3)),
    "gather_rows": lambda table, index: table[index],
    "rotary": _rotary,
    "matmul": lambda a, b: a @ b,
    "matmul_nt": lambda a, b: a @ b.T,
    "matmul_bias": lambda a, b, bias: a @ b + bias,
    "matmul_residual": lambda a, b, bias, r: a @ b + bias + r,
    "attention": _attention,
    "attention_decode": _decode,
}


def prepare(case: Case, inputs: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    function, arrays = FUNCTIONS[case.program], list(inputs.values())
    return lambda: function(*arrays)
