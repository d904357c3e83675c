"""Proof that a system of linear integer inequalities has no solution.

Fourier-Motzkin elimination with integer tightening (Schrijver, Theory of Linear and Integer Programming, 12.2; the
tightening is Chvatal-Gomory's rounding of a single row, as in Pugh's Omega test). Sound, not complete: `True` means
that no integers satisfy the system, `False` that none of this was proved within the budget.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd

from .affine import Affine

MAX_ROWS = 400  # systems that grow beyond are given up
MAX_COEFFICIENT = 1 << 80

Row = tuple[tuple[tuple[str, int], ...], int]  # sum(coefficient * name) + constant >= 0


def infeasible(at_least_zero: Iterable[Affine], zero: Iterable[Affine] = ()) -> bool:
    """Whether no integers make every form of `at_least_zero` >= 0 and every form of `zero` equal to 0."""
    rows, found = _equations(at_least_zero)
    equations = [*zero, *found]
    while equations:
        form = equations.pop()
        divisor = gcd(*(c for _, c in form.terms))
        if divisor == 0 or form.constant % divisor:
            if form.constant:
                return True
            continue
        unit = next(((n, c) for n, c in reversed(form.terms) if abs(c) == divisor), None)
        if unit is None:
            rows += [form, form * -1]
            continue
        name, factor = unit
        scaled = Affine(tuple((n, c // divisor) for n, c in form.terms), form.constant // divisor)
        solution = scaled.drop({name}) * (-1 if factor > 0 else 1)
        rows = [_put(r, name, solution) for r in rows]
        equations = [_put(e, name, solution) for e in equations]
    return _eliminate(rows)


def _equations(forms: Iterable[Affine]) -> tuple[list[Affine], list[Affine]]:
    """Pairs f >= 0, -f >= 0 as the equations they are, which elimination handles exactly."""
    rows = list(dict.fromkeys(forms))
    known = set(rows)
    pairs = [r for r in rows if r.terms and r * -1 in known]
    return [r for r in rows if r * -1 not in known or not r.terms], [r for r in pairs if r.terms[0][1] > 0]


def _put(form: Affine, name: str, value: Affine) -> Affine:
    factor = form.coefficients.get(name, 0)
    return form.drop({name}) + value * factor if factor else form


def _eliminate(forms: list[Affine]) -> bool:
    rows: dict[tuple[tuple[str, int], ...], int] = {}
    if any(not _add(rows, form) for form in forms):
        return True
    while rows:
        if len(rows) > MAX_ROWS:
            return False
        above: dict[str, int] = {}
        below: dict[str, int] = {}
        coarse: tuple[set[str], set[str]] = (set(), set())
        for terms in rows:
            for name, factor in terms:
                side = below if factor > 0 else above  # a positive coefficient bounds the variable from below
                side[name] = side.get(name, 0) + 1
                if abs(factor) != 1:
                    coarse[factor > 0].add(name)
        # A variable whose bounds on one side all have coefficient 1 is eliminated exactly; the others wait, so that
        # rounding has tightened what they meet.
        cost: dict[str, tuple[bool, int]] = {}
        for n in {**above, **below}:
            low, high = below.get(n, 0), above.get(n, 0)
            cost[n] = (n in coarse[0] and n in coarse[1], low * high - low - high)
        name = min(sorted(cost), key=cost.__getitem__)
        lower: list[tuple[int, Affine]] = []
        upper: list[tuple[int, Affine]] = []
        rest: dict[tuple[tuple[str, int], ...], int] = {}
        for terms, constant in rows.items():
            factor = dict(terms).get(name, 0)
            if factor > 0:
                lower.append((factor, Affine(terms, constant)))
            elif factor < 0:
                upper.append((-factor, Affine(terms, constant)))
            else:
                rest[terms] = constant
        if len(lower) * len(upper) > 4 * MAX_ROWS:
            return False
        rows = rest
        for a, lower_row in lower:
            for b, upper_row in upper:
                if a > MAX_COEFFICIENT or b > MAX_COEFFICIENT:
                    return False
                common = gcd(a, b)
                if not _add(rows, lower_row * (b // common) + upper_row * (a // common)):
                    return True
    return False


def _add(rows: dict[tuple[tuple[str, int], ...], int], form: Affine) -> bool:
    """Add a row, tightened; False where it contradicts itself or its opposite."""
    if not form.terms:
        return form.constant >= 0
    divisor = gcd(*(c for _, c in form.terms))
    terms = tuple((n, c // divisor) for n, c in form.terms)
    constant = form.constant // divisor
    if constant < rows.get(terms, constant + 1):
        rows[terms] = constant
    opposite = rows.get(tuple((n, -c) for n, c in terms))
    return opposite is None or opposite + rows[terms] >= 0
