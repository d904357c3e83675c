"""The plain definition of attention at S = T = 4096, D = E = 64 becomes one kernel that never holds S x T values: by
its program, by the modelled bytes, and by the peak memory of a process that calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SQUARE = 4096 * 4096 * 4  # bytes of an S x T buffer of f32
VARIANTS = {
    "attention_plain": "as in a textbook",
    "attention": "scores changed by a user's function",
    "attention_base2": "the exponential replaced by a user's function",
    "attention_causal": "with a guard",
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's memory from /proc")
@pytest.mark.parametrize("name", VARIANTS)
def test_no_square_buffer(name: str) -> None:
    script = Path(__file__).with_name("one_call.py")
    done = subprocess.run([sys.executable, script, name], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kernels"] == 1
    assert found["temporaries"] == []
    assert found["dram"] <= 1.1 * found["compulsory"]
    assert found["error"] < 1e-4
    assert found["control"] > 0.9 * SQUARE, "the measurement would not see a square buffer"
    assert found["growth"] < SQUARE / 4
