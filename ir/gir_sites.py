"""Where a GIR program touches memory: every access with the loops and branches around it, and what is known there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .dtypes import DType
from .expr import Call, Coord, Expr, Fn, Ref, Var, const, rewrite
from .gir import Access, Branch, Load, Loop, Move, Program, Stmt, Store
from .ranges import Domain

Step = tuple[Loop | Branch, bool]  # a loop (True), or a branch and which side of it
Path = tuple[Step, ...]


@dataclass(frozen=True)
class TileType:
    """A register tile in scope; `home` is the number of loops and branches around its introduction."""

    shape: tuple[int, ...]
    dtype: DType
    mutable: bool
    home: int


@dataclass(frozen=True)
class Site:
    """One access. `home` is the number of loops and branches around the buffer's declaration."""

    access: Access
    extents: tuple[Expr, ...]
    home: int
    is_write: bool
    shape: tuple[Expr, ...]
    predicate: Expr | None
    path: Path
    stmt: Stmt
    tiles: Mapping[str, TileType]


class Names:
    """The names of one copy of a site: everything introduced inside the first `shared` steps of the path keeps its
    name, the rest gets the suffix, so that two iterations of a loop can be spoken about at once."""

    def __init__(self, site: Site, shared: int = 0, suffix: str = "") -> None:
        self.site = site
        self.shared = shared
        self.suffix = suffix
        self.own = {step[0].var for step in site.path[shared:] if isinstance(step[0], Loop)}

    def rename(self, expr: Expr, place: int | None = None) -> Expr:
        """`expr` as it stands at step `place` of the path, or (None) in the instruction itself."""

        def rule(node: Expr) -> Expr | None:
            match node:
                case Var(name) if name in self.own:
                    return Var(name + self.suffix)
                case Coord(axis) if self.suffix:
                    return Var(f"coordinate {axis}{self.suffix}")
                case Ref(name) if name in self.site.tiles and self.site.tiles[name].dtype.is_int:
                    tile = self.site.tiles[name]
                    if tile.mutable:  # its value may change between here and there
                        return Var(f"&{name}{self.suffix} at {'instruction' if place is None else place}")
                    if tile.home > self.shared or tile.shape:
                        return Var(f"&{name}{self.suffix}")
                    return Var(f"&{name}")
            return None

        return rewrite(expr, rule)

    def coordinate(self, axis: int) -> Expr:
        return self.rename(Coord(axis))


def start_domain(program: Program) -> Domain:
    """What holds everywhere: the facts, and that no extent is negative."""
    out = Domain()
    for fact in program.facts:
        out = out.with_condition(fact)
    for extent in dict.fromkeys(e for t in program.tensors for e in t.shape):
        out = out.with_condition(Call(Fn.GE, (extent, const(0))))
    return out


def with_path(domain: Domain, names: Names, first: int = 0, last: int | None = None) -> Domain:
    """What the steps of the path from `first` on, up to `last`, say."""
    for place, (node, side) in enumerate(names.site.path[first:last], first):
        match node:
            case Loop(var, lo, hi, step):
                name = var + names.suffix if var in names.own else var
                domain = domain.with_loop(name, names.rename(lo, place), names.rename(hi, place), step)
            case Branch(condition):
                domain = domain.with_condition(names.rename(condition, place), side)
    return domain


def with_instruction(domain: Domain, names: Names) -> Domain:
    """What the tile's box and the predicate say."""
    for axis, extent in enumerate(names.site.shape):
        here, end = names.coordinate(axis), names.rename(extent)
        domain = domain.with_condition(Call(Fn.AND, (Call(Fn.GE, (here, const(0))), Call(Fn.LT, (here, end)))))
    if names.site.predicate is not None:
        domain = domain.with_condition(names.rename(names.site.predicate))
    return domain


def both(load: Load) -> tuple[Access, tuple[int, ...]]:
    """What a load of pairs reaches, as access and box: one more tile axis, of size 2, along the last dimension."""
    *before, last = load.source.index or (const(0),)
    index = (*before, Call(Fn.ADD, (last, Coord(len(load.shape)))))
    return Access(load.source.buffer, index), (*load.shape, 2)


def accesses(stmt: Stmt) -> Iterator[tuple[Access, bool, tuple[Expr, ...], Expr | None]]:
    """The accesses of one statement: access, whether it writes, box, and the predicate under which it happens."""
    match stmt:
        case Load(shape=shape, source=source, predicate=predicate):
            if stmt.pairs:
                source, shape = both(stmt)
            yield source, False, tuple(map(const, shape)), predicate
        case Store(target=target, shape=shape, predicate=predicate):
            yield target, True, tuple(map(const, shape)), predicate
        case Move(target=target, source=source, shape=box, predicate=predicate, fill=fill):
            yield source, False, box, predicate
            yield target, True, box, predicate if fill is None else None
