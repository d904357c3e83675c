"""The verifier of the op form. An op that passes guarantees:

1. Names. Inputs, targets and symbols have distinct names that are no reserved words; every free or reduction axis has a
   name of its own in its definition, which is no tensor's and no symbol's.
2. Scope. Extents, shapes and facts hold symbols and integers alone; expressions hold axes in scope, symbols and reads.
   Free axes start at 0. Bounds of a reduction's axis may read tensors and name free and earlier axes (ragged).
3. Types. Every literal has a type, every widening is written, operands agree; guards are bool, bounds and indices i64;
   a store changes no kind (float, integer, bool).
4. Order. A read names an input, a target of an earlier definition, or its own; with one index per dimension.
5. Shapes. A target has one dimension per free axis, of its extent; `compact`'s list and `sort`'s permutation have their
   axis as one more. Every output is a target of its declared type and shape, defined once.
6. Monoids. One argument, identity and combine per component, of the component's type; identity is constant; combine
   names `a.*` and `b.*` alone; `fn` is set only where the monoid is just that function; one name is one monoid.
7. Recurrences are pointwise, at constant offsets, all earlier or all later, with no boundary or `pad`.
8. Bounds. A read without a boundary stays inside its tensor: proved, or a gather by input integer tensors whose values
   are checked at the call (`op_bounds.py`).
9. Streams. Components are targets of reductions over the stream's axis, in definition order, each once; a repair names
   the old and new values of itself and of earlier components, and has its component's type.
10. Size. At most 12 dimensions; expressions at most 160 levels deep.
"""

from __future__ import annotations

from collections import ChainMap

from .dtypes import DType
from .errors import NOWHERE, Location, TypeMismatch, VerifyError
from .expr import Call, Const, Coord, Expr, Param, Read, Ref, Var, const, walk
from .expr_text import MAX_DEPTH, depth
from .monoids import BUILTIN, builtin, parameters
from .op import Axis, Compact, Definition, Monoid, Op, Pointwise, Reduction, Sort, Stream, Tensor
from .op_bounds import gather_checks
from .op_names import MAX_RANK, check_name
from .recurrence import sweep_direction
from .typing import Open, TypeEnv, elaborate, place


def verify(op: Op) -> None:
    """Check the ten guarantees. Raises VerifyError (TypeMismatch for types) with the place and a remedy."""
    _Verifier(op).op_form()
    gather_checks(op)


class _Verifier:
    def __init__(self, op: Op) -> None:
        self.op = op
        self.symbols = {s.name for s in op.symbols}
        self.tensors: dict[str, Tensor] = {}
        self.dtypes: dict[str, DType | Open] = {}
        self.monoids: dict[str, Monoid] = {}
        self.names: dict[str, str] = {}

    def op_form(self) -> None:
        op = self.op
        for symbol in op.symbols:
            self.new(symbol.name, "a symbol", symbol.location)
        for tensor in op.inputs:
            self.new(tensor.name, "an input", tensor.location)
            self.shape(tensor)
            self.tensors[tensor.name] = tensor
            self.dtypes[tensor.name] = tensor.dtype
        for d in op.definitions:
            for target in d.targets:
                self.new(target.name, "a target", target.location)
        for fact in op.facts:
            self.closed(fact, NOWHERE)
            self.typed(fact, DType.BOOL, TypeEnv())
        for d in op.definitions:
            self.definition(d)
            self.tensors.update({t.name: t for t in d.targets})
            self.dtypes.update({t.name: t.dtype for t in d.targets})
        self.outputs()
        for stream in op.streams:
            self.stream(stream)

    # 1, 2, 5: names, scope, shapes ---------------------------------------------------------------------------------

    def new(self, name: str, what: str, location: Location) -> None:
        check_name(name, location, what)
        if name in self.names:
            raise VerifyError(f"`{name}` is both {self.names[name]} and {what}", location, "rename one")
        self.names[name] = what

    def shape(self, tensor: Tensor) -> None:
        if len(tensor.shape) > MAX_RANK:
            raise VerifyError(
                f"`{tensor.name}` has {len(tensor.shape)} dimensions, at most {MAX_RANK}", tensor.location
            )
        for extent in tensor.shape:
            self.closed(extent, tensor.location)
            self.typed(extent, DType.I64, TypeEnv())
            if isinstance(extent, Const) and extent.value < 0:
                raise VerifyError(f"`{tensor.name}` has a negative extent", tensor.location, "use 0 or more")

    def closed(self, expr: Expr, location: Location) -> None:
        for node in walk(expr):
            if isinstance(node, Read | Param | Ref | Coord) or (
                isinstance(node, Var) and node.name not in self.symbols
            ):
                where = place(node) if place(node).line else location
                raise VerifyError("only symbols and integers may stand here", where, "name the extent by a symbol")

    def outputs(self) -> None:
        seen: set[str] = set()
        for output in self.op.outputs:
            made = self.tensors.get(output.name)
            if output.name in seen or made is None or output in self.op.inputs:
                raise VerifyError(f"the output `{output.name}` is not defined just once", output.location)
            if made != output:
                raise VerifyError(
                    f"`{output.name}` is defined with another type or shape than declared",
                    output.location,
                    "make its axes run over the declared extents",
                )
            seen.add(output.name)

    def axes(self, d: Definition) -> tuple[Axis, ...]:
        """The axes of a definition, inner ones after free ones, checked."""
        seen: set[str] = set()
        inner = d.body.axes if isinstance(d.body, Reduction) else ()
        if isinstance(d.body, Compact | Sort):
            inner = (d.body.axis,)
        if len(d.axes) > MAX_RANK:
            raise VerifyError(f"{len(d.axes)} free axes, at most {MAX_RANK}", d.location)
        for k, axis in enumerate((*d.axes, *inner)):
            check_name(axis.name, axis.location, "an axis")
            if axis.name in seen or axis.name in self.names:
                what = self.names.get(axis.name, "another axis")
                raise VerifyError(f"the axis `{axis.name}` has the name of {what}", axis.location, "rename it")
            fixed = k < len(d.axes) or not isinstance(d.body, Reduction)
            if fixed:
                if axis.lo != const(0):
                    raise VerifyError(f"the axis `{axis.name}` must start at 0", axis.location)
                self.closed(axis.hi, axis.location)
                self.typed(axis.hi, DType.I64, TypeEnv())
            else:
                for bound in (axis.lo, axis.hi):
                    self.scoped(bound, seen, d)
                    self.typed(bound, DType.I64, self.env())
            seen.add(axis.name)
        return (*d.axes, *inner)

    def scoped(self, expr: Expr, axes: set[str], d: Definition) -> None:
        """Guarantees 2, 4 and 10 for one expression."""
        if depth(expr) > MAX_DEPTH:
            raise VerifyError(f"an expression is more than {MAX_DEPTH} levels deep", d.location, "split it")
        for node in walk(expr):
            match node:
                case Var(name, location) if name not in axes and name not in self.symbols:
                    raise VerifyError(f"unknown name `{name}`", location, "axes must be named at the left, or reduced")
                case Read(tensor, index, location=location):
                    self.readable(tensor, len(index), location, d)
                case Param() | Ref() | Coord():
                    raise VerifyError(f"{type(node).__name__} does not belong into an op's definition", d.location)

    def readable(self, tensor: str, rank: int, location: Location, d: Definition) -> None:
        known = next((t for t in d.targets if t.name == tensor), None) or self.tensors.get(tensor)
        if known is None:
            late = tensor in self.names
            raise VerifyError(
                f"`{tensor}` is read before its definition" if late else f"unknown tensor `{tensor}`",
                location,
                "move its definition up" if late else "",
            )
        if len(known.shape) != rank:
            raise VerifyError(
                f"`{tensor}` has {len(known.shape)} dimension(s), read with {rank}",
                location,
                "give one index per dimension",
            )

    # 3: types ------------------------------------------------------------------------------------------------------

    def env(self, d: Definition | None = None) -> TypeEnv:
        own: dict[str, DType | Open] = {t.name: t.dtype for t in d.targets} if d is not None else {}
        return TypeEnv(ChainMap(own, self.dtypes))

    def typed(self, expr: Expr, want: DType | None, env: TypeEnv) -> DType:
        """The type of an expression that is elaborated already, and is `want` where given."""
        made, dtype = elaborate(expr, env)
        if made != expr:
            raise TypeMismatch("a literal without a type, or a widening that is not written", place(expr))
        if want is not None and dtype is not want:
            raise TypeMismatch(f"{dtype} stands where {want} is needed", place(expr), f"cast it: `{want}(...)`")
        return dtype

    def stored(self, dtype: DType, target: Tensor, widened: bool) -> None:
        same = (dtype.is_float, dtype.is_int) == (target.dtype.is_float, target.dtype.is_int)
        if not same or (widened and target.dtype.arithmetic.bytes > dtype.bytes):
            raise TypeMismatch(f"{dtype} is stored in `{target.name}` of type {target.dtype}", target.location)

    # definitions ---------------------------------------------------------------------------------------------------

    def definition(self, d: Definition) -> None:
        axes = {a.name for a in self.axes(d)}
        free = {a.name for a in d.axes}
        shape = tuple(a.hi for a in d.axes)
        env = self.env(d)
        shapes: list[tuple[Expr, ...]] = [shape] * len(d.targets)
        match d.body:
            case Pointwise(expr):
                self.targets(d, 1)
                self.scoped(expr, free, d)
                self.stored(self.typed(expr, None, env), d.targets[0], widened=True)
            case Reduction() as r:
                self.reduction(d, r, axes)
            case Compact(axis, guard):
                self.targets(d, 2)
                self.scoped(guard, axes, d)
                self.typed(guard, DType.BOOL, env)
                shapes[0] = (*shape, axis.hi)
            case Sort(axis, key):
                self.targets(d, 1)
                self.scoped(key, axes, d)
                self.typed(key, None, env)
                shapes[0] = (*shape, axis.hi)
        for target, expected in zip(d.targets, shapes, strict=True):
            self.shape(target)
            listed = isinstance(d.body, Compact | Sort)
            if listed and not target.dtype.is_int:
                raise TypeMismatch(f"indices are integers, `{target.name}` is {target.dtype}", target.location)
            if target.shape != expected and not self.same_shape(target, expected):
                raise VerifyError(f"`{target.name}` has another shape than its axes", target.location)
        sweep_direction(d)

    def same_shape(self, target: Tensor, expected: tuple[Expr, ...]) -> bool:
        from .extents import same_extent

        return len(target.shape) == len(expected) and all(
            same_extent(a, b, self.op.facts) for a, b in zip(target.shape, expected, strict=True)
        )

    def targets(self, d: Definition, count: int) -> None:
        if len(d.targets) != count:
            raise VerifyError(f"{count} target(s) needed, found {len(d.targets)}", d.location)

    def reduction(self, d: Definition, r: Reduction, axes: set[str]) -> None:
        env = self.env(d)
        if not r.axes:
            raise VerifyError("a reduction needs an axis", d.location)
        self.monoid(r.monoid, d.location)
        self.targets(d, len(r.monoid.components))
        if len(r.args) != len(r.monoid.components):
            raise VerifyError(f"`{r.monoid.name}` takes {len(r.monoid.components)} values", d.location)
        for arg, dtype, target in zip(r.args, r.monoid.dtypes, d.targets, strict=True):
            self.scoped(arg, axes, d)
            self.typed(arg, dtype, env)
            assert dtype is not None
            self.stored(dtype, target, widened=False)
        if r.guard is not None:
            self.scoped(r.guard, axes, d)
            self.typed(r.guard, DType.BOOL, env)

    # 6: monoids ----------------------------------------------------------------------------------------------------

    def monoid(self, m: Monoid, location: Location) -> None:
        if m.name not in BUILTIN and self.monoids.setdefault(m.name, m) != m:
            raise VerifyError(f"two monoids are called `{m.name}`", location, "rename one")
        n = len(m.components)
        if not n or len(set(m.components)) != n or {len(m.identity), len(m.combine), len(m.dtypes)} != {n}:
            raise VerifyError(f"`{m.name}` needs one identity, combine and type per component", m.location)
        if m.name in BUILTIN:
            if m.dtypes[-1] is None or builtin(m.name, m.dtypes[-1]) != m:
                raise VerifyError(f"`{m.name}` is not the built-in monoid of this name", m.location, "rename it")
            return
        check_name(m.name, location, "a monoid")
        env = TypeEnv(params=parameters(m))
        for identity, combine, dtype in zip(m.identity, m.combine, m.dtypes, strict=True):
            if dtype is None or dtype.arithmetic is not dtype:
                raise TypeMismatch(f"a component of `{m.name}` has no arithmetic type", m.location)
            for node in walk(identity):
                if not isinstance(node, Const | Call) and node.children == ():
                    raise VerifyError(f"the identity of `{m.name}` is not constant", m.location)
            for node in walk(combine):
                if isinstance(node, Var | Read | Ref | Coord):
                    raise VerifyError(f"`{m.name}` may name `a.*` and `b.*` alone", m.location)
            self.typed(identity, dtype, TypeEnv())
            self.typed(combine, dtype, env)
        sides = tuple(Param(f"{side}.{m.components[0]}") for side in "ab")
        if m.fn is not None and (n != 1 or m.combine[0] != Call(m.fn, sides)):
            raise VerifyError(f"`{m.name}` is not just `{m.fn}`", m.location)

    # 9: streams ----------------------------------------------------------------------------------------------------

    def stream(self, s: Stream) -> None:
        order = [t for d in self.op.definitions for t in d.target_names]
        params: dict[str, DType] = {}
        last = -1
        for c in s.components:
            d = self.op.definition_of(c.target)
            if d is None or not isinstance(d.body, Reduction) or s.axis not in {a.name for a in d.body.axes}:
                where = d.location if d is not None else self.op.location
                raise VerifyError(f"`{c.target}` is no reduction over `{s.axis}`", where, "take it out of the stream")
            if order.index(c.target) <= last:
                raise VerifyError(f"`{c.target}` stands out of order in its stream", d.location)
            last = order.index(c.target)
            dtype = d.body.monoid.dtypes[d.target_names.index(c.target)]
            assert dtype is not None
            params.update({f"old.{c.target}": dtype, f"new.{c.target}": dtype})
            if c.repair is not None:
                self.typed(c.repair, dtype, TypeEnv(params=params))
