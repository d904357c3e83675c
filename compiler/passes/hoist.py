"""Factors of a summand that leave the sum.

    sum[j] e[j] / l * v[j]   -->   (sum[j] e[j] * v[j]) / l         l does not move along j

Only factors that refer to results which are themselves sums are taken out: a running sum is no safe reference (it may
pass through zero), while a running maximum is, and keeps the range.
"""

from __future__ import annotations

from ...ir.expr import Call, Cast, Const, Expr, Fn, Read, walk
from .summand import Summand

PLACEHOLDER = "$sum"  # the tensor name that stands for the sum


def hoist(s: Summand, sums: frozenset[str]) -> tuple[Expr, Expr | None]:
    """(summand without the factors, what to do with the sum); the sum is a read of the placeholder with no index.

    The second is None where nothing is to be taken out.
    """
    inner, over, under = _split(s, sums, s.expr)
    if not over and not under:
        return s.expr, None
    out: Expr = Read(PLACEHOLDER, ())
    for f in over:
        out = Call(Fn.MUL, (out, f))
    for f in under:
        out = Call(Fn.DIV, (out, f))
    return inner if inner is not None else Const(1.0), out


def _split(s: Summand, sums: frozenset[str], e: Expr) -> tuple[Expr | None, list[Expr], list[Expr]]:
    """(what stays, factors, divisors); None stays where it is one."""
    if not s.moves(e) and _refers_to(e, sums):
        match e:
            case Call(Fn.DIV, (Const(value), b)) if value == 1:
                return None, [], [b]
        return None, [e], []
    match e:
        case Call(Fn.MUL, (a, b)):
            left, lo, lu = _split(s, sums, a)
            right, ro, ru = _split(s, sums, b)
            if lo or lu or ro or ru:
                stay = right if left is None else left if right is None else Call(Fn.MUL, (left, right))
                return stay, lo + ro, lu + ru
        case Call(Fn.DIV, (a, b)):
            left, lo, lu = _split(s, sums, a)
            right, ro, ru = _split(s, sums, b)
            if lo or lu or ro or ru:
                stay = left
                if right is not None:
                    stay = Call(Fn.DIV, (Const(1.0) if left is None else left, right))
                return stay, lo + ru, lu + ro
        case Call(Fn.POW, (a, Const(float() as p) as power)) if p > 0 and p % 2 == 0:
            left, lo, lu = _split(s, sums, a)
            if lo or lu:
                stay = Const(1.0) if left is None else Call(Fn.POW, (left, power))
                return stay, [Call(Fn.POW, (f, power)) for f in lo], [Call(Fn.POW, (f, power)) for f in lu]
        case Call(Fn.NEG, (a,)):
            left, lo, lu = _split(s, sums, a)
            if lo or lu:
                return Call(Fn.NEG, (Const(1.0) if left is None else left,)), lo, lu
        case Cast(dtype, a) if dtype.is_float:
            # Rounding before or after the scale differs by less than the rounding itself does from the exact value.
            left, lo, lu = _split(s, sums, a)
            if lo or lu:
                return Cast(dtype, Const(1.0) if left is None else left), lo, lu
    return e, [], []


def _refers_to(e: Expr, sums: frozenset[str]) -> bool:
    return any(isinstance(n, Read) and n.tensor in sums for n in walk(e))
