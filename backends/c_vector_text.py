"""Pieces of the text of helpers."""

from __future__ import annotations

import re

from .c_types import ELEMENTS

Generated = tuple[tuple[str, ...], str]  # names of the helpers a helper needs, its text


def function(result: str, name: str, parameters: str, body: str) -> str:
    """A function that is always inlined (vectors are never passed); one line where it fits."""
    head = f"WEFT_INLINE {result} {name}({parameters})"
    one = f"{head} {{ {body} }}"
    if "\n" not in body and len(one) <= 110:
        return one
    return f"{head}\n{{\n" + "\n".join("    " + line if line else "" for line in body.split("\n")) + "\n}"


def register(t: str, n: int) -> tuple[str, str, str, str] | None:
    """`(prefix, suffix, type, condition)` of the intrinsics for a float vector that is one machine register."""
    bits = 8 * ELEMENTS[t][1] * n
    if t[0] != "f" or bits not in (256, 512):
        return None
    suffix, c = ("ps", "") if t == "f32" else ("pd", "d")
    return f"_mm{bits}", suffix, f"__m{bits}{c}", "__AVX512F__" if bits == 512 else "__AVX2__"


def is_wide(t: str, n: int) -> bool:
    """Whether a float vector takes two of the largest registers: its choices are made by halves, as the instructions
    do them anyway (and as GCC 12 needs it, which otherwise fails inside: convert_mode_scalar)."""
    return t[0] == "f" and 8 * ELEMENTS[t][1] * n > 512


def guarded(condition: str, fast: str, plain: str) -> str:
    return f"#if {condition}\n{fast}\n#else\n{plain}\n#endif"


def lane_loop(n: int, body: str) -> str:
    return f"for (int lane = 0; lane < {n}; ++lane)\n    {body}"


def vector_function(result: str, name: str, parameters: str, body: str) -> str:
    """Preprocessor lines of the body stay at the margin."""
    text = function(result, name, parameters, body)
    return re.sub(r"^ +#", "#", text, flags=re.MULTILINE)


def mask(t: str, n: int) -> str:
    """The type of a comparison of `t` vectors."""
    return f"i{8 * ELEMENTS[t][1]}x{n}"
