"""Comparisons of index arithmetic in GIR statements, and where over a loop they have one value.

A comparison is classed by the extremes of its linear form over the box of what varies below a loop: tile coordinates
and the indices of inner loops. Source: docs/rules.md, section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..ir.dtypes import DType
from ..ir.expr import Call, Const, Coord, Expr, Fn, Var, const, rewrite, walk
from ..ir.gir import Branch, Load, Loop, LoopKind, Move, Stmt, Store, bodies
from ..ir.gir_tools import Body, expressions, map_expressions, with_bodies
from .index_math import Env, Linear, is_index, linear

_ORDERED = {Fn.LT, Fn.LE, Fn.GT, Fn.GE}
_EDGE = {Fn.EQ: (Fn.LE, Fn.GE), Fn.NE: (Fn.GT, Fn.LT)}  # where the left side is at least, at most the right one
_SHORT = 8  # a loop of at most this many constant iterations is part of the box
_CONDITIONS = _ORDERED | {Fn.EQ, Fn.NE, Fn.AND, Fn.OR, Fn.NOT, Fn.SELECT}
TRUE, FALSE = Const(True, DType.BOOL), Const(False, DType.BOOL)


@dataclass(frozen=True)
class Atom:
    """A comparison that is wanted true or false, over the box below the loop `var`.

    Decided as wanted where `worst >= 0`, decided the other way where `best < 0`; both are linear forms over the index
    of the loop and what is constant in it.
    """

    expr: Expr
    wanted: bool
    worst: Linear
    best: Linear

    def decided(self, env: Env) -> bool:
        return env.nonnegative(self.worst) or env.nonnegative((self.best * -1).plus(-1))


def substitute_atoms(stmt: Stmt, values: dict[Expr, Const]) -> Stmt:
    """One statement, nested ones included, with comparisons replaced by literals and guards simplified."""
    if not values:
        return stmt
    stmt = _drop(map_expressions(stmt, lambda e: _replace(e, values.get)))
    inner = bodies(stmt)
    return with_bodies(stmt, tuple(tuple(substitute_atoms(s, values) for s in b) for b in inner)) if inner else stmt


def decide(stmt: Stmt, env: Env) -> Stmt:
    """The statement with every comparison replaced that has one value over the whole box."""
    if isinstance(stmt, Loop) or not _wanted(stmt):
        return stmt
    box = env.tile(getattr(stmt, "shape", ()))

    def rule(e: Expr) -> Expr | None:
        if not isinstance(e, Call) or _form(e) is None:
            return None
        for wanted in (True, False):
            form = _form(e) if wanted else _form(_negated(e))
            if form is not None and box.nonnegative(box.linear(form.to_expr())):
                return TRUE if wanted else FALSE
        return None

    return _drop(map_expressions(stmt, lambda e: _replace(e, rule)))


def order_equalities(body: Body, env: Env) -> Body:
    """`a == b` as `a <= b` where `a >= b` always holds (and so on): at the edge of a range an equality can be split off
    like any other comparison."""
    out: list[Stmt] = []
    for stmt in body:
        box = env.tile(getattr(stmt, "shape", ()))

        def rule(e: Expr, box: Env = box) -> Expr | None:
            if not isinstance(e, Call) or e.fn not in _EDGE or not all(is_index(a) for a in e.args):
                return None
            a, b = e.args
            below, above = _EDGE[e.fn]
            if box.less_equal(b, a):
                return replace(e, fn=below)
            return replace(e, fn=above) if box.less_equal(a, b) else None

        if any(isinstance(n, Call) and n.fn in _EDGE for e in expressions(stmt) for n in walk(e)):
            stmt = map_expressions(stmt, lambda e, rule=rule: rewrite(e, rule))  # type: ignore[misc]
        inner = bodies(stmt)
        if inner:
            inside = env.inside(stmt) if isinstance(stmt, Loop) else env
            stmt = with_bodies(stmt, tuple(order_equalities(b, inside) for b in inner))
        out.append(stmt)
    return tuple(out)


def _replace(expr: Expr, rule: Callable[[Expr], Expr | None]) -> Expr:
    """`rule` on every ordered comparison, then the logic around it simplified."""
    if not any(isinstance(e, Call) and e.fn in _CONDITIONS for e in walk(expr)):
        return expr
    return _boolean(rewrite(expr, lambda e: rule(e) if isinstance(e, Call) and e.fn in _ORDERED else None))


def _form(expr: Call) -> Linear | None:
    """The form that is not negative exactly where an ordered comparison of indices holds."""
    if expr.fn not in _ORDERED or not (is_index(expr.args[0]) and is_index(expr.args[1])):
        return None
    a, b = (linear(x) for x in expr.args)
    match expr.fn:
        case Fn.LT:
            return (b - a).plus(-1)
        case Fn.LE:
            return b - a
        case Fn.GT:
            return (a - b).plus(-1)
        case _:
            return a - b


_OPPOSITE = {Fn.LT: Fn.GE, Fn.GE: Fn.LT, Fn.LE: Fn.GT, Fn.GT: Fn.LE}


def _negated(expr: Call) -> Call:
    return replace(expr, fn=_OPPOSITE[expr.fn])


def _drop(stmt: Stmt) -> Stmt:
    """A predicate that is always true is no predicate."""
    if isinstance(stmt, Load | Move) and isinstance(stmt.predicate, Const) and stmt.predicate.value:
        return replace(stmt, predicate=None, fill=None)
    if isinstance(stmt, Store) and isinstance(stmt.predicate, Const) and stmt.predicate.value:
        return replace(stmt, predicate=None)
    return stmt


def _boolean(expr: Expr) -> Expr:
    def rule(e: Expr) -> Expr | None:
        match e:
            case Call(Fn.AND, (Const(bool(v)), x)) | Call(Fn.AND, (x, Const(bool(v)))):
                return x if v else FALSE
            case Call(Fn.OR, (Const(bool(v)), x)) | Call(Fn.OR, (x, Const(bool(v)))):
                return TRUE if v else x
            case Call(Fn.NOT, (Const(bool(v)),)):
                return FALSE if v else TRUE
            case Call(Fn.SELECT, (Const(bool(v)), x, y)):
                return x if v else y
        return None

    return rewrite(expr, rule)


def _wanted(stmt: Stmt) -> list[tuple[Call, bool]]:
    """The ordered comparisons of a statement with the value that makes most of the work unguarded."""
    found: list[tuple[Call, bool]] = []

    def condition(e: Expr, want: bool) -> None:
        match e:
            case Call(Fn.AND | Fn.OR, (a, b)):
                condition(a, want)
                condition(b, want)
            case Call(Fn.NOT, (a,)):
                condition(a, not want)
            case Call() if _form(e) is not None:
                found.append((e, want))
            case _:
                value(e)

    def value(e: Expr) -> None:
        match e:
            case Call(Fn.SELECT, (c, a, b)):
                condition(c, not (isinstance(a, Const) and not isinstance(b, Const)))
                value(a)
                value(b)
            case Call() if _form(e) is not None:
                found.append((e, True))
            case _:
                for child in e.children:
                    value(child)

    predicate = stmt.condition if isinstance(stmt, Branch) else getattr(stmt, "predicate", None)
    for e in expressions(stmt):
        if e is predicate:
            condition(e, True)
        else:
            value(e)
    return found


def atoms_of(loop: Loop, inside: Env) -> list[Atom]:
    """The comparisons that are decided at this loop, in program order."""
    found: dict[Expr, Atom | None] = {}  # None: the same text over boxes that cannot be compared

    def visit(body: Body, env: Env, serial: frozenset[str]) -> None:
        for stmt in body:
            box = env.tile(getattr(stmt, "shape", ()))
            for expr, wanted in _wanted(stmt):
                old = found.get(expr)
                atom = _atom(expr, old.wanted if old else wanted, loop.var, box, inside, serial)
                found[expr] = _both(old, atom, inside) if expr in found else atom
            if isinstance(stmt, Loop):
                visit(stmt.body, env.inside(stmt), serial | {stmt.var} if _splittable(stmt) else serial)
            else:
                for b in bodies(stmt):
                    visit(b, env, serial)

    visit(loop.body, inside, frozenset())
    return [a for a in found.values() if a is not None]


def _both(a: Atom | None, b: Atom | None, env: Env) -> Atom | None:
    """One comparison over two boxes: decided where it is decided over both."""
    if a is None or b is None:
        return None
    worst = a.worst if env.nonnegative(b.worst - a.worst) else b.worst
    best = a.best if env.nonnegative(a.best - b.best) else b.best
    if env.nonnegative(a.worst - worst) and env.nonnegative(best - b.best):
        return replace(a, worst=worst, best=best)
    return None


def _splittable(loop: Loop) -> bool:
    if loop.kind is not LoopKind.SERIAL:
        return False
    trip = linear(loop.hi) - linear(loop.lo)
    return bool(trip.terms) or trip.constant > _SHORT * loop.step


def _atom(expr: Call, wanted: bool, var: str, box: Env, inside: Env, serial: frozenset[str]) -> Atom | None:
    form = _form(expr if wanted else _negated(expr))
    if form is None:
        return None
    names = {t.name for t in form.terms if isinstance(t, Var)}
    if var not in names or names & serial:
        return None
    worst, best = _extreme(form, box, inside, False), _extreme(form, box, inside, True)
    if worst is None or best is None or not worst.coefficient(Var(var)) or not best.coefficient(Var(var)):
        return None
    return Atom(expr, wanted, worst, best)


def _extreme(form: Linear, box: Env, inside: Env, highest: bool) -> Linear | None:
    """The form with what varies below the loop replaced by its bounds."""
    for _ in range(len(box.ranges) + 1):
        below = [t for t in form.terms if t in box.ranges and box.ranges[t] != inside.ranges.get(t)]
        if not below:
            break
        term = max(below, key=lambda t: box.depth[t])
        factor = form.coefficient(term)
        bound = box.ranges[term].hi if (factor > 0) == highest else box.ranges[term].lo
        if bound is None:
            return None
        form = form.without(term) + linear(bound) * factor
    local = {t for t, r in box.ranges.items() if inside.ranges.get(t) != r}
    opaque = [t for t in form.terms if not isinstance(t, Var)]
    return None if any(_mentions(t, local) for t in opaque) else form


def _mentions(expr: Expr, terms: set[Expr]) -> bool:
    return expr in terms or isinstance(expr, Coord) or any(_mentions(c, terms) for c in expr.children)


_LARGEST = 1 << 62  # of what is written into a program: sums of two still are i64


def threshold(form: Linear, var: Var) -> tuple[bool, Expr] | None:
    """Where `form >= 0`: `(True, t)` for `var >= t`, `(False, u)` for `var < u`.

    None, too, where numbers leave i64.
    """
    factor, rest = form.coefficient(var), form.without(var)
    if any(_mentions(t, {var}) for t in rest.terms):
        return None
    if any(abs(n) > _LARGEST for n in (form.constant, *form.terms.values())):
        return None
    if factor > 0:  # factor * v >= -rest
        return True, _floordiv((rest * -1).plus(factor - 1), factor)
    return False, _floordiv(rest.plus(-factor), -factor)  # -factor * v <= rest


def _floordiv(form: Linear, divisor: int) -> Expr:
    return form.to_expr() if divisor == 1 else Call(Fn.FLOORDIV, (form.to_expr(), const(divisor)))
