"""The printer of the C family: kernels, loops, scratch memory and the functions around them.

`emit_c(program, machine)` gives C11 with OpenMP. Parallel loops become `omp parallel for` (the outermost of a nest;
loops nested perfectly inside are collapsed into it), tiles become vectors (`c_tiles.py`), names are mangled
(`c_names.py`). The text needs a C11 compiler with the GCC vector extensions and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir import gir
from ..ir.dtypes import DType
from ..ir.errors import InternalError, ScheduleError
from ..ir.expr import Expr, Ref, as_int, variables, walk
from ..ir.gir import Alloc, Branch, Compute, Kernel, Level, Load, Loop, LoopKind, Move, Reduce, Role, Stmt, Store, Sync
from ..ir.gir_printer import print_stmt
from .c_expr import At, ExprPrinter, Scope, Tile
from .c_helpers import Helpers
from .c_index import poly
from .c_moves import print_move
from .c_names import Names
from .c_tiles import Buffer, TilePrinter
from .c_types import STORAGE
from .c_values import SUM
from .c_writer import Writer
from .machine import Machine

UNROLL_LOOP = 64  # iterations of an UNROLL loop that are written out


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
                dtype = buffers.get(source.buffer, DType.F32)
                wide = bool(shape) and shape[-1] > 1
            case Compute(shape=shape, dtype=dtype):
                wide = bool(shape) and shape[-1] > 1
            case _:
                continue
        if wide and dtype.arithmetic.bytes == 8:
            return 8
    return 4


class KernelPrinter:
    """Prints the function of one kernel."""

    def __init__(self, unit: Unit, function: Function) -> None:
        self.unit = unit
        self.function = function
        word = word_of(function.kernel, {t.name: t.dtype for t in unit.program.tensors})
        self.exprs = ExprPrinter(unit.helpers, word)
        self.tiles = TilePrinter(self.exprs, unit.names, unit.machine.lanes(word))
        self.w = Writer(1)
        self.shared = ""  # bytes of the scratch that the threads share
        self.own = ""  # bytes of the scratch of one thread
        loops = {s.var for s in gir.walk(function.kernel.body) if isinstance(s, Loop)}
        self.scope = Scope(unit.symbols(), unit.bounded | loops)
        self.read = {
            e.name
            for s in gir.walk(function.kernel.body)
            for x in expressions(s)
            for e in walk(x)
            if isinstance(e, Ref)
        }
        self.read |= {s.source for s in gir.walk(function.kernel.body) if isinstance(s, Reduce)}
        for t in function.tensors:
            self.tiles.buffers[t.name] = Buffer(unit.c(t.name), t.dtype, t.shape)

    def integer(self, expr: Expr, scope: Scope) -> str:
        return self.exprs.poly(poly(expr), At(), scope).text

    # ---- scratch

    def scratch(self) -> None:
        """One block for all buffers of the kernel: those shared first, then a copy of the others for every thread."""
        f, w, unit = self.function, self.w, self.unit
        if not f.allocs:
            return
        shared: list[str] = []
        private: list[str] = []
        for alloc, inside in f.allocs:
            free = {v for e in alloc.shape for v in variables(e)} - {s.name for s in unit.program.symbols}
            if free or any(isinstance(e, Ref) for x in alloc.shape for e in walk(x)):
                raise ScheduleError(
                    f"the extents of '{alloc.name}' are not known before the kernel starts",
                    alloc.location,
                    "give it extents of integers and symbols",
                )
            size = self.tiles.fresh(f"{unit.c(alloc.name)}_bytes")
            count = " * ".join(self.exprs.poly(poly(e), At(), self.scope).at(SUM + 1) for e in alloc.shape) or "1"
            w.line(f"const int64_t {size} = {unit.helpers.use('weft_padded')}({count}, {alloc.dtype.bytes});")
            group = private if inside else shared
            f.places[id(alloc)] = " + ".join(group)
            group.append(size)
        copies = "(int64_t)threads * " if f.parallel else ""
        own = " + ".join(private) if len(private) == 1 else f"({' + '.join(private)})"
        total = shared + ([f"{copies}{own}"] if private else [])
        unit.helpers.use("weft_allocate")
        w.line(f"char *const scratch = weft_allocate({' + '.join(total)}, 1);")
        w.line("if (scratch == NULL)")
        with w.indented():
            w.line("return 1;")
        self.shared = " + ".join(shared)
        self.own = own if private else ""

    def alloc(self, s: Alloc, scope: Scope, inside: bool) -> None:
        c = self.unit.c(s.name)
        if s.level is Level.REG:
            shape = tuple(self.static(e, s) for e in s.shape)
            dtype = s.dtype.arithmetic
            lanes = self.tiles.lanes(shape[-1]) if shape else 1
            tile = Tile(c, shape, dtype, lanes, True, s.dtype if s.dtype is not dtype else None)
            scope.tiles[s.name] = tile
            kind = self.exprs.convert.vector_type(dtype, lanes)
            array = f"[{tile.vectors}]" if tile.vectors > 1 else ""
            zero = "{{0}}" if array and lanes > 1 else "{0}" if array or lanes > 1 else "0"
            self.w.line(f"{kind} {c}{array} = {zero};")
            if s.name not in self.read:
                self.w.line(f"(void){c};")
            return
        c_type = STORAGE[s.dtype]
        place = self.function.places[id(s)]
        base = "own" if inside else "scratch"
        self.w.line(f"{c_type} *const {c} = ({c_type} *){'(' + base + ' + ' + place + ')' if place else base};")
        self.w.line(f"(void){c};")
        self.tiles.buffers[s.name] = Buffer(c, s.dtype, s.shape)

    def static(self, extent: Expr, s: Alloc) -> int:
        value = as_int(extent)
        if value is None or value < 1:
            raise ScheduleError(f"register tile '{s.name}' has no fixed size", s.location, "use integer extents")
        return value

    # ---- statements

    def body(self, body: tuple[Stmt, ...], scope: Scope, inside: bool) -> None:
        for s in body:
            self.statement(s, scope, inside)

    def statement(self, s: Stmt, scope: Scope, inside: bool) -> None:
        w = self.w
        if not isinstance(s, Loop | Branch):
            w.comment(print_stmt(s))
        match s:
            case Alloc():
                self.alloc(s, scope, inside)
            case Load():
                self.tiles.load(s, scope, w)
                self.unused(s.tile, scope)
            case Compute():
                self.tiles.compute(s, scope, w)
                self.unused(s.tile, scope)
            case Reduce():
                self.tiles.reduce(s, scope, w)
                self.unused(s.tile, scope)
            case Store():
                self.tiles.store(s, scope, w)
            case Move():
                print_move(s, self.tiles, scope, w)
            case Sync():
                w.line("// the iterations that share memory run on one thread: nothing to wait for")
            case Loop():
                self.loop(s, scope, inside)
            case Branch(condition, then, otherwise):
                with w.block(f"if ({self.tiles.condition(condition, At(), scope).text})"):
                    self.body(then, scope.inner(), inside)
                if otherwise:
                    with w.block("else"):
                        self.body(otherwise, scope.inner(), inside)
            case _:
                raise InternalError(f"no C for {type(s).__name__}")

    def unused(self, tile: str, scope: Scope) -> None:
        if tile not in self.read and not scope.tiles[tile].mutable:
            self.w.line(f"(void){scope.tiles[tile].name};")

    def loop(self, s: Loop, scope: Scope, inside: bool) -> None:
        if s.step < 1:
            raise ScheduleError(f"the step of a loop is {s.step}", s.location, "a positive step")
        low, high = as_int(s.lo), as_int(s.hi)
        span = range(low, high, s.step) if low is not None and high is not None else None
        if s.kind is LoopKind.UNROLL and span is not None and 0 < len(span) <= UNROLL_LOOP:
            for value in span:
                self.iteration(s, value, scope, inside)
            return
        nest = [s]
        starts = s.kind.is_parallel and not inside
        if starts:
            nest = perfect_nest(s)
            self.parallel(nest)
        inner = scope.inner()
        for one in nest:
            self.head(one, inner)
            self.w.depth += 1
        if starts and self.function.allocs and self.own:
            base = f"scratch + {self.shared}" if self.shared else "scratch"
            self.unit.helpers.use("weft_thread")
            self.w.line(f"char *const own = {base} + (int64_t)weft_thread() * {self.own};")
            self.w.line("(void)own;")
        self.body(nest[-1].body, inner, inside or starts)
        for _ in nest:
            self.w.depth -= 1
            self.w.line("}")

    def head(self, s: Loop, scope: Scope) -> None:
        lo, hi = self.integer(s.lo, scope), self.integer(s.hi, scope)
        name = self.unit.c(s.var)
        scope.integers[s.var] = name
        step = f"++{name}" if s.step == 1 else f"{name} += {s.step}"
        note = "" if s.kind in (LoopKind.SERIAL, LoopKind.UNROLL) else f" // {s.kind}"
        self.w.line(f"for (int64_t {name} = {lo}; {name} < {hi}; {step}) {{{note}")

    def parallel(self, nest: list[Loop]) -> None:
        collapse = f" collapse({len(nest)})" if len(nest) > 1 else ""
        outer = {n.var for n in nest}
        inner = [x for x in gir.walk(nest[-1].body) if isinstance(x, Loop)]
        uneven = any((variables(x.lo) | variables(x.hi)) & outer for x in inner)
        self.w.directive("#ifdef _OPENMP")
        schedule = "dynamic" if uneven else "static"
        self.w.directive(f"#pragma omp parallel for num_threads(threads) schedule({schedule}){collapse}")
        self.w.directive("#endif")

    def iteration(self, s: Loop, value: int, scope: Scope, inside: bool) -> None:
        """One iteration of a loop that is written out."""
        inner = scope.inner()
        name = self.unit.c(s.var)
        with self.w.block("", "}"):
            inner.integers[s.var] = name
            self.w.line(f"const int64_t {name} = {value};")
            if not any(uses(x, s.var) for x in s.body):
                self.w.line(f"(void){name};")
            self.body(s.body, inner, inside)


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
            case Load(source=source):
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


def print_function(unit: Unit, function: Function) -> list[str]:
    """The static function of a kernel. It returns 0, or 1 where there is no memory."""
    _, writes = used_buffers(function.kernel)
    printer = KernelPrinter(unit, function)
    parameters = [parameter(unit, t, t.name in writes, True) for t in function.tensors]
    parameters += [f"int64_t {unit.c(s)}" for s in function.symbols]
    if function.parallel:
        parameters.append("int threads")
    w = printer.w
    for s in function.symbols:
        w.line(f"(void){unit.c(s)};")
    if function.parallel:
        w.line("(void)threads;")
    printer.scratch()
    printer.body(function.kernel.body, printer.scope, False)
    if function.allocs:
        w.line("free(scratch);")
    w.line("return 0;")
    head = f"static int {function.name}({', '.join(parameters) or 'void'})"
    return [f"// kernel {function.kernel.name}", head, "{", *w.lines, "}"]


def parameter(unit: Unit, t: gir.Tensor, written: bool, restrict: bool) -> str:
    const = "" if written else "const "
    return f"{const}{STORAGE[t.dtype]} *{'restrict ' if restrict else ''}{unit.c(t.name)}"


def is_written(t: gir.Tensor) -> bool:
    return t.role is not Role.INPUT
