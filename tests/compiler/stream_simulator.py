"""Executes a stream as its annotation says: blocks of the axis in order, repair, combine. The oracle of repairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from weft.ir.expr import Expr, Param, Read, const, rewrite
from weft.ir.op import Op, Reduction, Stream
from weft.ir.op_interp import interpret
from weft.ir.scalar_functions import apply, evaluate


def simulate(
    op: Op, stream: Stream, inputs: Mapping[str, Any], symbols: Mapping[str, int], block: int
) -> dict[str, Any]:
    """The components of a stream by blocks of `block` elements (its range starts at 0 and has a symbolic or literal
    end), each against the running values of the others."""
    known = {**inputs, **interpret(op, inputs, symbols, targets=True)}
    definitions = {c.target: op.definition_of(c.target) for c in stream.components}
    first = definitions[stream.components[0].target]
    assert first is not None and isinstance(first.body, Reduction)
    from weft.ir.binding import value_of

    extent = int(value_of(first.body.axes[0].hi, symbols) or 0)
    state: dict[str, Any] = {}
    for start in range(0, max(extent, 1), block):
        old = dict(state)
        for c in stream.components:
            d = definitions[c.target]
            assert d is not None and isinstance(d.body, Reduction)
            axes = (replace(d.body.axes[0], lo=const(start), hi=const(min(start + block, extent))), *d.body.axes[1:])
            part = replace(d, body=replace(d.body, axes=axes))
            part = part.with_expressions(tuple(rewrite(e, _renamed(state)) for e in part.expressions))
            tensors = [t for n, t in op.tensors.items() if any(r.tensor == n for r in part.reads)]
            running = [replace(op.tensors[n], name=f"{n}$state") for n in state]
            alone = Op(op.name, op.symbols, (*tensors, *running), d.targets, (part,), op.facts)
            arrays = {t.name: known[t.name] for t in tensors} | {f"{n}$state": v for n, v in state.items()}
            new = interpret(alone, arrays, symbols)[c.target]
            if c.target in old:
                names = [a.name for a in d.axes]
                before = old[c.target] if c.repair is None else _repaired(c.repair, op, names, old, state)
                before = np.broadcast_to(before, new.shape)
                new = np.asarray(apply(d.body.monoid.fn, [before, new]), dtype=new.dtype)  # type: ignore[arg-type]
            state[c.target] = new
    return state


def _renamed(state: Mapping[str, Any]) -> Any:
    def rule(e: Expr) -> Expr | None:
        return replace(e, tensor=f"{e.tensor}$state") if isinstance(e, Read) and e.tensor in state else None

    return rule


def _repaired(repair: Expr, op: Op, names: list[str], old: Mapping[str, Any], new: Mapping[str, Any]) -> Any:
    def leaf(e: Expr) -> Any:
        assert isinstance(e, Param)
        when, _, target = e.name.partition(".")
        d = op.definition_of(target)
        assert d is not None
        array = (old if when == "old" else new)[target]
        own = [a.name for a in d.axes]
        order = [own.index(n) for n in names if n in own]
        shape = [array.shape[own.index(n)] if n in own else 1 for n in names]
        return np.transpose(array, order).reshape(shape)

    return evaluate(repair, leaf)
