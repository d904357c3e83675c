"""Index arithmetic that GIR passes reason with: integer linear forms over opaque terms, a simplifier, a prover.

`linear` splits an i64 expression into `sum(coefficient * term) + constant`; what is not linear (`N // 64`, `max(a, b)`,
the value of a tile) is an opaque term. `Env` knows the range of every variable and the facts of the program; with it
`nonnegative` proves `e >= 0` (False means "not proved", never "false") and `simplify` shortens an expression without
changing its value wherever the ranges hold.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import lcm

from ..ir.expr import Call, Const, Coord, Expr, Fn, Var, as_int, const, walk
from ..ir.gir import Loop, Program

_BUDGET = 400  # proof steps: a proof that needs more is not found


@dataclass(frozen=True)
class Linear:
    """`terms` holds no zero coefficient; equality ignores the order of terms."""

    terms: Mapping[Expr, int]
    constant: int = 0

    def __add__(self, other: Linear) -> Linear:
        total = dict(self.terms)
        for term, factor in other.terms.items():
            total[term] = total.get(term, 0) + factor
        return Linear({t: f for t, f in total.items() if f}, self.constant + other.constant)

    def __mul__(self, factor: int) -> Linear:
        return Linear({t: f * factor for t, f in self.terms.items()} if factor else {}, self.constant * factor)

    def __sub__(self, other: Linear) -> Linear:
        return self + other * -1

    def plus(self, constant: int) -> Linear:
        return Linear(self.terms, self.constant + constant)

    def without(self, term: Expr) -> Linear:
        return Linear({t: f for t, f in self.terms.items() if t != term}, self.constant)

    def coefficient(self, term: Expr) -> int:
        return self.terms.get(term, 0)

    def to_expr(self) -> Expr:
        constant = self.constant
        out: Expr | None = None
        if constant > 0 and self.terms and all(f < 0 for f in self.terms.values()):
            out, constant = const(constant), 0
        for term, factor in sorted(self.terms.items(), key=lambda item: (item[1] < 0, _order(item[0]))):
            scaled = term if abs(factor) == 1 else Call(Fn.MUL, (term, const(abs(factor))))
            if out is None:
                out = scaled if factor > 0 else Call(Fn.MUL, (term, const(factor)))
            else:
                out = Call(Fn.ADD if factor > 0 else Fn.SUB, (out, scaled))
        if out is None:
            return const(self.constant)
        if constant:
            return Call(Fn.ADD if constant > 0 else Fn.SUB, (out, const(abs(constant))))
        return out


def _order(term: Expr) -> tuple[int, str]:
    match term:
        case Var(name):
            return (0, name)
        case Coord(axis):
            return (1, str(axis))
    return (2, repr(term))


def linear(expr: Expr) -> Linear:
    """The linear form of an integer expression; never fails, as anything else is an opaque term."""
    value = as_int(expr)
    if value is not None:
        return Linear({}, value)
    match expr:
        case Call(Fn.NEG, (a,)):
            return linear(a) * -1
        case Call(Fn.ADD, (a, b)):
            return linear(a) + linear(b)
        case Call(Fn.SUB, (a, b)):
            return linear(a) - linear(b)
        case Call(Fn.MUL, (a, b)):
            left, right = linear(a), linear(b)
            if not left.terms:
                return right * left.constant
            if not right.terms:
                return left * right.constant
    return Linear({expr: 1})


def is_index(expr: Expr) -> bool:
    """Whether an expression is integer arithmetic over loop indices, coordinates, symbols and literals alone."""
    for node in walk(expr):
        match node:
            case Var() | Coord():
                continue
            case Const():
                if as_int(node) is None:
                    return False
            case Call(Fn.ADD | Fn.SUB | Fn.MUL | Fn.NEG | Fn.FLOORDIV | Fn.MOD | Fn.MAX | Fn.MIN):
                continue
            case _:
                return False
    return True


@dataclass(frozen=True)
class Range:
    """`lo <= variable <= hi`, both inclusive; None where there is no bound."""

    lo: Expr | None
    hi: Expr | None


@dataclass(frozen=True)
class Env:
    """Ranges of variables and coordinates, outermost first, and divisors of symbols (`N % 16 == 0`)."""

    ranges: Mapping[Expr, Range] = field(default_factory=dict)
    divisors: Mapping[str, int] = field(default_factory=dict)

    def inside(self, loop: Loop) -> Env:
        """The knowledge inside the body of a loop: the range of its index and, where it starts at one, of what it is a
        multiple."""
        lo, hi = self.linear(loop.lo), self.linear(loop.hi)
        last = hi.plus(-loop.step if self.divides(hi - lo, loop.step) else -1)
        env = self.having(Var(loop.var), loop.lo, last.to_expr())
        divisors = {n: d for n, d in self.divisors.items() if n != loop.var}
        if loop.step > 1 and self.divides(lo, loop.step):
            divisors[loop.var] = loop.step
        return replace(env, divisors=divisors)

    def having(self, term: Expr, lo: Expr | None, hi: Expr | None) -> Env:
        ranges = {t: r for t, r in self.ranges.items() if t != term}  # a shadowing name goes to the end
        return replace(self, ranges={**ranges, term: Range(lo, hi)})

    def tile(self, shape: Iterable[int | Expr]) -> Env:
        """With the coordinates of a tile of this shape."""
        env = self
        for axis, size in enumerate(shape):
            top = const(size - 1) if isinstance(size, int) else Call(Fn.SUB, (size, const(1)))
            env = env.having(Coord(axis), const(0), top)
        return env

    @cached_property
    def depth(self) -> Mapping[Expr, int]:
        return {term: k for k, term in enumerate(self.ranges)}

    def divides(self, form: Linear, divisor: int) -> bool:
        return form.constant % divisor == 0 and all(self._term_divides(t, f, divisor) for t, f in form.terms.items())

    def _term_divides(self, term: Expr, factor: int, divisor: int) -> bool:
        known = self.divisors.get(term.name, 1) if isinstance(term, Var) else 1
        return (factor * known) % divisor == 0

    def nonnegative(self, form: Linear) -> bool:
        """Proves `form >= 0` for all values in range."""
        return _nonnegative(form, self, [_BUDGET])

    def less_equal(self, a: Expr, b: Expr) -> bool:
        return self.nonnegative(self.linear(b) - self.linear(a))

    def less(self, a: Expr, b: Expr) -> bool:
        return self.nonnegative((self.linear(b) - self.linear(a)).plus(-1))

    def linear(self, expr: Expr) -> Linear:
        return linear(self.simplify(expr))

    def simplify(self, expr: Expr) -> Expr:
        """An expression of the same value in every state within the ranges, in normal form."""
        return self._normal(expr).to_expr()

    def _normal(self, expr: Expr) -> Linear:
        value = as_int(expr)
        if value is not None:
            return Linear({}, value)
        match expr:
            case Call(Fn.NEG, (a,)):
                return self._normal(a) * -1
            case Call(Fn.ADD, (a, b)):
                return self._exact(self._normal(a) + self._normal(b))
            case Call(Fn.SUB, (a, b)):
                return self._exact(self._normal(a) - self._normal(b))
            case Call(Fn.MUL, (a, b)):
                left, right = self._normal(a), self._normal(b)
                if not left.terms:
                    return self._exact(right * left.constant)
                if not right.terms:
                    return self._exact(left * right.constant)
                return Linear({Call(Fn.MUL, (left.to_expr(), right.to_expr())): 1})
            case Call(Fn.FLOORDIV | Fn.MOD as fn, (a, b)):
                left, right = self._normal(a), self._normal(b)
                if right.terms or right.constant <= 0:
                    return Linear({Call(fn, (left.to_expr(), right.to_expr())): 1})
                return self._divide(left, right.constant) if fn is Fn.FLOORDIV else self._mod(left, right.constant)
            case Call(Fn.MAX | Fn.MIN as fn, (a, b)):
                kept: list[Linear] = []
                for form in (*_operands(fn, self._normal(a)), *_operands(fn, self._normal(b))):
                    if any(self._decides(fn, other, form) for other in kept):
                        continue
                    kept = [other for other in kept if not self._decides(fn, form, other)] + [form]
                out = kept[0]
                for form in kept[1:]:
                    out = Linear({Call(fn, (out.to_expr(), form.to_expr())): 1})
                return out
        return Linear({expr: 1})

    def _decides(self, fn: Fn, one: Linear, other: Linear) -> bool:
        """`fn(one, other)` is `one`."""
        return self.nonnegative(one - other if fn is Fn.MAX else other - one)

    def _exact(self, form: Linear) -> Linear:
        """`x // c * c` is `x` where c divides x."""
        for term, factor in form.terms.items():
            match term:
                case Call(Fn.FLOORDIV, (x, Const(int(c)))) if c > 0 and factor % c == 0:
                    inner = linear(x)
                    if self.divides(inner, c):
                        return self._exact(form.without(term) + inner * (factor // c))
        return form

    def _split(self, form: Linear, divisor: int) -> tuple[Linear, Linear]:
        """A part that `divisor` divides, and the rest."""
        exact = {t: f for t, f in form.terms.items() if self._term_divides(t, f, divisor)}
        rest = {t: f for t, f in form.terms.items() if t not in exact}
        return Linear(exact, form.constant // divisor * divisor), Linear(rest, form.constant % divisor)

    def _small(self, form: Linear, divisor: int) -> bool:
        return self.nonnegative(form) and self.nonnegative((form * -1).plus(divisor - 1))

    def _divide(self, form: Linear, divisor: int) -> Linear:
        if divisor == 1:
            return form
        exact, rest = self._split(form, divisor)
        if self._small(rest, divisor):
            rest = Linear({})
        # coefficients that the divisor divides leave the division; symbols known to be multiples stay inside
        outside = {t: f // divisor for t, f in exact.terms.items() if f % divisor == 0}
        inside = Linear({t: f for t, f in exact.terms.items() if f % divisor}) + rest
        quotient = Linear(outside, exact.constant // divisor)
        if not inside.terms:
            return quotient.plus(inside.constant // divisor)
        return quotient + Linear({Call(Fn.FLOORDIV, (inside.to_expr(), const(divisor))): 1})

    def _mod(self, form: Linear, divisor: int) -> Linear:
        _, rest = self._split(form, divisor)
        if self._small(rest, divisor):
            return rest
        return Linear({Call(Fn.MOD, (rest.to_expr(), const(divisor))): 1})


def _nonnegative(form: Linear, env: Env, budget: list[int]) -> bool:
    """Replaces one term by its bound at a time: opaque terms first, then variables from the innermost outwards."""
    if not form.terms:
        return form.constant >= 0
    budget[0] -= 1
    if budget[0] < 0:
        return False
    for term, factor in form.terms.items():
        rest = form.without(term)
        match term:
            case Call(Fn.MAX | Fn.MIN as fn, (a, b)):
                options = [rest + linear(a) * factor, rest + linear(b) * factor]
                either = (fn is Fn.MAX) == (factor > 0)
                return (any if either else all)(_nonnegative(o, env, budget) for o in options)
            case Call(Fn.FLOORDIV, (x, Const(int(c)))) if c > 0:
                # (x - c + 1) / c <= x // c <= x / c, all scaled by c
                inner = linear(x) if factor < 0 else linear(x).plus(1 - c)
                if factor > 0 and _nonnegative(linear(x), env, budget) and _nonnegative(rest, env, budget):
                    return True
                return _nonnegative(rest * c + inner * factor, env, budget)
            case Call(Fn.MOD, (_, Const(int(c)))) if c > 0:
                return _nonnegative(rest.plus(0 if factor > 0 else factor * (c - 1)), env, budget)
    known = [t for t in form.terms if t in env.ranges]
    if len(known) < len(form.terms):
        return False
    term = max(known, key=lambda t: env.depth[t])
    factor = form.terms[term]
    bound = env.ranges[term].lo if factor > 0 else env.ranges[term].hi
    return bound is not None and _nonnegative(form.without(term) + linear(bound) * factor, env, budget)


def program_env(program: Program) -> Env:
    """What a program states about its symbols: extents are not negative, and its facts hold."""
    extents = {v for t in program.tensors for e in t.shape if isinstance(e, Var) for v in (e.name,)}
    return stated((s.name for s in program.symbols), program.facts, extents)


def stated(symbols: Iterable[str], facts: Iterable[Expr], extents: Container[str] = ()) -> Env:
    """What facts say about symbols, of which `extents` are not negative."""
    ranges: dict[Expr, Range] = {Var(s): Range(const(0) if s in extents else None, None) for s in symbols}
    divisors: dict[str, int] = {}
    for fact in facts:
        _learn(fact, ranges, divisors)
    return Env(ranges, divisors)


def _learn(fact: Expr, ranges: dict[Expr, Range], divisors: dict[str, int]) -> None:
    match fact:
        case Call(Fn.AND, (a, b)):
            _learn(a, ranges, divisors)
            _learn(b, ranges, divisors)
        case Call(Fn.EQ, (Call(Fn.MOD, (Var(name), Const(int(c)))), Const(0))) if c > 0:
            divisors[name] = lcm(divisors.get(name, 1), c)
        case Call(Fn.EQ, (Var() as v, Const(int(c)))) | Call(Fn.EQ, (Const(int(c)), Var() as v)) if v in ranges:
            ranges[v] = Range(const(c), const(c))
        case Call(Fn.GE | Fn.GT as fn, (Var() as v, Const(int(c)))) if v in ranges:
            ranges[v] = replace(ranges[v], lo=const(c + (fn is Fn.GT)))
        case Call(Fn.LE | Fn.LT as fn, (Var() as v, Const(int(c)))) if v in ranges:
            ranges[v] = replace(ranges[v], hi=const(c - (fn is Fn.LT)))


def _operands(fn: Fn, form: Linear) -> list[Linear]:
    """The forms of which `form` is the maximum or minimum."""
    if len(form.terms) == 1 and not form.constant:
        match next(iter(form.terms.items())):
            case Call(inner, (a, b)), 1 if inner is fn:
                return [*_operands(fn, linear(a)), *_operands(fn, linear(b))]
    return [form]
