"""What a caller sees of a program, whichever form it was written in: names, symbols, inputs, outputs, facts."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir import gir
from ..ir.errors import NOWHERE, Location
from ..ir.expr import Expr
from ..ir.op import Op, Symbol, Tensor


@dataclass(frozen=True)
class Signature:
    """`facts` are boolean expressions over `symbols` that the arguments of every call must satisfy."""

    name: str
    symbols: tuple[Symbol, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    facts: tuple[Expr, ...]
    location: Location = NOWHERE


def signature_of(program: Op | gir.Program) -> Signature:
    """The signature of an op or of a scheduled program."""
    match program:
        case Op():
            return Signature(
                program.name, program.symbols, program.inputs, program.outputs, program.facts, program.location
            )
        case gir.Program():
            inputs = tuple(_tensor(t) for t in program.tensors if t.role is gir.Role.INPUT)
            outputs = tuple(_tensor(t) for t in program.tensors if t.role is gir.Role.OUTPUT)
            return Signature(program.name, program.symbols, inputs, outputs, program.facts, program.location)


def _tensor(tensor: gir.Tensor) -> Tensor:
    return Tensor(tensor.name, tensor.dtype, tensor.shape, tensor.location)
