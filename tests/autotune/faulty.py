"""Candidates with a fault of every kind, as the texts that a worker gets, for `y[i] = x[i] + x[i]` of 64 elements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from weft.autotune.candidates import Trial
from weft.autotune.measure import Limits
from weft.autotune.reference import Reference, prepare
from weft.compiler import front
from weft.compiler.lower_options import Chosen
from weft.ir.op import Op

DOUBLE = "op double(x: f32[N]) -> (y: f32[N]) {\n  y[i] = x[i] + x[i]\n}\n"
N = 64
QUICK = Limits(load=30.0, first=30.0, run=1.5, rounds=2, turn=0.002)

_LOOP = "loop i in 0..64 step 16 { v = load<16> x[@0 + i] store<16> y[@0 + i] = %s }"
BODIES = {
    "good": _LOOP % "v + v",
    "other": _LOOP % "v * 2.0",
    "wrong": _LOOP % "v + v + 0.1",
    "unwritten": "loop i in 0..48 step 16 { v = load<16> x[@0 + i] store<16> y[@0 + i] = v + v }",
    "crash": _LOOP % "v + v" + " w = load<1> x[0] store<1> y[1099511627776] = w",
    "hang": _LOOP % "v + v" + " loop k in 0..1152921504606846976 { w = load<1> y[0] store<1> y[0] = w * 1.5 + 0.5 }",
    "input": _LOOP % "v + v" + " w = load<1> y[0] store<1> x[3] = w * 3.0",
    "behind": _LOOP % "v + v" + " w = load<1> x[0] store<1> y[64] = w",
    "refused": _LOOP % "v + nothing",
}


def trial(name: str, default: bool = False) -> Trial:
    text = f"program double() {{ tensor x: f32[64] input tensor y: f32[64] output kernel main {{ {BODIES[name]} }} }}"
    return Trial(Chosen("streams", "{}", name), lambda: text, default=default)


def double() -> Op:
    op = front.parse(DOUBLE, "double.gir")
    assert isinstance(op, Op)
    return op


def reference(folder: Path, points: int = 1 << 20) -> Reference:
    x = np.arange(1, N + 1, dtype=np.float32)
    return prepare(double(), {"N": N}, {"x": x}, folder, points)
