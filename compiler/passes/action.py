"""Actions: how a summand answers to a change of the values it refers to.

A summand phi(x; r) of a reduction over one axis has the *action* T where T(r, r') * phi(x; r) = phi(x; r') for every x:
a state accumulated against an old reference r is then repaired by one factor. `transfer` derives T from the shape of
the expression (products, exponentials of shifts, powers, scales, selections) or, for anything else, as the quotient
phi(x0; r') / phi(x0; r) at a fixed x0; `is_action` (sampling.py) tests a candidate and has the last word.

References are reads; in T they appear as `old.<tensor>` and `new.<tensor>`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...ir.dtypes import DType
from ...ir.expr import Call, Cast, Const, Expr, Fn, Param, Read, walk
from .sampling import is_action
from .summand import Summand, at

ONE = Const(1.0)
ZERO = Const(0.0)


def transfer(s: Summand, types: Mapping[str, DType]) -> Expr | None:
    """T(old, new) of a summand, tested; None where there is none to be found. ONE where it refers to nothing."""
    if not s.refers(s.expr):
        return ONE
    for candidate in (_factor(s, s.expr), *_quotients(s)):
        if candidate is not None and not s.moves(candidate) and is_action(s, candidate, types):
            return candidate
    return None


def _factor(s: Summand, f: Expr) -> Expr | None:
    """T of `f` by its shape."""
    if not s.refers(f):
        return ONE
    if not s.moves(f):
        return quotient(at(f, s.references, "new"), at(f, s.references, "old"))
    match f:
        case Call(Fn.MUL, (a, b)):
            return _both(product, _factor(s, a), _factor(s, b))
        case Call(Fn.DIV, (a, b)):
            return _both(quotient, _factor(s, a), _factor(s, b))
        case Call(Fn.NEG, (a,)):
            return _factor(s, a)
        case Call((Fn.ABS | Fn.SQRT | Fn.RSQRT) as fn, (a,)):
            return _apply(fn, _factor(s, a))
        case Call((Fn.EXP | Fn.EXP2) as fn, (a,)):
            return _apply(fn, _shift(s, a))
        case Call(Fn.POW, (a, b)):
            if not s.refers(a) and not s.moves(a):
                by = _shift(s, b)
                return None if by is None else Call(Fn.POW, (a, by))
            if not s.refers(b) and not s.moves(b):
                base = _factor(s, a)
                return None if base is None else Call(Fn.POW, (base, b))
            return None
        case Call(Fn.SELECT, (c, a, b)) if not s.refers(c):
            return _agree(s, _factor, a, b, 0.0)
        case Call(Fn.ADD | Fn.SUB | Fn.MAX | Fn.MIN, (a, b)):
            return _agree(s, _factor, a, b, 0.0)
        case Call(Fn.FMA, (a, b, c)):
            return _agree(s, _factor, Call(Fn.MUL, (a, b)), c, 0.0)
        case Cast(dtype, a) if dtype.is_float:
            return _factor(s, a)
    return None


def _shift(s: Summand, u: Expr) -> Expr | None:
    """The d of u(x; r') = u(x; r) + d(r, r'), by the shape of `u`."""
    if not s.refers(u):
        return ZERO
    if not s.moves(u):
        return difference(at(u, s.references, "new"), at(u, s.references, "old"))
    match u:
        case Call(Fn.ADD, (a, b)):
            return _both(total, _shift(s, a), _shift(s, b))
        case Call(Fn.SUB, (a, b)):
            return _both(difference, _shift(s, a), _shift(s, b))
        case Call(Fn.NEG, (a,)):
            return _both(difference, ZERO, _shift(s, a))
        case Call(Fn.MUL, (a, b)):
            for scale, rest in ((a, b), (b, a)):
                if not s.moves(scale) and not s.refers(scale):
                    return _both(product, scale, _shift(s, rest))
            return None
        case Call(Fn.DIV, (a, b)) if not s.moves(b) and not s.refers(b):
            return _both(quotient, _shift(s, a), b)
        case Call(Fn.FMA, (a, b, c)):
            return _both(total, _shift(s, Call(Fn.MUL, (a, b))), _shift(s, c))
        case Call((Fn.LOG | Fn.LOG2) as fn, (a,)):
            return _apply(fn, _factor(s, a))
        case Call(Fn.SELECT, (c, a, b)) if not s.refers(c):
            return _agree(s, _shift, a, b, -np.inf)
        case Cast(dtype, a) if dtype.is_float:
            return _shift(s, a)
    return None


def _agree(s: Summand, find: Callable[[Summand, Expr], Expr | None], a: Expr, b: Expr, neutral: float) -> Expr | None:
    """The common answer of two alternatives; one that is the constant `neutral` agrees with any."""
    for one, other in ((a, b), (b, a)):
        if isinstance(one, Const) and float(one.value) == neutral:
            return find(s, other)
    left, right = find(s, a), find(s, b)
    return left if left is not None and left == right else None


def _quotients(s: Summand) -> tuple[Expr, ...]:
    """phi(x0; r') / phi(x0; r): what moves along the axis is replaced by a reference's new value, by 0, or by 1."""
    names = sorted({n.tensor for n in walk(s.expr) if isinstance(n, Read) and n.tensor in s.references})
    fixed: list[Expr] = [ZERO, ONE]
    if len(names) == 1:
        fixed.insert(0, Param(f"new.{names[0]}"))
    out = []
    for x0 in fixed:

        def freeze(e: Expr) -> Expr:
            if s.moves(e) and not s.refers(e):
                return x0  # noqa: B023 - called before the next round
            return e.with_children(tuple(freeze(c) for c in e.children)) if e.children else e

        if isinstance(s.expr, Call | Cast):
            frozen = freeze(s.expr)
            out.append(quotient(at(frozen, s.references, "new"), at(frozen, s.references, "old")))
    return tuple(out)


def _both(make: Callable[[Expr, Expr], Expr], a: Expr | None, b: Expr | None) -> Expr | None:
    return None if a is None or b is None else make(a, b)


def _apply(fn: Fn, a: Expr | None) -> Expr | None:
    if a is None:
        return None
    if (fn in (Fn.EXP, Fn.EXP2) and a == ZERO) or (fn in (Fn.SQRT, Fn.RSQRT, Fn.ABS) and a == ONE):
        return ONE
    return ZERO if fn in (Fn.LOG, Fn.LOG2) and a == ONE else Call(fn, (a,))


def product(a: Expr, b: Expr) -> Expr:
    """a * b, without factors of one."""
    return b if a == ONE else a if b == ONE else ZERO if ZERO in (a, b) else Call(Fn.MUL, (a, b))


def quotient(a: Expr, b: Expr) -> Expr:
    """a / b; a quotient of quotients of one is turned round: (1 / r') / (1 / r) is r / r'."""
    if b == ONE:
        return a
    match a, b:
        case Call(Fn.DIV, (p, q)), Call(Fn.DIV, (v, w)) if p == v:
            return Call(Fn.DIV, (w, q))
    return ZERO if a == ZERO else Call(Fn.DIV, (a, b))


def total(a: Expr, b: Expr) -> Expr:
    """a + b, without zeros."""
    return b if a == ZERO else a if b == ZERO else Call(Fn.ADD, (a, b))


def difference(a: Expr, b: Expr) -> Expr:
    """a - b, without zeros: 0 - (p - q) is q - p."""
    if b == ZERO:
        return a
    if a == ZERO:
        match b:
            case Call(Fn.SUB, (p, q)):
                return Call(Fn.SUB, (q, p))
            case Call(Fn.MUL, (p, Call(Fn.SUB, (q, r)))):
                return Call(Fn.MUL, (p, Call(Fn.SUB, (r, q))))
        return Call(Fn.NEG, (b,))
    return Call(Fn.SUB, (a, b))
