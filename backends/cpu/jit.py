"""From LLVM IR text to machine code in this process."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from ...ir.errors import InternalError
from .llvm_repairs import repaired

_LOCK = threading.Lock()  # LLVM's context and pass builder are not for several threads at once
_READY = False
_READY_FOR_ALL = False
_OBJECT_FILES = (b"\x7fELF", b"\xcf\xfa\xed\xfe")  # ELF; Mach-O of 64 bits


@dataclass(frozen=True)
class Processor:
    """What LLVM generates code for: its CPU name and feature string ("+avx512f,-..."); empty for a baseline."""

    triple: str
    cpu: str
    features: str


class Loaded:
    """Machine code that stays loaded as long as this object lives."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        # A cycle collected whole would dispose of LLVM's context before the engine that lives in it; this way the
        # engine goes first, by itself.
        weakref.finalize(self, engine.close).atexit = False
        self._addresses: dict[str, int] = {}

    def address(self, name: str) -> int:
        if name not in self._addresses:
            self._addresses[name] = int(self._engine.get_function_address(name))
        return self._addresses[name]

    def keep_forever(self, *names: str) -> None:
        """Never unload, not even at interpreter exit: threads may be inside. Only `names` can be looked up later."""
        for name in names:
            self.address(name)
        self._engine.detach()


def initialize(everything: bool = False) -> None:
    """Make LLVM ready for this machine's architecture, or for all that it knows."""
    global _READY, _READY_FOR_ALL
    with _LOCK:
        if not _READY:
            llvm.initialize_native_target()
            llvm.initialize_native_asmprinter()
            _READY = True
        if everything and not _READY_FOR_ALL:
            llvm.initialize_all_targets()
            llvm.initialize_all_asmprinters()
            _READY_FOR_ALL = True


def _machine(processor: Processor, jit: bool = True) -> Any:
    target = llvm.Target.from_triple(processor.triple)
    return target.create_target_machine(
        cpu=processor.cpu,
        features=processor.features,
        opt=3,
        reloc="default" if jit else "pic",
        codemodel="jitdefault" if jit else "default",
        jit=jit,
    )


def _parse(text: str) -> Any:
    try:
        module = llvm.parse_assembly(text, llvm.create_context())
        module.verify()
    except RuntimeError as error:
        raise InternalError(f"LLVM refused generated code: {error}") from None
    return module


def _optimize(module: Any, machine: Any, level: int) -> Any:
    """The module optimised in place, or another one where LLVM's code for it would be wrong."""
    options = llvm.create_pipeline_tuning_options(speed_level=level)
    options.loop_vectorization = False  # tiles are vectors already
    options.slp_vectorization = False
    options.loop_unrolling = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    text = str(module)
    if "llvm.masked.store" not in text:
        return module
    changed = repaired(text)
    return module if changed is None else _parse(changed)


def process_code(text: str, processor: Processor, level: int = 3) -> bytes:
    """Optimised machine code for `load_code`, as an object file. Raises InternalError where LLVM finds the text
    invalid."""
    initialize()
    with _LOCK:
        module = _parse(text)
        machine = _machine(processor)
        module = _optimize(module, machine, level)
        return bytes(machine.emit_object(module))


def load_code(code: bytes, processor: Processor) -> Loaded:
    """Load what `process_code` gave, in this or another process with the same version of LLVM. Raises InternalError
    for what is no object file: LLVM would not survive it."""
    if not code.startswith(_OBJECT_FILES):
        raise InternalError(f"{len(code)} bytes that are no object file")
    initialize()
    with _LOCK:
        empty = _parse(f'target triple = "{processor.triple}"')
        engine = llvm.create_mcjit_compiler(empty, _machine(processor))
        engine.remove_module(empty)  # or LLVM would start up its whole code generator for it
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return Loaded(engine)


def compile_ir(text: str, processor: Processor, level: int = 3) -> Loaded:
    """Optimise, compile and load. Raises InternalError where LLVM finds the text invalid."""
    return load_code(process_code(text, processor, level), processor)


def versions() -> dict[str, str]:
    """Of what makes the code."""
    return {"llvmlite": llvmlite.__version__, "llvm": ".".join(map(str, llvm.llvm_version_info))}


def optimized_ir(text: str, processor: Processor, level: int = 3) -> str:
    initialize()
    with _LOCK:
        module = _parse(text)
        return str(_optimize(module, _machine(processor), level))


def assembly(text: str, processor: Processor, level: int = 3) -> str:
    """The machine code as text."""
    initialize()
    with _LOCK:
        module = _parse(text)
        machine = _machine(processor)
        module = _optimize(module, machine, level)
        return str(machine.emit_assembly(module))


def object_code(text: str, processor: Processor, level: int = 3) -> bytes:
    """A relocatable object file, position independent."""
    initialize()
    with _LOCK:
        module = _parse(text)
        machine = _machine(processor, jit=False)
        module = _optimize(module, machine, level)
        return bytes(machine.emit_object(module))
