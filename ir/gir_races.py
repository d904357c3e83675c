"""Proofs about the accesses of GIR: inside their buffers, and without races between parallel iterations.

Both ask the linear prover whether a counterexample can exist. For races: two iterations of one parallel loop, all
outer iterations the same, that reach the same element of a buffer declared outside of the loop with the same number
of syncs passed. That number is an affine form of the loops that hold syncs; where it is not, it is left open.
"""

from __future__ import annotations

from random import Random

from .affine import Affine
from .errors import NOWHERE, VerifyError
from .expr import Call, Coord, Expr, Fn, Ref, Var, const, rewrite, variables, walk
from .gir import Branch, Level, Loop, LoopKind, Program, Stmt, Sync, bodies
from .gir import walk as walk_stmts
from .gir_interp import scalar
from .gir_printer import print_access, print_stmt
from .gir_sites import Names, Site, start_domain, with_instruction, with_path
from .ranges import Domain

SAMPLES = 200  # of the search for a witness


def check_bounds(program: Program, sites: list[Site], unproved: list[str]) -> None:
    """Guarantee 7. Raises VerifyError only at a witness: values at which an access is reached and out of bounds. What
    is neither proved nor witnessed is added to `unproved`."""
    start = start_domain(program)
    for site in sites:
        names = Names(site)
        domain = with_instruction(with_path(start, names), names)
        for axis, (index, extent) in enumerate(zip(site.access.index, site.extents, strict=True)):
            here = names.rename(index)
            inside = Call(Fn.AND, (Call(Fn.GE, (here, const(0))), Call(Fn.LT, (here, extent))))
            if domain.proves(inside):
                continue
            what = f"dimension {axis} of {print_access(site.access)} in: {print_stmt(site.stmt)}"
            found = _witness(
                program, site, Call(Fn.AND, (Call(Fn.GE, (index, const(0))), Call(Fn.LT, (index, extent))))
            )
            if found:
                raise _error(f"out of bounds at {found}: {what}", site)
            unproved.append(f"bounds: {what}")


def _error(message: str, site: Site) -> VerifyError:
    location = getattr(site.stmt, "location", NOWHERE)
    return VerifyError(message, location, "a predicate that holds inside the buffer only")


def _witness(program: Program, site: Site, inside: Expr) -> str:
    """Values at which the access is reached and `inside` is false, or nothing."""
    exprs = [inside, *site.shape, *([site.predicate] if site.predicate is not None else [])]
    for node, _ in site.path:
        exprs += [node.lo, node.hi] if isinstance(node, Loop) else [node.condition]
    if any(isinstance(n, Ref) for e in exprs for n in walk(e)):
        return ""
    random = Random(0)
    for _ in range(SAMPLES):
        env = {s.name: random.choice((1, 2, 3, 5, 8, 16, 17, 32, 48, 64, 100, 256)) for s in program.symbols}
        if not all(scalar(f, env) for f in program.facts):
            continue
        if not all(scalar(e, env) >= 0 for t in program.tensors for e in t.shape) or not _reach(site, env, random):
            continue
        values = {n: v for n, v in env.items() if not n.startswith("@")}
        coordinates = {n: v for n, v in env.items() if n.startswith("@")}
        if not scalar(_coordinates_as_names(inside), env):
            return ", ".join(f"{n} = {v}" for n, v in {**values, **coordinates}.items())
    return ""


def _reach(site: Site, env: dict[str, int], random: Random) -> bool:
    """Choose loop indices and coordinates at which the access happens."""
    for node, side in site.path:
        if isinstance(node, Loop):
            span = range(scalar(node.lo, env), scalar(node.hi, env), node.step)
            if not span:
                return False
            env[node.var] = random.choice((span[0], span[-1], random.choice(span)))
        elif bool(scalar(node.condition, env)) != side:
            return False
    for axis, extent in enumerate(site.shape):
        size = scalar(extent, env)
        if size < 1:
            return False
        env[f"@{axis}"] = random.choice((0, size - 1, random.randrange(size)))
    return site.predicate is None or bool(scalar(_coordinates_as_names(site.predicate), env))


def _coordinates_as_names(expr: Expr) -> Expr:
    return rewrite(expr, lambda e: Var(f"@{e.axis}") if isinstance(e, Coord) else None)


def check_distinct(program: Program, sites: list[Site], unproved: list[str]) -> None:
    """Guarantee 8: the coordinates of one instruction are stored to different elements."""
    start = start_domain(program)
    for site in sites:
        if not site.is_write or not site.shape:
            continue
        one, two = (Names(site, len(site.path), suffix) for suffix in ("'", '"'))
        domain = with_instruction(with_instruction(with_path(start, one), one), two)
        for index in site.access.index:
            domain = domain.with_condition(Call(Fn.EQ, (one.rename(index), two.rename(index))))
        for axis in range(len(site.shape)):
            if not domain.with_condition(Call(Fn.LT, (one.coordinate(axis), two.coordinate(axis)))).is_empty:
                unproved.append(f"coordinates along axis {axis} may share an element: {print_stmt(site.stmt)}")


# ---- races


def check_races(program: Program, sites: list[Site], levels: dict[int, Level], unproved: list[str]) -> None:
    """Guarantees 9 and 11: iterations of parallel loops touch different elements, or a sync stands between.
    `levels[id(site)]` is the level of the site's buffer."""
    start = start_domain(program)
    loops: dict[int, tuple[Loop, int, list[Site]]] = {}
    for site in sites:
        for place, (node, _) in enumerate(site.path):
            if isinstance(node, Loop) and node.kind.is_parallel and site.home <= place:
                loops.setdefault(id(node), (node, place, []))[2].append(site)
    for loop, place, inside in loops.values():
        writes = [s for s in inside if s.is_write]
        for first in writes:
            for second in inside:
                if second.access.buffer != first.access.buffer or second.home != first.home:
                    continue
                if second.is_write and writes.index(first) > writes.index(second):
                    continue  # pairs of writes are symmetric
                if not _disjoint(start, loop, place, first, second, levels[id(first)]):
                    kind = "write" if second.is_write else "write and read"
                    unproved.append(
                        f"race: iterations of '{loop.var}' may {kind} one element of '{first.access.buffer}' without a "
                        f"sync between: {print_stmt(first.stmt)} | {print_stmt(second.stmt)}"
                    )


def _disjoint(start: Domain, loop: Loop, place: int, first: Site, second: Site, level: Level) -> bool:
    one, two = Names(first, place, "'"), Names(second, place, '"')
    domain = with_path(start, one, 0, place)
    for names in (one, two):
        domain = with_instruction(with_path(domain, names, place), names)
    for a, b in zip(first.access.index, second.access.index, strict=True):
        domain = domain.with_condition(Call(Fn.EQ, (one.rename(a), two.rename(b))))
    domain = _same_phase(domain, loop, place, one, two, level)
    left, right = Var(loop.var + one.suffix), Var(loop.var + two.suffix)
    if not domain.with_condition(Call(Fn.LT, (left, right))).is_empty:
        return False
    return first is second or domain.with_condition(Call(Fn.LT, (right, left))).is_empty


def _same_phase(domain: Domain, loop: Loop, place: int, one: Names, two: Names, level: Level) -> Domain:
    """The domain where both iterations have passed equally many syncs."""
    if not any(isinstance(s, Sync) for s in walk_stmts(loop.body)):
        return domain
    counts = []
    for names in (one, two):
        counter = _Counter(loop, place, names, level)
        total = counter.upto(loop.body, place + 1)
        if total is None:
            return domain
        for row in counter.rows:
            domain = domain.with_condition(row)
        counts.append(total.to_expr())
    return domain.with_condition(Call(Fn.EQ, (counts[0], counts[1])))


class _Counter:
    """Counts the syncs an iteration of `loop` passes before it reaches a site."""

    def __init__(self, loop: Loop, place: int, names: Names, level: Level) -> None:
        self.loop = loop
        self.names = names
        self.level = level
        self.rows: list[Expr] = []
        self.first = place

    def counts(self, sync: Sync) -> bool:
        if sync.scope is Level.DRAM:
            return True
        return self.level is Level.SRAM and sync.scope is Level.SRAM and self.loop.kind is not LoopKind.GROUP

    def upto(self, body: tuple[Stmt, ...], depth: int) -> Affine | None:
        """Syncs passed in `body` before the site, whose next path step is number `depth`."""
        path = self.names.site.path
        target: Stmt = path[depth][0] if depth < len(path) else self.names.site.stmt
        total = Affine((), 0)
        for stmt in body:
            if stmt is target:
                break
            whole = self.whole(stmt)
            if whole is None:
                return None
            total = total + whole
        if not isinstance(target, Loop | Branch) or depth >= len(path):
            return total
        side = bodies(target)[0 if path[depth][1] else 1]
        inner = self.upto(side, depth + 1)
        if inner is None:
            return None
        if isinstance(target, Loop) and not target.kind.is_parallel:
            each = self.body_count(target.body)
            if each is None:
                return None
            if each:
                turn = self.turn(target, depth)
                self.rows.append(Call(Fn.LT, (Var(turn), Var(self.trips(target)))))
                total = total + Affine(((turn, each),), 0)
        return total + inner

    def body_count(self, body: tuple[Stmt, ...]) -> int | None:
        parts = [self.whole(s) for s in body]
        if any(p is None or p.terms for p in parts):
            return None
        return sum(p.constant for p in parts if p is not None)

    def whole(self, stmt: Stmt) -> Affine | None:
        """Syncs of a whole statement; None where it depends on more than we follow."""
        match stmt:
            case Sync():
                return Affine((), int(self.counts(stmt)))
            case Loop(body=body, kind=kind):
                each = self.body_count(body)
                if each is None:
                    return None
                if not each:
                    return Affine((), 0)
                return Affine((), each) if kind.is_parallel else Affine(((self.trips(stmt), each),), 0)
            case Branch(then=then, otherwise=otherwise):
                return Affine((), 0) if self.body_count(then) == 0 == self.body_count(otherwise) else None
        return Affine((), 0)

    def trips(self, loop: Loop) -> str:
        """The number of turns of a loop, the same for all iterations if its bounds are."""
        inside = {s.var for s in walk_stmts(self.loop.body) if isinstance(s, Loop)} | {self.loop.var}
        mine = (variables(loop.lo) | variables(loop.hi)) & inside
        refs = any(isinstance(n, Ref) for e in (loop.lo, loop.hi) for n in walk(e))
        number = next(k for k, s in enumerate(walk_stmts(self.loop.body)) if s is loop)
        name = f"turns of {number}" + (self.names.suffix if mine or refs else "")
        self.rows.append(Call(Fn.GE, (Var(name), const(0))))
        return name

    def turn(self, loop: Loop, place: int) -> str:
        name = f"turn of {loop.var}{self.names.suffix}"
        start = self.names.rename(loop.lo, place)
        reached = Call(Fn.ADD, (start, Call(Fn.MUL, (Var(name), const(loop.step)))))
        self.rows.append(Call(Fn.EQ, (Var(loop.var + self.names.suffix), reached)))
        return name
