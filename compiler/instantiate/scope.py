"""Index arithmetic of instantiation: ranges of axes, predicates for tails, and small expression builders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...ir.affine import affine
from ...ir.dtypes import DType
from ...ir.expr import COMPARISONS, LOGICAL, Call, Cast, Const, Coord, Expr, Fn, Ref, Var, as_int, const


def add(a: Expr, b: Expr) -> Expr:
    """a + b, folded where the result is affine."""
    return _tidy(Call(Fn.ADD, (a, b)))


def sub(a: Expr, b: Expr) -> Expr:
    return _tidy(Call(Fn.SUB, (a, b)))


def mul(a: Expr, b: Expr) -> Expr:
    return _tidy(Call(Fn.MUL, (a, b)))


def floordiv(a: Expr, by: int) -> Expr:
    """a // by, folded where every coefficient is a multiple."""
    form = affine(a)
    if form is not None and not form.constant % by and not any(c % by for _, c in form.terms):
        terms = [mul(Var(n), const(c // by)) for n, c in form.terms]
        total: Expr = const(form.constant // by)
        for term in terms:
            total = add(total, term)
        return total
    value = as_int(a)
    return const(value // by) if value is not None else Call(Fn.FLOORDIV, (a, const(by)))


def minimum(a: Expr, b: Expr) -> Expr:
    return _choose(Fn.MIN, a, b)


def maximum(a: Expr, b: Expr) -> Expr:
    return _choose(Fn.MAX, a, b)


def _choose(fn: Fn, a: Expr, b: Expr) -> Expr:
    if a == b:
        return a
    left, right = affine(a), affine(b)
    if left is not None and right is not None:
        gap = left - right
        if not gap.terms:
            return a if (gap.constant <= 0) == (fn is Fn.MIN) else b
    return Call(fn, (a, b))


def _tidy(expr: Expr) -> Expr:
    form = affine(expr)
    if form is not None:
        return form.to_expr()
    match expr:
        case Call(Fn.ADD, (a, b)):
            if as_int(a) == 0:
                return b
            if as_int(b) == 0:
                return a
        case Call(Fn.SUB, (a, b)) if as_int(b) == 0:
            return a
        case Call(Fn.MUL, (a, b)):
            if as_int(a) == 1:
                return b
            if as_int(b) == 1:
                return a
    return expr


def round_up(extent: Expr, multiple: int) -> Expr:
    """The least multiple of `multiple` that is at least `extent`."""
    if multiple == 1:
        return extent
    value = as_int(extent)
    if value is not None:
        return const(-(-value // multiple) * multiple)
    return mul(Call(Fn.FLOORDIV, (add(extent, const(multiple - 1)), const(multiple))), const(multiple))


def conjunction(terms: Iterable[Expr | None]) -> Expr | None:
    """The `and` of the terms that are there, each once; None when there is none."""
    out: Expr | None = None
    seen: list[Expr] = []
    for term in terms:
        if term is None or term in seen:
            continue
        seen.append(term)
        out = term if out is None else Call(Fn.AND, (out, term))
    return out


def less(a: Expr, b: Expr) -> Expr:
    return Call(Fn.LT, (a, b))


def dtype_of(expr: Expr, tiles: dict[str, DType]) -> DType:
    """The arithmetic type of an elaborated GIR expression."""
    match expr:
        case Const(value, dtype):
            if dtype is not None:
                return dtype.arithmetic
            return DType.BOOL if isinstance(value, bool) else DType.I64 if isinstance(value, int) else DType.F32
        case Var() | Coord():
            return DType.I64
        case Ref(name):
            return tiles[name]
        case Cast(dtype):
            return dtype.arithmetic
        case Call(fn, args):
            if fn in COMPARISONS or fn in LOGICAL or fn is Fn.ISNAN:
                return DType.BOOL
            return dtype_of(args[1] if fn is Fn.SELECT else args[-1] if fn is Fn.DOT2_BF16 else args[0], tiles)
    raise AssertionError(expr)


@dataclass(frozen=True)
class Range:
    """Where an axis runs in the current scope: `lo .. hi`, and the whole axis ends at `end`.

    `span` is the static size of the tile it is restricted to, None where it runs over the whole axis. `multiple` is a
    number that divides the length of every tile up to `end` (so that register tiles dividing it have no tail).
    """

    lo: Expr
    hi: Expr
    end: Expr
    span: int | None = None

    def tail(self, position: Expr, size: int, facts: tuple[Expr, ...]) -> Expr | None:
        """The predicate that `position` (which starts at `lo` and moves in steps of `size`, offset by the tile
        coordinate) is inside, or None where that is certain."""
        if size == 1:
            return None
        terms: list[Expr] = []
        if self.span is not None and self.span % size:
            terms.append(less(position, add(self.lo, const(self.span))))
        start = self.lo if self.span is None else const(0)
        base = as_int(start)
        ragged = self.span is not None and self.span % size != 0  # then tiles do not start at multiples of `size`
        if ragged or base is None or not divides(size, sub(self.end, start), facts):
            terms.append(less(position, self.end))
        return conjunction(terms)


def divides(size: int, extent: Expr, facts: tuple[Expr, ...]) -> bool:
    """True where `extent % size == 0` is known, from its value or from a fact."""
    value = as_int(extent)
    if value is not None:
        return value % size == 0
    form = affine(extent)
    if form is None:
        return False

    def term(name: str, factor: int) -> bool:
        return factor % size == 0 or any(_fact_divides(f, name, size, factor) for f in facts)

    return form.constant % size == 0 and all(term(n, c) for n, c in form.terms)


def even(bounds: Range, facts: tuple[Expr, ...]) -> bool:
    """True where the range is known to hold an even number of values."""
    if bounds.span is not None and bounds.span % 2:
        return False
    length = sub(
        bounds.end if bounds.span is not None else bounds.hi, const(0) if bounds.span is not None else bounds.lo
    )
    return divides(2, length, facts)


def _fact_divides(fact: Expr, name: str, size: int, factor: int) -> bool:
    match fact:
        case Call(Fn.EQ, (Call(Fn.MOD, (Var(symbol), Const(modulus))), Const(0))) if symbol == name:
            return (int(modulus) * factor) % size == 0
    return False
