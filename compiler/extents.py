"""From the shapes of a call to the values of symbols: every contradiction is named with both of its sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..ir.affine import affine
from ..ir.errors import BindError
from ..ir.expr import Call, Const, Expr, Fn, Var, const, substitute, variables
from ..ir.expr_text import print_expr
from ..ir.op import Tensor
from ..ir.scalar_functions import evaluate as evaluate_expr
from .signature import Signature


@dataclass(frozen=True)
class Source:
    """A value of a symbol and where it came from, in words."""

    value: int
    origin: str


def evaluate(expr: Expr, bindings: Mapping[str, int]) -> int:
    """An extent with all its symbols bound. Raises BindError naming a symbol that is not."""
    match expr:
        case Const(value):
            return int(value)
        case Var(name) if name in bindings:
            return bindings[name]
        case Call(Fn.ADD, (a, b)):
            return evaluate(a, bindings) + evaluate(b, bindings)
        case Call(Fn.SUB, (a, b)):
            return evaluate(a, bindings) - evaluate(b, bindings)
        case Call(Fn.MUL, (a, b)):
            return evaluate(a, bindings) * evaluate(b, bindings)

    def leaf(node: Expr) -> int:
        if isinstance(node, Var) and node.name in bindings:
            return bindings[node.name]
        name = node.name if isinstance(node, Var) else str(node)
        raise BindError(f"symbol '{name}' has no value", remedy=f"bind={{'{name}': ...}}")

    return int(evaluate_expr(expr, leaf))


def shape_of(tensor: Tensor, bindings: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of a tensor with all symbols bound. Raises BindError for a negative extent."""
    check_bound_shape(tensor, bindings)
    return tuple(evaluate(e, bindings) for e in tensor.shape)


def check_bound_shape(tensor: Tensor, bindings: Mapping[str, int]) -> None:
    """Raises BindError where values already known make an extent negative or a tensor larger than an address space."""
    known = [evaluate(e, bindings) for e in tensor.shape if variables(e) <= bindings.keys()]
    size = tensor.dtype.bytes
    for extent in known:
        if extent < 0:
            raise BindError(f"an extent of '{tensor.name}' would be {extent}", tensor.location)
        size *= max(extent, 1)
    if size >= 2**62:
        raise BindError(f"'{tensor.name}' would have {size} bytes", tensor.location, remedy="smaller extents")


def check_bindings(signature: Signature, given: Mapping[str, int], origin: str) -> dict[str, Source]:
    """Values for symbols that a caller names. Raises BindError for an unknown name or a value that is no extent."""
    known = [s.name for s in signature.symbols]
    out: dict[str, Source] = {}
    for name, value in given.items():
        if name not in known:
            names = ", ".join(known) or "none"
            raise BindError(f"'{signature.name}' has no symbol '{name}'", remedy=f"its symbols: {names}")
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise BindError(f"symbol '{name}' is bound to {value!r}, which is not an integer", remedy="an int")
        number = value.__index__()
        if not -(2**63) <= number < 2**63:
            raise BindError(f"symbol '{name}' is bound to {number}, which does not fit 64 bits")
        out[name] = Source(number, origin)
    return out


def solve(
    signature: Signature, shapes: Iterable[tuple[Tensor, tuple[int, ...]]], given: Mapping[str, Source]
) -> dict[str, int]:
    """The values of all symbols of `signature`, in its order, from actual shapes (whose ranks are already checked).

    A dimension determines a symbol where it is affine in one that is still unknown. Defaults apply to what no shape
    determines. Raises BindError naming the symbol and both sources of a contradiction, a symbol that nothing
    determines, or a fact that does not hold.
    """
    known: dict[str, Source] = dict(given)
    dims = [(t, k, e, s[k]) for t, s in shapes for k, e in enumerate(t.shape)]
    _determine(dims, known)
    for symbol in signature.symbols:
        if symbol.name not in known and symbol.default is not None:
            known[symbol.name] = Source(symbol.default, "its default")
            _determine(dims, known)
    missing = [s.name for s in signature.symbols if s.name not in known]
    if missing:
        raise BindError(
            f"nothing determines symbol '{missing[0]}' of '{signature.name}'", remedy=f"bind={{'{missing[0]}': ...}}"
        )
    bindings = {s.name: known[s.name].value for s in signature.symbols}
    for tensor, axis, expr, actual in dims:
        expected = evaluate(expr, bindings)
        if expected != actual:
            raise _contradiction(tensor, axis, expr, actual, expected, known)
    check_facts(signature, bindings)
    return bindings


def _determine(dims: list[tuple[Tensor, int, Expr, int]], known: dict[str, Source]) -> None:
    """Solve for unknown symbols until nothing new is learned."""
    progress = True
    while progress:
        progress = False
        for tensor, axis, expr, actual in dims:
            unknown = variables(expr) - known.keys()
            if len(unknown) != 1:
                continue
            form = affine(substitute(expr, {n: const(s.value) for n, s in known.items()}))
            if form is None or len(form.terms) != 1:
                continue
            ((name, factor),) = form.terms
            value, rest = divmod(actual - form.constant, factor)
            if rest or value < 0:
                raise BindError(
                    f"dimension {axis} of '{tensor.name}' is {actual}, which no {name} makes equal to {text(expr)}",
                    tensor.location,
                )
            known[name] = Source(value, f"dimension {axis} of '{tensor.name}'")
            progress = True


def _contradiction(
    tensor: Tensor, axis: int, expr: Expr, actual: int, expected: int, known: Mapping[str, Source]
) -> BindError:
    names = sorted(variables(expr))
    if not names:
        return BindError(f"dimension {axis} of '{tensor.name}' is {actual}, it must be {expected}", tensor.location)
    sources = ", ".join(f"{n} = {known[n].value} (from {known[n].origin})" for n in names)
    return BindError(
        f"dimension {axis} of '{tensor.name}' is {actual}, but {text(expr)} = {expected} with {sources}",
        tensor.location,
        remedy="arrays whose shapes agree",
    )


def check_facts(signature: Signature, bindings: Mapping[str, int]) -> None:
    """Raises BindError for a declared fact that the values break; facts with unbound symbols wait."""
    for fact in signature.facts:
        names = sorted(variables(fact))
        if any(n not in bindings for n in names) or evaluate(fact, bindings):
            continue
        values = ", ".join(f"{n} = {bindings[n]}" for n in names)
        raise BindError(f"'{signature.name}' requires {text(fact)}, but {values}", signature.location)


def text(expr: Expr) -> str:
    """An expression over symbols as the user would write it."""
    return print_expr(expr)
