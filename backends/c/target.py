"""Target `c`: readable C11 with OpenMP; compiled by `cc` only where a program is run.

`c` loads a shared library into this process; `c:libm` does the same with the C library's exp, tanh ...; `c:sanitize`
runs every call in a process of its own, built with the address and undefined-behaviour sanitizers.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...ir import gir
from ...ir.errors import TargetError
from ..host import cpu_flags, host_machine, libc, measured_here, runs_here
from ..machine import Machine
from ..target import Emitted, Executable
from .toolchain import FLAGS, NATIVE, compiler_identity, run_compiler


@dataclass(frozen=True)
class CTarget:
    """`emit` needs nothing, `load` and `library` need a C compiler. `processor`: what the compiler makes code for."""

    name: str
    machine: Machine
    option: str = ""
    processor: str = NATIVE

    def emit(self, program: gir.Program) -> Emitted:
        from .emit import emit_c  # a program that was compiled before needs no printer

        return emit_c(program, self.machine, libm=self.option == "libm")

    def load(self, program: gir.Program) -> Executable:
        if self.option == "sanitize":
            self._check_processor()
            from .sanitize import SanitizedProgram

            return SanitizedProgram(program, self.machine, self.processor)
        return self.revive(self.build(program), program)

    def identity(self) -> dict[str, str] | None:
        """None for `c:sanitize`, whose processes are of no use to others."""
        if self.option == "sanitize":
            return None
        flags = " ".join(sorted(cpu_flags()))  # what -march=native stands for
        return compiler_identity() | {"flags": " ".join(arguments(self.processor)), "libc": libc(), "features": flags}

    def build(self, program: gir.Program) -> bytes:
        """The name of the entry, a line end, and a shared library. Raises TargetError where it would not run here."""
        self._check_processor()
        emitted = self.emit(program)
        with tempfile.TemporaryDirectory(prefix="weft-c-") as directory:
            return emitted.notes["call"].encode() + b"\n" + build(emitted, Path(directory), self.processor).read_bytes()

    def _check_processor(self) -> None:
        wanted = self.machine.instructions
        if self.processor != NATIVE and not runs_here(wanted):
            raise TargetError(
                f"code for {wanted.name} does not run here",
                remedy="target c without a machine, or `weft compile --emit source,header`",
            )

    def revive(self, code: bytes, program: gir.Program) -> Executable:
        entry, _, library = code.partition(b"\n")
        return CExecutable(library, entry.decode(), program.name)

    def library(self, program: gir.Program, path: str) -> None:
        emitted = self.emit(program)
        final = Path(path)
        with tempfile.TemporaryDirectory(prefix="weft-c-") as name:
            built = build(emitted, Path(name), self.processor)
            # beside its destination first, so that nobody ever loads half a file
            handle, beside = tempfile.mkstemp(dir=final.parent, prefix=f".{final.name}.")
            try:
                with os.fdopen(handle, "wb") as out, built.open("rb") as made:
                    shutil.copyfileobj(made, out)
                os.chmod(beside, 0o755)
                os.replace(beside, final)
            except BaseException:
                Path(beside).unlink(missing_ok=True)
                raise


def arguments(processor: str) -> list[str]:
    return [f"-march={processor}", *FLAGS]


def build(emitted: Emitted, directory: Path, processor: str = NATIVE) -> Path:
    """Compile into a shared library in `directory`. Raises TargetError."""
    for name, text in emitted.files.items():
        (directory / name).write_text(text, encoding="ascii")
    run_compiler([*arguments(processor), "-o", "program.so", emitted.main, "-lm"], directory)
    return directory / "program.so"


class CExecutable:
    """A program in this process. Safe to call from several threads: it keeps no state."""

    def __init__(self, library: bytes, entry: str, name: str) -> None:
        with tempfile.TemporaryDirectory(prefix="weft-c-") as directory:  # mode 0700; a loaded library needs no file
            path = Path(directory) / "program.so"
            path.write_bytes(library)
            try:
                self._library = ctypes.CDLL(str(path))
            except OSError as error:
                raise TargetError(f"the library of '{name}' does not load: {error}") from None
        try:
            self._call = getattr(self._library, entry)
        except AttributeError:
            raise TargetError(f"the library of '{name}' has no '{entry}'") from None
        self._call.restype = ctypes.c_int
        self._call.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
        self._name = name

    def __call__(self, buffers: Sequence[int], symbols: Sequence[int], threads: int) -> None:
        pointers = (ctypes.c_void_p * max(1, len(buffers)))(*buffers)
        values = (ctypes.c_int64 * max(1, len(symbols)))(*symbols)
        if self._call(pointers, values, threads) != 0:
            raise TargetError(f"'{self._name}' ran out of memory for its scratch", remedy="lower the tile sizes")


def create(option: str, machine: str | None) -> CTarget:
    """`c`, `c:libm` or `c:sanitize`, for this machine or another (a name or file). Raises TargetError."""
    if option not in ("", "libm", "sanitize"):
        raise TargetError(f"unknown option '{option}' of target c", remedy="c, c:libm or c:sanitize")
    described = host_machine(machine)
    name = "c" + (f":{option}" if option else "")
    return CTarget(name, described, option, NATIVE if measured_here(machine) else described.instructions.cpu)
