"""Small questions and edits that every pass over GIR needs: expressions, names, and effects of statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from .expr import Coord, Expr, Ref, refs, rewrite, substitute, variables, walk
from .gir import (
    Access,
    Alloc,
    Branch,
    Compute,
    Kernel,
    Level,
    Load,
    Loop,
    Move,
    Prefetch,
    Program,
    Reduce,
    Stmt,
    Store,
    bodies,
)
from .gir import walk as walk_stmts

Body = tuple[Stmt, ...]


def map_expressions(stmt: Stmt, rule: Callable[[Expr], Expr]) -> Stmt:
    """The statement with `rule` applied to each of its own expressions (nested bodies are left alone)."""

    def access(a: Access) -> Access:
        return Access(a.buffer, tuple(rule(i) for i in a.index))

    def maybe(e: Expr | None) -> Expr | None:
        return None if e is None else rule(e)

    match stmt:
        case Alloc():
            return replace(stmt, shape=tuple(rule(e) for e in stmt.shape))
        case Load():
            return replace(stmt, source=access(stmt.source), predicate=maybe(stmt.predicate), fill=maybe(stmt.fill))
        case Compute():
            return replace(stmt, expr=rule(stmt.expr))
        case Store():
            return replace(stmt, target=access(stmt.target), value=rule(stmt.value), predicate=maybe(stmt.predicate))
        case Move():
            return replace(
                stmt,
                target=access(stmt.target),
                source=access(stmt.source),
                shape=tuple(rule(e) for e in stmt.shape),
                predicate=maybe(stmt.predicate),
                fill=maybe(stmt.fill),
            )
        case Prefetch():
            return replace(stmt, source=access(stmt.source))
        case Loop():
            return replace(stmt, lo=rule(stmt.lo), hi=rule(stmt.hi))
        case Branch():
            return replace(stmt, condition=rule(stmt.condition))
    return stmt


def expressions(stmt: Stmt) -> list[Expr]:
    """The statement's own expressions, in a fixed order."""

    def there(*given: Expr | None) -> list[Expr]:
        return [e for e in given if e is not None]

    match stmt:
        case Alloc():
            return list(stmt.shape)
        case Load():
            return [*stmt.source.index, *there(stmt.predicate, stmt.fill)]
        case Compute():
            return [stmt.expr]
        case Store():
            return [*stmt.target.index, stmt.value, *there(stmt.predicate)]
        case Move():
            return [*stmt.target.index, *stmt.source.index, *stmt.shape, *there(stmt.predicate, stmt.fill)]
        case Prefetch():
            return list(stmt.source.index)
        case Loop():
            return [stmt.lo, stmt.hi]
        case Branch():
            return [stmt.condition]
    return []


def with_bodies(stmt: Stmt, new: tuple[Body, ...]) -> Stmt:
    match stmt:
        case Loop():
            return replace(stmt, body=new[0])
        case Branch():
            return replace(stmt, then=new[0], otherwise=new[1])
    return stmt


def map_statements(body: Body, rule: Callable[[Stmt], Body | None]) -> Body:
    """Innermost first: `rule` returns what replaces a statement (`()` deletes it), or None to keep it. The same body
    where nothing changed."""
    out: list[Stmt] = []
    changed = False
    for old in body:
        stmt, inner = old, bodies(old)
        if inner:
            below = tuple(map_statements(b, rule) for b in inner)
            if any(a is not b for a, b in zip(below, inner, strict=True)):
                stmt = with_bodies(stmt, below)
        new = rule(stmt)
        changed |= new is not None or stmt is not old
        out.extend((stmt,) if new is None else new)
    return tuple(out) if changed else body


def map_kernels(program: Program, rule: Callable[[Kernel], Body]) -> Program:
    """A program whose kernels have new bodies; the same object where nothing changed."""
    kernels = tuple(k if (b := rule(k)) is k.body or b == k.body else replace(k, body=b) for k in program.kernels)
    return (
        program
        if all(a is b for a, b in zip(kernels, program.kernels, strict=True))
        else replace(program, kernels=kernels)
    )


def tiles_read(stmt: Stmt) -> set[str]:
    """Tiles whose value the statement itself uses."""
    names = {n for e in expressions(stmt) for n in refs(e)}
    return names | {stmt.source} if isinstance(stmt, Reduce) else names


def tile_written(stmt: Stmt) -> str | None:
    return stmt.tile if isinstance(stmt, Load | Compute | Reduce) else None


def introduced(stmt: Stmt) -> str | None:
    """The name a statement may bring into its scope."""
    return stmt.name if isinstance(stmt, Alloc) else tile_written(stmt)


def buffer_read(stmt: Stmt) -> str | None:
    return stmt.source.buffer if isinstance(stmt, Load | Move | Prefetch) else None


def buffer_written(stmt: Stmt) -> str | None:
    return stmt.target.buffer if isinstance(stmt, Store | Move) else None


def variables_read(stmt: Stmt) -> set[str]:
    return {n for e in expressions(stmt) for n in variables(e)}


def mutable_tiles(body: Body) -> set[str]:
    """Names of register tiles that an `Alloc` anywhere in the body introduces."""
    return {s.name for s in walk_stmts(body) if isinstance(s, Alloc) and s.level is Level.REG}


def names(body: Body) -> set[str]:
    """Every tile, buffer and loop name that occurs in a body."""
    found: set[str] = set()
    for s in walk_stmts(body):
        found |= tiles_read(s) | variables_read(s)
        found |= {n for n in (tile_written(s), buffer_read(s), buffer_written(s)) if n is not None}
        if isinstance(s, Loop):
            found.add(s.var)
        if isinstance(s, Alloc):
            found.add(s.name)
    return found


def taken_names(kernel: Kernel, program: Program) -> set[str]:
    """Names that a new tile or buffer of the kernel may not have."""
    return names(kernel.body) | {t.name for t in program.tensors} | {s.name for s in program.symbols}


def fresh(name: str, taken: set[str]) -> str:
    """`name`, or `name$1`, `name$2` ... : the first that is not taken. It is added to `taken`."""
    base, k, out = name.split("$")[0], 0, name
    while out in taken:
        k += 1
        out = f"{base}${k}"
    taken.add(out)
    return out


def rename_tile(stmt: Stmt, old: str, new: str) -> Stmt:
    """One statement (nested bodies included) with a tile renamed wherever it is read or written."""
    return rename_tiles(stmt, {old: new})


def rename_tiles(stmt: Stmt, new: Mapping[str, str]) -> Stmt:
    """One statement (nested bodies included) with tiles renamed, all at once; the same statement where none occurs."""

    def leaf(n: Expr) -> Expr | None:
        return Ref(new[n.name], n.location) if isinstance(n, Ref) and n.name in new else None

    if not tiles_read(stmt).isdisjoint(new):
        stmt = map_expressions(stmt, lambda e: rewrite(e, leaf))
    match stmt:
        case Load() | Compute() if stmt.tile in new:
            stmt = replace(stmt, tile=new[stmt.tile])
        case Reduce() if stmt.tile in new or stmt.source in new:
            stmt = replace(stmt, tile=new.get(stmt.tile, stmt.tile), source=new.get(stmt.source, stmt.source))
        case Alloc() if stmt.name in new:
            stmt = replace(stmt, name=new[stmt.name])
    inner = bodies(stmt)
    if inner:
        below = tuple(tuple([rename_tiles(s, new) for s in b]) for b in inner)
        if any(x is not y for a, b in zip(below, inner, strict=True) for x, y in zip(a, b, strict=True)):
            stmt = with_bodies(stmt, below)
    return stmt


def substitute_vars(stmt: Stmt, values: dict[str, Expr]) -> Stmt:
    """One statement (nested bodies included) with loop indices replaced."""
    stmt = map_expressions(stmt, lambda e: substitute(e, values))
    inner = bodies(stmt)
    return with_bodies(stmt, tuple(tuple(substitute_vars(s, values) for s in b) for b in inner)) if inner else stmt


def coordinates(expr: Expr) -> set[int]:
    return {n.axis for n in walk(expr) if isinstance(n, Coord)}


def loops_around(body: Body, outer: tuple[Loop, ...] = ()) -> Iterator[tuple[Stmt, tuple[Loop, ...]]]:
    """Every statement with the loops that enclose it, outermost first, in program order."""
    for stmt in body:
        yield stmt, outer
        inner = (*outer, stmt) if isinstance(stmt, Loop) else outer
        for b in bodies(stmt):
            yield from loops_around(b, inner)
