"""Arithmetic types of elaborated op expressions."""

from __future__ import annotations

from ..ir.dtypes import DType
from ..ir.expr import COMPARISONS, LOGICAL, Call, Cast, Const, Expr, Fn, Read
from ..ir.op import Op


def op_dtype(expr: Expr, op: Op) -> DType:
    """The arithmetic type of an expression whose literals are typed and whose widenings are explicit."""
    match expr:
        case Read(tensor):
            return op.tensors[tensor].dtype.arithmetic
        case Const(value, dtype):
            if dtype is not None:
                return dtype.arithmetic
            return DType.BOOL if isinstance(value, bool) else DType.I64 if isinstance(value, int) else DType.F32
        case Cast(dtype):
            return dtype.arithmetic
        case Call(fn, args):
            if fn in COMPARISONS or fn in LOGICAL or fn is Fn.ISNAN:
                return DType.BOOL
            return op_dtype(args[1] if fn is Fn.SELECT else args[-1] if fn is Fn.DOT2_BF16 else args[0], op)
    return DType.I64
