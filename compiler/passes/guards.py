"""Guard hoisting: loops are split so that most iterations test nothing, and iterations that do nothing go away.

    loop j = 0 .. N step 16 {                      loop j = 0 .. N//16*16 step 16 {
      t[16] = x[j + @0] where j + @0 < N    -->      t[16] = x[j + @0]
    }                                              }
                                                   loop j = N//16*16 .. N step 16 {
                                                     t[16] = x[j + @0] where j + @0 < N
                                                   }

Every comparison of index arithmetic (in predicates, branch conditions and the conditions of `select`) is classed by
the extremes of its linear form over the tile's box: where it is decided the wanted way the iteration is *full*, where
it is decided the other way and the body then has no effect the iteration is *empty*, otherwise *partial*. A serial
loop becomes at most three consecutive loops (partial, full, partial) and loses its empty iterations; a parallel loop
is not split (that would be a second fork and join), its body becomes `if full { unguarded } else { guarded }`.
Bounds may depend on symbols, outer loops and tiles. A comparison is decided at the innermost serial loop whose index
occurs in it (causal masks: the loop over keys), loops of a few constant iterations counting as part of the box.

"Without effect" is proved by evaluating the body with the comparison decided: stores must be switched off and every
mutable tile of outside must be assigned its own value (`a + 0`, `max(a, -inf)`, ...; the sign of a zero sum may
change, as reassociation may). "Cannot prove" keeps the iteration.

Runs after instantiation, which writes a guard on every access that could leave its tensor, and before the monotone
set, which finds more once guards are gone. Source: docs/rules.md, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import ClassVar

from ...ir.dtypes import DType
from ...ir.expr import Call, Const, Expr, Fn, Ref, Var, const, rewrite
from ...ir.gir import Branch, Kernel, Load, Loop, LoopKind, Program, Stmt, bodies
from ...ir.gir_tools import Body, introduced, map_expressions, map_kernels, mutable_tiles, with_bodies
from ..comparisons import Atom, atoms_of, decide, order_equalities, substitute_atoms, threshold
from ..effects import always_effective, without_effect
from ..index_math import Env, program_env


@dataclass(frozen=True)
class Guards:
    """`max_copies` bounds how often one statement may occur in the result; `parallel` allows two versions of the body
    of a parallel loop."""

    max_copies: int = 12
    parallel: bool = True

    name: ClassVar[str] = "guards"
    form: ClassVar[str] = "gir"

    def run(self, program: Program) -> Program:
        env = program_env(program)
        integers = frozenset(t.name for t in program.tensors if t.dtype is DType.I64)

        def kernel(k: Kernel) -> Body:
            return _Splitter(self, mutable_tiles(k.body), integers).body(order_equalities(k.body, env), env, 1)

        return map_kernels(program, kernel)


@dataclass(frozen=True)
class _Splitter:
    """The pass in one kernel; `mutable` are all its mutable tiles, `integers` the tensors of i64 elements, `copies`
    counts versions of the body at hand."""

    options: Guards
    mutable: set[str]
    integers: frozenset[str]

    def body(self, body: Body, env: Env, copies: int) -> Body:
        """What a scalar load gives is a number like any other after it: `j < length` is decided as `j < N` is."""
        out: list[Stmt] = []
        known: dict[Expr, Expr] = {}
        for stmt in body:
            if known:
                stmt = _renamed(stmt, known)
            if isinstance(stmt, Load) and stmt.shape == () and stmt.source.buffer in self.integers:
                known[Ref(stmt.tile)] = Var(f"{stmt.tile}#")
            match stmt:
                case Loop():
                    out.extend(self.loop(stmt, env, copies))
                case Branch():
                    out.extend(self.branch(decide(stmt, env), env, copies))
                case _:
                    out.append(decide(stmt, env))
        back = {new: old for old, new in known.items()}
        return tuple(_renamed(s, back) for s in out) if back else tuple(out)

    def branch(self, stmt: Stmt, env: Env, copies: int) -> Body:
        assert isinstance(stmt, Branch)
        then, otherwise = (self.body(b, env, copies) for b in (stmt.then, stmt.otherwise))
        if isinstance(stmt.condition, Const):
            taken = then if stmt.condition.value else otherwise
            if all(t in self.mutable for s in taken if (t := introduced(s)) is not None):
                return taken  # introduces no names, so its scope can go
        return (replace(stmt, then=then, otherwise=otherwise),)

    def loop(self, loop: Loop, env: Env, copies: int) -> Body:
        if env.less_equal(loop.hi, loop.lo):
            return ()
        loop = self.shrink(loop, env)
        if env.less_equal(loop.hi, loop.lo):
            return ()
        inside = env.inside(loop)
        found = [a for a in atoms_of(loop, inside) if not a.decided(inside)]
        if loop.kind is LoopKind.UNROLL or not found:
            return (replace(loop, body=self.body(loop.body, inside, copies)),)
        if loop.kind is not LoopKind.SERIAL:
            return (replace(loop, body=self.versions(loop, found, env, copies)),)
        parts = _split(loop, found, env)
        if copies * len(parts) > self.options.max_copies:
            parts = [(loop, ())]
        out: list[Stmt] = []
        for part, decided in parts:
            body = tuple(substitute_atoms(s, dict(decided)) for s in part.body)
            out.append(replace(part, body=self.body(body, env.inside(part), copies * len(parts))))
        return tuple(out)

    def versions(self, loop: Loop, found: list[Atom], env: Env, copies: int) -> Body:
        """`if every atom is decided as wanted { body without them } else { body }`."""
        inside = env.inside(loop)
        if not self.options.parallel or copies * 2 > self.options.max_copies:
            return self.body(loop.body, inside, copies)
        full = _Full(loop, found, env)
        if not full.atoms:
            return self.body(loop.body, inside, copies)
        tests: list[Expr] = [Call(Fn.GE, (inside.simplify(a.worst.to_expr()), const(0))) for a in full.atoms]
        condition = reduce(lambda a, b: Call(Fn.AND, (a, b)), dict.fromkeys(tests))
        then = self.body(tuple(substitute_atoms(s, dict(full.decided)) for s in loop.body), inside, copies * 2)
        return (Branch(condition, then, self.body(loop.body, inside, copies * 2), loop.location),)

    def shrink(self, loop: Loop, env: Env) -> Loop:
        """Iterations at either end in which a decided comparison leaves no effect are cut off."""
        if loop.kind is LoopKind.UNROLL or always_effective(loop.body):
            return loop
        outside = self.mutable - mutable_tiles(loop.body)
        for atom in atoms_of(loop, env.inside(loop)):
            edge = threshold(atom.best, Var(loop.var))
            if edge is None or env.inside(loop).nonnegative(atom.best):
                continue
            decided = {atom.expr: Const(not atom.wanted, DType.BOOL)}
            if not without_effect(tuple(substitute_atoms(s, decided) for s in loop.body), outside):
                continue
            suffix, bound = edge
            if suffix:
                loop = replace(loop, lo=env.simplify(_round_up(bound, loop)))
            else:
                loop = replace(loop, hi=env.simplify(Call(Fn.MIN, (loop.hi, bound))))
        return loop


def _renamed(stmt: Stmt, names: Mapping[Expr, Expr]) -> Stmt:
    out = map_expressions(stmt, lambda e: rewrite(e, names.get))
    inner = bodies(out)
    return with_bodies(out, tuple(tuple(_renamed(s, names) for s in b) for b in inner)) if inner else out


def _round_up(bound: Expr, loop: Loop) -> Expr:
    """The first iteration at or after `bound` (and not before `lo`)."""
    if loop.step > 1:
        away = Call(Fn.SUB, (Call(Fn.ADD, (bound, const(loop.step - 1))), loop.lo))
        steps = Call(Fn.FLOORDIV, (away, const(loop.step)))
        bound = Call(Fn.ADD, (loop.lo, Call(Fn.MUL, (steps, const(loop.step)))))
    return Call(Fn.MAX, (bound, loop.lo))


Part = tuple[Loop, tuple[tuple[Expr, Const], ...]]


@dataclass
class _Full:
    """The iterations `begin <= var < end` in which all of the `atoms` are decided as wanted; None is no limit."""

    loop: Loop
    env: Env
    atoms: list[Atom]
    begin: Expr | None = None
    end: Expr | None = None

    def __init__(self, loop: Loop, atoms: list[Atom], env: Env) -> None:
        self.loop, self.env, self.atoms = loop, env, []
        for atom in atoms:
            edge = threshold(atom.worst, Var(loop.var))
            if edge is None:
                continue
            suffix, bound = edge
            bound = env.simplify(_round_up(bound, loop))
            begin, end = self.begin, self.end
            if suffix:
                begin = bound if begin is None else env.simplify(Call(Fn.MAX, (begin, bound)))
            else:
                end = bound if end is None else env.simplify(Call(Fn.MIN, (end, bound)))
            if not env.less_equal(loop.hi if end is None else end, loop.lo if begin is None else begin):
                self.begin, self.end = begin, end  # taking it in leaves iterations that can be full
                self.atoms.append(atom)

    @property
    def decided(self) -> tuple[tuple[Expr, Const], ...]:
        return tuple((a.expr, Const(a.wanted, DType.BOOL)) for a in self.atoms)


def _split(loop: Loop, atoms: list[Atom], env: Env) -> list[Part]:
    """At most three loops over the same iterations, with the atoms decided in each."""
    full = _Full(loop, atoms, env)
    if not full.atoms:
        return [(loop, ())]
    first = loop.lo if full.begin is None else full.begin
    last = loop.hi if full.end is None else env.simplify(Call(Fn.MAX, (full.end, first)))
    parts: list[Part] = []

    def add(lo: Expr, hi: Expr, known: tuple[tuple[Expr, Const], ...]) -> None:
        if not env.less_equal(hi, lo):
            parts.append((replace(loop, lo=lo, hi=hi), known))

    if full.begin is not None:
        add(loop.lo, env.simplify(Call(Fn.MIN, (first, loop.hi))), ())
    # not `last`: where nothing is full the end may lie before the start, and bounds stay simple to prove things with
    end = loop.hi if full.end is None else full.end
    add(first, env.simplify(Call(Fn.MIN, (end, loop.hi))), full.decided)
    if full.end is not None:
        add(last, loop.hi, ())
    return parts if any(known for _, known in parts) else [(loop, ())]
