"""The op-level passes in order: what every op goes through before it is instantiated.

op  -->  the same op with names seen through, equal things merged, and streams found
"""

from __future__ import annotations

from ...ir.op import Op
from .base import Pass, run_passes
from .cse import CommonDefinitions
from .dce import DeadCode
from .inline import Inline
from .simplify import Simplify
from .streaming import Streaming

NORMAL: tuple[Pass, ...] = (
    Simplify(),  # normal forms first: everything after compares by structure
    Inline(),  # steps that are only names must not hide a pattern
    CommonDefinitions(),  # a repeated reduction must be one before streams are formed
    DeadCode(),  # what inlining left behind is no reader of anything
    Streaming(),  # inlines what depends on a reduction, so others lose readers:
    Inline(),  # ... and what has one reader left joins it
    Simplify(),  # composed expressions come back to normal forms
    CommonDefinitions(),
    DeadCode(),
)


def normalise(op: Op) -> Op:
    """The op after all of `NORMAL`."""
    out: Op = run_passes(op, NORMAL)
    return out
