"""Weft's in-process CPU target, called as a user calls it: the program in index notation, arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import weft
from cases import Case

CHECKED, FUNCTIONS, DTYPES, VERSION = True, None, ("f32", "bf16"), weft.__version__


def prepare(case: Case, inputs: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    kernel = weft.compile(case.op, target="cpu", bind=case.extents)
    arrays = list(inputs.values())
    return lambda: kernel(*arrays)
