"""Inlining of users' functions. A function is closed: its body holds its parameters, literals and other functions."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from .errors import Location, VerifyError
from .expr import Coord, Expr, Read, Var, substitute, walk
from .expr_text import MAX_DEPTH, depth
from .surface import FnCall, ReduceExpr, SurfaceFn
from .typing import place

MAX_NODES = 20_000  # of one definition after inlining


def inline_call(name: str, args: tuple[Expr, ...], location: Location, fns: Mapping[str, SurfaceFn]) -> Expr:
    """The body of a function (itself free of calls) with its parameters replaced."""
    fn = fns.get(name)
    if fn is None:
        close = difflib.get_close_matches(name[:60], [k for k in fns if len(k) < 60], 1)
        raise VerifyError(
            f"unknown function `{name}`",
            location,
            f"did you mean `{close[0]}`?" if close else "define it before its use: `fn f(x) = ...`",
        )
    if len(args) != len(fn.parameters):
        raise VerifyError(
            f"`{name}` takes {len(fn.parameters)} argument(s), found {len(args)}",
            location,
            f"write `{name}({', '.join(fn.parameters)})`",
        )
    sizes = {p: sum(1 for _ in walk(a)) for p, a in zip(fn.parameters, args, strict=True)}
    total = sum(sizes[n.name] if isinstance(n, Var) else 1 for n in walk(fn.body))
    if total > MAX_NODES:
        raise VerifyError("the expression is too large after inlining", location, "split it into several definitions")
    out = substitute(fn.body, dict(zip(fn.parameters, args, strict=True)))
    if depth(out) > MAX_DEPTH:
        raise VerifyError("the expression is too deep after inlining", location, "split it into several definitions")
    return out


def inline_calls(expr: Expr, fns: Mapping[str, SurfaceFn], parameters: set[str]) -> Expr:
    """A closed expression over `parameters` with every call inlined. Raises VerifyError where it is not closed."""
    match expr:
        case Var(name, location):
            if name not in parameters:
                remedy = (
                    "hand it over as an argument" if parameters else "only literals, members and functions stand here"
                )
                raise VerifyError(f"`{name}` is not known here", location, remedy)
        case Read(tensor=tensor, location=location):
            raise VerifyError(f"`{tensor}` is read inside a function", location, "hand the value over as an argument")
        case ReduceExpr(location=location):
            raise VerifyError("a reduction inside a function", location, "reduce in a definition")
        case Coord():
            raise VerifyError("`@` means nothing here", place(expr), "tile coordinates belong to scheduled programs")
    children = tuple(inline_calls(c, fns, parameters) for c in expr.children)
    if isinstance(expr, FnCall):
        out = inline_call(expr.name, children, expr.location, fns)
    else:
        out = expr.with_children(children) if children else expr
    return out


__all__ = ["MAX_NODES", "inline_call", "inline_calls"]
