"""PyTorch's FlexAttention through torch.compile. The causal mask is a block mask, made before anything is timed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from cases import Case
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from contenders.torch_functions import CHECKED, DTYPES, VERSION, arrays, tensors

__all__ = ["CHECKED", "DTYPES", "FUNCTIONS", "VERSION", "arrays", "prepare"]
FUNCTIONS = ("attention", "attention_causal", "attention_decode")


def prepare(case: Case, inputs: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    torch._dynamo.reset()
    compiled = torch.compile(flex_attention, dynamic=False)
    q, k, v = (t for t in tensors(inputs)[:3] if isinstance(t, torch.Tensor))
    if case.program == "attention_decode":  # all caches are full; (B, G, R, D) queries are the G R heads of one place
        b, g, r, d = q.shape
        q, k, v = q.reshape(b, g * r, 1, d), k.transpose(1, 2), v.transpose(1, 2)
        return lambda: compiled(q, k, v, enable_gqa=True).reshape(b, g, r, -1)
    q, k, v = q[None], k[None], v[None]
    mask = None
    if case.program == "attention_causal":
        s, t = q.shape[2], k.shape[2]
        mask = create_block_mask(lambda _b, _h, i, j: j - i <= t - s, None, None, s, t, device="cpu")
    return lambda: compiled(q, k, v, block_mask=mask)[0]
