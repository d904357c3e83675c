"""Proofs of integer inequalities over the axes, symbols and integer tensors of an op.

A proof assumes the hypotheses and refutes the negated goal (`linear.py`). What is not linear becomes an opaque unknown;
a quotient or remainder by a positive literal is described exactly. "Not proved" means nothing: callers treat it as
false.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .affine import Affine
from .expr import Call, Cast, Const, Coord, Expr, Fn, Read, Var, as_int, rewrite, walk
from .expr_text import print_expr
from .linear import infeasible
from .op import Axis

MAX_CASES = 4  # of `min` and `max` split in one goal, each doubling the work

Linear = dict[str, int]  # coefficients by unknown; the constant under ""
Range = tuple[Expr | None, Expr | None]  # inclusive bounds of an opaque integer, where known

_INTEGRAL = {Fn.ADD, Fn.SUB, Fn.MUL, Fn.NEG, Fn.FLOORDIV, Fn.MOD, Fn.MAX, Fn.MIN}


class Prover:
    """Hypotheses, and questions about them. `known(read)` gives the range of a read of an integer tensor, or None where
    nothing (not even that it is an integer) is known."""

    def __init__(
        self,
        facts: Iterable[Expr] = (),
        nonnegative: Iterable[Expr] = (),
        known: Callable[[Read], Range | None] = lambda read: None,
    ) -> None:
        self.known = known
        self.hypotheses: list[Linear] = []
        self._described: set[str] = set()
        for fact in facts:
            self.assume(fact)
        for expr in nonnegative:
            self.hypotheses.append(self.linear(expr))

    def copy(self) -> Prover:
        other = Prover((), (), self.known)
        other.hypotheses = list(self.hypotheses)
        other._described = set(self._described)
        return other

    def within(self, axes: Iterable[Axis], guard: Expr | None = None) -> Prover:
        """The same with every axis inside its range (so no range is empty) and the guard true."""
        other = self.copy()
        for axis in axes:
            other.assume(Call(Fn.GE, (Var(axis.name), axis.lo)))
            other.assume(Call(Fn.LT, (Var(axis.name), axis.hi)))
        if guard is not None:
            other.assume(guard)
        return other

    def assume(self, fact: Expr) -> None:
        """Add a boolean fact; parts that are no integer comparisons are left out (which is sound)."""
        match fact:
            case Call(Fn.AND, (a, b)):
                self.assume(a)
                self.assume(b)
            case Call(Fn.NOT, (Call(Fn.LT | Fn.LE | Fn.GT | Fn.GE as fn, args),)):
                opposite = {Fn.LT: Fn.GE, Fn.LE: Fn.GT, Fn.GT: Fn.LE, Fn.GE: Fn.LT}[fn]
                self.assume(Call(opposite, args))
            case Call(Fn.LT | Fn.LE | Fn.GT | Fn.GE | Fn.EQ as fn, (a, b)) if self.integral(a) and self.integral(b):
                if fn in (Fn.GT, Fn.GE):
                    a, b = b, a
                difference = _subtract(self.linear(b), self.linear(a))
                strict = fn in (Fn.LT, Fn.GT)
                self.hypotheses.append(_shift(difference, -1) if strict else difference)
                if fn is Fn.EQ:
                    self.hypotheses.append(_scale(difference, -1))

    def integral(self, expr: Expr) -> bool:
        """Whether an expression surely is an integer."""
        match expr:
            case Const():
                return as_int(expr) is not None
            case Var() | Coord():
                return True
            case Call(fn, args):
                return fn in _INTEGRAL and all(self.integral(a) for a in args)
            case Cast(dtype, arg):
                return dtype.is_int and dtype.arithmetic is dtype and self.integral(arg)
            case Read():
                return self.known(expr) is not None
        return False

    def at_most(self, a: Expr, b: Expr) -> bool:
        """Proved: a <= b."""
        return self.nonnegative(Call(Fn.SUB, (b, a)))

    def nonnegative(self, expr: Expr, cases: int = MAX_CASES) -> bool:
        """Proved: expr >= 0, by cases of the `min`, `max` and `select` inside."""
        split = next((n for n in walk(expr) if isinstance(n, Call) and n.fn in (Fn.MIN, Fn.MAX)), None)
        if split is None or cases == 0:
            goal = self.linear(expr)
            return _infeasible([*self.hypotheses, _shift(_scale(goal, -1), -1)])
        a, b = split.args
        smaller, larger = (a, b) if split.fn is Fn.MIN else (b, a)
        first, second = self.copy(), self.copy()
        first.assume(Call(Fn.LE, (a, b)))
        second.assume(Call(Fn.LT, (b, a)))
        one = rewrite(expr, lambda e: smaller if e == split else None)
        other = rewrite(expr, lambda e: larger if e == split else None)
        return first.nonnegative(one, cases - 1) and second.nonnegative(other, cases - 1)

    # linear forms --------------------------------------------------------------------------------------------------

    def linear(self, expr: Expr) -> Linear:
        """The linear form; unknowns for what is not linear are described by new hypotheses."""
        value = as_int(expr)
        if value is not None:
            return {"": value}
        match expr:
            case Var(name):
                return {name: 1}
            case Coord(axis):
                return {f"@{axis}": 1}
            case Call(Fn.ADD, (a, b)):
                return _add(self.linear(a), self.linear(b))
            case Call(Fn.SUB, (a, b)):
                return _subtract(self.linear(a), self.linear(b))
            case Call(Fn.NEG, (a,)):
                return _scale(self.linear(a), -1)
            case Call(Fn.MUL, (a, b)):
                return self._product(expr, self.linear(a), self.linear(b))
            case Call(Fn.FLOORDIV, (a, b)):
                return self._quotient(a, b)
            case Call(Fn.MOD, (a, b)):
                return self._remainder(a, b)
            case Call(Fn.MIN | Fn.MAX as fn, (a, b)):
                unknown, new = self._opaque(expr)
                if new:
                    sides = [self.linear(a), self.linear(b)]
                    if fn is Fn.MIN and all(self._holds(side) for side in sides):
                        self.hypotheses.append(unknown)
                    for side in sides:
                        difference = _subtract(side, unknown)
                        self.hypotheses.append(difference if fn is Fn.MIN else _scale(difference, -1))
                return unknown
            case Cast(dtype, arg) if dtype.is_int and dtype.bytes == 8 and self.integral(arg):
                return self.linear(arg)
            case Read():
                return self._read(expr)
        return self._opaque(expr)[0]

    def _opaque(self, expr: Expr) -> tuple[Linear, bool]:
        key = print_expr(expr)
        new = key not in self._described
        self._described.add(key)
        return {key: 1}, new

    def _read(self, expr: Read) -> Linear:
        unknown, new = self._opaque(expr)
        found = self.known(expr) if new else None
        if found is not None:
            low, high = found
            if low is not None:
                self.hypotheses.append(_subtract(unknown, self.linear(low)))
            if high is not None:
                self.hypotheses.append(_subtract(self.linear(high), unknown))
        return unknown

    def _product(self, expr: Expr, a: Linear, b: Linear) -> Linear:
        for one, other in ((a, b), (b, a)):
            if set(one) <= {""}:
                return _scale(other, one.get("", 0))
        unknown, new = self._opaque(expr)
        if new and all(_infeasible([*self.hypotheses, _shift(_scale(x, -1), -1)]) for x in (a, b)):
            self.hypotheses.append(unknown)
        return unknown

    def _quotient(self, a: Expr, b: Expr) -> Linear:
        unknown, new = self._opaque(Call(Fn.FLOORDIV, (a, b)))
        if not new:
            return unknown
        top, divisor = self.linear(a), as_int(b)
        if divisor is not None and divisor > 0:
            rest = _subtract(top, _scale(unknown, divisor))
            self.hypotheses.append(rest)
            self.hypotheses.append(_shift(_scale(rest, -1), divisor - 1))
        elif divisor is None and self._holds(_shift(self.linear(b), -1)) and self._holds(top):
            self.hypotheses.append(unknown)
            self.hypotheses.append(_subtract(top, unknown))
        return unknown

    def _remainder(self, a: Expr, b: Expr) -> Linear:
        divisor = as_int(b)
        if divisor is not None and divisor > 0:
            return _subtract(self.linear(a), _scale(self._quotient(a, b), divisor))
        unknown, new = self._opaque(Call(Fn.MOD, (a, b)))
        below = _shift(self.linear(b), -1)
        if new and divisor is None and self._holds(below):
            self.hypotheses.append(unknown)
            self.hypotheses.append(_subtract(below, unknown))
        return unknown

    def _holds(self, goal: Linear) -> bool:
        return _infeasible([*self.hypotheses, _shift(_scale(goal, -1), -1)])


def _add(a: Linear, b: Linear) -> Linear:
    out = dict(a)
    for name, value in b.items():
        out[name] = out.get(name, 0) + value
    return {n: v for n, v in out.items() if v or n == ""}


def _scale(a: Linear, factor: int) -> Linear:
    return {n: v * factor for n, v in a.items()} if factor else {"": 0}


def _subtract(a: Linear, b: Linear) -> Linear:
    return _add(a, _scale(b, -1))


def _shift(a: Linear, by: int) -> Linear:
    return _add(a, {"": by})


def _infeasible(constraints: list[Linear]) -> bool:
    """Whether no integers make every form >= 0, as far as elimination sees; the last one is the negated goal."""
    return infeasible(_affine(c) for c in _related(constraints))


def _affine(form: Linear) -> Affine:
    return Affine(tuple(sorted((n, v) for n, v in form.items() if n and v)), form.get("", 0))


def _related(constraints: list[Linear]) -> list[Linear]:
    """The constraints that share unknowns, directly or through others, with the last one."""
    names = {n for n in constraints[-1] if n}
    chosen, rest = [constraints[-1]], constraints[:-1]
    grown = True
    while grown:
        near = [c for c in rest if names & set(c) or set(c) <= {""}]
        rest = [c for c in rest if not (names & set(c) or set(c) <= {""})]
        chosen += near
        new = {n for c in near for n in c if n} - names
        names |= new
        grown = bool(new)
    return chosen
