"""Names in an op: what they mean, and the resolution of an expression (names bound, functions inlined, ranks checked).

Nested reductions stay where they are; `op_build.py` lifts them afterwards.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .dtypes import DType
from .errors import Location, VerifyError
from .expr import Coord, Expr, Param, Read, Var, walk
from .expr_text import is_reserved
from .inline import MAX_NODES, inline_call
from .monoids import BUILTIN
from .op import Axis, Monoid, Symbol, Tensor
from .surface import FnCall, ReduceExpr, SurfaceAxis, SurfaceFn, SurfaceOp
from .typing import Open, TypeEnv, elaborate, place

MAX_RANK = 12


def check_name(name: str, location: Location, what: str) -> None:
    """Refuse words that already mean something in expressions."""
    if is_reserved(name) or name in BUILTIN:
        raise VerifyError(f"`{name}` cannot name {what}: it is a reserved word", location, f"use `{name}_` instead")


@dataclass
class Scope:
    """Axes that can be named: free ones, then those of the enclosing reductions."""

    axes: dict[str, Axis | None]
    own: tuple[str, ...]  # targets of the definition being built

    def inner(self, names: tuple[str, ...]) -> Scope:
        return Scope({**self.axes, **dict.fromkeys(names)}, self.own)


class Names:
    """Symbols, tensors and functions known so far; the base of the builder."""

    def __init__(self, surface: SurfaceOp, fns: Mapping[str, SurfaceFn], monoids: Mapping[str, Monoid]) -> None:
        self.surface = surface
        self.fns = fns
        self.monoids = monoids
        self.symbols: dict[str, Symbol] = {}
        self.tensors: dict[str, Tensor] = {}
        self.dtypes: dict[str, DType | Open] = {}
        self.later = {t for d in surface.definitions for t in d.targets}
        self.nodes = 0

    # the head of an op ---------------------------------------------------------------------------------------------

    def add_symbol(self, symbol: Symbol) -> None:
        check_name(symbol.name, symbol.location, "a symbol")
        if symbol.name in self.symbols:
            raise VerifyError(f"two symbols are called `{symbol.name}`", symbol.location, "remove one")
        self.symbols[symbol.name] = symbol

    def check_new(self, name: str, location: Location, what: str) -> None:
        check_name(name, location, what)
        if name in self.symbols or name in self.tensors:
            kind = "a symbol" if name in self.symbols else "a tensor"
            raise VerifyError(f"`{name}` is already {kind}", location, "use another name")

    def declare(self, tensor: Tensor) -> Tensor:
        if len(tensor.shape) > MAX_RANK:
            raise VerifyError(
                f"`{tensor.name}` has {len(tensor.shape)} dimensions, at most {MAX_RANK}", tensor.location
            )
        return replace(tensor, shape=tuple(self.extent(e, tensor.location) for e in tensor.shape))

    def extent(self, expr: Expr, location: Location) -> Expr:
        return elaborate(self.closed(expr), TypeEnv(), DType.I64, exact=True)[0]

    def closed(self, expr: Expr) -> Expr:
        """An expression over symbols alone."""
        for node in walk(expr):
            if isinstance(node, Var) and node.name not in self.symbols:
                remedy = self.hint(node.name, list(self.symbols)) or "declare it: `op name<SYMBOL>(...)`"
                raise VerifyError(f"unknown symbol `{node.name}`", node.location, remedy)
            if isinstance(node, Read | Param | Coord | ReduceExpr | FnCall):
                raise VerifyError(
                    "only symbols and integers may stand here", place(expr), "name the extent by a symbol"
                )
        return expr

    # expressions ---------------------------------------------------------------------------------------------------

    def resolve(self, expr: Expr, scope: Scope) -> Expr:
        """Names bound, functions inlined, ranks checked; nested reductions stay where they are."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise VerifyError("the definition is too large after inlining", place(expr), "split it into several")
        match expr:
            case Var(name, location):
                return self.resolve_name(name, location, scope)
            case FnCall(name, args, location):
                return self.inline(name, tuple(self.resolve(a, scope) for a in args), location)
            case Read(tensor, index, location=location):
                self.check_read(tensor, len(index), location, scope)
            case ReduceExpr():
                return self.resolve_reduction(expr, scope)
            case Param(name):
                raise VerifyError(f"`{name}` means nothing here", place(expr), "members stand in monoids and repairs")
            case Coord():
                raise VerifyError(
                    "`@` means nothing here", place(expr), "tile coordinates belong to scheduled programs"
                )
        children = expr.children
        return expr.with_children(tuple(self.resolve(c, scope) for c in children)) if children else expr

    def resolve_name(self, name: str, location: Location, scope: Scope) -> Expr:
        if name in scope.axes or name in self.symbols:
            return Var(name, location)
        if name in self.tensors:
            self.check_read(name, 0, location, scope)
            return Read(name, (), location=location)
        known = [*scope.axes, *self.symbols, *self.tensors, *self.fns]
        if name in self.later:
            self.unknown_tensor(name, location, scope)
        raise VerifyError(
            f"unknown name `{name}`", location, self.hint(name, known) or "is an axis missing at the left?"
        )

    def check_read(self, tensor: str, rank: int, location: Location, scope: Scope) -> None:
        if tensor in scope.own:
            return
        found = self.tensors.get(tensor)
        if found is None:
            self.unknown_tensor(tensor, location, scope)
        elif len(found.shape) != rank:
            raise VerifyError(
                f"`{tensor}` has {len(found.shape)} dimension(s), read with {rank}",
                location,
                "give one index per dimension",
            )

    def unknown_tensor(self, name: str, location: Location, scope: Scope) -> None:
        if name in self.later:
            raise VerifyError(f"`{name}` is read before its definition", location, "move its definition up")
        if name in scope.axes or name in self.symbols:
            raise VerifyError(f"`{name}` has no elements: it is an integer", location, "write it without brackets")
        raise VerifyError(f"unknown tensor `{name}`", location, self.hint(name, list(self.tensors)))

    @staticmethod
    def hint(name: str, known: list[str]) -> str:
        close = difflib.get_close_matches(name[:60], [k for k in known if len(k) < 60], 1)
        return f"did you mean `{close[0]}`?" if close else ""

    def inline(self, name: str, args: tuple[Expr, ...], location: Location) -> Expr:
        out = inline_call(name, args, location, self.fns)
        self.nodes += sum(1 for _ in walk(out))
        if self.nodes > MAX_NODES:
            raise VerifyError("the definition is too large after inlining", location, "split it into several")
        return out

    def resolve_reduction(self, r: ReduceExpr, scope: Scope) -> ReduceExpr:
        axes = []
        names: list[str] = []
        for axis in r.axes:
            inner = scope.inner(tuple(names))
            self.check_axis(axis, inner)
            lo = self.resolve(axis.lo, inner) if axis.lo is not None else None
            hi = self.resolve(axis.hi, inner) if axis.hi is not None else None
            axes.append(replace(axis, lo=lo, hi=hi))
            names.append(axis.name)
        if not names:
            raise VerifyError("a reduction needs an axis", r.location, f"write `{r.monoid}[j] ...`")
        inner = scope.inner(tuple(names))
        args = tuple(self.resolve(a, inner) for a in r.args)
        guard = self.resolve(r.guard, inner) if r.guard is not None else None
        return replace(r, axes=tuple(axes), args=args, guard=guard)

    def check_axis(self, axis: SurfaceAxis, scope: Scope) -> None:
        check_name(axis.name, axis.location, "an axis")
        if axis.name in scope.axes:
            raise VerifyError(
                f"the axis `{axis.name}` is already in use here",
                axis.location,
                "rename it, or end the reduction around it by parentheses: `(sum[j] a[j]) * (sum[j] b[j])`",
            )
        if axis.name in self.symbols or axis.name in self.tensors or axis.name in self.later:
            kind = "a symbol" if axis.name in self.symbols else "a tensor"
            raise VerifyError(f"the axis `{axis.name}` has the name of {kind}", axis.location, "rename it")
