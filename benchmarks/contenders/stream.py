"""Not a contender: a plain loop that only moves the bytes of the operator, the time to hold oneself to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cases import Case
from loops import Loops, aligned

CHECKED, FUNCTIONS, DTYPES, VERSION = False, None, ("f32", "bf16"), ""


def prepare(case: Case, inputs: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    loops = Loops(threads)
    source, target = aligned(max(case.read_bytes, 64)), aligned(max(case.write_bytes, 64))
    return lambda: loops.move(source, target, case.read_bytes, case.write_bytes)
