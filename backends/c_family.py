"""The printer of the C family: kernels, loops, scratch memory and the functions around them.

`emit_c(program, machine)` gives C11 with OpenMP. Parallel loops become `omp parallel for` (the outermost of a nest;
loops nested perfectly inside are collapsed into it), tiles become vectors (`c_tiles.py`), names are mangled
(`c_names.py`). The text needs a C11 compiler with the GCC vector extensions and nothing else.
"""

from __future__ import annotations

import re

from ..ir import gir
from ..ir.errors import InternalError, ScheduleError
from ..ir.expr import Expr, Ref, as_int, variables, walk
from ..ir.gir import Alloc, Branch, Compute, Level, Load, Loop, LoopKind, Move, Prefetch, Reduce, Stmt, Store, Sync
from ..ir.gir_printer import print_stmt
from .c_counts import element_count
from .c_expr import At, ExprPrinter, Scope, Tile
from .c_index import poly
from .c_moves import print_move
from .c_tile_base import Buffer
from .c_tiles import TilePrinter
from .c_types import STORAGE
from .c_unit import (
    Function,
    Unit,
    collect_allocs,
    expressions,
    parameter,
    perfect_nest,
    signature,
    used_buffers,
    uses,
    word_of,
)
from .c_writer import Writer

UNROLL_LOOP = 64  # iterations of an UNROLL loop that are written out


class KernelPrinter:
    """Prints the function of one kernel."""

    def __init__(self, unit: Unit, function: Function) -> None:
        self.unit = unit
        self.function = function
        word = word_of(function.kernel, {t.name: t.dtype for t in unit.program.tensors})
        self.exprs = ExprPrinter(unit.helpers, word)
        self.exprs.register = unit.machine.vector_bytes
        self.exprs.line = unit.machine.line_bytes
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
        self.touched = set.union(*used_buffers(function.kernel))
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
            count = element_count(alloc.shape, self.exprs, self.scope)
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
        if s.name not in self.touched:
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
            case Prefetch():
                self.tiles.prefetch(s, scope, w)
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
        if starts and any(True for _ in collect_allocs(nest[-1].body)):
            base = f"scratch + {self.shared}" if self.shared else "scratch"
            self.unit.helpers.use("weft_thread")
            self.w.line(f"char *const own = {base} + (int64_t)weft_thread() * {self.own};")
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


def print_function(unit: Unit, function: Function) -> list[str]:
    """The static function of a kernel. It returns 0, or 1 where there is no memory."""
    _, writes = used_buffers(function.kernel)
    printer = KernelPrinter(unit, function)
    parameters = [parameter(unit, t, t.name in writes, True) for t in function.tensors]
    parameters += [f"int64_t {unit.c(s)}" for s in function.symbols]
    if function.parallel:
        parameters.append("int threads")
    w = printer.w
    printer.scratch()
    printer.body(function.kernel.body, printer.scope, False)
    # what only a pragma or a comment mentions would be reported as unused
    code = " ".join(x for x in w.lines if not x.startswith("#") and not x.lstrip().startswith("//"))
    named = set(re.findall(r"\w+", code))
    given = [unit.c(t.name) for t in function.tensors] + [unit.c(s) for s in function.symbols]
    w.lines[:0] = [f"    (void){n};" for n in [*given, *["threads"] * function.parallel] if n not in named]
    if function.allocs:
        w.line("free(scratch);")
    w.line("return 0;")
    title = Writer()
    title.comment(f"kernel {function.kernel.name}")
    return [*title.lines, signature("static int", function.name, parameters), "{", *w.lines, "}"]
