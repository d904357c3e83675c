"""Composition of reads: the expression that a read of a pointwise definition stands for.

    t[i] = f(i)    read t[g]             -->  f(g)
                   read t.pad(v)[g]      -->  f'(g) if 0 <= g and g < extent else v
                   read t.clamp[g]       -->  f(min(max(g, 0), extent - 1)), or x.clamp[g] where f only reads x[i]

f' is f with every unchecked read turned into a padded one: the value not chosen has no effect, but its reads must not
leave their tensors (zero-extent ones included). A target that rounds (a narrow or another element type) becomes a cast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...ir.affine import affine
from ...ir.dtypes import DType
from ...ir.expr import (
    Boundary,
    Call,
    Cast,
    Const,
    Expr,
    Fn,
    Read,
    Var,
    as_int,
    const,
    rewrite,
    substitute,
    variables,
    walk,
)
from ...ir.op import Axis, Definition, Op, Pointwise, Tensor
from ...ir.typing import TypeEnv, natural
from ..remembered import remembered


def same_integer(a: Expr, b: Expr) -> bool:
    """Equal by structure, or as affine forms."""
    if a == b:
        return True
    left, right = affine(a), affine(b)
    return left is not None and left == right


def compose(read: Read, d: Definition, op: Op, axes: tuple[Axis, ...]) -> Expr:
    """The value of `read`, a read of the pointwise non-recurrent definition `d`, in terms of what `d` reads.

    `axes` are the reader's axes, free and bound (they say which indices are in range anyway).
    """
    assert isinstance(d.body, Pointwise)
    tensors = op.tensors
    body = _rounded_body(d, op)
    values = {a.name: e for a, e in zip(d.axes, read.index, strict=True)}
    match read.boundary:
        case Boundary.NONE:
            return substitute(body, values)
        case Boundary.PAD:
            fill = read.fill if read.fill is not None else Const(0)
            if isinstance(body, Read) and _transparent(body, d, tensors) and _covers(body, d):
                return replace(_indexed(body, values), boundary=Boundary.PAD, fill=fill)
            condition = in_range(read.index, d.axes, axes)
            if condition is None:
                return substitute(body, values)
            return Call(
                Fn.SELECT,
                (condition, substitute(padded(body, tensors, frozenset(values)), values), fill),
                read.location,
            )
        case _:
            if _transparent(body, d, tensors):
                passed = rewrite(body, lambda e: replace(e, boundary=read.boundary) if isinstance(e, Read) else None)
                return substitute(passed, values)
            mapped = {a.name: inside(e, a.hi, read.boundary) for a, e in zip(d.axes, read.index, strict=True)}
            safe = rewrite(
                body,
                lambda e: (
                    replace(e, boundary=Boundary.CLAMP) if isinstance(e, Read) and e.boundary is Boundary.NONE else None
                ),
            )
            return substitute(safe, mapped)


@remembered
def _types(op: Op) -> Mapping[str, DType]:
    return {name: t.dtype for name, t in op.tensors.items()}


@remembered
def _rounded_bodies(op: Op) -> dict[str, tuple[Definition, Expr]]:
    """What `_rounded_body` has found so far."""
    return {}


def _rounded_body(d: Definition, op: Op) -> Expr:
    known = _rounded_bodies(op)
    found = known.get(d.name)
    if found is None or found[0] is not d:
        assert isinstance(d.body, Pointwise)
        known[d.name] = found = (d, rounded(d.body.expr, d.targets[0].dtype, _types(op)))
    return found[1]


def rounded(body: Expr, dtype: DType, types: Mapping[str, DType]) -> Expr:
    """`body` as it comes back from a tensor of `dtype`: a cast where storing would change the value or its type."""
    if natural(body, TypeEnv(types)) is dtype:
        return body
    if isinstance(body, Cast) and body.dtype is dtype:
        return body
    if isinstance(body, Read) and body.boundary is not Boundary.PAD and types.get(body.tensor) is dtype:
        return body
    return Cast(dtype, body)


def in_range(index: tuple[Expr, ...], dims: tuple[Axis, ...], axes: tuple[Axis, ...]) -> Expr | None:
    """`0 <= index and index < extent` for every dimension, without the tests that `axes` already imply; None if all."""
    tests: list[Expr] = []
    for e, dim in zip(index, dims, strict=True):
        if not _at_least_zero(e, axes):
            tests.append(Call(Fn.LE, (const(0), e)))
        if not _below(e, dim.hi, axes):
            tests.append(Call(Fn.LT, (e, dim.hi)))
    out: Expr | None = None
    for t in tests:
        out = t if out is None else Call(Fn.AND, (out, t))
    return out


def inside(index: Expr, extent: Expr, boundary: Boundary) -> Expr:
    """The in-range index that a CLAMP, WRAP or REFLECT read of a dimension of `extent` uses."""
    last = Call(Fn.SUB, (extent, const(1)))
    match boundary:
        case Boundary.CLAMP:
            return Call(Fn.MIN, (Call(Fn.MAX, (index, const(0))), last))
        case Boundary.WRAP:
            return Call(Fn.MOD, (index, extent))
        case Boundary.REFLECT:
            period = Call(Fn.MUL, (const(2), last))
            there = Call(Fn.MOD, (index, period))
            return Call(Fn.MIN, (there, Call(Fn.SUB, (period, there))))
    return index


def _at_least_zero(e: Expr, axes: tuple[Axis, ...]) -> bool:
    form = affine(e)
    if form is None or form.constant < 0:
        return False
    starts = {a.name: as_int(a.lo) for a in axes}
    # A name that is no axis is a symbol, an extent or an integer parameter: only extents are known not to be negative.
    return all(c >= 0 and (starts.get(n) or 0) >= 0 and n in starts and starts[n] is not None for n, c in form.terms)


def _below(e: Expr, extent: Expr, axes: tuple[Axis, ...]) -> bool:
    form = affine(e)
    if form is None:
        return False
    value = as_int(extent)
    if not form.terms:
        return value is not None and form.constant < value
    if len(form.terms) != 1 or form.terms[0][1] != 1 or form.constant > 0:
        return False
    return any(a.name == form.terms[0][0] and same_integer(a.hi, extent) for a in axes)


def _transparent(body: Expr, d: Definition, tensors: Mapping[str, Tensor]) -> bool:
    """True where the axes of `d` occur only as whole indices of unchecked reads, each in a dimension of its extent."""
    extents = {a.name: a.hi for a in d.axes}

    def fine(e: Expr) -> bool:
        if isinstance(e, Var):
            return e.name not in extents
        if isinstance(e, Read):
            if e.boundary is not Boundary.NONE:
                return False
            for k, index in enumerate(e.index):
                if isinstance(index, Var) and index.name in extents:
                    if not same_integer(tensors[e.tensor].shape[k], extents[index.name]):
                        return False
                elif not isinstance(index, Const):
                    return False
            return True
        return all(fine(c) for c in e.children)

    return fine(body)


def _covers(read: Read, d: Definition) -> bool:
    """Every axis of `d` indexes `read`, so that outside `d` is outside the tensor read."""
    return {a.name for a in d.axes} <= {e.name for e in read.index if isinstance(e, Var)}


def _indexed(read: Read, values: dict[str, Expr]) -> Read:
    return replace(read, index=tuple(substitute(e, values) for e in read.index))


def padded(body: Expr, tensors: Mapping[str, Tensor], axes: frozenset[str] | None = None) -> Expr:
    """Every unchecked read (whose index uses one of `axes`, where they are given) turned into one padded with zero."""

    def pad(e: Expr) -> Expr | None:
        if not isinstance(e, Read) or e.boundary is not Boundary.NONE:
            return None
        if axes is not None and not any(variables(i) & axes for i in e.index):
            return None
        dtype = tensors[e.tensor].dtype.arithmetic
        zero = Const(False, dtype) if dtype is DType.BOOL else Const(0.0 if dtype.is_float else 0, dtype)
        return replace(e, boundary=Boundary.PAD, fill=zero)

    return rewrite(body, pad)


def size(expr: Expr) -> int:
    """Number of nodes."""
    return sum(1 for _ in walk(expr))
