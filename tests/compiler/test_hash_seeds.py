"""Output is a function of the input: no order of a set or a dictionary shows, whatever the hashes of strings are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("text_of_everything.py")


def test_the_same_bytes_under_every_hash_seed() -> None:
    """Failure 20: op, GIR, graph, LLVM IR, C and cost report, in processes with different seeds."""
    running = [
        subprocess.Popen(
            [sys.executable, SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "4242")
    ]
    texts = []
    for process in running:
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        texts.append(out)
    assert "define" in texts[0] and "#include" in texts[0] and "program softmax" in texts[0]
    assert texts[1] == texts[0]
