"""Products of bf16 taken two at a time: which contractions may, on machines that have the instruction.

`c = sum[k] a * b` of two factors stored as bf16, summed in f32, becomes a sum over pairs along k. The factor that is
read along the lanes is packed so that the two of a pair lie side by side; the other one has k as its last dimension,
where they do already: of it one pair at a time meets all lanes.
"""

from __future__ import annotations

from collections.abc import Collection

from ...backends.machine import Machine
from ...ir.dtypes import DType
from ...ir.expr import Boundary, Call, Fn, Read, Var
from ...ir.op import Definition, Op, Reduction
from ..axes import reduction_axes
from .facts import is_contraction, is_plain


def pair_axis(op: Op, definition: Definition, lanes: str, machine: Machine, inside: Collection[str]) -> tuple[str, str]:
    """(axis of the pairs, tensor to pack), or two empty texts. `inside`: definitions of the same kernel, whose values
    are in f32 there."""
    nothing = ("", "")
    body = definition.body
    if not machine.instructions.has_bf16_dot or not is_contraction(definition) or not isinstance(body, Reduction):
        return nothing
    if body.guard is not None or body.accumulate not in (None, DType.F32) or len(body.args) != 1:
        return nothing
    match body.args[0]:
        case Call(Fn.MUL, (Read() as a, Read() as b)):
            pass
        case _:
            return nothing
    for read in (a, b):
        producer = op.definition_of(read.tensor)
        computed = producer is not None and producer.name in inside
        stored = op.tensors[read.tensor].dtype is DType.BF16 and not computed
        if not stored or read.boundary is not Boundary.NONE or not is_plain(read):
            return nothing
    along = [r for r in (a, b) if Var(lanes) in r.index]
    across = [r for r in (a, b) if Var(lanes) not in r.index]
    if len(along) != 1 or not across[0].index or lanes in {x.name for x in reduction_axes(definition)}:
        return nothing
    last = across[0].index[-1]
    reduced = {x.name for x in reduction_axes(definition)}
    if not isinstance(last, Var) or last.name not in reduced or last not in along[0].index:
        return nothing
    return last.name, along[0].tensor
