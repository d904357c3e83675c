"""What a plan takes open extents to be. A plan is legal whatever they are; which one is fast depends on them.

A symbol counts as its default where it has one, else as 4096, moved into the range and to the multiple that the facts
of the op state (`where N <= 64`, `where N % 16 == 0`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..ir.binding import specialise
from ..ir.errors import BindError
from ..ir.expr import Expr, Var, as_int, const, substitute, variables
from ..ir.folding import fold
from ..ir.op import Axis, Compact, Definition, Op, Reduction, Sort, Symbol
from .index_math import stated
from .remembered import remembered

OPEN_EXTENT = 4096


@remembered
def assumed_symbols(op: Op) -> dict[str, int]:
    """A value for every symbol that is still open."""
    return assumed_values(op.symbols, op.facts)


def assumed_values(symbols: Iterable[Symbol], facts: Iterable[Expr]) -> dict[str, int]:
    """A value for every symbol."""
    symbols = tuple(symbols)
    env = stated((s.name for s in symbols), facts)
    out: dict[str, int] = {}
    for symbol in symbols:
        value = symbol.default
        if value is None:
            value = OPEN_EXTENT
            bounds, step = env.ranges[Var(symbol.name)], env.divisors.get(symbol.name, 1)
            lo = None if bounds.lo is None else as_int(bounds.lo)
            hi = None if bounds.hi is None else as_int(bounds.hi)
            value = -(-max(value, lo if lo is not None else value) // step) * step
            if hi is not None and value > hi:
                value = max(hi // step * step, 0)
        out[symbol.name] = value
    return out


@remembered
def typical(op: Op) -> Op:
    """The op bound to what is assumed, for questions about cost; itself where its facts forbid that."""
    try:
        return specialise(op, assumed_symbols(op)) if op.symbols else op
    except BindError:
        return op


@remembered
def assumed(op: Op) -> Op:
    """The op with axes of assumed length, for questions about lengths. Only the bounds of axes change: whether one
    index equals another does not depend on what is assumed."""
    if not op.symbols:
        return op
    known: dict[str, Expr] = {n: const(v) for n, v in assumed_symbols(op).items()}

    def put(expr: Expr) -> Expr:
        return fold(substitute(expr, known)) if variables(expr) & known.keys() else expr

    def axis(a: Axis) -> Axis:
        return replace(a, lo=put(a.lo), hi=put(a.hi))

    def definition(d: Definition) -> Definition:
        body = d.body
        match body:
            case Reduction(axes=axes):
                body = replace(body, axes=tuple(axis(a) for a in axes))
            case Compact(axis=one) | Sort(axis=one):
                body = replace(body, axis=axis(one))
        return replace(d, axes=tuple(axis(a) for a in d.axes), body=body)

    return replace(op, definitions=tuple(definition(d) for d in op.definitions))
