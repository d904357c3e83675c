"""Weft: a tensor compiler for operators whose cost is moving data.

    import weft
    kernel = weft.compile("op double(x: f32[N]) -> (y: f32[N]) { y[i] = x[i] + x[i] }")
    y = kernel(x)

The names below are imported when they are first used, so that `import weft` stays quick and needs neither a C compiler
nor a GPU nor any optional package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .autotune.tuner import tune
    from .compiler.driver import compile, load
    from .compiler.kernel import Kernel
    from .ir.errors import (
        BindError,
        CallError,
        InternalError,
        ParseError,
        ScheduleError,
        TargetError,
        TypeMismatch,
        UserError,
        VerifyError,
        WeftError,
    )
    from .ir.python_front import fn, monoid, op

__version__ = "0.1.0"

_HOME = {
    "compile": ".compiler.driver",
    "load": ".compiler.driver",
    "tune": ".autotune.tuner",
    "Kernel": ".compiler.kernel",
    **dict.fromkeys(("fn", "monoid", "op"), ".ir.python_front"),
    **dict.fromkeys(
        ("BindError", "CallError", "InternalError", "ParseError", "ScheduleError", "TargetError", "TypeMismatch")
        + ("UserError", "VerifyError", "WeftError"),
        ".ir.errors",
    ),
}

__all__ = [
    "BindError",
    "CallError",
    "InternalError",
    "Kernel",
    "ParseError",
    "ScheduleError",
    "TargetError",
    "TypeMismatch",
    "UserError",
    "VerifyError",
    "WeftError",
    "__version__",
    "compile",
    "fn",
    "load",
    "monoid",
    "op",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'weft' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME))
