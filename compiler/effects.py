"""Does a body change anything that is seen outside of it? Proved by evaluating it on symbolic tiles.

A tile's value is a literal, the value an outside tile had at the start (`Ref`), or unknown (a `Param` of its own,
which equals nothing else). Rules are exact for NaN and infinities; only the sign of a zero may change (`x + 0`).
"""

from __future__ import annotations

import math
from itertools import count

from ..ir.expr import Call, Cast, Const, Expr, Fn, Param, Ref, rewrite
from ..ir.gir import Alloc, Branch, Compute, Level, Load, Loop, Move, Reduce, Stmt, Store, Sync
from ..ir.gir import walk as walk_stmts
from ..ir.gir_tools import Body, tile_written

_IDEMPOTENT = frozenset({Fn.MAX, Fn.MIN, Fn.AND, Fn.OR})
_ABSORBED = {Fn.ADD: 0, Fn.MUL: 1, Fn.MAX: -math.inf, Fn.MIN: math.inf}  # f(x, identity) = x


def without_effect(body: Body, outside: set[str]) -> bool:
    """Whether running the body leaves every outside buffer and tile as it was.

    `outside` are the mutable tiles introduced outside of the body. Comparisons that the caller has decided stand as
    literals in `body`.
    """
    buffers = {s.name for s in walk_stmts(body) if isinstance(s, Alloc) and s.level is not Level.REG}
    return _Evaluation(outside, buffers).body(body)


def always_effective(body: Body) -> bool:
    """Whether deciding comparisons cannot keep the body from an effect: it synchronises, or stores without a guard."""
    buffers = {s.name for s in walk_stmts(body) if isinstance(s, Alloc) and s.level is not Level.REG}
    return any(
        isinstance(s, Sync) or (isinstance(s, Store | Move) and s.predicate is None and s.target.buffer not in buffers)
        for s in body
    )


class _Evaluation:
    def __init__(self, outside: set[str], buffers: set[str]) -> None:
        self.values: dict[str, Expr] = {}
        self.outside, self.buffers = outside, buffers
        self.unknowns = count()

    def unknown(self) -> Expr:
        return Param(f"unknown.{next(self.unknowns)}")

    def body(self, body: Body) -> bool:
        return all(self.statement(s) for s in body)

    def statement(self, stmt: Stmt) -> bool:
        match stmt:
            case Alloc():
                self.values[stmt.name] = self.unknown()
                return True
            case Load():
                skipped = _is(stmt.predicate, False) and stmt.fill is not None
                return self.assign(stmt.tile, self.value(stmt.fill) if skipped and stmt.fill else self.unknown())
            case Compute():
                return self.assign(stmt.tile, self.value(stmt.expr))
            case Reduce():
                value = self.values.get(stmt.source, self.unknown())
                kept = isinstance(value, Const) and (stmt.fn in _IDEMPOTENT or value.value == _ABSORBED.get(stmt.fn))
                return self.assign(stmt.tile, value if kept else self.unknown())
            case Store() | Move():
                return _is(stmt.predicate, False) or stmt.target.buffer in self.buffers
            case Sync():
                return False
            case Loop():
                self.forget(stmt.body)
                done = self.body(stmt.body)
                self.forget(stmt.body)
                return done
            case Branch():
                if isinstance(stmt.condition, Const):
                    return self.body(stmt.then if stmt.condition.value else stmt.otherwise)
                before = dict(self.values)
                done = self.body(stmt.then)
                self.values = before
                done = done and self.body(stmt.otherwise)
                self.forget(stmt.then + stmt.otherwise)
                return done
        return False

    def assign(self, tile: str, value: Expr) -> bool:
        if tile in self.outside:
            return value == Ref(tile)  # so that it keeps the value it had, and `Ref` goes on meaning that value
        self.values[tile] = value
        return True

    def forget(self, body: Body) -> None:
        for s in walk_stmts(body):
            tile = tile_written(s)
            if tile is not None and tile not in self.outside:
                self.values[tile] = self.unknown()

    def value(self, expr: Expr) -> Expr:
        def rule(e: Expr) -> Expr | None:
            match e:
                case Ref(name):
                    return e if name in self.outside else self.values.get(name, self.unknown())
                case Cast(_, Ref() | Const()):
                    return self.unknown()
                case Call():
                    return _simplify(e)
            return None

        out = rewrite(expr, rule)
        return out if isinstance(out, Const | Ref) else self.unknown()


def _is(predicate: Expr | None, value: bool) -> bool:
    return isinstance(predicate, Const) and predicate.value is value


def _simplify(call: Call) -> Expr | None:
    match call:
        case Call(Fn.ADD | Fn.MUL | Fn.MAX | Fn.MIN as fn, (Const(v), x) | (x, Const(v))) if v == _ABSORBED[fn]:
            return x
        case Call(Fn.SUB, (x, Const(v))) | Call(Fn.FMA, (Const(v), Const(), x)) if v == 0:
            return x
        case Call(Fn.DIV, (x, Const(v))) if v == 1:
            return x
        case Call(Fn.FMA, (a, Const(v), Const(w)) | (Const(v), a, Const(w))) if v == 1 and w == 0:
            return a
        case Call(Fn.MAX | Fn.MIN, (a, b)) if a == b:
            return a
        case Call(Fn.SELECT, (Const(v), a, b)):
            return a if v else b
        case Call(Fn.SELECT, (_, a, b)) if a == b:
            return a
        case Call(Fn.EXP | Fn.EXP2, (Const(v),)) if v == -math.inf:
            return Const(0.0, call.args[0].dtype if isinstance(call.args[0], Const) else None)
        case Call(Fn.AND, (Const(True), x) | (x, Const(True))) | Call(Fn.OR, (Const(False), x) | (x, Const(False))):
            return x
    return None
