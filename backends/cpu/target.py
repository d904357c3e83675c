"""The in-process CPU target: scheduled GIR through LLVM IR to machine code, with no compiler installed."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from ctypes import c_int64
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...ir import gir
from ...ir.errors import TargetError
from .. import host
from ..host import libc, usable_cores
from ..isa import InstructionSet
from ..machine import Machine, find_machine, is_path
from ..target import Emitted
from .interface import ENTRY
from .jit import Loaded, Processor, initialize, load_code, object_code, optimized_ir, process_code, versions
from .runtime import offer_runtime_code, pool, runtime_code, slots

if TYPE_CHECKING:
    from .context import Options


def create(option: str, machine: str | None) -> CpuTarget:
    """`cpu` for this machine; for another description `cpu:avx2` and the like, or its name or file as `machine`.
    Raises TargetError."""
    name = option or machine
    if name is not None:
        find_machine(name)
    return CpuTarget("cpu" + (f":{option}" if option else ""), name or host.machine_name(), host.measured_here(name))


@dataclass(frozen=True)
class CpuTarget:
    """`description`: a name or file. `native`: it is of this machine: use everything that this processor has, not just
    what the description stands for."""

    name: str
    description: str
    native: bool
    given: Machine | None = None  # instead of what the description says

    @property
    def machine(self) -> Machine:
        if self.given is not None:
            return self.given
        named = not self.native or is_path(self.description)
        return find_machine(self.description) if named else host.host_machine()

    @cached_property
    def instruction_set(self) -> InstructionSet:
        return self.machine.instructions

    @cached_property
    def processor(self) -> Processor:
        import llvmlite.binding as llvm

        if self.native:
            initialize()
            triple = str(llvm.get_process_triple())
            return Processor(triple, str(llvm.get_host_cpu_name()), str(llvm.get_host_cpu_features().flatten()))
        wanted = self.instruction_set
        elsewhere = wanted.architecture != host.architecture()
        initialize(everything=elsewhere)
        triple = str(llvm.get_process_triple())
        if elsewhere:
            triple = f"{wanted.architecture}-unknown-linux-gnu"
        return Processor(triple, wanted.cpu, wanted.features)

    @cached_property
    def instructions(self) -> tuple[bool, bool, bool, bool]:
        """Whether code may use multiply-adds, conversions of f16, scaling by powers of two, products of bf16 pairs."""
        wanted = self.instruction_set
        more = host.cpu_flags() if self.native else frozenset()
        unknown = self.native and not self.x86 and not wanted.has_fma
        return (
            wanted.has_fma or "fma" in more or unknown,
            wanted.has_half or "f16c" in more or unknown,
            wanted.has_scalef,
            wanted.has_bf16_dot,
        )

    @property
    def x86(self) -> bool:
        return host.is_x86() if self.native else self.instruction_set.is_x86

    @cached_property
    def options(self) -> Options:
        from .arith import Features
        from .context import Options

        machine = self.machine
        features = Features(*self.instructions)
        lanes, line = machine.vector_bytes // 4, machine.line_bytes
        return Options(lanes, features, self.x86, machine.has_streaming_stores, line)

    def ir(self, program: gir.Program) -> str:
        """LLVM IR before optimisation."""
        from .module import generate  # a program that was compiled before needs no generator

        width = self.machine.vector_bytes * 8
        attributes = f'nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}"'
        return generate(program, self.options, self.processor.triple, attributes)

    def emit(self, program: gir.Program) -> Emitted:
        """LLVM IR, optimised, and the C header of the library."""
        from .library_ir import c_name, header

        name = c_name(program)
        files = {f"{name}.ll": optimized_ir(self.ir(program), self.processor), f"{name}.h": header(program)}
        return Emitted(files, f"{name}.ll", f"{name}.h", {"call": f"{name}_call"})

    def load(self, program: gir.Program) -> CpuExecutable:
        """Compile for this process. Raises TargetError where this processor cannot run the chosen description."""
        return self.revive(self.build(program), program)

    def identity(self) -> dict[str, str]:
        made_for = self.processor
        return versions() | {
            "triple": made_for.triple,
            "cpu": made_for.cpu,
            "features": made_for.features,
            "description": self.instruction_set.name,
            "instructions": repr(self.instructions),
            "libc": libc(),
        }

    def build(self, program: gir.Program) -> bytes:
        """The kernel's object code, and after it the run-time's, so that a process that only revives compiles
        nothing. The first 8 bytes are the length of the first, little endian. Raises TargetError where this processor
        cannot run it."""
        self._check_processor()
        code = process_code(self.ir(program), self.processor)
        return len(code).to_bytes(8, "little") + code + runtime_code(self.processor.triple)

    def revive(self, code: bytes, program: gir.Program) -> CpuExecutable:
        self._check_processor()
        end = 8 + int.from_bytes(code[:8], "little")
        offer_runtime_code(self.processor.triple, code[end:])
        return CpuExecutable(load_code(code[8:end], self.processor), self.processor.triple, program)

    def _check_processor(self) -> None:
        wanted = self.instruction_set
        if not self.native and not host.runs_here(wanted):
            lacks = f"is no {wanted.architecture}" if wanted.architecture != host.architecture() else "lacks some of it"
            raise TargetError(
                f"code for {wanted.name} does not run here: this processor {lacks}",
                remedy=f"target cpu:{host.machine_name()}, plain cpu, or `weft compile --emit source`",
            )

    def library(self, program: gir.Program, path: str) -> None:
        """Write a shared library with the C entry of library_ir.py. Raises TargetError without a linker."""
        from .library_ir import hidden, library_ir

        if not self.native and self.instruction_set.architecture != host.architecture():
            raise TargetError(
                f"a library for {self.instruction_set.architecture} cannot be linked here",
                remedy="`--emit source`, and clang on the text there",
            )
        linker = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if linker is None:
            raise TargetError("a shared library needs a linker: no cc found", remedy="install a C compiler")
        triple = self.processor.triple
        modules = ((self.ir(program), self.processor), (library_ir(program, triple), Processor(triple, "", "")))
        with tempfile.TemporaryDirectory(prefix="weft-cpu-") as name:
            folder = Path(name)
            objects = []
            for k, (text, processor) in enumerate(modules):
                objects.append(str(folder / f"{k}.o"))
                Path(objects[-1]).write_bytes(object_code(hidden(text), processor))
            made = folder / "library"
            command = [linker, "-shared", "-o", str(made), *objects, "-lm", "-lpthread"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
            if done.returncode:
                raise TargetError(f"the linker failed: {done.stderr.strip()[:500]}", remedy="see the linker's message")
            beside = Path(path).with_name(f".{Path(path).name}.{os.getpid()}")
            shutil.copy(made, beside)
            os.replace(beside, path)  # nobody ever loads half a file


class CpuExecutable:
    """A loaded program; see `Executable`. The entry takes bytes for its two tables, which nobody changes: a call from
    another thread cannot disturb them."""

    def __init__(self, code: Loaded, triple: str, program: gir.Program) -> None:
        self._code = code
        self._team = pool(triple)
        # Without argument types, ctypes passes bytes and ctypes values as they are.
        self._entry = ctypes.CFUNCTYPE(None)(code.address(ENTRY))
        self._pack_buffers = struct.Struct(f"={len(program.tensors)}Q").pack
        self._pack_symbols = struct.Struct(f"={len(program.symbols)}q").pack

    def __call__(self, buffers: Sequence[int], symbols: Sequence[int], threads: int) -> None:
        """Run once on `threads` threads (0: all cores this process may use)."""
        addresses, values, count = self._packed(buffers, symbols, threads)
        team = self._team
        if team.threads < count:
            team.reserve(count)
        self._entry(addresses, values, team.table, c_int64(count), slots(team))

    def bind(self, buffers: Sequence[int], symbols: Sequence[int], threads: int) -> Callable[[], None]:
        """The call with everything decided. Safe to run from several threads as far as the buffers are."""
        addresses, values, count = self._packed(buffers, symbols, threads)
        team, table, number = self._team, self._team.table, c_int64(count)

        def run() -> None:
            if team.threads < count:  # in a forked child
                team.reserve(count)
            self._entry(addresses, values, table, number, slots(team))  # `self` keeps the code loaded

        return run

    def _packed(self, buffers: Sequence[int], symbols: Sequence[int], threads: int) -> tuple[bytes, bytes, int]:
        try:
            addresses, values = self._pack_buffers(*buffers), self._pack_symbols(*symbols)
        except struct.error as error:
            raise TargetError(f"{len(buffers)} buffers and {len(symbols)} symbols given: {error}") from None
        return addresses, values, threads if threads > 0 else usable_cores()
