"""Integer polynomials over index names: how offsets are put in order before they are printed.

An offset into a row-major tensor of symbolic extents is `i*N*D + j*D + d`: a polynomial. In this form constants fold,
the part that does not depend on tile coordinates can be split off (a base pointer), and the stride along a coordinate
can be read off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..ir.dtypes import DType
from ..ir.expr import Call, Cast, Const, Coord, Expr, Fn, Ref, Var, as_int, const, rewrite, walk

Monomial = tuple[Expr, ...]  # factors, sorted; () is the constant


@dataclass(frozen=True)
class Poly:
    """`sum(coefficient * product(factors))`; no coefficient is zero, every monomial occurs once."""

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: Poly) -> Poly:
        total = dict(self.terms)
        for monomial, value in other.terms:
            total[monomial] = total.get(monomial, 0) + value
        return _make(total)

    def __mul__(self, other: Poly) -> Poly:
        total: dict[Monomial, int] = {}
        for a, x in self.terms:
            for b, y in other.terms:
                key = tuple(sorted(a + b, key=_order))
                total[key] = total.get(key, 0) + x * y
        return _make(total)

    def __neg__(self) -> Poly:
        return Poly(tuple((m, -v) for m, v in self.terms))

    def __sub__(self, other: Poly) -> Poly:
        return self + -other

    @property
    def value(self) -> int | None:
        """The integer that this is, or None."""
        if not self.terms:
            return 0
        return self.terms[0][1] if self.terms[0][0] == () and len(self.terms) == 1 else None

    def split(self, moves: Callable[[Expr], bool]) -> tuple[Poly, Poly]:
        """`(fixed, moving)`: the terms none of whose factors `moves`, and the rest."""
        moving = tuple(t for t in self.terms if any(moves(f) for f in t[0]))
        return Poly(tuple(t for t in self.terms if t not in moving)), Poly(moving)

    def stride(self, axis: int, moves: Callable[[Expr], bool]) -> Poly | None:
        """The factor of `Coord(axis)`, or None where the polynomial is not linear in it.

        `moves` says whether a factor changes along the axis."""
        out: dict[Monomial, int] = {}
        for monomial, value in self.terms:
            changing = [f for f in monomial if moves(f)]
            if not changing:
                continue
            if changing != [Coord(axis)]:
                return None
            rest = tuple(f for f in monomial if f != Coord(axis))
            out[rest] = out.get(rest, 0) + value
        return _make(out)

    def at(self, coords: Mapping[int, Expr]) -> Poly:
        """With tile coordinates replaced."""
        out = Poly(())
        for monomial, value in self.terms:
            product = Poly((((), value),))
            for factor in monomial:
                product = product * poly(substitute_coords(factor, coords))
            out = out + product
        return out

    def to_expr(self) -> Expr:
        """The same as an expression, positive terms first, the constant last."""
        out: Expr | None = None
        for monomial, value in sorted(self.terms, key=lambda t: (t[0] == (), t[1] < 0)):
            size = abs(value)
            term: Expr | None = const(size) if size != 1 or not monomial else None
            for factor in monomial:
                term = factor if term is None else Call(Fn.MUL, (term, factor))
            assert term is not None
            if out is None:
                if value < 0:
                    term = const(value) if not monomial else Call(Fn.NEG, (term,))
                out = term
            else:
                out = Call(Fn.ADD if value > 0 else Fn.SUB, (out, term))
        return out if out is not None else const(0)


def _make(total: dict[Monomial, int]) -> Poly:
    return Poly(tuple((m, v) for m, v in total.items() if v))


def _order(factor: Expr) -> tuple[int, str]:
    match factor:
        case Var(name):
            return (0, name.swapcase())  # loop indices before extents: i * N
        case Coord(axis):
            return (1, f"{axis:04d}")
    return (2, repr(factor))


def poly(expr: Expr) -> Poly:
    """The polynomial of an integer expression; what is not a sum or product stays as one factor."""
    value = as_int(expr)
    if value is not None:
        return Poly((((), value),)) if value else Poly(())
    match expr:
        case Call(Fn.ADD, (a, b)):
            return poly(a) + poly(b)
        case Call(Fn.SUB, (a, b)):
            return poly(a) - poly(b)
        case Call(Fn.NEG, (a,)):
            return -poly(a)
        case Call(Fn.MUL, (a, b)):
            left, right = poly(a), poly(b)
            if len(left.terms) * len(right.terms) <= 64:
                return left * right
        case Cast(DType.I64, Var() | Coord() as inner):
            return poly(inner)
    return Poly((((expr,), 1),))


def substitute_coords(expr: Expr, coords: Mapping[int, Expr]) -> Expr:
    """Replace tile coordinates. `Ref`s are left alone: the printer knows where they are read."""
    return rewrite(expr, lambda e: coords.get(e.axis) if isinstance(e, Coord) else None)


def offset(index: tuple[Expr, ...], shape: tuple[Expr, ...]) -> Poly:
    """The flat offset of an element of a row-major buffer."""
    out = Poly(())
    for i, n in zip(index, shape, strict=True):
        out = out * poly(n) + poly(i)
    return out


def uses_coord(expr: Expr, axis: int) -> bool:
    return any(isinstance(e, Coord) and e.axis == axis for e in walk(expr))


def is_bounded(expr: Expr, bounded: frozenset[str]) -> bool:
    """Whether the arithmetic of an index expression cannot overflow: sums and products of loop indices, extents and
    coordinates with small literals. (A loop index is below an extent; an extent is below the size of memory.)"""
    for e in walk(expr):
        match e:
            case Const(value=value):
                if isinstance(value, float) or abs(value) > 1 << 31:
                    return False
            case Var(name):
                if name not in bounded and not name.startswith("%"):
                    return False
            case Coord() | Call(fn=Fn.ADD | Fn.SUB | Fn.MUL | Fn.NEG | Fn.FLOORDIV | Fn.MOD | Fn.MAX | Fn.MIN):
                pass
            case _:
                return False
    return True


def ref_free(expr: Expr) -> bool:
    return not any(isinstance(e, Ref) for e in walk(expr))
