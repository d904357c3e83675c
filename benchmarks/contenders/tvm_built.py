"""TVM without tuning: tensor expressions, then a schedule that anyone would begin with: the outer axes of every stage
in parallel, the contiguous axis vectorised. MetaSchedule is not used: its worker processes take minutes to start, as
every one parses the intrinsics of all devices. f32 only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tvm
from cases import Case
from tvm import s_tir, te, topi

CHECKED, DTYPES, VERSION = True, ("f32",), tvm.__version__
LANES = 16
Tensor = te.Tensor


def _rms_norm(x: Tensor, gamma: Tensor, eps: float) -> Tensor:
    k = te.reduce_axis((0, x.shape[1]))
    square = te.compute((x.shape[0],), lambda i: te.sum(x[i, k] * x[i, k], k))
    return te.compute(x.shape, lambda i, j: x[i, j] * te.rsqrt(square[i] / float(int(x.shape[1])) + eps) * gamma[j])


def _layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    k, n = (te.reduce_axis((0, x.shape[1])) for _ in range(2))
    size = float(int(x.shape[1]))
    total = te.compute((x.shape[0],), lambda i: te.sum(x[i, k], k))
    mean = te.compute(total.shape, lambda i: total[i] / size)
    square = te.compute(total.shape, lambda i: te.sum((x[i, n] - mean[i]) * (x[i, n] - mean[i]), n))
    scale = te.compute(total.shape, lambda i: te.rsqrt(square[i] / size + eps))
    return te.compute(x.shape, lambda i, j: (x[i, j] - mean[i]) * scale[i] * gamma[j] + beta[j])


def _bias_gelu_tanh(x: Tensor, b: Tensor) -> Tensor:
    def gelu(t: tvm.ir.PrimExpr) -> tvm.ir.PrimExpr:
        return t / (1.0 + te.exp(-1.5957691216 * (t + 0.044715 * t * t * t)))

    return te.compute(x.shape, lambda i, j: gelu(x[i, j] + b[j]))


def _chain6(x: Tensor, z: Tensor, b: Tensor) -> Tensor:
    def chain(s: tvm.ir.PrimExpr, z: tvm.ir.PrimExpr) -> tvm.ir.PrimExpr:
        r = te.max(s, 0.0) + z
        return r * r - s

    return te.compute(x.shape, lambda i, j: chain((x[i, j] + b[j]) * 0.5, z[i, j]))


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "softmax": lambda x: topi.nn.softmax(x, 1),
    "log_softmax": lambda x: topi.nn.log_softmax(x, 1),
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "bias_gelu_tanh": _bias_gelu_tanh,
    "chain6": _chain6,
    "sum_rows": lambda x: topi.sum(x, 1),
    "sum_columns": lambda x: topi.sum(x, 0),
    "transpose": lambda x: topi.transpose(x, (1, 0)),
    "nchw_to_nhwc": lambda x: topi.transpose(x, (0, 2, 3, 1)),
    "swap_heads": lambda x: topi.transpose(x, (0, 2, 1, 3)),
}


def _scheduled(function: tvm.ir.BaseFunc) -> tvm.IRModule:
    schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
    root = schedule.get_sblock("root")
    for block in schedule.get_child_blocks(root):
        loops = schedule.get_loops(block)
        kinds = [iter_var.iter_type for iter_var in schedule.get(block).iter_vars]
        spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == 0]
        if len(spatial) > 1 and len(spatial) == len(loops):
            _, lane = schedule.split(spatial[-1], [None, LANES])
            schedule.vectorize(lane)
            spatial = spatial[:-1]
        if spatial:
            schedule.parallel(schedule.fuse(*spatial) if len(spatial) > 1 else spatial[0])
    return schedule.mod


def prepare(case: Case, inputs: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    holders = [te.placeholder(a.shape, name=name) if a.ndim else float(a) for name, a in inputs.items()]
    result = FUNCTIONS[case.program](*holders)
    function = te.create_prim_func([h for h in holders if isinstance(h, Tensor)] + [result])
    target = tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu(), "num-cores": threads})
    built = tvm.compile(_scheduled(function), target=target)["main"]
    arguments = [tvm.runtime.tensor(a) for a in inputs.values() if a.ndim]
    answer = tvm.runtime.tensor(np.empty(case.output_shapes[0], np.float32))

    def call() -> tvm.runtime.Tensor:
        built(*arguments, answer)
        return answer

    return call


def arrays(answer: tvm.runtime.Tensor) -> list[np.ndarray]:
    return [answer.numpy()]
