"""What the printer of the C family knows about a program before it prints: names, parameters, buffers, loop nests."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir import gir
from ..ir.dtypes import DType
from ..ir.expr import Expr, as_int, variables
from ..ir.gir import Alloc, Branch, Compute, Kernel, Level, Load, Loop, Move, Prefetch, Role, Stmt, Store
from .c_helpers import Helpers
from .c_names import Names
from .c_types import STORAGE
from .machine import Machine


@dataclass
class Function:
    """What is known about the C function of a kernel while it is printed."""

    kernel: Kernel
    name: str
    tensors: list[gir.Tensor]
    symbols: list[str]
    parallel: bool
    allocs: list[tuple[Alloc, bool]] = field(default_factory=list)  # with: inside of a parallel loop
    places: dict[int, str] = field(default_factory=dict)  # id of an Alloc -> offset text


class Unit:
    """The translation unit of a program."""

    def __init__(self, program: gir.Program, machine: Machine, libm: bool = False) -> None:
        self.program = program
        self.machine = machine
        self.helpers = Helpers(libm)
        self.names = Names()
        self.name = self.names.get(("program",), program.name)
        for suffix in ("threads", "call", "run"):
            self.names.get(("program", suffix), f"{self.name}_{suffix}")
        self.kernels = [self.names.get(("kernel", k), f"{self.name}_{x.name}") for k, x in enumerate(program.kernels)]
        for t in program.tensors:
            self.names.get(t.name, t.name)
        for s in program.symbols:
            self.names.get(s.name, s.name)
        extents = {v for t in program.tensors for e in t.shape for v in variables(e)}
        self.bounded = frozenset(extents)

    def suffixed(self, suffix: str) -> str:
        return self.names.get(("program", suffix), suffix)

    def c(self, name: str) -> str:
        return self.names.get(name, name)

    def symbols(self) -> dict[str, str]:
        return {s.name: self.c(s.name) for s in self.program.symbols}


def word_of(kernel: Kernel, buffers: dict[str, DType]) -> int:
    """Bytes of a lane: 8 where a tile with lanes holds 8-byte values, else 4."""
    buffers = dict(buffers)
    for s in gir.walk(kernel.body):
        match s:
            case Alloc(name, dtype, shape):
                buffers[name] = dtype
                wide = s.level is Level.REG and bool(shape) and as_int(shape[-1]) != 1
            case Load(shape=shape, source=source):
                dtype = s.dtype(buffers.get(source.buffer, DType.F32))
                wide = bool(shape) and shape[-1] > 1
            case Compute(shape=shape, dtype=dtype):
                wide = bool(shape) and shape[-1] > 1
            case _:
                continue
        if wide and dtype.arithmetic.bytes == 8:
            return 8
    return 4


def uses(s: Stmt, var: str) -> bool:
    return any(var in variables(e) for x in gir.walk((s,)) for e in expressions(x))


def expressions(s: Stmt) -> list[Expr]:
    """Every expression of a statement itself (not of those nested in it)."""
    match s:
        case Alloc(shape=shape):
            return list(shape)
        case Load(source=a, predicate=p, fill=f):
            return [*a.index, *(x for x in (p, f) if x is not None)]
        case Compute(expr=e):
            return [e]
        case Store(target=a, value=v, predicate=p):
            return [*a.index, v, *(x for x in (p,) if x is not None)]
        case Move(target=a, source=b, shape=shape, predicate=p, fill=f):
            return [*a.index, *b.index, *shape, *(x for x in (p, f) if x is not None)]
        case Prefetch(source=a):
            return list(a.index)
        case Loop(lo=lo, hi=hi):
            return [lo, hi]
        case Branch(condition=c):
            return [c]
    return []


def perfect_nest(loop: Loop) -> list[Loop]:
    """`loop` and the parallel loops nested directly inside, while their bounds do not depend on one another."""
    nest = [loop]
    while len(nest[-1].body) == 1:
        inner = nest[-1].body[0]
        if not (isinstance(inner, Loop) and inner.kind.is_parallel and inner.step > 0):
            break
        if {n.var for n in nest} & (variables(inner.lo) | variables(inner.hi)):
            break
        nest.append(inner)
    return nest


def collect_allocs(body: tuple[Stmt, ...], inside: bool = False) -> list[tuple[Alloc, bool]]:
    """Every buffer allocated in a body that is not registers, and whether a parallel loop holds it."""
    out: list[tuple[Alloc, bool]] = []
    for s in body:
        if isinstance(s, Alloc) and s.level is not Level.REG:
            out.append((s, inside))
        for inner in gir.bodies(s):
            out += collect_allocs(inner, inside or (isinstance(s, Loop) and s.kind.is_parallel))
    return out


def used_buffers(kernel: Kernel) -> tuple[set[str], set[str]]:
    """The buffers a kernel reads and writes."""
    reads: set[str] = set()
    writes: set[str] = set()
    for s in gir.walk(kernel.body):
        match s:
            case Load(source=source) | Prefetch(source=source):
                reads.add(source.buffer)
            case Store(target=target):
                writes.add(target.buffer)
            case Move(target=target, source=source):
                reads.add(source.buffer)
                writes.add(target.buffer)
    return reads, writes


def make_function(unit: Unit, index: int) -> Function:
    """The parameters of the function of a kernel: what it uses, in the program's order."""
    kernel = unit.program.kernels[index]
    reads, writes = used_buffers(kernel)
    tensors = [t for t in unit.program.tensors if t.name in reads | writes]
    names = {v for s in gir.walk(kernel.body) for e in expressions(s) for v in variables(e)}
    names |= {v for t in tensors for e in t.shape[1:] for v in variables(e)}
    symbols = [s.name for s in unit.program.symbols if s.name in names]
    parallel = any(isinstance(s, Loop) and s.kind.is_parallel for s in gir.walk(kernel.body))
    return Function(kernel, unit.kernels[index], tensors, symbols, parallel, collect_allocs(kernel.body))


def parameter(unit: Unit, t: gir.Tensor, written: bool, restrict: bool) -> str:
    const = "" if written else "const "
    return f"{const}{STORAGE[t.dtype]} *{'restrict ' if restrict else ''}{unit.c(t.name)}"


def is_written(t: gir.Tensor) -> bool:
    return t.role is not Role.INPUT


def signature(result: str, name: str, parameters: list[str]) -> str:
    """The head of a function, broken where it is long."""
    lines = [f"{result} {name}("]
    for k, p in enumerate(parameters or ["void"]):
        piece = p + ("," if k + 1 < len(parameters) else "")
        if len(lines[-1]) + len(piece) > 110:
            lines.append("    " + piece)
        else:
            lines[-1] += piece if lines[-1].endswith("(") else " " + piece
    return "\n".join(lines) + ")"
