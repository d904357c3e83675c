"""Halide, compiled in process for the host, scheduled by hand as its tutorials teach: outputs in parallel by rows
(tiles for a transposition), vectors along the contiguous axis, reductions split over lanes by `rfactor`, intermediate
rows computed where they are used. Dimension 0 is the contiguous one. f32 only."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version

import halide as hl
import numpy as np
from cases import Case

CHECKED, DTYPES, VERSION = True, ("f32",), version("halide")
LANES = 16
Build = Callable[..., list[hl.Func]]


def _vars(names: str) -> list[hl.Var]:
    return [hl.Var(name) for name in names.split()]


def _reduced(kind: str, term: Callable[[hl.Expr, hl.Expr], hl.Expr], n: int, at: hl.Func, row: hl.Var) -> hl.Func:
    """The sum or the maximum over `term(j, i)` for j < n, computed for row i where `at` needs it."""
    start = 0.0 if kind == "sum" else -3e38
    i, u = hl.Var("i"), hl.Var("u")
    f, r = hl.Func(), hl.RDom([(0, n)])

    def step(old: hl.Expr, new: hl.Expr) -> hl.Expr:
        return old + new if kind == "sum" else hl.max(old, new)

    f[i] = hl.f32(start)
    f[i] = step(f[i], term(r.x, i))
    if n >= 4 * LANES:
        outer, inner = hl.RVar("ro"), hl.RVar("ri")
        lanes = 4 * LANES  # four vectors at a time hide the latency of the additions
        f.update().split(r.x, outer, inner, lanes, hl.TailStrategy.GuardWithIf)
        part = f.update().rfactor(inner, u)
        part.compute_at(at, row).vectorize(u, LANES).unroll(u)
        part.update().reorder(u, outer).vectorize(u, LANES).unroll(u)
        f.update().atomic().vectorize(inner, LANES)
    f.compute_at(at, row)
    return f


def _rows(y: hl.Func, j: hl.Var, i: hl.Var) -> list[hl.Func]:
    y.parallel(i).vectorize(j, LANES, hl.TailStrategy.GuardWithIf)
    return [y]


def _softmax(x: hl.Buffer, extents: dict[str, int]) -> list[hl.Func]:
    j, i = _vars("j i")
    y, e, n = hl.Func("y"), hl.Func("e"), extents["N"]
    m = _reduced("max", lambda k, i: x[k, i], n, y, i)
    e[j, i] = hl.exp(x[j, i] - m[i])
    s = _reduced("sum", lambda k, i: e[k, i], n, y, i)
    scale = hl.Func("scale")
    scale[i] = hl.f32(1) / s[i]
    y[j, i] = e[j, i] * scale[i]
    e.compute_at(y, i).vectorize(j, LANES, hl.TailStrategy.RoundUp)
    scale.compute_at(y, i)
    return _rows(y, j, i)


def _log_softmax(x: hl.Buffer, extents: dict[str, int]) -> list[hl.Func]:
    j, i = _vars("j i")
    y, shift, n = hl.Func("y"), hl.Func("shift"), extents["N"]
    m = _reduced("max", lambda k, i: x[k, i], n, y, i)
    s = _reduced("sum", lambda k, i: hl.exp(x[k, i] - m[i]), n, y, i)
    shift[i] = m[i] + hl.log(s[i])
    y[j, i] = x[j, i] - shift[i]
    shift.compute_at(y, i)
    return _rows(y, j, i)


def _normal(x: Callable[[hl.Expr, hl.Expr], hl.Expr], gamma: hl.Buffer, beta: hl.Buffer, eps: float, n: int) -> hl.Func:
    j, i = _vars("j i")
    y, mean, scale = hl.Func("y"), hl.Func("mean"), hl.Func("scale")
    total = _reduced("sum", x, n, y, i)
    mean[i] = total[i] / float(n)
    square = _reduced("sum", lambda k, i: (x(k, i) - mean[i]) * (x(k, i) - mean[i]), n, y, i)
    scale[i] = hl.f32(1) / hl.sqrt(square[i] / float(n) + eps)
    y[j, i] = (x(j, i) - mean[i]) * scale[i] * gamma[j] + beta[j]
    mean.compute_at(y, i)
    scale.compute_at(y, i)
    _rows(y, j, i)
    return y


def _layer_norm(x: hl.Buffer, gamma: hl.Buffer, beta: hl.Buffer, eps: float, extents: dict[str, int]) -> list[hl.Func]:
    return [_normal(lambda j, i: x[j, i], gamma, beta, eps, extents["N"])]


def _rms_norm(x: hl.Buffer, gamma: hl.Buffer, eps: float, extents: dict[str, int]) -> list[hl.Func]:
    j, i = _vars("j i")
    y, scale, n = hl.Func("y"), hl.Func("scale"), extents["N"]
    square = _reduced("sum", lambda k, i: x[k, i] * x[k, i], n, y, i)
    scale[i] = hl.f32(1) / hl.sqrt(square[i] / float(n) + eps)
    y[j, i] = x[j, i] * scale[i] * gamma[j]
    scale.compute_at(y, i)
    return _rows(y, j, i)


def _bias_gelu_tanh(x: hl.Buffer, b: hl.Buffer, extents: dict[str, int]) -> list[hl.Func]:
    """0.5 (1 + tanh(u)) is 1 / (1 + exp(-2 u)); Halide's tanh is the scalar library's."""
    j, i = _vars("j i")
    y = hl.Func("y")
    t = x[j, i] + b[j]
    y[j, i] = t / (hl.f32(1) + hl.exp(hl.f32(-1.5957691216) * (t + hl.f32(0.044715) * t * t * t)))
    return _rows(y, j, i)


def _chain6(x: hl.Buffer, z: hl.Buffer, b: hl.Buffer, extents: dict[str, int]) -> list[hl.Func]:
    j, i = _vars("j i")
    y = hl.Func("y")
    s = (x[j, i] + b[j]) * hl.f32(0.5)
    r = hl.max(s, hl.f32(0)) + z[j, i]
    y[j, i] = r * r - s
    return _rows(y, j, i)


def _sum_rows(x: hl.Buffer, extents: dict[str, int]) -> list[hl.Func]:
    i = hl.Var("i")
    y = hl.Func("y")
    s = _reduced("sum", lambda k, i: x[k, i], extents["N"], y, i)
    y[i] = s[i]
    y.parallel(i)
    return [y]


def _sum_columns(x: hl.Buffer, extents: dict[str, int]) -> list[hl.Func]:
    """Blocks of rows in parallel, then the sum of the blocks."""
    j, u = _vars("j u")
    y, r = hl.Func("y"), hl.RDom([(0, extents["M"])])
    outer, inner = hl.RVar("ro"), hl.RVar("ri")
    y[j] = hl.f32(0)
    y[j] += x[j, r.x]
    y.vectorize(j, LANES, hl.TailStrategy.GuardWithIf)
    block = max(extents["M"] // 16, 1)
    y.update().split(r.x, outer, inner, block, hl.TailStrategy.GuardWithIf)
    part = y.update().rfactor(outer, u)
    part.compute_root().parallel(u).vectorize(j, LANES, hl.TailStrategy.GuardWithIf)
    part.update().reorder(j, inner, u).parallel(u).vectorize(j, LANES, hl.TailStrategy.GuardWithIf)
    y.update().reorder(j, outer).vectorize(j, LANES, hl.TailStrategy.GuardWithIf)
    return [y]


def _tiled(y: hl.Func, j: hl.Var, i: hl.Var, outermost: hl.Var) -> list[hl.Func]:
    """Tiles of 16 by 16; Halide makes shuffles of the strided loads."""
    jo, io, ji, ii = _vars("jo io ji ii")
    y.tile(j, i, jo, io, ji, ii, LANES, LANES, hl.TailStrategy.GuardWithIf).vectorize(ji).unroll(ii)
    y.parallel(io if outermost is i else outermost)
    return [y]


def _transpose(x: hl.Buffer, extents: dict[str, int]) -> list[hl.Func]:
    j, i = _vars("j i")
    y = hl.Func("y")
    y[j, i] = x[i, j]
    return _tiled(y, j, i, i)


def _nchw_to_nhwc(x: hl.Buffer, extents: dict[str, int]) -> list[hl.Func]:
    c, w, h, n = _vars("c w h n")
    y = hl.Func("y")
    y[c, w, h, n] = x[w, h, c, n]
    return _tiled(y, c, w, n)


def _swap_heads(x: hl.Buffer, extents: dict[str, int]) -> list[hl.Func]:
    d, s, h, b = _vars("d s h b")
    y, bh = hl.Func("y"), hl.Var("bh")
    y[d, s, h, b] = x[d, h, s, b]
    y.fuse(h, b, bh).parallel(bh).vectorize(d, LANES, hl.TailStrategy.GuardWithIf)
    return [y]


def _gather_rows(table: hl.Buffer, index: hl.Buffer, extents: dict[str, int]) -> list[hl.Func]:
    d, t, block = _vars("d t block")
    y = hl.Func("y")
    y[d, t] = table[d, hl.clamp(hl.i32(index[t]), 0, extents["V"] - 1)]
    y.vectorize(d, LANES, hl.TailStrategy.GuardWithIf).split(t, block, t, 64, hl.TailStrategy.GuardWithIf)
    y.parallel(block)
    return [y]


def _rotary(x: hl.Buffer, c: hl.Buffer, s: hl.Buffer, extents: dict[str, int]) -> list[hl.Func]:
    f, p, h, t = _vars("f p h t")
    y = hl.Func("y")
    other = x[f, 1 - p, h, t] * s[f, t]
    y[f, p, h, t] = x[f, p, h, t] * c[f, t] + hl.select(p == 0, -other, other)
    y.bound(p, 0, 2).unroll(p).parallel(t).vectorize(f, LANES, hl.TailStrategy.GuardWithIf)
    return [y]


FUNCTIONS: dict[str, Build] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "bias_gelu_tanh": _bias_gelu_tanh,
    "chain6": _chain6,
    "sum_rows": _sum_rows,
    "sum_columns": _sum_columns,
    "transpose": _transpose,
    "nchw_to_nhwc": _nchw_to_nhwc,
    "swap_heads": _swap_heads,
    "gather_rows": _gather_rows,
    "rotary": _rotary,
}


def prepare(case: Case, inputs: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    os.environ["HL_NUM_THREADS"] = str(threads)
    arguments = [float(a) if a.ndim == 0 else hl.Buffer(a) for a in inputs.values()]
    (built,) = FUNCTIONS[case.program](*arguments, extents=case.extents)
    answer = np.empty(case.output_shapes[0], np.float32)
    result = hl.Buffer(answer)
    target = hl.get_jit_target_from_environment().with_feature(hl.TargetFeature.NoAsserts)
    built.compile_jit(target)

    def call(held: object = arguments) -> np.ndarray:
        built.realize(result, target)
        return answer

    return call
