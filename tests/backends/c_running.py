"""Running programs through target `c` in tests: buffers, comparison with the interpreter, strict compilation."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from weft.backends.target import Emitted, Executable
from weft.ir.gir import Program
from weft.ir.gir_interp import bind_symbols, scalar

STRICT = ["-std=c11", "-Wall", "-Wextra", "-Werror"]


def run(
    program: Program, executable: Executable, inputs: Mapping[str, Any], env: Mapping[str, int], threads: int = 2
) -> dict[str, Any]:
    """Outputs (and temporaries) by name; they start as a pattern of bytes, one element past an aligned address."""
    values = bind_symbols(program, inputs, env)
    keep, out = [], {}
    for t in program.tensors:
        if t.name in inputs:
            array = np.ascontiguousarray(inputs[t.name])
        else:
            shape = tuple(scalar(e, values) for e in t.shape)
            room = np.full((int(np.prod(shape)) + 1) * t.dtype.bytes, 0x5A, np.uint8)
            array = room.view(t.dtype.numpy)[1:].reshape(shape)
            out[t.name] = array
        keep.append(array)
    executable([a.ctypes.data for a in keep], [values[s.name] for s in program.symbols], threads)
    return out


def equal(got: Any, want: Any, exact: bool) -> bool:
    """Whether two arrays agree; NaN equals NaN."""
    if want.dtype.kind in "iub":
        return bool(np.array_equal(got, want))
    got, want = got.astype(np.float64), want.astype(np.float64)
    if exact:
        return bool(np.array_equal(got, want, equal_nan=True))
    return bool(np.allclose(got, want, rtol=2e-2 if got.itemsize == 2 else 1e-5, atol=1e-5, equal_nan=True))


def compile_strictly(emitted: Emitted, directory: Path, *flags: str) -> None:
    """The file and the header compile by themselves without a warning."""
    for name, text in emitted.files.items():
        (directory / name).write_text(text)
    for command in (["-c", "-o", "x.o", emitted.main], ["-fsyntax-only", "-x", "c", emitted.header]):
        done = subprocess.run(["cc", *STRICT, *flags, *command], cwd=directory, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:2000]
