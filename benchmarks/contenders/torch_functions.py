"""PyTorch's own operators for every program, shared by the eager and the compiled contender."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

CHECKED, DTYPES, VERSION = True, ("f32", "bf16"), torch.__version__


def tensors(inputs: dict[str, np.ndarray]) -> list[object]:
    """Scalars become Python numbers, as PyTorch's functions want them."""
    return [float(a) if a.ndim == 0 else tensor(a) for a in inputs.values()]


def tensor(array: np.ndarray) -> Tensor:
    """Shares the memory; NumPy's bf16 is unknown to PyTorch."""
    if array.dtype.kind == "V":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def arrays(answer: object) -> list[np.ndarray]:
    parts = answer if isinstance(answer, tuple | list) else (answer,)
    return [part.float().numpy() for part in parts if isinstance(part, Tensor)]


def _rms_norm(x: Tensor, gamma: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), gamma, eps)


def _layer_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, (x.shape[-1],), gamma, beta, eps)


def _residual_layer_norm(x: Tensor, z: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    r = x + z
    return r, _layer_norm(r, gamma, beta, eps)


def _chain6(x: Tensor, z: Tensor, b: Tensor) -> Tensor:
    s = (x + b) * 0.5
    r = torch.relu(s) + z
    return r * r - s


def _rotary(x: Tensor, c: Tensor, s: Tensor) -> Tensor:
    c, s = c[:, None], s[:, None]
    a, b = x[:, :, 0], x[:, :, 1]
    return torch.stack((a * c - b * s, b * c + a * s), 2)


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q[None], k[None], v[None])[0]


def _attention_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]


def _attention_decode(q: Tensor, k: Tensor, v: Tensor, length: Tensor) -> Tensor:
    """All caches are full in the benchmark: q (B, G, R, D) against k, v (B, T, G, .)."""
    return F.scaled_dot_product_attention(q, k.transpose(1, 2), v.transpose(1, 2))


FUNCTIONS: dict[str, Callable[..., object]] = {
    "softmax": lambda x: torch.softmax(x, -1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
    "softmax_axis": lambda x: torch.softmax(x, 1),
    "cross_entropy": lambda x, label: F.cross_entropy(x, label, reduction="none"),
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "residual_layer_norm": _residual_layer_norm,
    "bias_gelu": lambda x, b: F.gelu(x + b),
    "bias_gelu_tanh": lambda x, b: F.gelu(x + b, approximate="tanh"),
    "chain6": _chain6,
    "sum_rows": lambda x: x.sum(1),
    "sum_columns": lambda x: x.sum(0),
    "cumsum_rows": lambda x: x.cumsum(1),
    "transpose": lambda x: x.t().contiguous(),
    "nchw_to_nhwc": lambda x: x.permute(0, 2, 3, 1).contiguous(),
    "swap_heads": lambda x: x.permute(0, 2, 1, 3).contiguous(),
    "gather_rows": lambda table, index: F.embedding(index, table),
    "rotary": _rotary,
    "matmul": lambda a, b: a @ b,
    "matmul_nt": lambda a, b: a @ b.t(),
    "matmul_bias": lambda a, b, bias: torch.addmm(bias, a, b),
    "matmul_residual": lambda a, b, bias, r: torch.addmm(bias, a, b) + r,
    "matmul_bias_gelu": lambda a, b, bias: F.gelu(torch.addmm(bias, a, b)),
    "attention": _attention,
    "attention_causal": _attention_causal,
    "attention_decode": _attention_decode,
}
