"""How long a new process takes from a program's text to a kernel that can be called, the code being on disk.

    python tests/cache_time.py [--target cpu] [--runs 9]

Each run is a process of its own; shown are the median and the least, in ms. `read` parses and verifies the text, `disk`
is everything else: the key, the entry, loading its code. `cold` is `disk` with an empty cache.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CASES = {
    "rows": ("ops/softmax.gir", "softmax", "M=4096,N=4096"),
    "masked": ("ops/attention.gir", "attention_causal", "H=16,S=2048,T=2048,D=64,E=64"),
}
WORKER = """
import sys, time
start = time.perf_counter()
import weft, weft.compiler.driver as driver
from weft.backends.target import get_target
from weft.compiler import front
from weft.compiler.kernel import Options
get_target(sys.argv[1])
imported = time.perf_counter()
op = front.read(sys.argv[2])
bind = dict(item.split("=") for item in sys.argv[3].split(","))
read = time.perf_counter()
kernel = driver.make_kernel(op, Options(sys.argv[1], tuple((s.name, int(bind[s.name])) for s in op.symbols)))
kernel.variant().executable
done = time.perf_counter()
print(*(f"{1e3 * t:.3f}" for t in (imported - start, read - imported, done - read)))
"""


def text_of(file: str, entry: str) -> str:
    """One operator of a file of the library."""
    parts = (ROOT / file).read_text().split("\nop ")
    return "op " + next(p for p in parts if p.startswith(f"{entry}("))


def run(target: str, text: str, bind: str, directory: str) -> list[float]:
    environment = os.environ | {"WEFT_CACHE": "1", "WEFT_CACHE_DIR": directory}
    command = [sys.executable, "-c", WORKER, target, text, bind]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [float(x) for x in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--runs", type=int, default=9)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        for name, (file, entry, bind) in CASES.items():
            text = text_of(file, entry)
            cold = run(given.target, text, bind, directory)[2]
            columns = list(zip(*(run(given.target, text, bind, directory) for _ in range(given.runs)), strict=True))
            shown = [f"{what} {statistics.median(c):.1f} ({min(c):.1f})" for what, c in zip(WHAT, columns, strict=True)]
            print(f"{name:8} {', '.join(shown)}, cold {cold:.0f}")


WHAT = ("import", "read", "disk")

if __name__ == "__main__":
    main()
