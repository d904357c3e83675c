"""PyTorch, eager mode."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from cases import Case

from contenders.torch_functions import FUNCTIONS

CHECKED = True


def tensors(inputs: dict[str, np.ndarray]) -> list[object]:
    """Scalars become Python numbers, as PyTorch's functions want them."""
    return [float(a) if a.ndim == 0 else torch.from_numpy(a) for a in inputs.values()]


def prepare(case: Case, inputs: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    function, arguments = FUNCTIONS[case.program], tensors(inputs)
    return lambda: function(*arguments)
