"""Integer affine forms: `sum(coefficient * variable) + constant` with integer coefficients."""

from __future__ import annotations

from dataclasses import dataclass

from .expr import Call, Const, Coord, Expr, Fn, Var, as_int, const

COORD = "@"  # the name of tile coordinate k in a form is "@k"


@dataclass(frozen=True)
class Affine:
    """`terms` are sorted by name and hold no zero coefficient."""

    terms: tuple[tuple[str, int], ...]
    constant: int

    @property
    def coefficients(self) -> dict[str, int]:
        return dict(self.terms)

    def __add__(self, other: Affine) -> Affine:
        total = dict(self.terms)
        for name, value in other.terms:
            total[name] = total.get(name, 0) + value
        return _make(total, self.constant + other.constant)

    def __mul__(self, factor: int) -> Affine:
        return _make({n: v * factor for n, v in self.terms}, self.constant * factor)

    def __sub__(self, other: Affine) -> Affine:
        return self + other * -1

    def drop(self, names: set[str]) -> Affine:
        return Affine(tuple(t for t in self.terms if t[0] not in names), self.constant)

    def to_expr(self) -> Expr:
        out: Expr | None = None
        for name, factor in sorted(self.terms, key=lambda t: t[1] < 0):
            leaf: Expr = Coord(int(name[1:])) if name.startswith(COORD) else Var(name)
            term = leaf if abs(factor) == 1 else Call(Fn.MUL, (leaf, const(abs(factor))))
            if out is None:
                out = term if factor > 0 else Call(Fn.MUL, (leaf, const(factor)))
            else:
                out = Call(Fn.ADD if factor > 0 else Fn.SUB, (out, term))
        if out is None:
            return const(self.constant)
        if self.constant > 0:
            return Call(Fn.ADD, (out, const(self.constant)))
        if self.constant < 0:
            return Call(Fn.SUB, (out, const(-self.constant)))
        return out


def _make(terms: dict[str, int], constant: int) -> Affine:
    return Affine(tuple(sorted((n, v) for n, v in terms.items() if v)), constant)


def affine(expr: Expr) -> Affine | None:
    """The affine form of an index expression, or None where it has none (a product of variables, a division ...)."""
    value = as_int(expr)
    if value is not None:
        return Affine((), value)
    match expr:
        case Const():
            return None
        case Var(name):
            return Affine(((name, 1),), 0)
        case Coord(axis):
            return Affine(((f"{COORD}{axis}", 1),), 0)
        case Call(Fn.NEG, (a,)):
            form = affine(a)
            return None if form is None else form * -1
        case Call(Fn.ADD | Fn.SUB | Fn.MUL as fn, (a, b)):
            left, right = affine(a), affine(b)
            if left is None or right is None:
                return None
            if fn is Fn.ADD:
                return left + right
            if fn is Fn.SUB:
                return left - right
            if not left.terms:
                return right * left.constant
            if not right.terms:
                return left * right.constant
    return None
