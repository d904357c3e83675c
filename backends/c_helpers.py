"""The small functions that emitted C calls: scalar ones here, those on vectors in `c_vectors.py`.

A `Helpers` collects what a text uses and prints each once, what it needs before it. Nothing unused is printed, so a
simple kernel has a short file.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..ir.dtypes import DType
from ..ir.errors import InternalError
from ..ir.expr import Fn
from .c_fixed import FIXED
from .c_types import ELEMENTS
from .c_vector_text import Generated, function
from .mathlib import LIBRARY


class Helpers:
    """The helpers a text uses, in an order in which C accepts them. `libm`: call the C library's functions."""

    def __init__(self, libm: bool = False) -> None:
        self.texts: dict[str, str] = {}
        self.libm = libm

    def use(self, name: str) -> str:
        """Record that `name` is called; returns the name. Raises InternalError for one that does not exist."""
        if name not in self.texts:
            needs, text = generate(name, self.libm)
            for other in needs:
                self.use(other)
            self.texts[name] = text
        return name

    def text(self) -> str:
        types = [t for t in self.texts.values() if t.startswith("typedef")]
        rest = [t for t in self.texts.values() if not t.startswith("typedef")]
        out = "\n".join(types) + "\n" if types else ""
        for k, text in enumerate(rest):
            apart = "\n" in text or (k > 0 and "\n" in rest[k - 1]) or (k == 0 and types)
            out += ("\n" if apart else "") + text + "\n"
        return out


def generate(name: str, libm: bool) -> Generated:
    """The helper `name` and what it needs."""
    from .c_math import math_function
    from .c_vectors import generate_vector

    match = re.fullmatch(r"weft_([a-z0-9]+)_(f32|f64)|(f32|f64)x(\d+)_(?:half_)?([a-z0-9]+)", name)
    function_name = match[1] or match[5] if match else ""
    if match and not libm and function_name in _LIBRARY:
        return math_function(name, Fn(function_name), DType(match[2] or match[3]), int(match[4] or 1))
    made = _scalar(name) or generate_vector(name)
    if made is None:
        raise InternalError(f"no helper '{name}'")
    return made


_C = {"f32": "float", "f64": "double", "i32": "int32_t", "i64": "int64_t"}
_RANGE = {  # smallest and largest value, first values outside (as doubles; i64 compares with <)
    "i8": ("INT8_MIN", "INT8_MAX", "<= -129.0", ">= 128.0"),
    "i16": ("INT16_MIN", "INT16_MAX", "<= -32769.0", ">= 32768.0"),
    "u8": ("0", "UINT8_MAX", "<= -1.0", ">= 256.0"),
    "i32": ("INT32_MIN", "INT32_MAX", "<= -2147483649.0", ">= 2147483648.0"),
    "i64": ("INT64_MIN", "INT64_MAX", "< -9223372036854775808.0", ">= 9223372036854775808.0"),
}
_LIBRARY = {fn.value for fn in LIBRARY}
LIBM = ("exp", "exp2", "expm1", "log", "log2", "log1p", "tanh", "erf", "sin", "cos")


def _scalar(name: str) -> Generated | None:
    if name in FIXED:
        return FIXED[name]
    match = re.fullmatch(r"weft_([a-z0-9]+)_(f32|f64|i32|i64)", name)
    if match and match[1] in _BY_TYPE:
        made = _BY_TYPE[match[1]](name, match[2])
        if made is not None:
            return made
    match = re.fullmatch(r"weft_(i8|i16|u8|i32|i64)_from_(f32|f64)", name)
    if match:
        low, high, below, above = _RANGE[match[1]]
        c = ELEMENTS[match[1]][0]
        return (), function(
            c,
            name,
            f"{_C[match[2]]} x",
            f"if (x != x)\n    return 0;\nreturn x {above} ? {high} : x {below} ? {low} : ({c})x;",
        )
    return None


def _wrapping(operator: str) -> Callable[[str, str], Generated | None]:
    def make(name: str, t: str) -> Generated | None:
        if t[0] != "i":
            return None
        c, u = _C[t], "u" + _C[t]
        return (), function(c, name, f"{c} a, {c} b", f"return ({c})(({u})a {operator} ({u})b);")

    return make


def _max(operator: str) -> Callable[[str, str], Generated | None]:
    def make(name: str, t: str) -> Generated | None:
        c = _C[t]
        nan = " || a != a" if t[0] == "f" else ""
        return (), function(c, name, f"{c} a, {c} b", f"return a {operator} b{nan} ? a : b;")

    return make


def _neg(name: str, t: str) -> Generated | None:
    c = _C[t]
    return ((), function(c, name, f"{c} a", f"return ({c})(0 - (u{c})a);")) if t[0] == "i" else None


def _abs(name: str, t: str) -> Generated | None:
    c = _C[t]
    return ((), function(c, name, f"{c} a", f"return a < 0 ? ({c})(0 - (u{c})a) : a;")) if t[0] == "i" else None


def _floordiv(name: str, t: str) -> Generated | None:
    c = _C[t]
    if t[0] == "f":
        return (), function(c, name, f"{c} a, {c} b", f"return {_libm('floor', t)}(a / b);")
    body = f"if (b == 0)\n    return 0;\nif (b == -1)\n    return ({c})(0 - (u{c})a);\n"
    return (), function(
        c, name, f"{c} a, {c} b", body + f"const {c} q = a / b;\nreturn a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;"
    )


def _mod(name: str, t: str) -> Generated | None:
    c = _C[t]
    if t[0] == "f":
        body = f"const {c} m = {_libm('fmod', t)}(a, b);\nif (m == 0)\n    return {_libm('copysign', t)}(0, b);\n"
        return (), function(c, name, f"{c} a, {c} b", body + "return (b < 0) != (m < 0) ? m + b : m;")
    body = "if (b == 0 || b == -1)\n    return 0;\n"
    return (), function(
        c, name, f"{c} a, {c} b", body + f"const {c} m = a % b;\nreturn m != 0 && (m < 0) != (b < 0) ? m + b : m;"
    )


def _libm(name: str, t: str) -> str:
    return name + ("f" if t == "f32" else "")


def _isnan(name: str, t: str) -> Generated | None:
    return (), function("bool", name, f"{_C[t]} a", "return a != a;")


def _rsqrt(name: str, t: str) -> Generated | None:
    c = _C[t]
    return (), function(c, name, f"{c} a", f"return 1 / {_libm('sqrt', t)}(a);")


def _sigmoid(name: str, t: str) -> Generated | None:
    c = _C[t]
    body = f"const {c} e = {_libm('exp', t)}(-{_libm('fabs', t)}(a)); // never overflows\n"
    return (), function(c, name, f"{c} a", body + "return a >= 0 ? 1 / (1 + e) : a != a ? a : e / (1 + e);")


def _libm_function(f: str) -> Callable[[str, str], Generated | None]:
    def make(name: str, t: str) -> Generated | None:
        c = _C[t]
        parameters, args = (f"{c} a, {c} b", "a, b") if f == "pow" else (f"{c} a", "a")
        return (), function(c, name, parameters, f"return {_libm(f, t)}({args});")

    return make


def _ldexp(name: str, t: str) -> Generated | None:
    c, limit, i = _C[t], LDEXP_LIMIT[t], _C["i" + t[1:]]
    power = f"weft_f{t[1:]}_from_bits"
    bias, shift = LDEXP_BIAS[t]
    body = (
        f"if (n != n)\n    return n;\n"
        f"const {i} e = ({i})(n > {limit} ? {limit} : n < -{limit} ? -{limit} : n), k = e >> 2;\n"
        f"const {c} m = {power}((u{i})(k + {bias}) << {shift});\n"
        f"return a * m * m * m * {power}((u{i})(e - 3 * k + {bias}) << {shift});"
    )
    return (power,), function(c, name, f"{c} a, {c} n", body)


# Powers of two in four factors: every one is a normal number, and just the last product rounds for results near 1.
LDEXP_LIMIT = {"f32": "280", "f64": "2200"}
LDEXP_BIAS = {"f32": (127, 23), "f64": (1023, 52)}

_BY_TYPE: dict[str, Callable[[str, str], Generated | None]] = {
    "add": _wrapping("+"),
    "sub": _wrapping("-"),
    "mul": _wrapping("*"),
    "max": _max(">="),
    "min": _max("<="),
    "neg": _neg,
    "abs": _abs,
    "floordiv": _floordiv,
    "mod": _mod,
    "isnan": _isnan,
    "rsqrt": _rsqrt,
    "sigmoid": _sigmoid,
    "ldexp": _ldexp,
    **{f: _libm_function(f) for f in (*LIBM, "pow")},
}
