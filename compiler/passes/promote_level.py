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

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from math import prod
from typing import ClassVar

from ...ir.expr import Cast, Coord, Expr, Ref, Var, as_int, const
from ...ir.gir import (
    Access,
    Alloc,
    Compute,
    Kernel,
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


@dataclass(frozen=True)
class PromoteLevel:
    """`reg_bytes`: of a buffer that becomes a tile; `sram_bytes`: of a temporary that becomes scratch."""

    reg_bytes: int = 1024
    sram_bytes: int = 65536

    name: ClassVar[str] = "promote_level"
    form: ClassVar[str] = "gir"

    def run(self, program: Program) -> Program:
        env = program_env(program)
        kernels = list(program.kernels)
        within = [_within(k) for k in kernels]
        users: dict[str | None, list[int]] = {}  # by tensor: the numbers of the kernels that use it
        for number, found in enumerate(within):
            for name in found:
                users.setdefault(name, []).append(number)
        tensors: list[Tensor] = []
        for tensor in program.tensors:
            tensors.append(tensor)
            use = users.get(tensor.name, [])
            if tensor.role is not Role.TEMP or len(use) != 1:
                continue
            body = self.to_sram(kernels[use[0]], tensor, within[use[0]][tensor.name], env)
            if body is not None:
                tensors.pop()
                kernels[use[0]] = replace(kernels[use[0]], body=body)
                within[use[0]] = _within(kernels[use[0]])
        if len(tensors) < len(program.tensors):
            program = replace(program, kernels=tuple(kernels), tensors=tuple(tensors))
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
                        if not free or s.source != whole or s.shape != shape or s.predicate is not None:
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

    def to_sram(self, kernel: Kernel, tensor: Tensor, within: Loops, env: Env) -> Body | None:
        """The body of the kernel with the temporary made scratch, where that is possible; nobody else uses it, and
        all uses stand `within` these loops."""
        home = _home(within)
        if home is None:
            return None
        outer = env
        for around in home[1]:
            outer = outer.inside(around)
        for dim in range(len(tensor.shape)):
            shape = tuple(const(home[0].step) if d == dim else e for d, e in enumerate(tensor.shape))
            sizes = [as_int(outer.simplify(e)) for e in shape]
            known = [s for s in sizes if s is not None]
            if len(known) < len(sizes) or prod(known) * tensor.dtype.bytes > self.sram_bytes:
                continue
            if _private(home[0], tensor.name, dim, outer):
                return tuple(_replaced(s, home[0], tensor, dim, shape) for s in kernel.body)
        return None


def _in_register(stmt: Stmt, alloc: Alloc) -> Body | None:
    match stmt:
        case Load() if stmt.source.buffer == alloc.name:
            return (Compute(stmt.tile, stmt.shape, Ref(alloc.name), alloc.dtype.arithmetic, stmt.location),)
        case Store() if stmt.target.buffer == alloc.name:
            narrow = alloc.dtype is not alloc.dtype.arithmetic
            value: Expr = Cast(alloc.dtype, stmt.value) if narrow else stmt.value
            return (Compute(alloc.name, stmt.shape, value, alloc.dtype.arithmetic, stmt.location),)
    return None


def _uses(stmt: Stmt, name: str) -> bool:
    return name in (buffer_read(stmt), buffer_written(stmt))


def _within(kernel: Kernel) -> dict[str | None, Loops]:
    """By buffer: the loops that hold every use of it in the kernel, outermost first."""
    common: dict[str | None, Loops] = {}
    for stmt, loops in loops_around(kernel.body):
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


def _private(home: Loop, name: str, dim: int, outer: Env) -> bool:
    """Whether each iteration of `home` touches only the `step` rows of the dimension that begin at its index."""

    def holds(body: Body, env: Env) -> bool:
        for s in body:
            for access in _accesses(s, name):
                box = env.tile(getattr(s, "shape", ()))
                offset = box.linear(access.index[dim]) - box.linear(Var(home.var))
                if not (box.nonnegative(offset) and box.nonnegative((offset * -1).plus(home.step - 1))):
                    return False
            below = env.inside(s) if isinstance(s, Loop) else env
            if isinstance(s, Loop) and s.kind.is_parallel and any(_uses(t, name) for t in walk_stmts(s.body)):
                return False  # scratch is private to the innermost parallel loop
            if not all(holds(b, below) for b in bodies(s)):
                return False
        return True

    return not any(isinstance(s, Sync) for s in walk_stmts(home.body)) and holds(home.body, outer.inside(home))


def _accesses(stmt: Stmt, name: str) -> list[Access]:
    match stmt:
        case Load():
            found = [stmt.source]
        case Store():
            found = [stmt.target]
        case Move():
            found = [stmt.source, stmt.target]
        case _:
            found = []
    return [a for a in found if a.buffer == name]


def _replaced(stmt: Stmt, home: Loop, tensor: Tensor, dim: int, shape: tuple[Expr, ...]) -> Stmt:
    """The statement with the tensor as scratch of the loop `home`."""
    if stmt is home:
        alloc = Alloc(tensor.name, tensor.dtype, shape, Level.SRAM, tensor.location)

        def moved(a: Access) -> Access:
            if a.buffer != tensor.name:
                return a
            offset = linear(a.index[dim]) - linear(Var(home.var))
            return Access(a.buffer, (*a.index[:dim], offset.to_expr(), *a.index[dim + 1 :]))

        def rule(s: Stmt) -> Body | None:
            match s:
                case Load() if _uses(s, tensor.name):
                    return (replace(s, source=moved(s.source)),)
                case Store() if _uses(s, tensor.name):
                    return (replace(s, target=moved(s.target), streaming=False),)
                case Prefetch() if _uses(s, tensor.name):
                    return ()
                case Move() if _uses(s, tensor.name):
                    return (replace(s, source=moved(s.source), target=moved(s.target)),)
            return None

        return replace(home, body=(alloc, *map_statements(home.body, rule)))
    inner = bodies(stmt)
    return (
        with_bodies(stmt, tuple(tuple(_replaced(s, home, tensor, dim, shape) for s in b) for b in inner))
        if inner
        else stmt
    )
