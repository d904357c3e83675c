"""From what a front end says (`surface.py`) to an `Op`: names resolved, functions inlined, extents and types inferred,
nested reductions lifted into definitions of their own.

Raises VerifyError (TypeMismatch for types) with the place and a remedy. What it does not check (bounds, recurrence
directions, streams) is `op_verify.py`'s.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace

from .dtypes import DType
from .errors import Location, TypeMismatch, UserError, VerifyError
from .expr import Expr, Read, Var, const, reads, variables, walk
from .expr_text import MAX_DEPTH, depth
from .extents import infer_extent, same_extent
from .monoids import BUILTIN, BY_INDEX, builtin, instantiate
from .op import Axis, Compact, Definition, Monoid, Op, Pointwise, Reduction, Sort, Symbol, Tensor
from .op_names import MAX_RANK, Names, Scope
from .surface import (
    ReduceExpr,
    SurfaceAxis,
    SurfaceCompact,
    SurfaceDefinition,
    SurfaceFn,
    SurfaceOp,
    SurfaceSort,
)
from .typing import Open, Type, TypeEnv, elaborate, natural, settle

MAX_DEFINITIONS = 2_000


def build_op(surface: SurfaceOp, fns: Mapping[str, SurfaceFn], monoids: Mapping[str, Monoid]) -> Op:
    """The op that a front end's statement means."""
    return _Builder(surface, fns, monoids).build()


class _Builder(Names):
    def __init__(self, surface: SurfaceOp, fns: Mapping[str, SurfaceFn], monoids: Mapping[str, Monoid]) -> None:
        super().__init__(surface, fns, monoids)
        self.instances: dict[str, Monoid] = {}
        self.definitions: list[Definition] = []
        self.declared: dict[str, Tensor] = {}
        self.facts: tuple[Expr, ...] = ()
        self.lifted = 0

    # the head of an op ---------------------------------------------------------------------------------------------

    def build(self) -> Op:
        s = self.surface
        for symbol in s.symbols:
            self.add_symbol(symbol)
        for tensor in s.inputs:
            for extent in tensor.shape:
                for node in walk(extent):
                    if isinstance(node, Var) and node.name not in self.symbols:
                        self.add_symbol(Symbol(node.name, None, node.location))
        for tensor in s.inputs:
            self.check_new(tensor.name, tensor.location, "an input")
            self.tensors[tensor.name] = self.declare(tensor)
            self.dtypes[tensor.name] = tensor.dtype
        for tensor in s.outputs:
            self.check_new(tensor.name, tensor.location, "an output")
            if tensor.name in self.declared:
                raise VerifyError(f"two outputs are called `{tensor.name}`", tensor.location)
            self.declared[tensor.name] = self.declare(tensor)
        self.facts = tuple(elaborate(self.closed(f), TypeEnv(), DType.BOOL, exact=True)[0] for f in s.facts)
        for definition in s.definitions:
            self._define(definition)
        for tensor in s.outputs:
            if tensor.name not in self.tensors:
                raise VerifyError(
                    f"the output `{tensor.name}` is never defined", tensor.location, f"add `{tensor.name}[...] = ...`"
                )
        outputs = tuple(self.declared[t.name] for t in s.outputs)
        inputs = tuple(self.tensors[t.name] for t in s.inputs)
        symbols = tuple(self.symbols.values())
        streams = tuple(
            replace(t, components=tuple(replace(c, repair=self._repair(c.repair)) for c in t.components))
            for t in s.streams
        )
        return Op(s.name, symbols, inputs, outputs, tuple(self.definitions), self.facts, streams, s.location)

    def _repair(self, expr: Expr | None) -> Expr | None:
        if expr is None:
            return None
        params = {f"{side}.{n}": t.dtype.arithmetic for n, t in self.tensors.items() for side in ("old", "new")}
        return elaborate(expr, TypeEnv(params=params))[0]

    # one definition ------------------------------------------------------------------------------------------------

    def _define(self, d: SurfaceDefinition) -> None:
        for name in d.targets:
            self.check_new(name, d.location, "a target")
        if len(set(d.targets)) != len(d.targets):
            raise VerifyError("a target is named twice", d.location, "give each its own name")
        if len(d.axes) > MAX_RANK:
            raise VerifyError(f"{len(d.axes)} free axes, at most {MAX_RANK}", d.location)
        if len({a.name for a in d.axes}) != len(d.axes):
            raise VerifyError("two free axes have the same name", d.location, "rename one: the diagonal is `x[i, i]`")
        self.lifted = self.nodes = 0
        scope = Scope({}, d.targets)
        for axis in d.axes:
            self.check_axis(axis, scope)
            if axis.lo is not None:
                raise VerifyError(f"the free axis `{axis.name}` starts at 0", axis.location, "give its extent alone")
            scope.axes[axis.name] = None
        body = d.body
        match body:
            case SurfaceCompact(axis, guard):
                self.check_axis(axis, scope)
                whole: tuple[Expr, ...] = (self.resolve(guard, scope.inner((axis.name,))),)
            case SurfaceSort(axis, key):
                self.check_axis(axis, scope)
                whole = (self.resolve(key, scope.inner((axis.name,))),)
            case Expr():
                whole = (self.resolve(body, scope),)
        if max(depth(e) for e in whole) > MAX_DEPTH:
            raise VerifyError("the definition is too deep after inlining", d.location, "split it into several")
        for position, axis in enumerate(d.axes):
            scope.axes[axis.name] = Axis(
                axis.name, const(0), self._free_extent(d, position, axis, whole), axis.location
            )
        free = tuple(a for a in scope.axes.values() if a is not None)
        match body:
            case SurfaceCompact(axis, _):
                self._list_body(d, free, axis, whole[0], scope)
            case SurfaceSort(axis, _, descending):
                self._list_body(d, free, axis, whole[0], scope, descending)
            case Expr():
                self._value_body(d, free, whole[0], scope)

    def _list_body(
        self,
        d: SurfaceDefinition,
        free: tuple[Axis, ...],
        surface_axis: SurfaceAxis,
        expr: Expr,
        scope: Scope,
        descending: bool | None = None,
    ) -> None:
        """`compact` (where `descending` is None) and the sorts."""
        axis = self._reduction_axis(surface_axis, (expr,), scope)
        if axis.lo != const(0) or variables(axis.hi) - set(self.symbols) or reads(axis.hi):
            raise VerifyError(f"the axis `{axis.name}` must run from 0 to a fixed extent here", axis.location)
        inner = scope.inner((axis.name,))
        inner.axes[axis.name] = axis
        expr = self._lift(expr, inner, d)
        shape = tuple(a.hi for a in free)
        count = 1 if descending is not None else 2
        if len(d.targets) != count:
            need = "one target" if count == 1 else "two targets, `(list, count)[...]`"
            raise VerifyError(f"{need} needed, found {len(d.targets)}", d.location)
        dtypes = d.dtypes if len(d.dtypes) == count else (d.dtypes[:1] or (DType.I64,)) * count
        for dtype in dtypes:
            if not dtype.is_int:
                raise TypeMismatch(f"indices are integers, not {dtype}", d.location, "declare i64 or i32")
        first = Tensor(d.targets[0], dtypes[0], shape + (axis.hi,), d.location)
        self._no_self_read(d, (expr,))
        if descending is not None:
            key = elaborate(expr, self._env())[0]
            self._emit(Definition((first,), free, Sort(axis, key, descending), d.location), d)
        else:
            guard = elaborate(expr, self._env(), DType.BOOL, exact=True)[0]
            second = Tensor(d.targets[1], dtypes[1], shape, d.location)
            self._emit(Definition((first, second), free, Compact(axis, guard), d.location), d)

    def _value_body(self, d: SurfaceDefinition, free: tuple[Axis, ...], expr: Expr, scope: Scope) -> None:
        if isinstance(expr, ReduceExpr):
            self._no_self_read(d, (expr,))
            self._reduction(d, free, expr, scope, d.dtypes)
            return
        expr = self._lift(expr, scope, d)
        if len(d.targets) != 1:
            raise VerifyError(
                f"{len(d.targets)} targets for one value", d.location, "only a monoid's tuple fills several"
            )
        declared = self._declared(d.targets[0], d.dtypes[:1], d.location)
        own = declared
        if declared is None:
            found: Type = natural(expr, self._env({d.targets[0]: Open.UNKNOWN}))
            if found is Open.UNKNOWN:
                raise TypeMismatch(f"the type of `{d.targets[0]}` is open", d.location, "declare it: `y[i]: f32 = ...`")
            own = settle(found, None)
        assert own is not None
        env = self._env({d.targets[0]: own})
        expr, dtype = elaborate(expr, env, own.arithmetic)
        expr = self._store(expr, dtype, own, d.targets[0], env, d.location)
        target = Tensor(d.targets[0], own, tuple(a.hi for a in free), d.location)
        self._emit(Definition((target,), free, Pointwise(expr), d.location), d)

    def _store(self, expr: Expr, dtype: DType, own: DType, name: str, env: TypeEnv, location: Location) -> Expr:
        """The value stored in a target of type `own`: a store rounds or wraps, but changes no kind."""
        self._check_kind(dtype, own, name, location)
        if own.arithmetic.bytes > dtype.bytes:
            return elaborate(expr, env, own.arithmetic, exact=True)[0]
        return expr

    @staticmethod
    def _check_kind(dtype: DType, own: DType, name: str, location: Location) -> None:
        if (dtype.is_float, dtype.is_int) != (own.is_float, own.is_int):
            raise TypeMismatch(f"{dtype} is stored in `{name}` of type {own}", location, f"cast it: `{own}(...)`")

    def _reduction(
        self, d: SurfaceDefinition, free: tuple[Axis, ...], r: ReduceExpr, scope: Scope, given: tuple[DType, ...]
    ) -> None:
        axes, inner = self._reduction_axes(r, scope)
        args = tuple(self._lift(a, inner, d) for a in r.args)
        guard = self._lift(r.guard, inner, d) if r.guard is not None else None
        bounds = tuple((self._lift(a.lo, scope, d), self._lift(a.hi, scope, d)) for a in axes)
        axes = tuple(
            replace(a, lo=self._bound(lo), hi=self._bound(hi)) for a, (lo, hi) in zip(axes, bounds, strict=True)
        )
        targets = d.targets
        if r.monoid in BY_INDEX and len(args) == 1:
            if len(axes) != 1:
                raise VerifyError(f"`{r.monoid}` takes one axis", r.location, "flatten the axes, or nest two of them")
            args = (Var(axes[0].name, axes[0].location), args[0])
            if len(targets) == 1:
                targets = (targets[0], f"{targets[0]}$v")
                self.check_new(targets[1], d.location, "a target")
        monoid, args = self._monoid(r, args, self._want(d, given))
        if len(monoid.components) != len(targets):
            raise VerifyError(
                f"`{r.monoid}` has {len(monoid.components)} components, the definition {len(targets)} targets",
                d.location,
                f"write `({', '.join(monoid.components)})[...] = {r.monoid}[...] (...)`",
            )
        shape = tuple(a.hi for a in free)
        made = []
        for k, (name, state) in enumerate(zip(targets, monoid.dtypes, strict=True)):
            assert state is not None
            dtypes = (
                given[k : k + 1] if len(given) == len(targets) else given[: 1 if k == 0 or name in d.targets else 0]
            )
            declared = self._declared(name, dtypes, d.location)
            if declared is not None:
                self._check_kind(state, declared, name, d.location)
            made.append(Tensor(name, declared or state, shape, d.location))
        if guard is not None:
            guard = elaborate(guard, self._env(), DType.BOOL, exact=True)[0]
        body = Reduction(monoid, axes, args, guard, r.accumulate)
        self._emit(Definition(tuple(made), free, body, d.location), d)

    def _bound(self, expr: Expr) -> Expr:
        return elaborate(expr, self._env(), DType.I64, exact=True)[0]

    def _monoid(self, r: ReduceExpr, args: tuple[Expr, ...], want: DType | None) -> tuple[Monoid, tuple[Expr, ...]]:
        """The instance of a reduction's monoid at the types of its arguments, and those arguments elaborated."""
        env = self._env()
        if r.accumulate is not None and r.accumulate.arithmetic is not r.accumulate:
            raise TypeMismatch(f"nothing accumulates in {r.accumulate}", r.location, f"use {r.accumulate.arithmetic}")
        found = [natural(a, env) for a in args]
        if r.monoid in BUILTIN:
            value = settle(found[-1], want)
            if r.accumulate is not None:
                if (value.is_float, value.is_int) != (r.accumulate.is_float, r.accumulate.is_int):
                    raise TypeMismatch(f"{value} is accumulated in {r.accumulate}", r.location, "cast the summand")
                value = value if value.bytes > r.accumulate.bytes else r.accumulate
            monoid = builtin(r.monoid, value, r.location)
            dtypes: list[DType] = [t for t in monoid.dtypes if t is not None]
        else:
            generic = self.monoids.get(r.monoid)
            if generic is None:
                remedy = self.hint(r.monoid, [*BUILTIN, *self.monoids])
                raise VerifyError(f"unknown monoid `{r.monoid}`", r.location, remedy)
            if len(args) != len(generic.components):
                raise VerifyError(
                    f"`{r.monoid}` takes {len(generic.components)} values, found {len(args)}",
                    r.location,
                    f"write `{r.monoid}[...] ({', '.join(generic.components)})`",
                )
            concrete = next((t for t in found if isinstance(t, DType) and t is not DType.BOOL), want)
            dtypes = [
                t or r.accumulate or settle(f, concrete)
                for t, f in zip(generic.dtypes or (None,) * len(args), found, strict=True)
            ]
            monoid = self._instance(generic, dtypes, r.location)
        if len(args) != len(dtypes):
            raise VerifyError(f"`{r.monoid}` takes {len(dtypes)} values, found {len(args)}", r.location)
        return monoid, tuple(elaborate(a, env, t, exact=True)[0] for a, t in zip(args, dtypes, strict=True))

    def _instance(self, generic: Monoid, dtypes: list[DType], location: Location) -> Monoid:
        try:
            made = instantiate(generic, dtypes)
        except UserError as error:
            if not error.location.line:
                error.location = generic.location if generic.location.line else location
            raise
        if self.instances.setdefault(made.name, made) != made:
            made = replace(made, name=f"{made.name}${'_'.join(str(t) for t in dtypes)}")
            self.instances[made.name] = made
        return made

    def _want(self, d: SurfaceDefinition, given: tuple[DType, ...]) -> DType | None:
        if len(d.targets) == 1:
            declared = self._declared(d.targets[0], given[:1], d.location)
            return declared.arithmetic if declared is not None else None
        return None

    def _declared(self, name: str, given: tuple[DType, ...], location: Location) -> DType | None:
        output = self.declared.get(name)
        if output is not None and given and given[0] is not output.dtype:
            raise TypeMismatch(f"`{name}` is declared {output.dtype} and {given[0]}", location, "remove one of the two")
        return output.dtype if output is not None else given[0] if given else None

    def _env(self, more: Mapping[str, DType | Open] | None = None) -> TypeEnv:
        return TypeEnv(ChainMap(dict(more), self.dtypes) if more else self.dtypes)

    def _emit(self, made: Definition, d: SurfaceDefinition) -> None:
        for target in made.targets:
            output = self.declared.get(target.name)
            if output is not None:
                if len(output.shape) != len(target.shape):
                    raise VerifyError(
                        f"`{target.name}` is declared with {len(output.shape)} dimensions and defined with "
                        f"{len(target.shape)}",
                        d.location,
                        "name one axis per dimension",
                    )
                for k, (a, b) in enumerate(zip(output.shape, target.shape, strict=True)):
                    if a != b and not same_extent(a, b, self.facts):
                        raise VerifyError(
                            f"dimension {k} of `{target.name}` has another extent than declared",
                            d.location,
                            "make the axis run over the declared extent",
                        )
        made = replace(
            made,
            targets=tuple(
                replace(t, shape=self.declared[t.name].shape) if t.name in self.declared else t for t in made.targets
            ),
        )
        self.definitions.append(made)
        self.tensors.update({t.name: t for t in made.targets})
        self.dtypes.update({t.name: t.dtype for t in made.targets})
        if len(self.definitions) > MAX_DEFINITIONS:
            raise VerifyError(f"more than {MAX_DEFINITIONS} definitions", d.location, "split the op")

    def _no_self_read(self, d: SurfaceDefinition, exprs: tuple[Expr, ...]) -> None:
        for expr in exprs:
            for node in walk(expr):
                if isinstance(node, Read) and node.tensor in d.targets:
                    raise VerifyError(
                        f"`{node.tensor}` reads itself inside a reduction",
                        node.location,
                        "a recurrence is pointwise: move the reduction into its own definition",
                    )

    # extents -------------------------------------------------------------------------------------------------------

    def _free_extent(self, d: SurfaceDefinition, position: int, axis: SurfaceAxis, whole: tuple[Expr, ...]) -> Expr:
        output = next((self.declared[t] for t in d.targets if t in self.declared), None)
        if axis.hi is not None:
            return self.extent(axis.hi, axis.location)
        if output is not None and position < len(output.shape):
            return output.shape[position]
        return self._inferred(axis, whole)

    def _inferred(self, axis: SurfaceAxis, exprs: tuple[Expr, ...]) -> Expr:
        return infer_extent(axis.name, exprs, self.tensors, self.facts, axis.location)

    def _reduction_axis(self, axis: SurfaceAxis, exprs: tuple[Expr, ...], scope: Scope) -> Axis:
        lo = axis.lo if axis.lo is not None else const(0)
        if axis.hi is None:
            hi = self._inferred(axis, exprs)
        else:
            hi = axis.hi if isinstance(axis.hi, ReduceExpr) else self._bound_of(axis.hi)
        return Axis(axis.name, self._bound_of(lo), hi, axis.location)

    def _bound_of(self, expr: Expr) -> Expr:
        """A bound, elaborated where no reduction inside it has still to be lifted."""
        return expr if any(isinstance(n, ReduceExpr) for n in walk(expr)) else self._bound(expr)

    def _reduction_axes(self, r: ReduceExpr, scope: Scope) -> tuple[tuple[Axis, ...], Scope]:
        inner = scope.inner(())
        out = []
        exprs = r.args + ((r.guard,) if r.guard is not None else ())
        for axis in r.axes:
            made = self._reduction_axis(axis, exprs, inner)
            inner.axes[axis.name] = made
            out.append(made)
        return tuple(out), inner

    # lifting -------------------------------------------------------------------------------------------------------

    def _lift(self, expr: Expr, scope: Scope, d: SurfaceDefinition) -> Expr:
        """The expression with every reduction inside it replaced by a read of its own definition."""
        if isinstance(expr, ReduceExpr):
            return self._lift_one(expr, scope, d)
        children = expr.children
        if not children:
            return expr
        return expr.with_children(tuple(self._lift(c, scope, d) for c in children))

    def _lift_one(self, r: ReduceExpr, scope: Scope, d: SurfaceDefinition) -> Expr:
        self._no_self_read(d, (r,))
        inner_names = {a.name for n in walk(r) if isinstance(n, ReduceExpr) for a in n.axes}
        used = {n.name for n in walk(r) if isinstance(n, Var)} - inner_names
        free = []
        for axis in scope.axes.values():
            if axis is None or axis.name not in used:
                continue
            if (
                reads(axis.hi)
                or any(isinstance(n, ReduceExpr) for n in walk(axis.hi))
                or variables(axis.hi) - set(self.symbols)
            ):
                raise VerifyError(
                    f"this reduction lies inside the ragged axis `{axis.name}`",
                    r.location,
                    "give it a definition of its own with a fixed extent",
                )
            free.append(replace(axis, lo=const(0)))
        self.lifted += 1
        name = f"{d.targets[0]}${self.lifted}"
        self.check_new(name, r.location, "a target")
        lifted = SurfaceDefinition((name,), (), r, (), r.location)
        inner = Scope({a.name: a for a in free}, (name,))
        keep, self.lifted = self.lifted, 0
        self._reduction(lifted, tuple(free), r, inner, ())
        self.lifted = keep
        return Read(name, tuple(Var(a.name, r.location) for a in free), location=r.location)
