"""A summand of a reduction: an expression, what it refers to, and what it moves along."""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.expr import Expr, Param, Read, Var, rewrite, walk


@dataclass(frozen=True)
class Summand:
    """An expression, the tensors it refers to, and the names of the axes that are summed over."""

    expr: Expr
    references: frozenset[str]
    axes: frozenset[str]

    def refers(self, e: Expr) -> bool:
        return any(isinstance(n, Read) and n.tensor in self.references for n in walk(e))

    def moves(self, e: Expr) -> bool:
        """Whether `e` changes along the axes."""
        return any(isinstance(n, Var) and n.name in self.axes for n in walk(e))


def at(e: Expr, references: frozenset[str], when: str) -> Expr:
    """`e` with its references taken at `when` ("old" or "new")."""
    return rewrite(e, lambda n: Param(f"{when}.{n.tensor}") if isinstance(n, Read) and n.tensor in references else None)
