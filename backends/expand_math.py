"""Mathematical functions written out in GIR, for targets that lack them.

exp(t)  -->  s0 = max(-110, t);  s1 = min(110, s0);  ...  one `Compute` on a fresh tile for each step of `mathlib`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..ir.dtypes import DType
from ..ir.expr import COMPARISONS, LOGICAL, Call, Cast, Const, Coord, Expr, Fn, Ref, rewrite, walk
from ..ir.gir import Alloc, Branch, Compute, Level, Load, Loop, Program, Reduce, Stmt, Store
from .mathlib import LIBRARY, sequence


def expand_math(program: Program, native: frozenset[Fn] = frozenset()) -> Program:
    """`program` with every library function outside `native` in a computed or stored value written out.

    Fresh tiles have the smallest shape that holds the argument, and `$` in their names.
    """
    expander = _Expander(program, LIBRARY - native)
    kernels = tuple(replace(k, body=expander.body(k.body, {}, {})) for k in program.kernels)
    return replace(program, kernels=kernels)


Types = dict[str, DType]
Shapes = dict[str, tuple[int, ...]]


class _Expander:
    def __init__(self, program: Program, functions: frozenset[Fn]) -> None:
        self.buffers: Types = {t.name: t.dtype for t in program.tensors}
        self.functions = functions
        self.counter = 0

    def body(self, stmts: tuple[Stmt, ...], types: Types, shapes: Shapes) -> tuple[Stmt, ...]:
        types, shapes = dict(types), dict(shapes)
        out: list[Stmt] = []
        for stmt in stmts:
            out += self.statement(stmt, types, shapes)
        return tuple(out)

    def statement(self, stmt: Stmt, types: Types, shapes: Shapes) -> Iterator[Stmt]:
        match stmt:
            case Alloc(name, dtype, shape, level):
                self.buffers[name] = dtype
                if level is Level.REG:
                    types[name] = dtype.arithmetic
                    shapes[name] = tuple(e.value for e in shape if isinstance(e, Const))  # type: ignore[misc]
            case Load(tile, shape, source):
                types.setdefault(tile, stmt.dtype(self.buffers[source.buffer]))
                shapes.setdefault(tile, shape)
            case Reduce(tile, _, source):
                types.setdefault(tile, types[source])
                shapes.setdefault(tile, stmt.folded(shapes[source]))
            case Compute(tile, shape, expr, dtype):
                steps: list[Stmt] = []
                expr = self.expand(expr, shape, types, shapes, steps)
                yield from steps
                types.setdefault(tile, dtype)
                shapes.setdefault(tile, shape)
                stmt = replace(stmt, expr=expr)
            case Store(shape=shape, value=value):
                steps = []
                value = self.expand(value, shape, types, shapes, steps)
                yield from steps
                stmt = replace(stmt, value=value)
            case Loop(body=body):
                stmt = replace(stmt, body=self.body(body, types, shapes))
            case Branch(then=then, otherwise=otherwise):
                stmt = replace(stmt, then=self.body(then, types, shapes), otherwise=self.body(otherwise, types, shapes))
        yield stmt

    def expand(self, expr: Expr, shape: tuple[int, ...], types: Types, shapes: Shapes, out: list[Stmt]) -> Expr:
        """`expr` with library calls replaced by tiles, whose steps are appended to `out`."""

        def rule(node: Expr) -> Expr | None:
            if not isinstance(node, Call) or node.fn not in self.functions:
                return None
            dtype = max((_type_of(a, types) for a in node.args), key=lambda d: d is DType.F64)
            dtype = DType.F64 if dtype is DType.F64 else DType.F32
            box = _box(node, shape, shapes)
            names = {}
            for parameter, argument in zip(("x", "y"), node.args, strict=False):
                names[parameter] = self.fresh(types, shapes, dtype, box)
                out.append(Compute(names[parameter], box, argument, dtype, node.location))
            for step in sequence(node.fn, dtype is DType.F64):
                renamed = rewrite(step.expr, lambda e: Ref(names[e.name]) if isinstance(e, Ref) else None)
                names[step.name] = self.fresh(types, shapes, step.dtype, box)
                out.append(Compute(names[step.name], box, renamed, step.dtype, node.location))
            return Ref(names[step.name])

        return rewrite(expr, rule)

    def fresh(self, types: Types, shapes: Shapes, dtype: DType, shape: tuple[int, ...]) -> str:
        self.counter += 1
        name = f"math${self.counter}"
        types[name], shapes[name] = dtype, shape
        return name


def _box(expr: Expr, shape: tuple[int, ...], shapes: Shapes) -> tuple[int, ...]:
    """The smallest shape of the statement's rank that `expr` varies over."""
    wide = [False] * len(shape)
    for node in walk(expr):
        if isinstance(node, Coord):
            wide[node.axis] = True
        if isinstance(node, Ref):
            for k, extent in enumerate(reversed(shapes[node.name])):
                if extent != 1:
                    wide[len(shape) - 1 - k] = True
    return tuple(e if w else 1 for e, w in zip(shape, wide, strict=True))


def _type_of(expr: Expr, types: Types) -> DType | None:
    """The arithmetic type of an expression; None for a literal that takes the type of what it meets."""
    match expr:
        case Const(_, dtype):
            return None if dtype is None else dtype.arithmetic
        case Ref(name):
            return types[name]
        case Cast(dtype):
            return dtype.arithmetic
        case Call(fn, args):
            if fn in COMPARISONS or fn in LOGICAL or fn is Fn.ISNAN:
                return DType.BOOL
            found = [_type_of(a, types) for a in (args[1:] if fn is Fn.SELECT else args)]
            if fn is Fn.FLOAT_BITS:
                return DType.I64 if found[0] is DType.F64 else DType.I32
            if fn is Fn.BITS_FLOAT:
                return DType.F64 if found[0] is DType.I64 else DType.F32
            if fn is Fn.DOT2_BF16:
                return DType.F32
            ranks = [DType.BOOL, DType.I32, DType.I64, DType.F32, DType.F64]
            strong = [d for d in found if d is not None]
            return max(strong, key=ranks.index) if strong else None
    return DType.I64


__all__ = ["expand_math"]
