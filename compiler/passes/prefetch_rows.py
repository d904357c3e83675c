"""Prefetches for loops along many rows at once: more than the processor follows by itself.

loop j {                               loop j {
  loop i { ... x[i, j + @0] ... }  -->   loop i { prefetch x[i, j + 64]   ... x[i, j + @0] ... }
}                                      }
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from math import prod

from ...ir.expr import Call, Coord, Expr, Fn, Ref, Var, const, rewrite, variables, walk
from ...ir.gir import Access, Load, Loop, LoopKind, Prefetch, Stmt, bodies
from ...ir.gir_tools import Body, coordinates
from ..index_math import linear

_FOLLOWED = 32  # rows that a processor reads ahead in at once
_MOVING = (LoopKind.SERIAL, LoopKind.UNIT, LoopKind.GROUP)


def many_rows(outer: Stmt, sizes: Mapping[str, int], most_bytes: int, row_bytes: int) -> Body | None:
    """A loop along more rows than the processor follows, a piece of each in turn: prefetches `row_bytes` further on.
    `sizes`: element bytes of the tensors that are worth it; `most_bytes`: of all pieces of a tile."""
    if not isinstance(outer, Loop) or outer.kind not in _MOVING:
        return None
    out: list[Stmt] = []
    for inner in outer.body:
        if isinstance(inner, Loop) and inner.kind in _MOVING and not any(bodies(s) for s in inner.body):
            loads = [s for s in inner.body if isinstance(s, Load) and s.source.buffer in sizes]
            hints = [
                h
                for load in loads
                for h in _further(load, inner, outer, sizes[load.source.buffer], most_bytes, row_bytes)
            ]
            if hints and not any(isinstance(s, Prefetch) for s in inner.body):
                inner = replace(inner, body=(*hints, *inner.body))
        out.append(inner)
    same = all(a is b for a, b in zip(out, outer.body, strict=True))
    return None if same else (replace(outer, body=tuple(out)),)


def _further(load: Load, inner: Loop, outer: Loop, size: int, most_bytes: int, row_bytes: int) -> list[Prefetch]:
    """For every row of the load's tile, what lies `row_bytes` after its piece."""
    *before, last = load.source.index or (const(0),)
    form = linear(last)
    across = [c for c in sorted(coordinates(last)) if form.coefficient(Coord(c)) == 1]
    scattered = any(isinstance(n, Ref) for i in load.source.index for n in walk(i))
    if len(across) != 1 or scattered:
        return []
    width, rows = load.shape[across[0]], prod(load.shape) // load.shape[across[0]]
    moves = any(inner.var in variables(i) for i in before) and inner.var not in variables(last)
    still = outer.var not in {v for i in before for v in variables(i)}
    goes_on = form.coefficient(Var(outer.var)) == 1 and outer.step == width and still
    trips = -(-_most(inner) // inner.step)
    if not (moves and goes_on) or trips * rows <= _FOLLOWED or rows * width * size > most_bytes:
        return []
    ahead = Call(Fn.ADD, (last, const(max(width, row_bytes // size))))
    places = [range(n) if k != across[0] else range(1) for k, n in enumerate(load.shape)]
    return [_at(load, (*before, ahead), place, width) for place in product(*places)]


def _most(loop: Loop) -> int:
    """The distance between the bounds of a loop, at most; 0 where it is not known."""
    spans = [linear(Call(Fn.SUB, (hi, lo))) for hi in _arguments(loop.hi, Fn.MIN) for lo in _arguments(loop.lo, Fn.MAX)]
    return max(0, min((s.constant for s in spans if not s.terms), default=0))


def _arguments(e: Expr, fn: Fn) -> list[Expr]:
    return [x for a in e.args for x in _arguments(a, fn)] if isinstance(e, Call) and e.fn is fn else [e]


def _at(load: Load, index: tuple[Expr, ...], at: tuple[int, ...], width: int) -> Prefetch:
    """The piece at some coordinates of the tile."""
    placed = (rewrite(i, lambda n: const(at[n.axis]) if isinstance(n, Coord) else None) for i in index)
    return Prefetch(Access(load.source.buffer, tuple(linear(i).to_expr() for i in placed)), width)
