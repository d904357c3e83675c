"""JAX through jit on the CPU. Attention is written as a user would try it, all heads at once and head by head; the
faster one counts (all heads at once needs the whole matrix of scores, so not where that takes gigabytes)."""

from __future__ import annotations

import os

os.environ["JAX_PLATFORMS"] = "cpu"

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case
from jax import Array

from contenders import fastest

CHECKED, DTYPES, VERSION = True, ("f32", "bf16"), jax.__version__
SCORES_LIMIT = 1 << 30  # bytes


def _layer_norm(x: Array, gamma: Array, beta: Array, eps: Array) -> Array:
    c = x - x.mean(-1, keepdims=True)
    return c * jax.lax.rsqrt((c * c).mean(-1, keepdims=True) + eps) * gamma + beta


def _residual_layer_norm(x: Array, z: Array, gamma: Array, beta: Array, eps: Array) -> tuple[Array, Array]:
    r = x + z
    return r, _layer_norm(r, gamma, beta, eps)


def _chain6(x: Array, z: Array, b: Array) -> Array:
    s = (x + b) * 0.5
    r = jax.nn.relu(s) + z
    return r * r - s


def _rotary(x: Array, c: Array, s: Array) -> Array:
    c, s = c[:, None], s[:, None]
    a, b = x[:, :, 0], x[:, :, 1]
    return jnp.stack([a * c - b * s, b * c + a * s], 2)


def _cross_entropy(x: Array, label: Array) -> Array:
    return jax.nn.logsumexp(x, axis=1) - jnp.take_along_axis(x, label[:, None], 1)[:, 0]


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _matmul_bias(a: Array, b: Array, bias: Array) -> Array:
    return (_product(a, b) + bias).astype(a.dtype)


def _matmul_bias_gelu(a: Array, b: Array, bias: Array) -> Array:
    return jax.nn.gelu(_product(a, b) + bias, approximate=False).astype(a.dtype)


def _matmul_residual(a: Array, b: Array, bias: Array, r: Array) -> Array:
    return (_product(a, b) + bias + r).astype(a.dtype)


def _attend(q: Array, k: Array, v: Array, causal: bool) -> Array:
    s = _product(q, k.swapaxes(-1, -2)) * q.shape[-1] ** -0.5
    if causal:
        s = jnp.where(jnp.tri(*s.shape[-2:], s.shape[-1] - s.shape[-2], dtype=bool), s, -jnp.inf)
    return _product(jax.nn.softmax(s, -1).astype(v.dtype), v).astype(v.dtype)


def _library_attention(q: Array, k: Array, v: Array, causal: bool) -> Array:
    """(H, S, D) through JAX's own function, which wants (batch, S, H, D)."""
    parts = (x.transpose(1, 0, 2)[None] for x in (q, k, v))
    return jax.nn.dot_product_attention(*parts, is_causal=causal)[0].transpose(1, 0, 2)


def _ways_of_attention(q: Array, causal: bool) -> list[Callable[..., Array]]:
    def by_heads(q: Array, k: Array, v: Array) -> Array:
        return jax.lax.map(lambda head: _attend(*head, causal), (q, k, v))

    if 4 * q.shape[0] * q.shape[1] ** 2 > SCORES_LIMIT:
        return [by_heads]
    return [by_heads, lambda *qkv: _attend(*qkv, causal), lambda *qkv: _library_attention(*qkv, causal)]


def _decode(q: Array, k: Array, v: Array, length: Array) -> Array:
    return _attend(q, k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3), False)


def _library_decode(q: Array, k: Array, v: Array, length: Array) -> Array:
    b, g, r, d = q.shape
    return jax.nn.dot_product_attention(q.reshape(b, 1, g * r, d), k, v).reshape(b, g, r, -1)


FUNCTIONS: dict[str, list[Callable[..., object]]] = {
    "softmax": [lambda x: jax.nn.softmax(x, -1)],
    "softmax_axis": [lambda x: jax.nn.softmax(x, 1)],
    "log_softmax": [lambda x: jax.nn.log_softmax(x, -1)],
    "cross_entropy": [_cross_entropy],
    "layer_norm": [_layer_norm],
    "rms_norm": [lambda x, gamma, eps: x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + eps) * gamma],
    "residual_layer_norm": [_residual_layer_norm],
    "bias_gelu": [lambda x, b: jax.nn.gelu(x + b, approximate=False)],
    "bias_gelu_tanh": [lambda x, b: jax.nn.gelu(x + b, approximate=True)],
    "chain6": [_chain6],
    "sum_rows": [lambda x: x.sum(1)],
    "sum_columns": [lambda x: x.sum(0)],
    "cumsum_rows": [lambda x: jnp.cumsum(x, 1), lambda x: jax.lax.associative_scan(jnp.add, x, axis=1)],
    "transpose": [lambda x: x.T],
    "nchw_to_nhwc": [lambda x: x.transpose(0, 2, 3, 1)],
    "swap_heads": [lambda x: x.transpose(0, 2, 1, 3)],
    "gather_rows": [lambda table, index: jnp.take(table, index, axis=0, mode="clip")],
    "rotary": [_rotary],
    "matmul": [lambda a, b: _product(a, b).astype(a.dtype), jnp.matmul],
    "matmul_nt": [lambda a, b: _product(a, b.T).astype(a.dtype), lambda a, b: a @ b.T],
    "matmul_bias": [_matmul_bias, lambda a, b, bias: a @ b + bias],
    "matmul_bias_gelu": [_matmul_bias_gelu],
    "matmul_residual": [_matmul_residual, lambda a, b, bias, r: a @ b + bias + r],
    "attention": [],  # depends on the extents
    "attention_causal": [],
    "attention_decode": [_decode, _library_decode],
}


def arrays(answer: object) -> list[np.ndarray]:
    parts = answer if isinstance(answer, tuple | list) else (answer,)
    return [np.asarray(part, np.float32) for part in parts]


def prepare(case: Case, inputs: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    """XLA takes as many threads as the process has CPUs."""
    arguments = [jax.device_put(a) for a in inputs.values()]
    ways = FUNCTIONS[case.program] or _ways_of_attention(arguments[0], case.program == "attention_causal")
    compiled = [jax.jit(way).lower(*arguments).compile() for way in ways]
    calls = [lambda c=c: jax.block_until_ready(c(*arguments)) for c in compiled]
    return fastest(calls) if len(calls) > 1 else calls[0]
