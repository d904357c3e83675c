"""How many elements a buffer has, such that no product of extents overflows into a small number."""

from __future__ import annotations

from ..ir.expr import Expr
from .c_expr import At, ExprPrinter, Scope
from .c_index import poly


def element_count(shape: tuple[Expr, ...], printer: ExprPrinter, scope: Scope) -> str:
    """The C text of the product of extents; saturating where two of them multiply at run time."""
    fixed = 1
    text = ""
    for extent in shape:
        form = poly(extent)
        if form.value is not None:
            fixed *= max(0, form.value)
            continue
        size = printer.poly(form, At(), scope).text
        text = f"{printer.helpers.use('weft_times')}({text}, {size})" if text else size
    fixed = min(fixed, 1 << 43)
    if not text:
        return str(fixed) if fixed < 1 << 31 else f"INT64_C({fixed})"
    number = str(fixed) if fixed < 1 << 31 else f"INT64_C({fixed})"
    return text if fixed == 1 else f"{printer.helpers.use('weft_times')}({text}, {number})"
