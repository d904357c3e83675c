"""Level promotion: what fits closer to the unit, and is nobody else's, moves there.

    alloc s: f32[4, 16] sram             alloc s: f32<4, 16> reg
    store<4, 16> s[@0, @1] = a   -->     s = a
    t = load<4, 16> s[@0, @1]            t: f32<4, 16> = s

A scratch buffer becomes a register tile when its static shape has at most `reg_bytes`, every access is the whole of it
(`[@0, @1, ...]`, no predicate), and no parallel loop or sync stands between its `Alloc` and its uses.

    tensor tmp: f32[M, 64] temp          (no tensor)
    parallel unit i in 0..M step 4 {     parallel unit i in 0..M step 4 {
      store tmp[i + @0, @1] = a    -->     alloc tmp: f32[4, 64] sram
      t = load tmp[i + @0, @1]             store tmp[@0, @1] = a ...

A dram temporary becomes scratch of one parallel iteration when it is used in one kernel and inside of one parallel loop
alone, every access stays within the rows that belong to the iteration (one dimension minus the loop index is provably
in `0 .. step`), and the rows of one iteration have at most `sram_bytes`.

Both take bytes off a farther level and add none there. Runs in the monotone set, before forwarding looks again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from math import prod
from typing import ClassVar

from ...ir.expr import Cast, Coord, Expr, Ref, Var, as_int, const
from ...ir.gir import (
    Access,
    Alloc,
    Compute,
    Level,
    Load,
    Loop,
    Move,
    Prefetch,
    Program,
    Role,
    Stmt,
    Store,
    Sync,
    Tensor,
    bodies,
)
from ...ir.gir import walk as walk_stmts
from ...ir.gir_tools import (
    Body,
    buffer_read,
    buffer_written,
    loops_around,
    map_kernels,
    map_statements,
    with_bodies,
)
from ..index_math import Env, linear, program_env

Loops = tuple[Loop, ...]
UNLIMITED = 1 << 62  # bytes, where no machine is known


@dataclass(frozen=True)
class PromoteLevel:
    """`reg_bytes`: of a buffer that becomes a tile; `sram_bytes`: of a temporary that becomes scratch; `room`: of all
    scratch of a kernel together, where the machine is known."""

    reg_bytes: int = 1024
    sram_bytes: int = 65536
    room: int = UNLIMITED

    name: ClassVar[str] = "promote_level"
    form: ClassVar[str] = "gir"

    def run(self, program: Program) -> Program:
        env = program_env(program)
        users: dict[str | None, set[int]] = {}  # by tensor: the numbers of the kernels that use it
        for number, kernel in enumerate(program.kernels):
            for stmt in walk_stmts(kernel.body):
                for name in (buffer_read(stmt), buffer_written(stmt)):
                    users.setdefault(name, set()).add(number)
        mine: dict[int, list[Tensor]] = {}  # by the number of a kernel: the temporaries that nobody else uses
        for tensor in program.tensors:
            if tensor.role is Role.TEMP and len(users.get(tensor.name, ())) == 1:
                mine.setdefault(min(users[tensor.name]), []).append(tensor)
        kernels = list(program.kernels)
        gone: set[str] = set()
        for number, tensors in mine.items():
            body = self.to_sram(kernels[number].body, tensors, env, gone)
            kernels[number] = replace(kernels[number], body=body)
        if gone:
            left = tuple(t for t in program.tensors if t.name not in gone)
            program = replace(program, kernels=tuple(kernels), tensors=left)
        return map_kernels(program, lambda k: self.to_reg(k.body))

    # -- sram to reg -------------------------------------------------------------------------------------------------

    def to_reg(self, body: Body) -> Body:
        out: list[Stmt] = []
        changed = False
        stmts = list(body)
        for k in range(len(body)):
            stmt = stmts[k]
            inner = bodies(stmt)
            if inner:
                new = tuple(self.to_reg(b) for b in inner)
                if any(a is not b for a, b in zip(new, inner, strict=True)):
                    stmt, changed = with_bodies(stmt, new), True
            elif isinstance(stmt, Alloc) and stmt.level is Level.SRAM and self.is_tile(stmt, stmts[k + 1 :]):
                after = tuple(stmts[k + 1 :])
                stmts[k + 1 :] = map_statements(after, lambda s, a=stmt: _in_register(s, a))  # type: ignore[misc]
                stmt, changed = replace(stmt, level=Level.REG), True
            out.append(stmt)
        return tuple(out) if changed else body

    def is_tile(self, alloc: Alloc, rest: Sequence[Stmt]) -> bool:
        shape = tuple(as_int(e) for e in alloc.shape)
        if None in shape or prod(s for s in shape if s is not None) * alloc.dtype.bytes > self.reg_bytes:
            return False
        whole = Access(alloc.name, tuple(Coord(k) for k in range(len(shape))))

        def fits(stmts: Sequence[Stmt], free: bool) -> bool:
            for s in stmts:
                uses = alloc.name in (buffer_read(s), buffer_written(s))
                match s:
                    case Sync():
                        return False
                    case Load() if uses:
                        if not free or s.source != whole or s.shape != shape or s.predicate is not None or s.pairs:
                            return False
                    case Store() if uses:
                        if not free or s.target != whole or s.shape != shape or s.predicate is not None:
                            return False
                    case Move() | Prefetch() if uses:
                        return False
                below = free and not (isinstance(s, Loop) and s.kind.is_parallel)
                if not all(fits(b, below) for b in bodies(s)):
                    return False
            return True

        return fits(rest, True)

    # -- dram to sram ------------------------------------------------------------------------------------------------

    def to_sram(self, body: Body, tensors: list[Tensor], env: Env, gone: set[str]) -> Body:
        """The body of a kernel with temporaries that nobody else uses made scratch, where that is possible; their names
        are added to `gone`."""
        left = tensors
        room = self.room - _scratch_bytes(body)
        while left:
            within = _within(body)
            homes = [_home(within[t.name]) for t in left]
            home = next((h for h in homes if h is not None), None)
            if home is None:
                break
            here = [t for t, h in zip(left, homes, strict=True) if h is not None and h[0] is home[0]]
            left = [t for t, h in zip(left, homes, strict=True) if h is not None and h[0] is not home[0]]
            chosen = self.private(home, here, env, room)
            if chosen:
                room -= sum(c.bytes for c in chosen.values())
                body = tuple(_replaced(s, home[0], chosen) for s in body)
                gone.update(chosen)
        return body

    def private(self, home: tuple[Loop, Loops], tensors: list[Tensor], env: Env, room: int) -> dict[str, _Scratch]:
        """The tensors of which each iteration of the loop touches only rows of its own, few enough to fit together."""
        outer = env
        for around in home[1]:
            outer = outer.inside(around)
        out: dict[str, _Scratch] = {}
        uses = _Uses({t.name for t in tensors}, home[0], outer)
        for tensor in tensors:
            for dim in range(len(tensor.shape)):
                shape = tuple(const(home[0].step) if d == dim else e for d, e in enumerate(tensor.shape))
                sizes = [as_int(outer.simplify(e)) for e in shape]
                known = [s for s in sizes if s is not None]
                size = prod(known) * tensor.dtype.bytes
                if len(known) < len(sizes) or size > min(self.sram_bytes, room):
                    continue
                if uses.private(tensor.name, dim):
                    out[tensor.name] = _Scratch(tensor, dim, shape, size)
                    room -= size
                    break
        return out


@dataclass(frozen=True)
class _Scratch:
    """A tensor that becomes scratch of this shape: its rows along dimension `dim` that belong to one iteration."""

    tensor: Tensor
    dim: int
    shape: tuple[Expr, ...]
    bytes: int


def _scratch_bytes(body: Body) -> int:
    """Of all scratch in a body; what is not known counts nothing."""
    allocs = [s for s in walk_stmts(body) if isinstance(s, Alloc) and s.level is Level.SRAM]
    return sum(prod(as_int(e) or 0 for e in a.shape) * a.dtype.bytes for a in allocs)


def _in_register(stmt: Stmt, alloc: Alloc) -> Body | None:
    match stmt:
        case Load() if stmt.source.buffer == alloc.name:
            return (Compute(stmt.tile, stmt.shape, Ref(alloc.name), alloc.dtype.arithmetic, stmt.location),)
        case Store() if stmt.target.buffer == alloc.name:
            narrow = alloc.dtype is not alloc.dtype.arithmetic
            value: Expr = Cast(alloc.dtype, stmt.value) if narrow else stmt.value
            return (Compute(alloc.name, stmt.shape, value, alloc.dtype.arithmetic, stmt.location),)
    return None


def _within(body: Body) -> dict[str | None, Loops]:
    """By buffer: the loops that hold every use of it in the body, outermost first."""
    common: dict[str | None, Loops] = {}
    for stmt, loops in loops_around(body):
        for name in (buffer_read(stmt), buffer_written(stmt)):
            before = common.get(name)
            if before is None:
                common[name] = loops
            elif before is not loops:
                shared = sum(1 for _ in takewhile(lambda ab: ab[0] is ab[1], zip(before, loops, strict=False)))
                common[name] = before[:shared]
    return common


def _home(within: Loops) -> tuple[Loop, Loops] | None:
    """The innermost parallel one of the loops, and the loops around it."""
    parallel = [k for k, loop in enumerate(within) if loop.kind.is_parallel]
    return (within[parallel[-1]], within[: parallel[-1]]) if parallel else None


class _Uses:
    """How tensors are accessed within a loop."""

    def __init__(self, names: set[str], home: Loop, outer: Env) -> None:
        self.home = home
        self.synced = any(isinstance(s, Sync) for s in walk_stmts(home.body))
        self.accesses: dict[str, list[tuple[Access, Stmt, Env]]] = {n: [] for n in names}
        self.below: set[str] = set()  # used in a parallel loop further in
        self.visit(home.body, outer.inside(home), False)

    def visit(self, body: Body, env: Env, below: bool) -> None:
        for s in body:
            for access in _accesses(s):
                if access.buffer in self.accesses:
                    self.accesses[access.buffer].append((access, s, env))
                    if below:
                        self.below.add(access.buffer)
            parallel = isinstance(s, Loop) and s.kind.is_parallel
            for b in bodies(s):
                self.visit(b, env.inside(s) if isinstance(s, Loop) else env, below or parallel)

    def private(self, name: str, dim: int) -> bool:
        """Whether each iteration touches only the `step` rows of the dimension that begin at its index. Scratch is
        private to the innermost parallel loop."""
        if self.synced or name in self.below:
            return False
        for access, stmt, env in self.accesses[name]:
            if isinstance(stmt, Load) and stmt.pairs and dim == len(access.index) - 1:
                return False
            box = env.tile(getattr(stmt, "shape", ()))
            offset = box.linear(access.index[dim]) - box.linear(Var(self.home.var))
            if not (box.nonnegative(offset) and box.nonnegative((offset * -1).plus(self.home.step - 1))):
                return False
        return True


def _accesses(stmt: Stmt) -> list[Access]:
    match stmt:
        case Load():
            return [stmt.source]
        case Store():
            return [stmt.target]
        case Move():
            return [stmt.source, stmt.target]
    return []


def _replaced(stmt: Stmt, home: Loop, chosen: Mapping[str, _Scratch]) -> Stmt:
    """The statement with the chosen tensors as scratch of the loop `home`."""
    if stmt is home:
        allocs = [Alloc(n, c.tensor.dtype, c.shape, Level.SRAM, c.tensor.location) for n, c in chosen.items()]

        def moved(a: Access) -> Access:
            if a.buffer not in chosen:
                return a
            dim = chosen[a.buffer].dim
            offset = linear(a.index[dim]) - linear(Var(home.var))
            return Access(a.buffer, (*a.index[:dim], offset.to_expr(), *a.index[dim + 1 :]))

        def rule(s: Stmt) -> Body | None:
            if buffer_read(s) not in chosen and buffer_written(s) not in chosen:
                return None
            match s:
                case Load():
                    return (replace(s, source=moved(s.source)),)
                case Store():
                    return (replace(s, target=moved(s.target), streaming=False),)
                case Prefetch():
                    return ()
                case Move():
                    return (replace(s, source=moved(s.source), target=moved(s.target)),)
            return None

        return replace(home, body=(*reversed(allocs), *map_statements(home.body, rule)))
    inner = bodies(stmt)
    if not inner:
        return stmt
    return with_bodies(stmt, tuple(tuple(_replaced(s, home, chosen) for s in b) for b in inner))
