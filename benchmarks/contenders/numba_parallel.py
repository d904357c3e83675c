"""Numba, loops as a user writes them: `@njit(parallel=True, fastmath=True)`, rows in parallel, one pass per step. Numba
compiles for the host; its exponential is the scalar library's unless Intel's vector library (SVML) is installed.
The functions are in `numba_loops.py`. f32 only."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from cases import Case

from contenders import numba_loops as loops

CHECKED, DTYPES, VERSION = True, ("f32",), numba.__version__
FUNCTIONS: dict[str, Callable[..., object]] = {
    "softmax": loops.softmax,
    "softmax_axis": loops.softmax_axis,
    "log_softmax": loops.log_softmax,
    "cross_entropy": loops.cross_entropy,
    "layer_norm": loops.layer_norm,
    "rms_norm": loops.rms_norm,
    "residual_layer_norm": loops.residual_layer_norm,
    "bias_gelu": loops.bias_gelu,
    "bias_gelu_tanh": loops.bias_gelu_tanh,
    "chain6": loops.chain6,
    "sum_rows": loops.sum_rows,
    "sum_columns": loops.sum_columns,
    "cumsum_rows": loops.cumsum_rows,
    "transpose": loops.transpose,
    "nchw_to_nhwc": loops.nchw_to_nhwc,
    "swap_heads": loops.swap_heads,
    "gather_rows": loops.gather_rows,
    "rotary": loops.rotary,
    "attention_decode": loops.attention_decode,
}


def prepare(case: Case, inputs: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    numba.set_num_threads(threads)
    function = FUNCTIONS[case.program]
    arguments = [a.dtype.type(a) if a.ndim == 0 else a for a in inputs.values()]
    return lambda: function(*arguments)
