"""The forms of a kernel as text, and its cost report."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING

from ..ir.binding import specialise
from ..ir.errors import UserError
from ..ir.gir_printer import print_program
from ..ir.op import Op
from ..ir.op_printer import print_op

if TYPE_CHECKING:
    from .cost.model import CostReport
    from .kernel import Kernel


class Form(Enum):
    OP = "op"
    GIR = "gir"
    GRAPH = "graph"


def text(kernel: Kernel, form: str, symbols: Mapping[str, int]) -> str:
    """See `Kernel.text`. Raises UserError for an unknown form, or the op of a program that was scheduled by hand."""
    try:
        chosen = Form(form)
    except ValueError:
        raise UserError(f"a kernel has no form '{form}'", remedy=", ".join(f.value for f in Form)) from None
    if chosen is Form.OP:
        if not isinstance(kernel.program, Op):
            raise UserError(f"'{kernel.name}' was written in the scheduled form, it has no op", remedy="'gir'")
        return print_op(specialise(kernel.program, dict(symbols)) if symbols else kernel.program)
    program = kernel.variant(**symbols).program
    if chosen is Form.GIR:
        return print_program(program)
    from ..ir.graph import build_all  # networkx takes a while to import
    from ..ir.graph_text import print_graph

    return "\n".join(print_graph(graph) for graph in build_all(program))


def cost(kernel: Kernel, symbols: Mapping[str, int]) -> CostReport:
    """See `Kernel.cost`."""
    from .cost.model import analyse

    variant = kernel.variant(**symbols)
    return analyse(variant.program, kernel.target.machine, variant.bindings)
