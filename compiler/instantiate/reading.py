"""Op expressions as GIR expressions: reads become loads, with their boundaries, tails and guards as predicates.

Loads of data that the nest does not write are placed in the outermost loop in which all they depend on is known.
"""

from __future__ import annotations

from ...ir.affine import affine
from ...ir.dtypes import DType
from ...ir.expr import Boundary, Call, Const, Expr, Fn, Read, Ref, Var, const, refs
from ...ir.gir import Access, Load
from ...ir.op import Definition
from ..plan import Nest
from .scope import Range, conjunction, floordiv, less, maximum, minimum, mul, sub
from .tiles import TileWriter
from .values import typed
from .view import KernelView, Source

ZERO = const(0)


class Reader(TileWriter):
    """`expr` is the way in. `values` are targets known in registers, `carried` self-reads kept there from one step of
    the innermost loop to the next, `guard` the condition under which what is read now is used, `ends` what was loaded
    to end a loop."""

    def __init__(self, kernel: KernelView, nest: Nest, ranges: dict[str, Range]) -> None:
        super().__init__(kernel, nest, ranges)
        self.values: dict[str, Ref] = {}
        self.carried: dict[Read, Ref] = {}
        self.guard: Expr | None = None
        self.ends: dict[Read, Ref] = {}

    def loop_range(self, axis: str) -> Range:
        if axis in self.ranges:
            return self.ranges[axis]
        found = self.kernel.axis(axis)
        lo, hi = self.bound(found.lo), self.bound(found.hi)
        return Range(lo, hi, hi)

    def bound(self, expr: Expr) -> Expr:
        """A loop bound; reads in it become rank-0 loads."""
        rank, dims = self.rank, self.dims
        self.rank, self.dims = 0, {}
        out = self.expr(expr)
        self.rank, self.dims = rank, dims
        return out

    def expr(self, expr: Expr) -> Expr:
        """An op expression as a GIR expression at the current place (loads are emitted on the way)."""
        match expr:
            case Var(name):
                return self.position.get(name, expr)
            case Read():
                return self.read(expr)
            case Call(Fn.ADD | Fn.SUB as fn, (a, b)):
                return _sum(fn, self.expr(a), self.expr(b))
        children = expr.children
        if not children:
            return expr
        return expr.with_children(tuple(self.expr(c) for c in children))

    def read(self, read: Read) -> Expr:
        ended = self.ends.get(read) or self.kernel.loaded(read)
        if ended is not None:
            return ended
        known = self.values.get(read.tensor)
        producer = self.kernel.maybe_definition_of(read.tensor)
        if known is not None and producer is not None and read.index == tuple(Var(a.name) for a in producer.axes):
            return known
        index = [self.expr(i) for i in read.index]
        source = self.kernel.require_source(read.tensor)
        inside: list[Expr | None] = []
        if read.boundary is not Boundary.NONE:
            extents = self.kernel.extents(read.tensor)
            for dim, (position, extent) in enumerate(zip(index, extents, strict=True)):
                if self.plain(read.index[dim], extent):
                    continue
                if read.boundary is Boundary.PAD:
                    inside += [Call(Fn.LE, (ZERO, position)), less(position, extent)]
                else:
                    index[dim] = outside(read.boundary, position, extent)
        fill = read.fill if read.boundary is Boundary.PAD else None
        if read in self.carried and read.boundary in (Boundary.NONE, Boundary.PAD):
            before: Expr = self.carried[read]
            where = conjunction(inside)
            return before if where is None or fill is None else Call(Fn.SELECT, (where, before, self.expr(fill)))
        loaded = self.read_source(read.tensor, source, index, conjunction(inside), fill, converted=True)
        return loaded

    def plain(self, index: Expr, extent: Expr) -> bool:
        """The index is an axis that runs inside 0..extent."""
        return isinstance(index, Var) and self.kernel.axis_extent(index.name) == extent

    def read_source(
        self,
        tensor: str,
        source: Source,
        index: list[Expr],
        inside: Expr | None = None,
        fill: Expr | None = None,
        converted: bool = False,
        pairs: bool = False,
    ) -> Expr:
        """`pairs`: the bits of two neighbours along the last dimension of the buffer."""
        if not converted:
            index = [self.expr(i) for i in index]
        axes = self.axes_in(index)
        gathered = any(refs(i) for i in index)
        terms: list[Expr | None] = [inside]
        producer = self.kernel.maybe_definition_of(tensor)
        # scratch is padded to the register tiles of its own axes, packs to those of the axes that read them
        padded = set(axes) if producer is None else {a.name for a in producer.axes} - self.strays(producer, index)
        if source.whole or gathered or not self.in_bounds_without_guard(index):
            padded = set()
        terms += [self.tail(a) for a in axes if a not in padded]
        if self.guard is not None and (gathered or not self.in_bounds_without_guard(index)):
            terms.append(self.guard)
        predicate = conjunction(terms)
        dtype = DType.I32 if pairs else source.dtype.arithmetic
        literal = Const(False, DType.BOOL) if dtype is DType.BOOL else Const(0.0 if dtype.is_float else 0, dtype)
        filler: Expr | None = None
        if predicate is not None:
            filler = typed(fill, dtype) if isinstance(fill, Const) else literal
        access = self.access(source, index)
        if pairs and source.pairs is not None:
            access = Access(access.buffer, (*access.index[:-1], ZERO))
        loaded = self.load(access, predicate, filler, source, dtype, pairs)
        if fill is not None and not isinstance(fill, Const) and inside is not None:
            return Call(Fn.SELECT, (inside, loaded, self.expr(fill)))
        return loaded

    def strays(self, producer: Definition, index: list[Expr]) -> set[str]:
        """Axes that stand in a dimension of the producer's other than their own, as the second in `t[i, i]`."""
        own = [a.name for a in producer.axes]
        at = {place: axis for axis, place in self.position.items()}
        placed = [(at.get(i), own[dim] if dim < len(own) else None) for dim, i in enumerate(index)]
        return {axis for axis, here in placed if axis is not None and axis != here}

    def in_bounds_without_guard(self, index: list[Expr]) -> bool:
        """Every index is one axis (plus its coordinate), so it stays inside by the axis's own range."""
        starts = set(self.position.values())
        return all(i in starts for i in index)

    def access(self, source: Source, index: list[Expr]) -> Access:
        out = [sub(index[d], off) for d, off in zip(source.order, source.offsets, strict=True)]
        if source.pairs is not None:
            place = out[source.pairs]
            out[source.pairs] = floordiv(place, 2)
            out.append(Call(Fn.MOD, (place, const(2))))
        return Access(source.buffer, tuple(out))

    def load(
        self,
        access: Access,
        predicate: Expr | None,
        fill: Expr | None,
        source: Source,
        dtype: DType,
        pairs: bool = False,
    ) -> Ref:
        parts = [*access.index, *([predicate] if predicate is not None else [])]
        shape = self.shape_of_parts(parts)
        mutable = source.buffer in self.kernel.buffers_of(self.written)
        key = (access, predicate, fill, pairs)
        depth = len(self.levels) - 1 if mutable else self.depth_of(parts)
        level = self.levels[depth]
        if key in level.loads and not mutable:
            return level.loads[key]
        name = self.kernel.fresh(f"{access.buffer.split('$')[0]}_v")
        level.body.append(Load(name, shape, access, predicate, fill, self.location, pairs))
        self.note(name, shape, dtype, level)
        ref = Ref(name)
        level.loads[key] = ref
        return ref


def outside(boundary: Boundary, index: Expr, extent: Expr) -> Expr:
    """The index that a boundary maps `index` to."""
    last = sub(extent, const(1))
    match boundary:
        case Boundary.CLAMP:
            return minimum(maximum(index, ZERO), last)
        case Boundary.WRAP:
            return Call(Fn.MOD, (index, extent))
        case Boundary.REFLECT:
            period = maximum(mul(const(2), last), const(1))
            folded = Call(Fn.MOD, (index, period))
            return minimum(folded, sub(period, folded))
    return index


def _sum(fn: Fn, a: Expr, b: Expr) -> Expr:
    """Index arithmetic is kept in affine normal form."""
    out = Call(fn, (a, b))
    form = affine(out)
    return form.to_expr() if form is not None else out
