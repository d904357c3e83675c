"""Running a program in a process of its own, under the address and undefined-behaviour sanitizers.

A sanitized library cannot be loaded into a process that is not sanitized, so the emitted C gets a `main` that reads its
inputs from files, calls the public function with arrays of exactly their size, and writes the outputs to files.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...ir import gir
from ...ir.errors import TargetError
from ...ir.gir_interp import bind_symbols, scalar
from ..c_types import STORAGE
from ..c_unit import Unit
from ..machine import Machine
from .emit import emit_c
from .toolchain import NATIVE, run_compiler

# without -fwrapv, which would hide the overflow of signed integers
FLAGS = ["-std=c11", "-O1", "-g", "-fopenmp", "-ffp-contract=off"] + [
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
]
TIME_LIMIT = 120  # seconds of one run
Array = np.ndarray[Any, np.dtype[Any]]

READ = """
#include <stdio.h>

static void *weft_read(const char *path, int64_t bytes)
{
    char *data = malloc(bytes > 0 ? (size_t)bytes : 1);
    if (data == NULL)
        exit(3);
    memset(data, 0xa5, bytes > 0 ? (size_t)bytes : 0);
    FILE *file = path != NULL ? fopen(path, "rb") : NULL;
    if (file != NULL) {
        if (fread(data, 1, (size_t)bytes, file) != (size_t)bytes)
            exit(4);
        fclose(file);
    }
    return data;
}

static void weft_write(const char *path, const void *data, int64_t bytes)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, (size_t)bytes, file) != (size_t)bytes || fclose(file) != 0)
        exit(5);
}
"""


def main_text(program: gir.Program, unit: Unit) -> str:
    """A `main` whose arguments are: threads, then the symbols, then the bytes of every input and output."""
    tensors = [t for t in program.tensors if t.role is not gir.Role.TEMP]
    lines = [READ, "int main(int count, char **values)", "{"]
    lines.append(f"    if (count != {2 + len(program.symbols) + len(tensors)})\n        return 2;")
    first = 2 + len(program.symbols)
    for k, t in enumerate(tensors):
        path = f'"{k}.in"' if t.role is gir.Role.INPUT else "NULL"
        lines.append(f"    {STORAGE[t.dtype]} *b{k} = weft_read({path}, atoll(values[{first + k}]));")
    args = [f"b{k}" for k in range(len(tensors))] + [f"atoll(values[{2 + k}])" for k in range(len(program.symbols))]
    lines.append(f"    const int error = {unit.suffixed('threads')}({', '.join([*args, 'atoi(values[1])'])});")
    for k, t in enumerate(tensors):
        if t.role is gir.Role.OUTPUT:
            lines.append(f'    weft_write("{k}.out", b{k}, atoll(values[{first + k}]));')
        lines.append(f"    free(b{k});")
    return "\n".join([*lines, "    return error;", "}", ""])


class SanitizedProgram:
    """An executable of target `c:sanitize`. The build is kept in a private directory until this object goes."""

    def __init__(self, program: gir.Program, machine: Machine, processor: str = NATIVE) -> None:
        self.program = program
        emitted = emit_c(program, machine)
        self._directory = tempfile.TemporaryDirectory(prefix="weft-c-")  # mode 0700
        self._path = Path(self._directory.name)
        text = emitted.files[emitted.main] + main_text(program, Unit(program, machine))
        (self._path / "program.c").write_text(text, encoding="ascii")
        run_compiler([*FLAGS, f"-march={processor}", "-o", "program", "program.c", "-lm"], self._path)

    def run(self, arrays: Mapping[str, bytes], symbols: Sequence[int], threads: int = 2) -> dict[str, bytes]:
        """The bytes of every output. `arrays` has the bytes of every input. Raises TargetError with the sanitizer's
        report where one complains."""
        named = {s.name: v for s, v in zip(self.program.symbols, symbols, strict=True)}
        tensors = [t for t in self.program.tensors if t.role is not gir.Role.TEMP]
        sizes = [self._bytes(t, named) for t in tensors]
        environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0", UBSAN_OPTIONS="print_stacktrace=1")
        with tempfile.TemporaryDirectory(prefix="weft-c-") as name:
            place = Path(name)
            for k, t in enumerate(tensors):
                if t.role is gir.Role.INPUT:
                    (place / f"{k}.in").write_bytes(arrays[t.name])
            command = [str(self._path / "program"), str(threads), *map(str, symbols), *map(str, sizes)]
            try:
                done = subprocess.run(
                    command,
                    cwd=place,
                    env=environment,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=TIME_LIMIT,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise TargetError(f"'{self.program.name}' ran longer than {TIME_LIMIT} s under sanitizers") from None
            if done.returncode != 0:
                said = "\n  ".join(done.stderr.strip().splitlines()[:30])
                raise TargetError(f"'{self.program.name}' failed with status {done.returncode}:\n  {said}")
            return {
                t.name: (place / f"{k}.out").read_bytes() for k, t in enumerate(tensors) if t.role is gir.Role.OUTPUT
            }

    def _bytes(self, t: gir.Tensor, symbols: Mapping[str, int]) -> int:
        count = 1
        for extent in t.shape:
            count *= scalar(extent, symbols)
        return count * t.dtype.bytes

    def __call__(self, buffers: Sequence[int], symbols: Sequence[int], threads: int) -> None:
        named = {s.name: v for s, v in zip(self.program.symbols, symbols, strict=True)}
        sizes = {t.name: self._bytes(t, named) for t in self.program.tensors}
        where = {t.name: a for t, a in zip(self.program.tensors, buffers, strict=True)}
        inputs = [t.name for t in self.program.tensors if t.role is gir.Role.INPUT]
        arrays = {n: ctypes.string_at(where[n], sizes[n]) if sizes[n] else b"" for n in inputs}
        for name, content in self.run(arrays, symbols, threads).items():
            ctypes.memmove(where[name], content, len(content))


def run_sanitized(
    program: gir.Program,
    inputs: Mapping[str, Any],
    machine: Machine,
    symbols: Mapping[str, int] | None = None,
    threads: int = 2,
) -> dict[str, Array]:
    """Build and run once, arrays in, arrays out by name (as `gir_interp.interpret`). Raises TargetError where a
    sanitizer complains, BindError for symbols without a value."""
    env = bind_symbols(program, inputs, symbols or {})
    values = [env[s.name] for s in program.symbols]
    content = {
        t.name: np.ascontiguousarray(inputs[t.name]).tobytes() for t in program.tensors if t.role is gir.Role.INPUT
    }
    out = SanitizedProgram(program, machine).run(content, values, threads)
    result = {}
    for t in program.tensors:
        if t.role is gir.Role.OUTPUT:
            shape = tuple(scalar(e, env) for e in t.shape)
            result[t.name] = np.frombuffer(out[t.name], dtype=t.dtype.numpy).reshape(shape).copy()
    return result
