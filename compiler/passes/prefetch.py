"""Prefetches: while one iteration computes, the next one's data comes.

    loop i {                               loop i {
      loop j { ... x[i, j] ... }             loop j { ... x[i, j] ... }
      loop j { ... x[i, j] ... }     -->     loop j { prefetch x[i + 1, j]   ... x[i, j] ... }
      loop j { y[i, j] = ... }               loop j { y[i, j] = ... }
    }                                      }

Loops that follow one another in a body do not overlap: while a later one works on what is in the caches, memory rests,
and what the next iteration reads first is not asked for by anything that the processor could see coming. So where the
first loop of a body that touches a tensor reads a contiguous run of it that moves with the loop around, a later loop
over the same range asks for the run of the next iteration. Of the later loops the one with most arithmetic for each
element is taken, and none that streams its results past the caches if there is another one. Runs that are short
(the processor sees past their end by itself) or would fill more than a share of the second cache are left alone.

The processor also loses the thread where each iteration of an innermost loop reads short pieces far from the last ones:

    loop i { ... x[i, j + @0] ... }     -->     loop i { prefetch x[i + 16, j]   ... x[i, j + @0] ... }

Such a loop asks for the pieces of some iterations later, if it computes little with each element, stores to no tensor
and the one that it reads is too large for the second cache. The pieces may be read by a short loop inside of it.

Extents that are open count as assumed (`assumed.py`): a prefetch that was not needed costs an instruction.

and where more rows are read side by side than it can follow, a piece of each in turn (`prefetch_rows.py`).

(Prefetching for loop nests: Mowry, Lam and Gupta, ASPLOS 1992.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import ClassVar

from ...ir.expr import Call, Coord, Expr, Fn, Ref, Var, as_int, const, rewrite, substitute, variables, walk
from ...ir.folding import fold
from ...ir.gir import Access, Branch, Compute, Load, Loop, LoopKind, Prefetch, Program, Stmt, Store, Tensor, bodies
from ...ir.gir import walk as walk_stmts
from ...ir.gir_tools import Body, buffer_read, buffer_written, map_kernels, map_statements, with_bodies
from ..assumed import assumed_values
from ..index_math import Env, linear, program_env
from .prefetch_rows import many_rows

MOST_WORK = 6  # operations for each element read, beyond which memory is not what a loop waits for
_MOVING = (LoopKind.SERIAL, LoopKind.UNIT, LoopKind.GROUP)


@dataclass(frozen=True)
class Prefetching:
    """`cache_bytes`: of the second-level cache; `line_bytes`: of a line; `least_bytes`: of a run that is worth it."""

    cache_bytes: int = 1 << 20
    line_bytes: int = 64
    least_bytes: int = 2048
    distance_bytes: int = 16384  # how far ahead short pieces are asked for
    row_bytes: int = 256  # how far ahead in each of many rows

    name: ClassVar[str] = "prefetching"
    form: ClassVar[str] = "gir"

    def run(self, program: Program) -> Program:
        env = program_env(program)
        sizes = {t.name: t.dtype.bytes for t in program.tensors}
        known = {n: const(v) for n, v in assumed_values(program.symbols, program.facts).items()}
        large = {t.name for t in program.tensors if _bytes(t, known) >= self.cache_bytes}
        program = map_kernels(program, lambda k: self.body(k.body, _Lengths(env, known), sizes))
        if not large:
            return program
        program = map_kernels(program, lambda k: map_statements(k.body, lambda s: self.far(s, sizes, large, known)))
        sized = {name: sizes[name] for name in large}
        return map_kernels(
            program, lambda k: map_statements(k.body, lambda s: many_rows(s, sized, self.least_bytes, self.row_bytes))
        )

    def far(self, loop: Stmt, sizes: dict[str, int], large: set[str], known: Mapping[str, Expr]) -> Body | None:
        """A loop over short pieces, read at once or by a short loop inside, with prefetches for later iterations."""
        if not isinstance(loop, Loop) or loop.kind not in _MOVING:
            return None
        inner = [s for s in loop.body if bodies(s)]
        if any(not isinstance(s, Loop) or any(bodies(x) for x in s.body) or _trips(s, known) is None for s in inner):
            return None
        reads = [(s, around) for s, around in _statements(loop) if isinstance(s, Load) and s.source.buffer in large]
        pieces = [(s, around, n) for s, around in reads if (n := _piece(s, loop, around, known)) is not None]
        if not pieces or any(isinstance(s, Prefetch) or _leaves(s, sizes) for s, _ in _statements(loop)):
            return None
        work = 0
        for s, around in _statements(loop):
            trips = 1 if around is None else _trips(around, known) or 1
            work += prod(s.shape) * _calls(s) * trips if isinstance(s, Compute | Store) else 0
        if work > MOST_WORK * sum(prod(s.shape[:-1]) * n for s, _, n in pieces):
            return None
        hints: dict[int, list[Prefetch]] = {}
        for load, around, length in pieces:
            piece = length * sizes[load.source.buffer]
            whole = prod(load.shape[:-1]) * piece
            trips = -(-self.distance_bytes // whole)
            if self.line_bytes <= piece <= self.least_bytes and (_trips(loop, known) or 2 * trips) >= 2 * trips:
                later: dict[str, Expr] = {loop.var: Call(Fn.ADD, (Var(loop.var), const(trips * loop.step)))}
                found = [_hint(load, later, (*row, 0)) for row in product(*map(range, load.shape[:-1]))]
                hints.setdefault(id(around), []).extend(found)
        if not hints:
            return None
        # where a loop inside reads the pieces, it asks for them line by line, between its computations
        body = tuple(
            replace(s, body=(*hints[id(s)], *s.body)) if isinstance(s, Loop) and id(s) in hints else s
            for s in loop.body
        )
        return (replace(loop, body=(*hints.get(id(None), ()), *body)),)

    def body(self, body: Body, env: _Lengths, sizes: dict[str, int]) -> Body:
        out = []
        for stmt in body:
            inner = bodies(stmt)
            if inner:
                below = env.inside(stmt) if isinstance(stmt, Loop) else env
                stmt = with_bodies(stmt, tuple(self.body(b, below, sizes) for b in inner))
            if isinstance(stmt, Loop) and stmt.kind in _MOVING:
                stmt = replace(stmt, body=self.overlapped(stmt, env, sizes))
            out.append(stmt)
        return tuple(out)

    def overlapped(self, outer: Loop, env: _Lengths, sizes: dict[str, int]) -> Body:
        """The body of `outer` with prefetches for its next iteration."""
        body = outer.body
        if (_trips(outer, env.known) or 2) <= 1:
            return body
        loops = [s for s in body if isinstance(s, Loop)]
        wanted: dict[int, list[Prefetch]] = {}
        room = self.cache_bytes // 4
        for place, load in _first_reads(body, sizes):
            run = _run(load, loops[place], outer, env)
            size = sizes[load.source.buffer]
            if run is None or not self.least_bytes <= run * size <= room:
                continue
            host = _host(loops, place, load)
            if host is None:
                continue
            room -= run * size
            # what the load reads in the iteration of the host of the same number, one iteration of `outer` later
            next_one: Expr = Call(Fn.ADD, (Var(outer.var), const(outer.step)))
            later: dict[str, Expr] = {outer.var: next_one, loops[place].var: Var(loops[host].var)}
            hint = _hint(load, later, (0,) * len(load.shape))
            if hint not in wanted.setdefault(host, []):
                wanted[host].append(hint)
        if not any(wanted.values()):
            return body
        changed = {id(loops[h]): replace(loops[h], body=(*hints, *loops[h].body)) for h, hints in wanted.items()}
        return tuple(changed.get(id(s), s) for s in body)


@dataclass(frozen=True)
class _Lengths:
    """What is proved about indices, and what lengths are assumed to be."""

    env: Env
    known: Mapping[str, Expr]

    def inside(self, loop: Loop) -> _Lengths:
        return replace(self, env=self.env.inside(loop))

    def length(self, loop: Loop) -> int | None:
        """Iterations of the loop times its step, if it has the same in each iteration of those around it."""
        return _value_of(Call(Fn.SUB, (loop.hi, loop.lo)), self.known)


def _value_of(expr: Expr, known: Mapping[str, Expr]) -> int | None:
    return as_int(fold(linear(fold(substitute(expr, dict(known)))).to_expr()))


def _bytes(tensor: Tensor, known: Mapping[str, Expr]) -> int:
    return prod(_value_of(e, known) or 0 for e in tensor.shape) * tensor.dtype.bytes


def _statements(loop: Loop) -> Iterator[tuple[Stmt, Loop | None]]:
    """Those of the body, and those of loops in it with that loop."""
    for s in loop.body:
        if isinstance(s, Loop):
            yield from ((x, s) for x in s.body)
        else:
            yield s, None


def _trips(loop: Loop, known: Mapping[str, Expr]) -> int | None:
    length = _value_of(Call(Fn.SUB, (loop.hi, loop.lo)), known)
    return None if length is None else -(-length // loop.step)


def _leaves(stmt: Stmt, tensors: dict[str, int]) -> bool:
    """It stores to a tensor."""
    return isinstance(stmt, Store) and stmt.target.buffer in tensors


def _piece(load: Load, loop: Loop, inner: Loop | None, known: Mapping[str, Expr]) -> int | None:
    """Elements of the contiguous pieces that each iteration reads, each time in another place of a dimension that is
    not the last: by the load itself, or by all iterations of the loop around it."""
    *before, last = load.source.index or (const(0),)
    lane = len(load.shape) - 1
    if lane < 0 or load.predicate is not None or any(isinstance(n, Ref) for i in load.source.index for n in walk(i)):
        return None
    form = linear(last)
    moves = any(loop.var in variables(i) for i in before) and loop.var not in variables(last)
    if not moves or form.coefficient(Coord(lane)) != 1 or lane in {c for i in before for c in _axes(i)}:
        return None
    if inner is None:
        return load.shape[-1]
    if any(inner.var in variables(i) for i in before):
        return None
    walks = form.coefficient(Var(inner.var)) == 1 and inner.step == load.shape[-1] and as_int(inner.lo) == 0
    return inner.step * (_trips(inner, known) or 0) if walks else None


def _axes(expr: Expr) -> set[int]:
    return {n.axis for n in walk(expr) if isinstance(n, Coord)}


def _calls(stmt: Compute | Store) -> int:
    return sum(1 for n in walk(_value(stmt)) if isinstance(n, Call))


def _hint(load: Load, later: Mapping[str, Expr], at: tuple[int, ...]) -> Prefetch:
    """What `load` reads from the tile coordinates `at` on where loop indices are as `later` says."""

    def placed(e: Expr) -> Expr:
        return rewrite(e, lambda n: const(at[n.axis]) if isinstance(n, Coord) else None)

    index = tuple(linear(substitute(placed(i), dict(later))).to_expr() for i in load.source.index)
    return Prefetch(Access(load.source.buffer, index), load.shape[-1] if load.shape else 1)


def _first_reads(body: Body, tensors: dict[str, int]) -> Iterator[tuple[int, Load]]:
    """Loads of tensors that nothing before them in the body touches, in loops without loops inside, by loop number."""
    touched: set[str] = set()
    number = 0
    for stmt in body:
        if isinstance(stmt, Loop):
            if not any(bodies(s) for s in stmt.body):
                for s in stmt.body:
                    if isinstance(s, Load) and s.source.buffer in tensors and s.source.buffer not in touched:
                        yield number, s
            number += 1
        for s in walk_stmts((stmt,)):
            touched |= {n for n in (buffer_read(s), buffer_written(s)) if n is not None}


def _run(load: Load, inner: Loop, outer: Loop, env: _Lengths) -> int | None:
    """Elements that the whole inner loop reads, if they are contiguous and each iteration of `outer` has its own."""
    index = load.source.index
    length = env.length(inner)
    if not index or length is None or inner.step < 1 or inner.kind is LoopKind.UNROLL:
        return None
    if len(load.shape) > 1 or any(isinstance(n, Ref) for i in index for n in walk(i)):
        return None
    before, last = index[:-1], env.inside(outer).inside(inner).env.linear(index[-1])
    width = load.shape[0] if load.shape else 1
    used = {n for i in before for n in variables(i)}
    if inner.var in used or any(isinstance(n, Coord) for i in before for n in walk(i)):
        return None
    if last.coefficient(Var(inner.var)) != 1 or (load.shape and last.coefficient(Coord(0)) != 1) or width != inner.step:
        return None
    moves = outer.var in used or abs(last.coefficient(Var(outer.var))) * outer.step >= length
    return length if moves else None


def _host(loops: list[Loop], first: int, load: Load) -> int | None:
    """The later loop that gets the prefetch, or None."""
    model = loops[first]
    fitting = [
        k
        for k, loop in enumerate(loops)
        if k > first
        and (loop.lo, loop.hi, loop.step) == (model.lo, model.hi, model.step)
        and loop.kind is model.kind
        and not any(isinstance(s, Loop | Branch) for s in loop.body)
    ]
    return max(fitting, key=lambda k: (not _streams(loops[k]), _arithmetic(loops[k]), -k)) if fitting else None


def _streams(loop: Loop) -> bool:
    return any(isinstance(s, Store) and s.streaming for s in loop.body)


def _arithmetic(loop: Loop) -> int:
    """Calls in the loop's expressions, functions counting for more: what there is to hide behind."""
    calls = (n for s in loop.body if isinstance(s, Compute | Store) for n in walk(_value(s)) if isinstance(n, Call))
    return sum(1 if n.fn in _CHEAP else 8 for n in calls)


_CHEAP = frozenset({Fn.ADD, Fn.SUB, Fn.MUL, Fn.FMA, Fn.MAX, Fn.MIN, Fn.NEG, Fn.ABS, Fn.SELECT})


def _value(stmt: Stmt) -> Expr:
    assert isinstance(stmt, Compute | Store)
    return stmt.expr if isinstance(stmt, Compute) else stmt.value
