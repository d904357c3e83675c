"""The example programs in NumPy, the obvious way: what the tests and the demonstration compare with.

Every function takes the arrays of its operator in the operator's order, then its symbols by name, and computes in the
type of its inputs (float64 in, float64 out).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def softmax(x: Array) -> Array:
    """(M, N) -> (M, N), each row."""
    if x.shape[1] == 0:
        return x.copy()
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def layernorm(x: Array, gamma: Array, beta: Array, eps: Array) -> Array:
    """(M, N), (N,), (N,), () -> (M, N)."""
    if x.shape[1] == 0:
        return x.copy()
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + eps) * gamma + beta


def matmul(a: Array, b: Array) -> Array:
    return a @ b


def erf(x: Array) -> Array:
    """The error function, by the standard library, element by element."""
    from math import erf as scalar

    return np.array([scalar(v) for v in x.ravel().tolist()], dtype=x.dtype).reshape(x.shape)


def matmul_bias_gelu(a: Array, b: Array, bias: Array) -> Array:
    t = a @ b + bias
    return 0.5 * t * (1.0 + erf(t * 0.7071067811865476))


def _attend(q: Array, k: Array, v: Array, visible: Array | None = None, bias: Array | None = None) -> Array:
    """softmax(q k^T / sqrt(D) + bias) v over the visible keys; zero where a query sees none."""
    if 0 in (len(q), len(k), v.shape[1]):
        return np.zeros((len(q), v.shape[1]), q.dtype)
    with np.errstate(divide="ignore"):
        scale = 1.0 / np.sqrt(np.asarray(q.shape[1], q.dtype))
    with np.errstate(invalid="ignore"):
        s = (q @ k.T) * scale
    if bias is not None:
        s = s + bias
    if visible is not None:
        s = np.where(visible, s, -np.inf)
    m = s.max(axis=1, keepdims=True)
    p = np.exp(s - np.where(np.isneginf(m), 0, m))
    z = p.sum(axis=1, keepdims=True)
    return (p @ v) / np.where(z == 0, 1, z)


def _positions(q: Array, k: Array) -> tuple[Array, Array]:
    return np.arange(len(q))[:, None], np.arange(len(k))[None, :]


def attention(q: Array, k: Array, v: Array) -> Array:
    """(S, D), (T, D), (T, E) -> (S, E), with a penalty of 0.01 per step of distance."""
    i, j = _positions(q, k)
    return _attend(q, k, v, bias=-0.01 * np.abs(i - j).astype(q.dtype))


def attention_plain(q: Array, k: Array, v: Array) -> Array:
    return _attend(q, k, v)


attention_base2 = attention_plain


def attention_causal(q: Array, k: Array, v: Array) -> Array:
    i, j = _positions(q, k)
    return _attend(q, k, v, visible=j <= i)


def attention_window(q: Array, k: Array, v: Array, W: int = 64) -> Array:
    i, j = _positions(q, k)
    return _attend(q, k, v, visible=(j <= i) & (i - j < W))


def attention_sigmoid(q: Array, k: Array, v: Array) -> Array:
    s = (q @ k.T) / np.sqrt(np.asarray(q.shape[1], q.dtype))
    return (1.0 / (1.0 + np.exp(-s))) @ v


def conv2d(x: Array, w: Array, b: Array, U: int = 1, V: int = 1, P: int = 0, Q: int = 0) -> Array:
    """(N, C, H, W), (K, C, R, S), (K,) -> (N, K, ., .), stride (U, V), zero padding (P, Q)."""
    x = np.pad(x, ((0, 0), (0, 0), (P, P), (Q, Q)))
    _, _, r, s = w.shape
    h, l = (x.shape[2] - r) // U + 1, (x.shape[3] - s) // V + 1  # noqa: E741
    y = np.zeros((len(x), len(w), h, l), x.dtype)
    for i in range(r):
        for j in range(s):
            y += np.einsum("nchl,kc->nkhl", x[:, :, i : i + U * h : U, j : j + V * l : V][:, :, :h, :l], w[:, :, i, j])
    return y + b[:, None, None]


def depthwise3x3(x: Array, w: Array) -> Array:
    """(N, C, H, W), (C, 3, 3) -> (N, C, H, W)."""
    _, _, h, l = x.shape  # noqa: E741
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = np.zeros_like(x)
    for i in range(3):
        for j in range(3):
            y += padded[:, :, i : i + h, j : j + l] * w[:, i, j][None, :, None, None]
    return y


def _seven(padded: Array, a: Array, b: Array) -> Array:
    c = padded[1:-1, 1:-1, 1:-1]
    x = padded[:-2, 1:-1, 1:-1] + padded[2:, 1:-1, 1:-1]
    y = padded[1:-1, :-2, 1:-1] + padded[1:-1, 2:, 1:-1]
    z = padded[1:-1, 1:-1, :-2] + padded[1:-1, 1:-1, 2:]
    return a * c + b * (x + y + z)


def stencil7(u: Array, a: Array, b: Array) -> Array:
    """(X, Y, Z), (), () -> (X, Y, Z), zero outside."""
    return _seven(np.pad(u, 1), a, b)


def stencil7_insulated(u: Array, a: Array, b: Array) -> Array:
    return u.copy() if u.size == 0 else _seven(np.pad(u, 1, mode="edge"), a, b)


def stencil7_periodic(u: Array, a: Array, b: Array) -> Array:
    return u.copy() if u.size == 0 else _seven(np.pad(u, 1, mode="wrap"), a, b)


def stencil7_twice(u: Array, a: Array, b: Array) -> Array:
    return stencil7(stencil7(u, a, b), a, b)


def _sweep(old: Array, f: Array, factor: Array) -> Array:
    """One forward Gauss-Seidel sweep, `v = (f + new neighbours behind + old neighbours ahead) factor`, wavefront by
    wavefront: the points whose indices add up to the same number do not depend on each other."""
    v = np.zeros([n + 2 for n in old.shape], old.dtype)
    inner = tuple(slice(1, -1) for _ in old.shape)
    v[inner] = old
    index = np.indices(old.shape).reshape(old.ndim, -1)
    wave = index.sum(axis=0)
    order = np.argsort(wave, kind="stable")
    starts = np.searchsorted(wave[order], np.arange(sum(n - 1 for n in old.shape) + 2))
    for first, last in pairwise(starts):
        here = index[:, order[first:last]]
        total = f[tuple(here)]
        for step in (-1, 1):
            for axis in range(old.ndim):
                there = here + 1
                there[axis] += step
                total = total + v[tuple(there)]
        v[tuple(here + 1)] = total * factor
    return v[inner]


def gauss_seidel(u: Array, f: Array) -> Array:
    """(X, Y, Z), (X, Y, Z) -> (X, Y, Z): a forward and a backward sweep."""
    factor = u.dtype.type(0.16666667 if u.ndim == 3 else 0.25)
    flip = tuple(slice(None, None, -1) for _ in u.shape)
    if u.size == 0:
        return u.copy()
    return _sweep(_sweep(u, f, factor)[flip], f[flip], factor)[flip]


gauss_seidel_2d = gauss_seidel


def decay(q: Array, k: Array, v: Array, a: Array) -> Array:
    """(T, D), (T, D), (T, E), (T,) -> (T, E)."""
    return decay_channels(q, k, v, np.repeat(a[:, None], q.shape[1], 1), np.zeros((q.shape[1], v.shape[1]), q.dtype))[0]


def decay_channels(q: Array, k: Array, v: Array, a: Array, h0: Array) -> tuple[Array, Array]:
    """(T, D), (T, D), (T, E), (T, D), (D, E) -> (T, E), (T, D, E)."""
    state = h0
    y = np.zeros((len(q), v.shape[1]), q.dtype)
    h = np.zeros((len(q), *h0.shape), q.dtype)
    for t in range(len(q)):
        state = a[t][:, None] * state + k[t][:, None] * v[t][None, :]
        h[t] = state
        y[t] = q[t] @ state
    return y, h


def decay_average(x: Array, a: Array) -> Array:
    """(T, C), (C,) -> (T, C)."""
    y = np.zeros_like(x)
    state = np.zeros_like(a)
    for t in range(len(x)):
        state = a * state + (1 - a) * x[t]
        y[t] = state
    return y


def block_sparse(block: Array, column: Array, count: Array, x: Array) -> Array:
    """(P, L, R, C), (P, L), (P,), (Q, C, N) -> (P, R, N)."""
    y = np.zeros((block.shape[0], block.shape[2], x.shape[2]), x.dtype)
    for i in range(len(block)):
        for b in range(int(count[i])):
            y[i] += block[i, b] @ x[column[i, b]]
    return y


def block_sparse_attention(q: Array, k: Array, v: Array, list: Array, count: Array) -> Array:
    """(P, R, D), (Q, R, D), (Q, R, E), (P, L), (P,) -> (P, R, E)."""
    o = np.zeros((*q.shape[:2], v.shape[2]), q.dtype)
    for i in range(len(q)):
        seen = list[i, : int(count[i])]
        o[i] = _attend(q[i], k[seen].reshape(-1, k.shape[2]), v[seen].reshape(-1, v.shape[2]))
    return o


def sparse_rows(a: Array, x: Array) -> Array:
    return a @ x
