"""The loops of the contender `numba_parallel`."""

from __future__ import annotations

import math

import numpy as np
from numba import get_num_threads, njit, prange

BLOCK = 32  # of rows and columns in a transposition
f32 = np.float32
fast = njit(parallel=True, fastmath=True)


@fast
def softmax(x):
    y = np.empty_like(x)
    for i in prange(x.shape[0]):
        m = x[i, 0]
        for j in range(x.shape[1]):
            m = max(m, x[i, j])
        total = f32(0)
        for j in range(x.shape[1]):
            y[i, j] = math.exp(x[i, j] - m)
            total += y[i, j]
        scale = f32(1) / total
        for j in range(x.shape[1]):
            y[i, j] *= scale
    return y


@fast
def softmax_axis(x):
    """Over the middle axis; the last one stays innermost."""
    y = np.empty_like(x)
    for a in prange(x.shape[0]):
        m = x[a, 0].copy()
        total = np.zeros_like(m)
        for j in range(x.shape[1]):
            for b in range(x.shape[2]):
                m[b] = max(m[b], x[a, j, b])
        for j in range(x.shape[1]):
            for b in range(x.shape[2]):
                y[a, j, b] = math.exp(x[a, j, b] - m[b])
                total[b] += y[a, j, b]
        for b in range(x.shape[2]):
            total[b] = f32(1) / total[b]
        for j in range(x.shape[1]):
            for b in range(x.shape[2]):
                y[a, j, b] *= total[b]
    return y


@fast
def log_softmax(x):
    y = np.empty_like(x)
    for i in prange(x.shape[0]):
        m = x[i, 0]
        for j in range(x.shape[1]):
            m = max(m, x[i, j])
        total = f32(0)
        for j in range(x.shape[1]):
            total += math.exp(x[i, j] - m)
        shift = m + f32(math.log(total))
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] - shift
    return y


@fast
def cross_entropy(x, label):
    loss = np.empty(x.shape[0], np.float32)
    for i in prange(x.shape[0]):
        m = x[i, 0]
        for j in range(x.shape[1]):
            m = max(m, x[i, j])
        total = f32(0)
        for j in range(x.shape[1]):
            total += math.exp(x[i, j] - m)
        loss[i] = m + math.log(total) - x[i, label[i]]
    return loss


@fast
def layer_norm(x, gamma, beta, eps):
    y = np.empty_like(x)
    n = f32(x.shape[1])
    for i in prange(x.shape[0]):
        total = f32(0)
        for j in range(x.shape[1]):
            total += x[i, j]
        mean = total / n
        square = f32(0)
        for j in range(x.shape[1]):
            square += (x[i, j] - mean) * (x[i, j] - mean)
        scale = f32(1) / math.sqrt(square / n + eps)
        for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - mean) * scale * gamma[j] + beta[j]
    return y


@fast
def rms_norm(x, gamma, eps):
    y = np.empty_like(x)
    n = f32(x.shape[1])
    for i in prange(x.shape[0]):
        square = f32(0)
        for j in range(x.shape[1]):
            square += x[i, j] * x[i, j]
        scale = f32(1) / math.sqrt(square / n + eps)
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] * scale * gamma[j]
    return y


@fast
def residual_layer_norm(x, z, gamma, beta, eps):
    r, y = np.empty_like(x), np.empty_like(x)
    n = f32(x.shape[1])
    for i in prange(x.shape[0]):
        total = f32(0)
        for j in range(x.shape[1]):
            r[i, j] = x[i, j] + z[i, j]
            total += r[i, j]
        mean = total / n
        square = f32(0)
        for j in range(x.shape[1]):
            square += (r[i, j] - mean) * (r[i, j] - mean)
        scale = f32(1) / math.sqrt(square / n + eps)
        for j in range(x.shape[1]):
            y[i, j] = (r[i, j] - mean) * scale * gamma[j] + beta[j]
    return r, y


@fast
def bias_gelu(x, b):
    y = np.empty_like(x)
    for i in prange(x.shape[0]):
        for j in range(x.shape[1]):
            t = x[i, j] + b[j]
            y[i, j] = f32(0.5) * t * (f32(1) + math.erf(f32(0.70710678) * t))
    return y


@fast
def bias_gelu_tanh(x, b):
    """0.5 (1 + tanh(u)) is 1 / (1 + exp(-2 u)), which costs less."""
    y = np.empty_like(x)
    for i in prange(x.shape[0]):
        for j in range(x.shape[1]):
            t = x[i, j] + b[j]
            u = f32(-1.5957691216) * (t + f32(0.044715) * t * t * t)
            y[i, j] = t / (f32(1) + math.exp(u))
    return y


@fast
def chain6(x, z, b):
    y = np.empty_like(x)
    for i in prange(x.shape[0]):
        for j in range(x.shape[1]):
            s = (x[i, j] + b[j]) * f32(0.5)
            r = max(s, f32(0)) + z[i, j]
            y[i, j] = r * r - s
    return y


@fast
def sum_rows(x):
    y = np.empty(x.shape[0], np.float32)
    for i in prange(x.shape[0]):
        total = f32(0)
        for j in range(x.shape[1]):
            total += x[i, j]
        y[i] = total
    return y


@fast
def sum_columns(x):
    """Every thread sums a share of the rows."""
    parts = np.zeros((get_num_threads(), x.shape[1]), np.float32)
    share = (x.shape[0] + len(parts) - 1) // len(parts)
    for p in prange(len(parts)):
        for i in range(p * share, min((p + 1) * share, x.shape[0])):
            for j in range(x.shape[1]):
                parts[p, j] += x[i, j]
    return parts.sum(0)


@fast
def cumsum_rows(x):
    y = np.empty_like(x)
    for i in prange(x.shape[0]):
        total = f32(0)
        for j in range(x.shape[1]):
            total += x[i, j]
            y[i, j] = total
    return y


@fast
def transpose(x):
    m, n = x.shape
    y = np.empty((n, m), x.dtype)
    for block in prange((n + BLOCK - 1) // BLOCK):
        for i0 in range(0, m, BLOCK):
            for j in range(block * BLOCK, min((block + 1) * BLOCK, n)):
                for i in range(i0, min(i0 + BLOCK, m)):
                    y[j, i] = x[i, j]
    return y


@fast
def nchw_to_nhwc(x):
    n, c, h, w = x.shape
    y = np.empty((n, h, w, c), x.dtype)
    for nh in prange(n * h):
        p, i = nh // h, nh % h
        for j0 in range(0, w, BLOCK):
            for k0 in range(0, c, BLOCK):
                for j in range(j0, min(j0 + BLOCK, w)):
                    for k in range(k0, min(k0 + BLOCK, c)):
                        y[p, i, j, k] = x[p, k, i, j]
    return y


@fast
def swap_heads(x):
    b, s, h, d = x.shape
    y = np.empty((b, h, s, d), x.dtype)
    for bh in prange(b * h):
        p, q = bh // h, bh % h
        for t in range(s):
            for k in range(d):
                y[p, q, t, k] = x[p, t, q, k]
    return y


@fast
def gather_rows(table, index):
    y = np.empty((index.shape[0], table.shape[1]), table.dtype)
    for t in prange(index.shape[0]):
        for d in range(table.shape[1]):
            y[t, d] = table[index[t], d]
    return y


@fast
def rotary(x, c, s):
    y = np.empty_like(x)
    for t in prange(x.shape[0]):
        for h in range(x.shape[1]):
            for f in range(x.shape[3]):
                a, b = x[t, h, 0, f], x[t, h, 1, f]
                y[t, h, 0, f] = a * c[t, f] - b * s[t, f]
                y[t, h, 1, f] = b * c[t, f] + a * s[t, f]
    return y


@fast
def attention_decode(q, k, v, length):
    """Keys once for all queries that share them; the caches are full, but the length is read as the program does."""
    b, g, r, d = q.shape
    e = v.shape[3]
    o = np.zeros((b, g, r, e), np.float32)
    scale = f32(1 / math.sqrt(d))
    for bg in prange(b * g):
        p, h = bg // g, bg % g
        scores = np.empty((r, length[p]), np.float32)
        m = np.full(r, -3e38, np.float32)  # fastmath knows no infinity
        for t in range(length[p]):
            for i in range(r):
                dot = f32(0)
                for n in range(d):
                    dot += q[p, h, i, n] * k[p, t, h, n]
                scores[i, t] = dot * scale
                m[i] = max(m[i], scores[i, t])
        total = np.zeros(r, np.float32)
        for i in range(r):
            for t in range(length[p]):
                scores[i, t] = math.exp(scores[i, t] - m[i])
                total[i] += scores[i, t]
        for t in range(length[p]):
            for i in range(r):
                for n in range(e):
                    o[p, h, i, n] += scores[i, t] * v[p, t, h, n]
        for i in range(r):
            for n in range(e):
                o[p, h, i, n] /= total[i]
    return o
