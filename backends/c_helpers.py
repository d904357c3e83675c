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
from .c_types import ELEMENTS
from .mathlib import LIBRARY

Generated = tuple[tuple[str, ...], str]  # names of the helpers it needs, text


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


def function(result: str, name: str, parameters: str, body: str) -> str:
    """A function that is always inlined (vectors are never passed); one line where it fits."""
    head = f"WEFT_INLINE {result} {name}({parameters})"
    one = f"{head} {{ {body} }}"
    if "\n" not in body and len(one) <= 110:
        return one
    return f"{head}\n{{\n" + "\n".join("    " + line if line else "" for line in body.split("\n")) + "\n}"


def _scalar(name: str) -> Generated | None:
    if name in _FIXED:
        return _FIXED[name]
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

_SHUFFLE = """// Lanes of one vector in another order.
#if defined(__clang__)
#define WEFT_SHUFFLE(index, a, ...) __builtin_shufflevector(a, a, __VA_ARGS__)
#else
#define WEFT_SHUFFLE(index, a, ...) __builtin_shuffle(a, (index){__VA_ARGS__})
#endif"""

_THREAD = """// The number of this thread in its team.
WEFT_INLINE int weft_thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}"""

_FIXED: dict[str, Generated] = {
    "weft_bits_from_f32": (
        (),
        function("uint32_t", "weft_bits_from_f32", "float x", "uint32_t u;\nmemcpy(&u, &x, 4);\nreturn u;"),
    ),
    "weft_f32_from_bits": (
        (),
        function("float", "weft_f32_from_bits", "uint32_t u", "float x;\nmemcpy(&x, &u, 4);\nreturn x;"),
    ),
    "weft_bits_from_f64": (
        (),
        function("uint64_t", "weft_bits_from_f64", "double x", "uint64_t u;\nmemcpy(&u, &x, 8);\nreturn u;"),
    ),
    "weft_f64_from_bits": (
        (),
        function("double", "weft_f64_from_bits", "uint64_t u", "double x;\nmemcpy(&x, &u, 8);\nreturn x;"),
    ),
    "weft_f32_from_bf16": (
        ("weft_f32_from_bits",),
        function("float", "weft_f32_from_bf16", "uint16_t h", "return weft_f32_from_bits((uint32_t)h << 16);"),
    ),
    "weft_bf16_from_f32": (
        ("weft_bits_from_f32",),
        function(
            "uint16_t",
            "weft_bf16_from_f32",
            "float x",
            "const uint32_t u = weft_bits_from_f32(x);\nif (x != x)\n    return (uint16_t)(u >> 16 | 0x40);\n"
            "return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16); // to nearest even",
        ),
    ),
    "weft_f32_from_f16": (
        ("weft_f32_from_bits",),
        function(
            "float",
            "weft_f32_from_f16",
            "uint16_t h",
            "const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff;\n"
            "if (exponent == 0) // zero or subnormal: the mantissa times 2^-24\n"
            "    return (sign ? -1.0f : 1.0f) * ((float)mantissa * 0x1p-24f);\n"
            "const uint32_t wide = exponent == 31 ? 255 : exponent + 112;\n"
            "return weft_f32_from_bits(sign | wide << 23 | mantissa << 13);",
        ),
    ),
    "weft_f16_from_f32": (
        ("weft_bits_from_f32",),
        function(
            "uint16_t",
            "weft_f16_from_f32",
            "float x",
            "const uint32_t u = weft_bits_from_f32(x), sign = u >> 16 & 0x8000, size = u & 0x7fffffff;\n"
            "if (size > 0x7f800000)\n    return (uint16_t)(sign | 0x7e00);\n"
            "if (size >= 0x477ff000) // rounds to 65536 or more\n    return (uint16_t)(sign | 0x7c00);\n"
            "if (size < 0x33000001) // at most half of the smallest subnormal\n    return (uint16_t)sign;\n"
            "const uint32_t shift = size < 0x38800000 ? 126 - (size >> 23) : 13;\n"
            "const uint32_t mantissa = size < 0x38800000 ? (size & 0x7fffff) | 0x800000 : size - 0x38000000;\n"
            "const uint32_t kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1);\n"
            "const uint32_t half = 1u << (shift - 1);\n"
            "return (uint16_t)(sign | (kept + (rest > half || (rest == half && (kept & 1)))));",
        ),
    ),
    "weft_f16_from_f64": (
        ("weft_bits_from_f32", "weft_f32_from_bits", "weft_f16_from_f32"),
        function(
            "uint16_t",
            "weft_f16_from_f64",
            "double x",
            "const float near = (float)x;\nif ((double)near == x || x != x)\n    return weft_f16_from_f32(near);\n"
            "// round to odd first, so that the second rounding sees that something was lost\n"
            "const uint32_t u = weft_bits_from_f32(near) - (fabs((double)near) > fabs(x) ? 1 : 0);\n"
            "return weft_f16_from_f32(weft_f32_from_bits(u | 1));",
        ),
    ),
    "weft_bf16_from_f64": (
        ("weft_bf16_from_f32",),
        function("uint16_t", "weft_bf16_from_f64", "double x", "return weft_bf16_from_f32((float)x);"),
    ),
    "weft_lanes": (
        (),
        "// One bit per lane, set for lanes lo <= lane < hi.\n"
        + function(
            "uint32_t",
            "weft_lanes",
            "int64_t lo, int64_t hi",
            "const uint32_t below_hi = hi >= 32 ? ~0u : hi <= 0 ? 0 : (1u << hi) - 1;\n"
            "const uint32_t below_lo = lo >= 32 ? ~0u : lo <= 0 ? 0 : (1u << lo) - 1;\n"
            "return below_hi & ~below_lo;",
        ),
    ),
    "weft_shuffle": ((), _SHUFFLE),
    "weft_thread": ((), _THREAD),
    "weft_clamp": (
        (),
        "// Into the range of 32 bits.\n"
        + function(
            "int32_t",
            "weft_clamp",
            "int64_t a",
            "return a > INT32_MAX ? INT32_MAX : a < INT32_MIN ? INT32_MIN : (int32_t)a;",
        ),
    ),
    "weft_times": (
        (),
        "// The product of two extents, or more than any memory holds.\n"
        + function(
            "int64_t",
            "weft_times",
            "int64_t a, int64_t b",
            "if (a <= 0 || b <= 0)\n    return 0;\nreturn a > (INT64_MAX >> 20) / b ? INT64_MAX >> 20 : a * b;",
        ),
    ),
    "weft_padded": (
        (),
        "// Bytes of count elements, rounded up to whole cache lines.\n"
        + function(
            "int64_t",
            "weft_padded",
            "int64_t count, int64_t size",
            "return count > (INT64_MAX >> 20) / size ? INT64_MAX >> 20 : (count * size + 63) / 64 * 64;",
        ),
    ),
    "weft_allocate": (
        (),
        "// Room for count elements, aligned to a cache line; NULL where there is none.\n"
        + function(
            "void *",
            "weft_allocate",
            "int64_t count, int64_t size",
            "if (count < 0 || count > (INT64_MAX - 64) / size)\n    return NULL;\n"
            "return aligned_alloc(64, ((size_t)(count * size) / 64 + 1) * 64);",
        ).replace("void * ", "void *"),
    ),
}
