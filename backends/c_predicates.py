"""Predicates of loads and stores: which lanes of a vector they admit, in the cheapest form that says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..ir.dtypes import DType
from ..ir.expr import Call, Coord, Expr, Fn, Ref, conjuncts, walk
from .c_expr import At, Scope
from .c_index import Poly, is_bounded, poly
from .c_tile_base import TileBase
from .c_values import ATOM, Value


@dataclass(frozen=True)
class Lanes:
    """Which lanes of a vector a predicate admits: all or none where `uniform` holds, of those `bits` says."""

    uniform: str = ""
    bits: str = ""
    general: bool = False


class PredicatePrinter(TileBase):
    """Prints predicates."""

    def moves_lane(self, shape: tuple[int, ...], scope: Scope) -> Callable[[Expr], bool]:
        """Whether a factor changes along the last axis of the instruction."""
        last = len(shape) - 1

        def moves(factor: Expr) -> bool:
            for e in walk(factor):
                if isinstance(e, Coord) and e.axis == last:
                    return True
                if isinstance(e, Ref) and e.name in scope.tiles and scope.tiles[e.name].lanes > 1:
                    return True
            return False

        return moves

    def admitted(self, predicate: Expr | None, at: At, shape: tuple[int, ...], scope: Scope) -> Lanes:
        """Which lanes of the vector at `at` a predicate admits, in the cheapest form that says it."""
        if predicate is None:
            return Lanes()
        moves = self.moves_lane(shape, scope)
        uniform: list[Expr] = []
        lows: list[str] = []
        highs: list[str] = []
        last = len(shape) - 1
        for term in conjuncts(predicate):
            if at.lanes == 1 or not moves(term):
                uniform.append(term)
                continue
            form = _difference(term, scope.bounded)
            stride = None if form is None else form.stride(last, moves)
            if form is None or stride is None or stride.value not in (1, -1):
                return Lanes(general=True)
            rest = form.at(dict(enumerate(at.coords)))  # negative at the first lane's coordinate where it holds
            if stride.value == 1:
                highs.append(self.printer.poly(-rest, at, scope).text)
            else:
                lows.append(self.printer.poly(rest + Poly((((), 1),)), at, scope).text)
        condition = ""
        if uniform:
            scalar = At(at.coords, 1, at.lane)
            texts = [self.condition(t, scalar, scope) for t in uniform]
            condition = texts[0].text if len(texts) == 1 else " && ".join(t.at(ATOM) for t in texts)
        if not lows and not highs:
            return Lanes(uniform=condition)
        low = lows[0] if lows else "0"
        for other in lows[1:]:
            low = f"{self.printer.helpers.use('weft_max_i64')}({low}, {other})"
        high = highs[0] if highs else str(at.lanes)
        for other in highs[1:]:
            high = f"{self.printer.helpers.use('weft_min_i64')}({high}, {other})"
        bits = f"{self.printer.helpers.use('weft_lanes')}({low}, {high})"
        return Lanes(bits=f"({condition}) ? {bits} : 0" if condition else bits)

    def condition(self, expr: Expr, at: At, scope: Scope) -> Value:
        return self.printer.convert.cast(self.printer.value(expr, at, scope), DType.BOOL)


def _difference(term: Expr, bounded: frozenset[str]) -> Poly | None:
    """The polynomial that is negative where an integer comparison holds, or None for another term."""
    match term:
        case Call(Fn.LT | Fn.LE | Fn.GT | Fn.GE as fn, (a, b)) if is_bounded(a, bounded) and is_bounded(b, bounded):
            if fn in (Fn.GT, Fn.GE):
                a, b = b, a
            return poly(a) - poly(b) - Poly((((), 1 if fn in (Fn.LE, Fn.GE) else 0),) if fn in (Fn.LE, Fn.GE) else ())
    return None
