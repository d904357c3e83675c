"""Facts of a frozen node, worked out once: each is kept on the node it is about, and goes away with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TypeVar

from ..ir.op import Op

Node = TypeVar("Node")
Fact = TypeVar("Fact")


def remembered(fact: Callable[[Node], Fact]) -> Callable[[Node], Fact]:
    """`fact`, a pure function of a frozen node, computed at the first question. Nobody may change what it returns."""
    key = f"remembered {fact.__module__}.{fact.__qualname__}"

    @wraps(fact)
    def known(node: Node) -> Fact:
        store = node.__dict__
        if key not in store:
            store[key] = fact(node)
        found: Fact = store[key]
        return found

    return known


@remembered
def positions(op: Op) -> Mapping[str, int]:
    """The place of every definition among the definitions, by name."""
    return {d.name: number for number, d in enumerate(op.definitions)}
