"""Calling scheduled programs with guarded buffers, and many C programs through one call of the compiler."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from weft.backends.c.emit import INCLUDES, emit_c
from weft.backends.c.toolchain import FLAGS, compiler
from weft.backends.machine import Machine
from weft.backends.target import Executable
from weft.ir import gir
from weft.ir.errors import TargetError, WeftError
from weft.ir.gir_interp import bind_symbols, scalar

GUARD = 128  # bytes before and behind a buffer that nobody may write


def call(
    program: gir.Program,
    executable: Executable,
    inputs: Mapping[str, Any],
    extents: Mapping[str, int],
    threads: int,
    misaligned: bool,
) -> dict[str, Any]:
    """Outputs by name. Raises AssertionError where a guard was written to or an input changed."""
    values = bind_symbols(program, inputs, {s.name: extents[s.name] for s in program.symbols})
    rooms, arrays = [], {}
    for t in program.tensors:
        shape = tuple(scalar(e, values) for e in t.shape)
        room, array = guarded(shape, t.dtype.numpy, misaligned)
        if t.name in inputs:
            array[...] = inputs[t.name]
        rooms.append(room)
        arrays[t.name] = array
    before = [room.copy() for room in rooms]
    executable([a.ctypes.data for a in arrays.values()], [values[s.name] for s in program.symbols], threads)
    for t, old, room in zip(program.tensors, before, rooms, strict=True):
        array = arrays[t.name]
        start = array.ctypes.data - room.ctypes.data
        end = start + (0 if t.role is gir.Role.INPUT else array.nbytes)
        same = np.array_equal(old[:start], room[:start]) and np.array_equal(old[end:], room[end:])
        assert same, f"'{t.name}': written outside of what may be written"
    return {t.name: arrays[t.name] for t in program.tensors if t.role is gir.Role.OUTPUT}


def guarded(shape: tuple[int, ...], dtype: Any, misaligned: bool) -> tuple[Any, Any]:
    """Bytes of 0xFF (NaN, -1) and an array in the middle of them: on a cache line, or one element further."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    room = np.full(size + 2 * GUARD + 64, 0xFF, np.uint8)
    start = GUARD + -room.ctypes.data % 64 + (dtype.itemsize if misaligned else 0)
    return room, room[start : start + size].view(dtype).reshape(shape)


@dataclass(frozen=True)
class Source:
    """A scheduled program to be printed as C for a machine."""

    program: gir.Program
    machine: Machine


def compiled(arguments: Sequence[str], folder: Path) -> None:
    """`run_compiler` without its limit by the clock: a fuzzer is stopped for a while, or shares a busy machine. Raises
    TargetError."""
    done = subprocess.run([*compiler(), *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TargetError(f"the compiler ended with {done.returncode}: {done.stderr[:2000]}")


class Headers:
    """The system's headers, parsed once (GCC: `-include` of a precompiled header); without it each file reads them."""

    def __init__(self, level: str) -> None:
        self.flags = [f for f in FLAGS if f != "-O2"] + [level]
        self._folder = tempfile.TemporaryDirectory(prefix="weft-fuzz-")
        header = Path(self._folder.name) / "headers.h"
        header.write_text(INCLUDES)
        self.include: list[str] = []
        try:
            flags = [f for f in self.flags if f != "-shared"]
            compiled([*flags, "-x", "c-header", "-o", "headers.h.gch", "headers.h"], header.parent)
            self.include = ["-include", str(header)]
        except TargetError:
            pass


def built(sources: Sequence[Source], headers: Headers) -> list[Executable | WeftError]:
    """The programs, loaded for good; where one cannot be printed or is refused by the compiler, the error."""
    out: list[Executable | WeftError] = []
    with tempfile.TemporaryDirectory(prefix="weft-fuzz-") as name:
        folder = Path(name)
        entries: dict[int, tuple[str, str]] = {}  # by the number of the program: file and function
        for k, source in enumerate(sources):
            try:
                emitted = emit_c(replace(source.program, name=f"p{k}"), source.machine)
            except WeftError as error:
                out.append(error)
                continue
            for file, text in emitted.files.items():
                (folder / file).write_text(text, encoding="ascii")
            out.append(WeftError("not built"))
            entries[k] = (emitted.main, emitted.notes["call"])

        def load(made: str, files: Sequence[str]) -> ctypes.CDLL:
            compiled([*headers.flags, *headers.include, "-o", made, *files, "-lm"], folder)
            return ctypes.CDLL(str(folder / made))

        try:
            whole = load("all.so", [file for file, _ in entries.values()])
            for k, (_, entry) in entries.items():
                out[k] = _executable(whole, entry)
        except TargetError:
            for k, (file, entry) in entries.items():
                try:
                    out[k] = _executable(load(f"{file}.so", [file]), entry)
                except TargetError as error:
                    out[k] = error
    return out


def _executable(library: ctypes.CDLL, entry: str) -> Executable:
    function = getattr(library, entry)
    function.restype = ctypes.c_int
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)

    def run(buffers: Sequence[int], symbols: Sequence[int], threads: int) -> None:
        pointers = (ctypes.c_void_p * max(1, len(buffers)))(*buffers)
        values = (ctypes.c_int64 * max(1, len(symbols)))(*symbols)
        if function(pointers, values, threads) != 0:
            raise TargetError("out of memory for scratch")

    return run
