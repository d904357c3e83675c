"""The extent of an axis, inferred from the dimensions it indexes alone."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import Location, VerifyError
from .expr import Boundary, Call, Expr, Fn, Read, Var, walk
from .expr_text import print_expr
from .op import Tensor


def same_extent(a: Expr, b: Expr, facts: tuple[Expr, ...]) -> bool:
    """Whether two extents are equal by form or by a declared fact."""
    from .bounds import Prover

    if a == b or Call(Fn.EQ, (a, b)) in facts or Call(Fn.EQ, (b, a)) in facts:
        return True
    prover = Prover(facts)
    return prover.at_most(a, b) and prover.at_most(b, a)


def infer_extent(
    axis: str, exprs: tuple[Expr, ...], tensors: Mapping[str, Tensor], facts: tuple[Expr, ...], location: Location
) -> Expr:
    """The extent of the dimensions that `axis` indexes alone; reads without a boundary count before others.

    Raises VerifyError where there is none, or where two differ and no fact says that they are equal.
    """
    found: dict[bool, list[tuple[Expr, str]]] = {True: [], False: []}
    for expr in exprs:
        for node in walk(expr):
            if isinstance(node, Read) and node.tensor in tensors:
                for index, extent in zip(node.index, tensors[node.tensor].shape, strict=True):
                    if isinstance(index, Var) and index.name == axis:
                        found[node.boundary is Boundary.NONE].append((extent, node.tensor))
    candidates = found[True] or found[False]
    if not candidates:
        raise VerifyError(
            f"the extent of the axis `{axis}` is not known: it indexes no dimension alone", location,
            f"give it: `{axis}: N`, or for a reduction `{axis} in 0..N`",
        )  # fmt: skip
    first, owner = candidates[0]
    for other, tensor in candidates[1:]:
        if other != first and not same_extent(first, other, facts):
            raise VerifyError(
                f"the axis `{axis}` has extent {print_expr(first)} in `{owner}` and {print_expr(other)} in `{tensor}`",
                location,
                f"give its extent, `{axis}: {print_expr(first)}`, or state the fact: `where {print_expr(first)} == "
                f"{print_expr(other)}`",
            )
    return first
