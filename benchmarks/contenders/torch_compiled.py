"""PyTorch through torch.compile, shapes fixed; compiled before anything is timed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from cases import Case

from contenders.torch_functions import CHECKED, DTYPES, FUNCTIONS, VERSION, arrays, tensors

__all__ = ["CHECKED", "DTYPES", "FUNCTIONS", "VERSION", "arrays", "prepare"]


def prepare(case: Case, inputs: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    torch._dynamo.reset()
    function, arguments = torch.compile(FUNCTIONS[case.program], dynamic=False), tensors(inputs)
    function(*arguments)
    return lambda: function(*arguments)
