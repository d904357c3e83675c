"""Proof that a system of linear integer inequalities has no solution.

Fourier-Motzkin elimination with integer tightening (Schrijver, Theory of Linear and Integer Programming, 12.2; the
tightening is Chvatal-Gomory's rounding of a single row, as in Pugh's Omega test) and Imbert's rule: after k
eliminations a row made of more than k + 1 original rows is redundant. Sound, not complete: `True` means that no
integers satisfy the system, `False` that this was not proved within the budget.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd

from .affine import Affine

MAX_ROWS = 300  # systems that grow beyond are given up
MAX_WORK = 3000  # combinations of two rows in one proof
MAX_COEFFICIENT = 1 << 80


@dataclass(slots=True)
class _Row:
    """sum(terms) + constant >= 0; `origin` is the set of original rows it is made of, as bits."""

    terms: dict[str, int]
    constant: int
    origin: int

    def tighten(self) -> None:
        divisor = gcd(*self.terms.values())
        if divisor > 1:
            self.terms = {n: c // divisor for n, c in self.terms.items()}
            self.constant //= divisor


def infeasible(at_least_zero: Iterable[Affine], zero: Iterable[Affine] = ()) -> bool:
    """Whether no integers make every form of `at_least_zero` >= 0 and every form of `zero` equal to 0."""
    forms, found = _equations(at_least_zero)
    rows = [_Row(dict(f.terms), f.constant, 1 << k) for k, f in enumerate(forms)]
    equations = [_Row(dict(f.terms), f.constant, 0) for f in [*zero, *found]]
    while equations:
        equation = equations.pop()
        divisor = gcd(*equation.terms.values())
        if not divisor or equation.constant % divisor:
            if equation.constant:
                return True
            continue
        equation.tighten()
        name = next((n for n in sorted(equation.terms, reverse=True) if abs(equation.terms[n]) == 1), None)
        if name is None:
            for sign in (1, -1):
                terms = {n: c * sign for n, c in equation.terms.items()}
                rows.append(_Row(terms, equation.constant * sign, 1 << len(rows)))
            continue
        for row in rows + equations:
            factor = row.terms.get(name, 0)
            if factor:
                _add_scaled(row, equation, -factor * equation.terms[name])
    return _eliminate(rows)


def _equations(forms: Iterable[Affine]) -> tuple[list[Affine], list[Affine]]:
    """Pairs f >= 0, -f >= 0 as the equations they are, which elimination handles exactly."""
    rows = dict.fromkeys(forms)
    pairs = [r for r in rows if r.terms and Affine(tuple((n, -c) for n, c in r.terms), -r.constant) in rows]
    paired = set(pairs)
    return [r for r in rows if r not in paired], [r for r in pairs if r.terms[0][1] > 0]


def _add_scaled(row: _Row, other: _Row, factor: int) -> None:
    terms = row.terms
    for name, value in other.terms.items():
        total = terms.get(name, 0) + value * factor
        if total:
            terms[name] = total
        else:
            terms.pop(name, None)
    row.constant += other.constant * factor


class _System:
    """Rows without duplicates: of equal left sides the tightest. `contradiction` is set once two rows exclude."""

    def __init__(self) -> None:
        self.rows: dict[frozenset[tuple[str, int]], _Row] = {}
        self.contradiction = False

    def add(self, row: _Row) -> None:
        if not row.terms:
            self.contradiction = self.contradiction or row.constant < 0
            return
        row.tighten()
        key = frozenset(row.terms.items())
        known = self.rows.get(key)
        if known is not None and known.constant <= row.constant:
            return
        self.rows[key] = row
        opposite = self.rows.get(frozenset((n, -c) for n, c in key))
        if opposite is not None and opposite.constant + row.constant < 0:
            self.contradiction = True


def _eliminate(start: list[_Row]) -> bool:
    system = _System()
    for row in start:
        system.add(row)
    work = eliminated = 0
    while system.rows and not system.contradiction:
        rows = list(system.rows.values())
        if len(rows) > MAX_ROWS:
            return False
        name = _cheapest(rows)
        system = _System()
        lower: list[_Row] = []
        upper: list[_Row] = []
        for row in rows:
            factor = row.terms.get(name, 0)
            if factor > 0:
                lower.append(row)
            elif factor < 0:
                upper.append(row)
            else:
                system.add(row)
        if lower and upper:
            eliminated += 1
        work += len(lower) * len(upper)
        if work > MAX_WORK:
            return False
        for low in lower:
            for high in upper:
                origin = low.origin | high.origin
                if origin.bit_count() > eliminated + 1:
                    continue
                a, b = low.terms[name], -high.terms[name]
                if a > MAX_COEFFICIENT or b > MAX_COEFFICIENT:
                    return False
                common = gcd(a, b)
                terms = {n: c * (b // common) for n, c in low.terms.items()}
                merged = _Row(terms, low.constant * (b // common), origin)
                _add_scaled(merged, high, a // common)
                system.add(merged)
                if system.contradiction:
                    return True
    return system.contradiction


def _cheapest(rows: list[_Row]) -> str:
    """The variable to eliminate next: one whose bounds on one side all have coefficient 1, if any, is eliminated
    exactly, so the others wait until rounding has tightened what they meet; then the one that makes fewest rows."""
    below: dict[str, int] = {}
    above: dict[str, int] = {}
    coarse: tuple[set[str], set[str]] = (set(), set())
    for row in rows:
        for name, factor in row.terms.items():
            side = below if factor > 0 else above  # a positive coefficient bounds the variable from below
            side[name] = side.get(name, 0) + 1
            if factor not in (1, -1):
                coarse[factor > 0].add(name)
    best: tuple[bool, int, str] | None = None
    for name in {**above, **below}:
        low, high = below.get(name, 0), above.get(name, 0)
        cost = (name in coarse[0] and name in coarse[1], low * high - low - high, name)
        if best is None or cost < best:
            best = cost
    assert best is not None
    return best[2]
