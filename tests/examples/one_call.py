"""A process of its own for test_one_kernel.py: compiles one operator of examples/attention.gir, calls it once, and says
what the kernel holds and by how much the process grew during the call.

    python tests/examples/one_call.py OPERATOR

Prints JSON: kernels, temporaries (bytes), dram and compulsory bytes, error (largest, against NumPy in f64), growth and
control (bytes: during the call, and while an S x T array of f32 was written, which shows that growth would be seen).
"""

from __future__ import annotations

import json
import math
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import weft
from weft.ir.gir import Role
from weft.ir.gir_parser import parse_program

EXTENTS = {"S": 4096, "T": 4096, "D": 64, "E": 64}
FILE = Path(__file__).resolve().parents[2] / "examples" / "attention.gir"
SAMPLE = [0, 1, 2047, 4095]  # rows that are compared


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/self/status has no {field}")


def growth(body: Callable[[], object]) -> int:
    """Bytes by which the resident set's peak during `body` exceeds what was resident before.

    Where the kernel lets a process forget its peak, that peak; otherwise the growth of the peak since the process
    began, which sees less (it is no larger).
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
        before, field = _status("VmRSS"), "VmHWM"
        body()
        return _status(field) - before
    except OSError:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        body()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def expected(name: str, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The rows of SAMPLE, in f64."""
    rows = np.array(SAMPLE)[:, None]
    columns = np.arange(k.shape[0])[None, :]
    s = q[SAMPLE].astype(np.float64) @ k.T.astype(np.float64) / math.sqrt(q.shape[1])
    if name == "attention":
        s = s - 0.01 * abs(rows - columns)
    if name == "attention_causal":
        s = np.where(columns <= rows, s, -np.inf)
    p = np.exp(s - s.max(1, keepdims=True))
    return p @ v.astype(np.float64) / p.sum(1, keepdims=True)


def main() -> None:
    name = sys.argv[1]
    kernel = weft.compile(FILE, "cpu", entry=name, bind=EXTENTS)
    program = parse_program(kernel.text("gir"))
    temporaries = [t for t in program.tensors if t.role is Role.TEMP]
    cost = kernel.cost()

    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((4096, 64), dtype=np.float32) for _ in range(3))
    out = np.zeros((4096, 64), np.float32)
    call = kernel.bind(q, k, v, out=out)
    grown = growth(call)
    error = float(np.abs(out[SAMPLE] - expected(name, q, k, v)).max())
    control = growth(lambda: np.ones((4096, 4096), np.float32))
    found = {
        "kernels": len(program.kernels),
        "temporaries": [t.name for t in temporaries],
        "dram": cost.dram_bytes,
        "compulsory": sum(a.nbytes for a in (q, k, v, out)),
        "error": error,
        "growth": grown,
        "control": control,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
