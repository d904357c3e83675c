"""A target whose programs are Python functions over NumPy arrays, for tests of everything around the compiler."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from weft.backends.machine import Machine, load_machine
from weft.backends.target import Emitted
from weft.compiler.extents import evaluate
from weft.compiler.kernel import Kernel, Options, Specialise
from weft.ir import gir
from weft.ir.dtypes import DType
from weft.ir.errors import TargetError
from weft.ir.expr import Expr, Var, const
from weft.ir.op import Op, Symbol, Tensor

Function = Callable[..., None]


def tensor(name: str, dtype: DType, *shape: int | str | Expr) -> Tensor:
    dims = tuple(const(s) if isinstance(s, int) else Var(s) if isinstance(s, str) else s for s in shape)
    return Tensor(name, dtype, dims)


def op(inputs: Sequence[Tensor], outputs: Sequence[Tensor], symbols: Sequence[str] = (), **more: Any) -> Op:
    return Op("demo", tuple(Symbol(s) for s in symbols), tuple(inputs), tuple(outputs), (), **more)


@dataclass
class Lowered:
    program: gir.Program


@dataclass
class StubTarget:
    """`function(**arrays)` gets every tensor of the program by name and writes the outputs."""

    function: Function
    name: str = "stub"
    runs: list[tuple[tuple[int, ...], int]] = field(default_factory=list)

    @property
    def machine(self) -> Machine:
        return load_machine("simd128")

    def emit(self, program: gir.Program) -> Emitted:
        return Emitted({"demo.c": f"// {program.name}\n", "demo.h": "// header\n"}, "demo.c", "demo.h")

    def load(self, program: gir.Program) -> Callable[[Sequence[int], Sequence[int], int], None]:
        names = [s.name for s in program.symbols]

        def run(buffers: Sequence[int], symbols: Sequence[int], threads: int) -> None:
            bindings = dict(zip(names, symbols, strict=True))
            arrays = {t.name: at(a, t, bindings) for a, t in zip(buffers, program.tensors, strict=True)}
            self.runs.append((tuple(symbols), threads))
            self.function(**arrays)

        return run

    def library(self, program: gir.Program, path: str) -> None:
        raise TargetError("the stub has no compiler")


def at(address: int, tensor: gir.Tensor, bindings: Mapping[str, int]) -> np.ndarray[Any, np.dtype[Any]]:
    """The memory of a tensor as an array."""
    shape = tuple(evaluate(e, bindings) for e in tensor.shape)
    size = int(np.prod(shape)) * tensor.dtype.bytes
    raw = (ctypes.c_char * size).from_address(address) if size else bytearray()
    return np.frombuffer(raw, tensor.dtype.numpy).reshape(shape)


def kernel(
    program: Op,
    function: Function,
    *,
    temps: Sequence[gir.Tensor] = (),
    specialise: Specialise = Specialise.AUTO,
    bind: Mapping[str, int] | None = None,
    limit: int = 4,
    built: list[dict[str, int]] | None = None,
) -> Kernel:
    """A kernel of `program` whose computation is `function`; `built` records what was lowered."""

    def lower(bindings: Mapping[str, int], _options: object = None) -> Any:
        if built is not None:
            built.append(dict(bindings))
        tensors = [gir.Tensor(t.name, t.dtype, t.shape, gir.Role.INPUT) for t in program.inputs]
        tensors += [gir.Tensor(t.name, t.dtype, t.shape, gir.Role.OUTPUT) for t in program.outputs]
        return Lowered(gir.Program(program.name, program.symbols, (*tensors, *temps), ()))

    options = Options("stub", tuple((bind or {}).items()), specialise=specialise)
    return Kernel(program, StubTarget(function), options, lower, limit)
