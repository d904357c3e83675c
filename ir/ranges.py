"""Where integer expressions can lie: symbolic bounds, and conditions that hold always or never.

`bounds` is interval arithmetic with symbolic ends. `Domain` is what is known at a point of a program (loop ranges with
their steps, tile coordinates, conditions that hold, facts about symbols) and decides conjunctions and disjunctions of
integer comparisons; `//` and `%` by a constant, `min`, `max`, `select` and `abs` are understood exactly, anything else
is an unknown integer. "Cannot prove" is always the answer False.

Names in environments: loop indices and symbols by name, tile coordinate k as "@k". Ranges include both ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from .affine import COORD, Affine, affine
from .dtypes import DType
from .expr import COMPARISONS, Call, Cast, Const, Coord, Expr, Fn, Ref, Var, as_int, const, walk
from .expr_text import print_expr
from .linear import infeasible

Bound = Expr | int
Ranges = Mapping[str, tuple[Bound, Bound]]

MAX_CHOICES = 6  # disjunctions that one proof splits into cases
MAX_ALTERNATIVES = 32  # of a disjunction; a condition with more is treated as unknown

Conjunction = tuple[Affine, ...]  # all of them >= 0
Alternatives = tuple[Conjunction, ...]  # one of them holds
UNKNOWN: Alternatives = ((),)


@dataclass(frozen=True)
class Domain:
    """What is known here. Extend it with the `with_` methods; each returns a new domain.

    `integers` names the register tiles whose values are integers (others make a comparison unknown, as a float's
    negated comparison is not the opposite comparison).
    """

    rows: Conjunction = ()
    zeros: Conjunction = ()
    choices: tuple[Alternatives, ...] = ()
    integers: frozenset[str] = frozenset()
    fresh: int = 0

    def with_range(self, name: str, lo: Bound, hi: Bound) -> Domain:
        """`lo <= name <= hi`."""
        return self.with_condition(_compare(Fn.LE, _expr(lo), _leaf(name))).with_condition(
            _compare(Fn.LE, _leaf(name), _expr(hi))
        )

    def with_loop(self, name: str, lo: Expr, hi: Expr, step: int) -> Domain:
        """`name` is one of lo, lo + step, ... below hi."""
        out = self.with_condition(_compare(Fn.LE, lo, _leaf(name))).with_condition(_compare(Fn.LT, _leaf(name), hi))
        if step > 1:
            reader = _Reader(out)
            start = reader.form(lo)
            if start is not None:
                turn = reader.name()
                zero = start + Affine(((turn, step),), 0) - Affine(((name, 1),), 0)
                out = reader.done((), (zero,))
        return out

    def with_coordinates(self, extents: Iterable[Bound]) -> Domain:
        """The coordinates of a tile."""
        out = self
        for axis, extent in enumerate(extents):
            last = Call(Fn.SUB, (_expr(extent), const(1)))
            out = out.with_range(f"{COORD}{axis}", 0, last)
        return out

    def with_condition(self, condition: Expr, holds: bool = True) -> Domain:
        """The condition holds (or does not). What is not understood of it is left out."""
        reader = _Reader(self)
        alternatives = reader.condition(condition, holds)
        if not alternatives:
            return reader.done((const_form(-1),))
        if len(alternatives) == 1:
            return reader.done(alternatives[0])
        return replace(reader.done(()), choices=reader.choices + (alternatives,))

    def with_integers(self, *tiles: str) -> Domain:
        return replace(self, integers=self.integers | set(tiles))

    @property
    def is_empty(self) -> bool:
        """Whether nothing satisfies it, so that this point is never reached."""
        return self._excludes(())

    def proves(self, condition: Expr) -> bool:
        """Whether the condition always holds here."""
        return self._never(condition, False)

    def refutes(self, condition: Expr) -> bool:
        """Whether the condition never holds here."""
        return self._never(condition, True)

    def _never(self, condition: Expr, holds: bool) -> bool:
        reader = _Reader(self)
        alternatives = reader.condition(condition, holds)
        extended = reader.done(())
        return all(extended._excludes(rows) for rows in alternatives)

    def _excludes(self, goal: Conjunction) -> bool:
        """Whether `goal` contradicts what is known. The nearest disjunctions are split into cases."""
        reached = self._refute(goal)
        if reached is None:
            return True
        ranked: list[tuple[int, int, Alternatives]] = []
        for place, choice in enumerate(self.choices):
            steps = [k for k, near in enumerate(reached) if any(_touching(rows, near) for rows in choice)]
            if steps or not reached:
                ranked.append((steps[0] if steps else 0, -place, choice))
        ranked.sort(key=lambda entry: entry[:2])
        nearest = [choice for _, _, choice in reversed(ranked[:MAX_CHOICES])]
        return bool(nearest) and self._split(goal, nearest, MAX_ALTERNATIVES)

    def _refute(self, goal: Conjunction) -> list[set[str]] | None:
        """None if the rows contradict `goal`, else the names around it, nearest first. What is near the goal is tried
        first: most proofs are short, and elimination is quick on few rows."""
        if any(not row.terms and row.constant < 0 for row in self.rows + goal):
            return None
        near: set[str] = {n for row in goal for n, _ in row.terms}
        if not near:
            return None if infeasible(self.rows, self.zeros) else []
        out: list[set[str]] = []
        while not out or len(near) != len(out[-1]):
            rows, zeros = _touching(self.rows, near), _touching(self.zeros, near)
            if infeasible(rows + goal, zeros):
                return None
            out.append(near)
            near = near | {n for row in rows + zeros for n, _ in row.terms}
        return out

    def _split(self, goal: Conjunction, choices: list[Alternatives], budget: int) -> bool:
        """Whether every way through the disjunctions contradicts the goal. Leaving one out proves less, never more."""
        if not choices:
            return False
        first, rest = choices[-1], choices[:-1]
        if len(first) > budget:
            return self._split(goal, rest, budget)
        share = budget // max(1, len(first))
        return all(self._refute(goal + rows) is None or self._split(goal + rows, rest, share) for rows in first)


def _touching(rows: Conjunction, names: set[str]) -> Conjunction:
    return tuple(r for r in rows if any(n in names for n, _ in r.terms))


def domain(ranges: Ranges, facts: Iterable[Expr] = ()) -> Domain:
    """The domain of variables with ranges (ends may use the other names) and conditions that hold."""
    out = Domain()
    for fact in facts:
        out = out.with_condition(fact)
    for name, (lo, hi) in ranges.items():
        out = out.with_range(name, lo, hi)
    return out


def always_true(condition: Expr, ranges: Ranges, facts: Iterable[Expr] = ()) -> bool:
    """Whether the condition holds for all values in range; names without a range may be any integer."""
    return domain(ranges, facts).proves(condition)


def always_false(condition: Expr, ranges: Ranges, facts: Iterable[Expr] = ()) -> bool:
    """Whether the condition holds for no value in range."""
    return domain(ranges, facts).refutes(condition)


def bounds(expr: Expr, ranges: Ranges) -> tuple[Expr | None, Expr | None]:
    """The least and the greatest value of an integer expression with the names of `ranges` eliminated (later names
    first, so an end may use earlier names); None where no bound is known. Other names stay in the result."""
    form = affine(expr)
    if form is not None:
        return _affine_bound(form, ranges, False), _affine_bound(form, ranges, True)
    match expr:
        case Call(Fn.ADD, (a, b)):
            return tuple2(_both(Fn.ADD, x, y) for x, y in zip(bounds(a, ranges), bounds(b, ranges), strict=True))
        case Call(Fn.SUB, (a, b)):
            (a_lo, a_hi), (b_lo, b_hi) = bounds(a, ranges), bounds(b, ranges)
            return _both(Fn.SUB, a_lo, b_hi), _both(Fn.SUB, a_hi, b_lo)
        case Call(Fn.NEG, (a,)):
            return bounds(Call(Fn.SUB, (const(0), a)), ranges)
        case Call(Fn.MIN | Fn.MAX as fn, (a, b)):
            return tuple2(_either(fn, x, y) for x, y in zip(bounds(a, ranges), bounds(b, ranges), strict=True))
        case Call(Fn.SELECT, (_, a, b)):
            (a_lo, a_hi), (b_lo, b_hi) = bounds(a, ranges), bounds(b, ranges)
            return _both(Fn.MIN, a_lo, b_lo), _both(Fn.MAX, a_hi, b_hi)
        case Call(Fn.MUL | Fn.FLOORDIV | Fn.MOD as fn, (a, b)):
            factor = as_int(b)
            if factor is None and fn is Fn.MUL:
                a, factor = b, as_int(a)
            if factor is None or (fn is not Fn.MUL and factor <= 0):
                return None, None
            if fn is Fn.MOD:
                return const(0), const(factor - 1)
            ends = tuple2(None if e is None else Call(fn, (e, const(factor))) for e in bounds(a, ranges))
            return ends if factor >= 0 else (ends[1], ends[0])
    names = {n.name for n in walk(expr) if isinstance(n, Var)} | {
        f"{COORD}{n.axis}" for n in walk(expr) if isinstance(n, Coord)
    }
    free = not (names & set(ranges)) and not any(isinstance(n, Ref) for n in walk(expr))
    return (expr, expr) if free else (None, None)


def tuple2(items: Iterable[Expr | None]) -> tuple[Expr | None, Expr | None]:
    first, second = items
    return first, second


def _affine_bound(form: Affine, ranges: Ranges, upper: bool) -> Expr | None:
    rest: Expr | None = None  # ends that are not affine and hold no variable to eliminate
    for name in reversed(list(ranges)):
        factor = form.coefficients.get(name, 0)
        if not factor:
            continue
        end = _expr(ranges[name][1 if (factor > 0) == upper else 0])
        as_form = affine(end)
        form = form.drop({name})
        if as_form is not None:
            form = form + as_form * factor
            continue
        low, high = bounds(end, ranges)
        end_bound = high if (factor > 0) == upper else low
        if end_bound is None:
            return None
        term = Call(Fn.MUL, (end_bound, const(factor)))
        rest = term if rest is None else Call(Fn.ADD, (rest, term))
    if rest is None:
        return form.to_expr()
    return rest if not form.terms and not form.constant else Call(Fn.ADD, (rest, form.to_expr()))


def _both(fn: Fn, a: Expr | None, b: Expr | None) -> Expr | None:
    return None if a is None or b is None else Call(fn, (a, b))


def _either(fn: Fn, a: Expr | None, b: Expr | None) -> Expr | None:
    return _both(fn, a, b)


def _expr(bound: Bound) -> Expr:
    return const(bound) if isinstance(bound, int) else bound


def _leaf(name: str) -> Expr:
    return Coord(int(name[1:])) if name.startswith(COORD) else Var(name)


def _compare(fn: Fn, a: Expr, b: Expr) -> Expr:
    return Call(fn, (a, b))


class _Reader:
    """Reads expressions into linear forms, collecting what it has to say about the names it makes up."""

    def __init__(self, start: Domain) -> None:
        self.start = start
        self.rows: list[Affine] = []
        self.choices: tuple[Alternatives, ...] = start.choices
        self.fresh = start.fresh

    def done(self, more: Conjunction, zeros: Conjunction = ()) -> Domain:
        rows = self.start.rows + tuple(self.rows) + more
        return replace(self.start, rows=rows, zeros=self.start.zeros + zeros, choices=self.choices, fresh=self.fresh)

    def name(self) -> str:
        self.fresh += 1
        return f"?{self.fresh}"

    def form(self, expr: Expr) -> Affine | None:
        """The value of an integer expression; None where it is no integer that we can speak about."""
        match expr:
            case Const() | Var() | Coord():
                return affine(expr)
            case Ref(name):
                return Affine(((f"&{name}", 1),), 0) if name in self.start.integers else None
            case Cast(dtype, arg) if dtype in (DType.I64, DType.I32):
                inner = self.form(arg)  # a cast from i64 to i32 may wrap: then it is another number
                return inner if inner is not None and dtype is DType.I64 else self.unknown(expr)
            case Call(Fn.NEG, (a,)):
                form = self.form(a)
                return None if form is None else form * -1
            case Call(Fn.ABS, (a,)):
                return self.form(Call(Fn.MAX, (a, Call(Fn.NEG, (a,)))))
            case Call(Fn.ADD | Fn.SUB | Fn.MUL as fn, (a, b)):
                x, y = self.form(a), self.form(b)
                if x is None or y is None:
                    return None
                if fn is Fn.MUL:
                    if x.terms and y.terms:
                        return self.unknown(expr)
                    return y * x.constant if not x.terms else x * y.constant
                return x + y if fn is Fn.ADD else x - y
            case Call(Fn.FLOORDIV | Fn.MOD as fn, (a, b)):
                x, factor = self.form(a), as_int(b)
                if x is None:
                    return None
                if factor is None and fn is Fn.MOD:
                    return self.remainder(expr, b)
                if factor is None or factor <= 0:
                    return const_form(0) if factor == 0 else self.unknown(expr)
                quotient = self.unknown(Call(Fn.FLOORDIV, (a, b)))
                rest = x - quotient * factor
                self.rows += [rest, const_form(factor - 1) - rest]
                return quotient if fn is Fn.FLOORDIV else rest
            case Call(Fn.MIN | Fn.MAX as fn, (a, b)):
                x, y = self.form(a), self.form(b)
                if x is None or y is None:
                    return None
                out = Affine(((self.name(), 1),), 0)
                sign = 1 if fn is Fn.MAX else -1
                self.rows += [(out - x) * sign, (out - y) * sign]
                self.choices += ((((x - out) * sign,), ((y - out) * sign,)),)
                return out
            case Call(Fn.SELECT, (condition, a, b)):
                x, y = self.form(a), self.form(b)
                if x is None or y is None:
                    return None
                out = Affine(((self.name(), 1),), 0)
                yes = tuple(c + (out - x, x - out) for c in self.condition(condition, True))
                no = tuple(c + (out - y, y - out) for c in self.condition(condition, False))
                self.choices += (yes + no,)
                return out
        return None

    def remainder(self, expr: Expr, divisor: Expr) -> Affine:
        """Modulo something positive it lies below that; modulo 0 it is 0."""
        rest, limit = self.unknown(expr), self.form(divisor)
        if limit is not None:
            positive = (limit - const_form(1), rest, limit - rest - const_form(1))
            self.choices += ((positive, (limit, limit * -1, rest, rest * -1), (limit * -1 - const_form(1),)),)
        return rest

    def unknown(self, expr: Expr) -> Affine:
        """An integer we know nothing of, the same for the same expression."""
        return Affine(((f"={print_expr(expr)}", 1),), 0)

    def condition(self, expr: Expr, holds: bool) -> Alternatives:
        """The alternatives of which one holds if the condition does (or does not)."""
        match expr:
            case Const(value):
                return UNKNOWN if bool(value) == holds else ()
            case Call(Fn.NOT, (a,)):
                return self.condition(a, not holds)
            case Call(Fn.AND | Fn.OR as fn, (a, b)):
                left, right = self.condition(a, holds), self.condition(b, holds)
                if (fn is Fn.AND) == holds:
                    return self.limit(tuple(p + q for p in left for q in right), left)
                return self.limit(left + right, UNKNOWN)
            case Call(Fn.SELECT, (c, a, b)):
                yes = Call(Fn.AND, (c, a if holds else Call(Fn.NOT, (a,))))
                no = Call(Fn.AND, (Call(Fn.NOT, (c,)), b if holds else Call(Fn.NOT, (b,))))
                return self.condition(Call(Fn.OR, (yes, no)), True)
            case Call(Fn.LT | Fn.LE | Fn.GT | Fn.GE as fn, (a, b)) if (split := _split(fn, a, b)) is not None:
                return self.condition(split, holds)
            case Call(fn, (a, b)) if fn in COMPARISONS:
                x, y = self.form(a), self.form(b)
                if x is None or y is None:
                    return UNKNOWN
                return _compared(fn if holds else _OPPOSITE[fn], x - y)
        return UNKNOWN

    @staticmethod
    def limit(alternatives: Alternatives, otherwise: Alternatives) -> Alternatives:
        return alternatives if len(alternatives) <= MAX_ALTERNATIVES else otherwise


def _split(fn: Fn, a: Expr, b: Expr) -> Expr | None:
    """`x < min(a, b)` as `x < a and x < b`, and so on: no made-up name and no case where a conjunction will do."""
    for side, other, left in ((a, b, True), (b, a, False)):
        match side:
            case Call(Fn.MIN | Fn.MAX as extreme, (p, q)):
                small = (fn in (Fn.LT, Fn.LE)) == left  # is this the side that has to be the smaller one
                both = Fn.AND if (extreme is Fn.MAX) == small else Fn.OR
                one, two = ((p, other), (q, other)) if left else ((other, p), (other, q))
                return Call(both, (Call(fn, one), Call(fn, two)))
    return None


_OPPOSITE = {Fn.EQ: Fn.NE, Fn.NE: Fn.EQ, Fn.LT: Fn.GE, Fn.GE: Fn.LT, Fn.GT: Fn.LE, Fn.LE: Fn.GT}


def const_form(value: int) -> Affine:
    return Affine((), value)


def _compared(fn: Fn, difference: Affine) -> Alternatives:
    """`difference fn 0` as rows."""
    below, above = (difference * -1 - const_form(1),), (difference - const_form(1),)
    match fn:
        case Fn.LT:
            return (below,)
        case Fn.GT:
            return (above,)
        case Fn.LE:
            return ((difference * -1,),)
        case Fn.GE:
            return ((difference,),)
        case Fn.EQ:
            return ((difference, difference * -1),)
    return (below, above)


__all__ = ["Bound", "Domain", "Ranges", "always_false", "always_true", "bounds", "domain"]
