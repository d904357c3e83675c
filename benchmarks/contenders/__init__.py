"""One file per contender. Each has

- `VERSION`, of the library, and `DTYPES`, the element types it takes part with;
- `CHECKED`: whether its answers are compared with float64;
- `FUNCTIONS`: what it needs to know of each program it supports, by name; None where it supports all;
- `prepare(case, inputs, threads)`: a call without arguments, which computes once and returns the outputs. The inputs
  are NumPy arrays by name (bf16 as `ml_dtypes.bfloat16`), scalars of rank 0;
- `arrays(answer)`, where `np.asarray` on each output would not do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


def fastest(ways: Sequence[Callable[[], object]]) -> Callable[[], object]:
    """Where a library has several ways to write a program, the one its user would find by trying: each called once to
    warm up, then timed twice, the smaller time decides. A way that raises is none; all raise: the last error."""
    best: tuple[float, Callable[[], object]] | None = None
    failure: Exception | None = None
    for way in ways:
        try:
            way()
            times = []
            for _ in range(2):
                start = time.perf_counter()
                way()
                times.append(time.perf_counter() - start)
        except Exception as error:
            failure = error
            continue
        if best is None or min(times) < best[0]:
            best = min(times), way
    if best is None:
        raise failure or ValueError("no way to compute this")
    return best[1]
