"""Symbols and their values: found from the shapes of a call, checked against the declared facts, put into an op."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .affine import affine
from .errors import BindError
from .expr import Const, Expr, const, substitute, variables
from .expr_text import print_expr
from .folding import fold
from .op import Axis, Definition, Op, Symbol, Tensor


def value_of(expr: Expr, values: Mapping[str, int]) -> int | bool | None:
    """The value of an integer or boolean expression over symbols, or None where some have no value."""
    out = fold(substitute(expr, {n: const(v) for n, v in values.items()}))
    return out.value if isinstance(out, Const) and not isinstance(out.value, float) else None


def bind_symbols(
    op: Op, shapes: Mapping[str, tuple[int, ...]], given: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The value of every symbol, from `given`, the shapes of the inputs, and the defaults, in this order.

    Raises BindError where a shape has another rank or extent than declared, a symbol stays open or contradicts itself,
    a fact does not hold, or an extent would be negative.
    """
    names = {s.name for s in op.symbols}
    values: dict[str, int] = {}
    for name, value in (given or {}).items():
        if name not in names:
            raise BindError(f"`{op.name}` has no symbol `{name}`", op.location, f"its symbols: {_listed(op.symbols)}")
        values[name] = int(value)
    return _bind(op.name, op.symbols, op.inputs, op.facts, shapes, values, _extents(op))


def _listed(symbols: tuple[Symbol, ...]) -> str:
    return ", ".join(s.name for s in symbols) or "none"


def _extents(op: Op) -> list[tuple[str, Expr]]:
    """Every extent that must not be negative, with what it is an extent of."""
    out = [(f"`{t.name}`", e) for t in (*op.inputs, *op.outputs) for e in t.shape]
    out += [(f"the axis `{a.name}` of `{d.name}`", a.hi) for d in op.definitions for a in d.axes]
    return out


def _bind(
    name: str,
    symbols: tuple[Symbol, ...],
    inputs: tuple[Tensor, ...],
    facts: tuple[Expr, ...],
    shapes: Mapping[str, tuple[int, ...]],
    values: dict[str, int],
    extents: list[tuple[str, Expr]],
) -> dict[str, int]:
    pending: list[tuple[Tensor, int, Expr, int]] = []
    for tensor in inputs:
        shape = shapes.get(tensor.name)
        if shape is None:
            continue
        if len(shape) != len(tensor.shape):
            raise BindError(
                f"`{tensor.name}` has {len(tensor.shape)} dimension(s), the array has {len(shape)}: {tuple(shape)}",
                tensor.location,
                f"pass an array of shape [{', '.join(print_expr(e) for e in tensor.shape)}]",
            )
        pending += [(tensor, k, e, int(n)) for k, (e, n) in enumerate(zip(tensor.shape, shape, strict=True))]
    while True:
        known = len(values)
        for tensor, k, extent, size in pending:
            _solve(tensor, k, extent, size, values)
        if len(values) == known:
            break
    for symbol in symbols:
        if symbol.name not in values:
            if symbol.default is None:
                raise BindError(f"the symbol `{symbol.name}` of `{name}` has no value", symbol.location, "give it one")
            values[symbol.name] = symbol.default
    for tensor, k, extent, size in pending:
        found = value_of(extent, values)
        if found != size:
            bound = ", ".join(f"{n} = {values[n]}" for n in sorted(variables(extent)))
            raise BindError(
                f"dimension {k} of `{tensor.name}` is {size}, but {print_expr(extent)} = {found}"
                + (f" ({bound})" if bound else ""),
                tensor.location,
                "pass arrays whose extents agree",
            )
    for fact in facts:
        if value_of(fact, values) is not True:
            bound = ", ".join(f"{n} = {values[n]}" for n in sorted(variables(fact)))
            raise BindError(f"`{name}` needs {print_expr(fact)}; here {bound}", remedy="pass other extents")
    for owner, extent in extents:
        found = value_of(extent, values)
        if found is not None and found < 0:
            raise BindError(
                f"an extent of {owner} is negative: {print_expr(extent)} = {found}", remedy="larger extents"
            )
    return {s.name: values[s.name] for s in symbols}


def _solve(tensor: Tensor, dimension: int, extent: Expr, size: int, values: dict[str, int]) -> None:
    """Bind the one unknown symbol of an affine extent, if there is just one."""
    form = affine(fold(substitute(extent, {n: const(v) for n, v in values.items()})))
    if form is None or len(form.terms) != 1:
        return
    name, factor = form.terms[0]
    rest = size - form.constant
    if rest % factor:
        raise BindError(
            f"dimension {dimension} of `{tensor.name}` is {size}, which is no {print_expr(extent)}",
            tensor.location,
            f"pass an extent of the form {print_expr(extent)}",
        )
    values[name] = rest // factor


def specialise(op: Op, values: Mapping[str, int]) -> Op:
    """The op with these symbols replaced by constants and index arithmetic folded; facts that hold are dropped.

    Raises BindError where a fact does not hold.
    """
    known = {n: const(v) for n, v in values.items()}

    def put(expr: Expr) -> Expr:
        return fold(substitute(expr, dict(known)))

    def tensor(t: Tensor) -> Tensor:
        return replace(t, shape=tuple(put(e) for e in t.shape))

    def axis(a: Axis) -> Axis:
        return replace(a, lo=put(a.lo), hi=put(a.hi))

    def definition(d: Definition) -> Definition:
        d = d.with_expressions(tuple(put(e) for e in d.expressions))
        return replace(d, targets=tuple(tensor(t) for t in d.targets), axes=tuple(axis(a) for a in d.axes))

    facts = []
    for fact in op.facts:
        new = put(fact)
        if isinstance(new, Const) and not new.value:
            raise BindError(f"`{op.name}` needs {print_expr(fact)}", remedy="bind other values")
        if not isinstance(new, Const):
            facts.append(new)
    return replace(
        op,
        symbols=tuple(s for s in op.symbols if s.name not in values),
        inputs=tuple(tensor(t) for t in op.inputs),
        outputs=tuple(tensor(t) for t in op.outputs),
        definitions=tuple(definition(d) for d in op.definitions),
        facts=tuple(facts),
    )


__all__ = ["bind_symbols", "specialise", "value_of"]
