"""A cost report for people and for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from .cost.model import Bytes, CostReport


def as_data(kernel: str, target: str, report: CostReport) -> dict[str, Any]:
    """JSON data: the names of kernel and target, then the fields of the report (bytes, flops, seconds)."""
    data: dict[str, Any] = _plain(report)
    return {"kernel": kernel, "target": target, **data}


def as_text(kernel: str, target: str, report: CostReport) -> str:
    """A table of bytes per level beside the compulsory bytes, then flops, bound and time; one line per kernel."""
    rows = [("bytes", "read", "written", "total", "/ compulsory")]
    rows += [_row(name, moved, report.compulsory) for name, moved in report.levels.items()]
    rows.append(_row("compulsory", report.compulsory, report.compulsory))
    out = [f"{kernel} on {target}", *table(rows), ""]
    out += [
        f"flops            {count_text(report.flops)} (of them transcendental: {count_text(report.transcendentals)})",
        f"bound by         {report.bound}",
        f"predicted time   {time_text(report.predicted_seconds)}",
        "",
    ]
    kernels = [("kernel", "dram bytes", "flops", "units", "bound", "time")]
    for part in report.kernels:
        dram = count_text(part.levels["dram"].total)
        time = time_text(part.predicted_seconds)
        kernels.append((part.name, dram, count_text(part.flops), f"{part.units:.3g}", str(part.bound), time))
    return "\n".join([*out, *table(kernels)])


def _row(name: str, moved: Bytes, compulsory: Bytes) -> tuple[str, str, str, str, str]:
    ratio = f"{moved.total / compulsory.total:.2f}" if compulsory.total else "-"
    return name, count_text(moved.read), count_text(moved.written), count_text(moved.total), ratio


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns of equal width: the first at the left, the others at the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    out = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        out.append("  ".join(cells).rstrip())
    return out


def count_text(value: float) -> str:
    return f"{round(value):,}".replace(",", " ") if math.isfinite(value) else str(value)


def time_text(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.4g} us"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Mapping):
        return {str(_plain(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no infinity
    return value
