"""Which names statements mention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from ...ir.expr import Expr, Ref, Var, walk
from ...ir.gir import Access, Stmt
from ...ir.gir import walk as walk_statements


def mentioned(body: tuple[Stmt, ...]) -> Iterator[str]:
    """Names of variables, tiles and buffers that statements mention, in order, nested bodies included."""
    for stmt in walk_statements(body):
        for field in fields(stmt):
            value = getattr(stmt, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, str):
                    yield item
                elif isinstance(item, Access):
                    yield item.buffer
                    for expr in item.index:
                        yield from _in_expression(expr)
                elif isinstance(item, Expr):
                    yield from _in_expression(item)


def _in_expression(expr: Expr) -> Iterator[str]:
    for node in walk(expr):
        if isinstance(node, Var | Ref):
            yield node.name
