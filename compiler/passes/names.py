"""Fresh names and renaming of axes, shared by the op-level passes. Compiler-made names contain `$`."""

from __future__ import annotations

from dataclasses import replace

from ...ir.expr import Expr, Var, substitute, variables
from ...ir.op import Axis, Compact, Definition, Op, Reduction, Sort


def used_names(op: Op) -> set[str]:
    """Every tensor, symbol and axis name of an op."""
    names = set(op.tensors) | {s.name for s in op.symbols} | {t.name for t in op.outputs}
    for d in op.definitions:
        names |= {a.name for a in d.axes} | set(bound_axes(d))
    return names


def fresh(base: str, taken: set[str], role: str = "") -> str:
    """`base$role`, numbered where it is taken or there is no role; the name is added to `taken`."""
    base = base.split("$")[0]
    name = f"{base}${role}"
    k = 0
    while not role or name in taken:
        name = f"{base}${role}{k}"
        k += 1
        if name not in taken:
            break
    taken.add(name)
    return name


def bound_axes(d: Definition) -> tuple[str, ...]:
    """Names of the axes a definition's body binds (reduction, compact and sort axes)."""
    match d.body:
        case Reduction(axes=axes):
            return tuple(a.name for a in axes)
        case Compact(axis=axis) | Sort(axis=axis):
            return (axis.name,)
    return ()


def axes_of(d: Definition) -> tuple[Axis, ...]:
    """The axes over which the body is evaluated: free ones, then those it binds."""
    match d.body:
        case Reduction(axes=axes):
            return d.axes + axes
        case Compact(axis=axis) | Sort(axis=axis):
            return (*d.axes, axis)
    return d.axes


def rename_axes(d: Definition, new: dict[str, str]) -> Definition:
    """The same definition with free and bound axes renamed, all at once (names must stay distinct)."""
    new = {a: b for a, b in new.items() if a != b}
    if not new:
        return d
    values: dict[str, Expr] = {a: Var(b) for a, b in new.items()}
    out = d.with_expressions(tuple(substitute(e, values) for e in d.expressions))
    axes = tuple(replace(a, name=new.get(a.name, a.name)) for a in out.axes)
    body = out.body
    match body:
        case Reduction(axes=bound):
            body = replace(body, axes=tuple(replace(a, name=new.get(a.name, a.name)) for a in bound))
        case Compact(axis=axis):
            body = Compact(replace(axis, name=new.get(axis.name, axis.name)), body.guard)
        case Sort(axis=axis):
            body = replace(body, axis=replace(axis, name=new.get(axis.name, axis.name)))
    return replace(out, axes=axes, body=body)


def free_of(expr: Expr, names: set[str]) -> bool:
    """True where no variable of `names` occurs."""
    return not (variables(expr) & names)
