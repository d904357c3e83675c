"""Dead code elimination: definitions that no output needs are removed.

    t[i] = exp(x[i])          -->
    y[i] = x[i] + 1                  y[i] = x[i] + 1          (y is the output)

Runs after every pass that moves work between definitions (inlining leaves the inlined definition behind), so that no
later pass spends time, or a buffer, on it. Streams keep only the components that are still there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...ir.op import Op, Stream


@dataclass(frozen=True)
class DeadCode:
    """Removes what does not reach an output."""

    name: ClassVar[str] = "dce"
    form: ClassVar[str] = "op"

    def run(self, op: Op) -> Op:
        live = {t.name for t in op.outputs}
        kept = []
        for d in reversed(op.definitions):
            if live & set(d.target_names):
                live |= {r.tensor for r in d.reads}
                # A stored target of a shape that reads a tensor keeps nothing else alive: shapes hold symbols only.
                kept.append(d)
        if len(kept) == len(op.definitions):
            return op
        return replace(op, definitions=tuple(reversed(kept)), streams=surviving(op.streams, live))


def surviving(streams: tuple[Stream, ...], live: set[str]) -> tuple[Stream, ...]:
    """Streams restricted to `live` targets; one of a single component says nothing and goes."""
    out = []
    for s in streams:
        components = tuple(c for c in s.components if c.target in live)
        if len(components) > 1:
            out.append(replace(s, components=components))
    return tuple(out)
