"""Mathematical functions as helpers: the sequences of `mathlib.py`, printed once for each type and vector length.

Beside speed this keeps results equal on every machine: a C library's `expf` differs from release to release.
"""

from __future__ import annotations

from ..ir.dtypes import DType
from ..ir.expr import Fn, const
from .c_expr import At, ExprPrinter, Scope, Tile
from .c_helpers import Helpers
from .c_types import SCALAR, vector
from .c_vector_text import Generated, function
from .mathlib import sequence


class Recorder(Helpers):
    """Remembers what was used, without printing it."""

    def use(self, name: str) -> str:
        self.texts[name] = ""
        return name


def math_function(name: str, fn: Fn, dtype: DType, lanes: int) -> Generated:
    """The helper `name`: `fn` of a scalar (`lanes` 1) or of a vector.

    A function of f32 that is continued in f64 is computed by halves, whose f64 vectors are then as wide as a register.
    """
    steps = sequence(fn, dtype is DType.F64)
    if lanes >= 8 and dtype is DType.F32 and "_half_" not in name and any(s.dtype.bytes == 8 for s in steps):
        return _by_halves(name, fn, lanes)
    recorder = Recorder()
    printer = ExprPrinter(recorder, dtype.bytes)
    scope = Scope({}, frozenset())
    shape = (lanes,) if lanes > 1 else ()
    at = At((const(0),), lanes) if lanes > 1 else At()
    parameters = ("x", "y") if fn is Fn.POW else ("x",)
    for p in parameters:
        scope.tiles[p] = Tile(p, shape, dtype, lanes)
    lines = []
    for step in steps:
        value = printer.convert.cast(printer.value(step.expr, at, scope, step.dtype), step.dtype)
        value = printer.convert.canonical(value, lanes)
        kind = printer.convert.vector_type(step.dtype, lanes)
        scope.tiles[step.name] = Tile(step.name, shape, step.dtype, lanes)
        lines.append(f"const {kind} {step.name} = {value.text};")
    lines.append(f"return {steps[-1].name};")
    kind = SCALAR[dtype] if lanes == 1 else recorder.use(vector(dtype.value, lanes))
    text = function(kind, name, ", ".join(f"{kind} {p}" for p in parameters), "\n".join(lines))
    return tuple(recorder.texts), text


def _by_halves(name: str, fn: Fn, lanes: int) -> Generated:
    v, half = vector("f32", lanes), vector("f32", lanes // 2)
    part = f"{half}_half_{fn}"
    parameters = ("x", "y") if fn is Fn.POW else ("x",)
    lines = [f"{half} {p}s[2];\nmemcpy({p}s, &{p}, sizeof {p}s);" for p in parameters]
    for k in (0, 1):
        lines.append(f"xs[{k}] = {part}({', '.join(f'{p}s[{k}]' for p in parameters)});")
    lines.append("memcpy(&x, xs, sizeof xs);\nreturn x;")
    return (v, half, part), function(v, name, ", ".join(f"{v} {p}" for p in parameters), "\n".join(lines))
