"""Read-outs of a state: y[t, ..] = sum[d] q * h[t, d, ..], and products taken apart into factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...ir.expr import Boundary, Call, Const, Expr, Fn, Var, as_int, substitute, variables
from ...ir.op import Definition, Pointwise, Reduction
from .compose import same_integer
from .linear_recurrence import split_linear
from .names import axes_of


@dataclass(frozen=True)
class ReadOut:
    """`factor` is q in the state's names for the axes; `summed` are the state's axes that are summed over; `names`
    gives the state's name for each axis of the reader."""

    definition: Definition
    factor: Expr
    summed: frozenset[str]
    names: dict[str, str]


def read_out(y: Definition, h: Definition) -> ReadOut | None:
    """How `y` reads `h`, or None: it must be linear in `h` at the current element, and a plain sum or a pointwise
    product, over whole axes of `h`, with no other axes and no guard."""
    match y.body:
        case Reduction(monoid=monoid, args=(arg,), guard=None) if monoid.fn is Fn.ADD:
            pass
        case Pointwise(arg):
            pass
        case _:
            return None
    reads = {r for r in y.reads if r.tensor == h.name}
    if len(reads) != 1:
        return None
    read = reads.pop()
    if read.boundary is not Boundary.NONE:
        return None
    axes = {a.name: a for a in axes_of(y)}
    names: dict[str, str] = {}
    for e, mine in zip(read.index, h.axes, strict=True):
        if not isinstance(e, Var) or e.name not in axes or e.name in names:
            return None
        if as_int(axes[e.name].lo) != 0 or not same_integer(axes[e.name].hi, mine.hi):
            return None
        names[e.name] = mine.name
    if set(names) != set(axes):
        return None
    found = split_linear(arg, lambda e: e == read)
    if found is None or found[0] is None or found[1] is not None:
        return None
    bound = {a.name for a in axes_of(y)[len(y.axes) :]}
    factor = substitute(found[0], {theirs: Var(mine) for theirs, mine in names.items()})
    return ReadOut(y, factor, frozenset(names[b] for b in bound), names)


def factors(e: Expr) -> tuple[Expr, ...]:
    """A product taken apart; divisors become reciprocals of themselves only where they stand under a one."""
    match e:
        case Call(Fn.MUL, (a, b)):
            return factors(a) + factors(b)
        case Call(Fn.NEG, (a,)):
            return (Const(-1.0), *factors(a))
        case Call(Fn.DIV, (a, b)):
            # The divisor stays with the numerator's factor that has most in common with it.
            parts = list(factors(a))
            best = max(range(len(parts)), key=lambda k: (len(variables(parts[k]) & variables(b)), -k))
            parts[best] = Call(Fn.DIV, (parts[best], b))
            return tuple(parts)
    return (e,)


def product(parts: Sequence[Expr]) -> Expr:
    """The product, without factors of one."""
    out: Expr | None = None
    for p in parts:
        if not is_one(p):
            out = p if out is None else Call(Fn.MUL, (out, p))
    return Const(1.0) if out is None else out


def is_one(e: Expr) -> bool:
    return isinstance(e, Const) and e.value == 1.0 and not isinstance(e.value, bool)
