"""Helpers that move vectors: loads, stores, their masked and streaming forms, narrow storage."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.dtypes import DType
from .c_types import ELEMENTS, STORAGE
from .c_vector_text import Generated, function, guarded, lane_loop, vector_function

_STORED = {d.value: d for d in DType}


def _arithmetic(t: str) -> str:
    return _STORED[t].arithmetic.value if t != "bool" else "i32"


def _load(name: str, t: str, n: int) -> Generated:
    dtype = _STORED[t]
    a, c = f"{_arithmetic(t)}x{n}", STORAGE[dtype]
    parameters = f"const {c} *p"
    if dtype.arithmetic is dtype and dtype is not DType.BOOL:
        return (a, f"{a}_at"), function(a, name, parameters, f"return *(const {a}_at *)p;")
    if t == "bf16":
        raw, wide = f"u16x{n}", f"u32x{n}"
        text = f"return ({a})(__builtin_convertvector(*(const {raw}_at *)p, {wide}) << 16);"
        return (a, f"{raw}_at", wide), function(a, name, parameters, text)
    if t == "f16":
        plain = f"{a} r = {{0}};\n{lane_loop(n, 'r[lane] = weft_f32_from_f16(p[lane]);')}\nreturn r;"
        fast = {
            16: ("__AVX512F__", f"return ({a})_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));"),
            8: ("__F16C__", f"return ({a})_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));"),
        }.get(n)
        if fast is not None:
            plain = guarded(f"defined({fast[0]})", fast[1], plain)
        return (a, "weft_f32_from_f16"), vector_function(a, name, parameters, plain)
    raw = f"{'u8' if t == 'bool' else t}x{n}"
    text = f"return __builtin_convertvector(*(const {raw}_at *)p, {a}){' != 0' if t == 'bool' else ''};"
    return (a, f"{raw}_at"), function(a, name, parameters, text)


def _store(name: str, t: str, n: int) -> Generated:
    dtype = _STORED[t]
    a, c = f"{_arithmetic(t)}x{n}", STORAGE[dtype]
    parameters = f"{c} *p, {a} a"
    if dtype.arithmetic is dtype and dtype is not DType.BOOL:
        return (a, f"{a}_at"), function("void", name, parameters, f"*({a}_at *)p = a;")
    if t == "bf16":
        raw, wide, m = f"u16x{n}", f"u32x{n}", f"i32x{n}"
        text = (
            f"const {wide} u = ({wide})a, nan = ({wide})(a != a);\n"
            f"const {wide} r = (nan & (u >> 16 | 0x40)) | (~nan & ((u + 0x7fff + (u >> 16 & 1)) >> 16));\n"
            f"*({raw}_at *)p = __builtin_convertvector(r, {raw});"
        )
        return (a, f"{raw}_at", wide, m), function("void", name, parameters, text)
    if t == "f16":
        plain = lane_loop(n, "p[lane] = weft_f16_from_f32(a[lane]);")
        fast = {
            16: ("__AVX512F__", "_mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph((__m512)a, 0));"),
            8: ("__F16C__", "_mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph((__m256)a, 0));"),
        }.get(n)
        if fast is not None:
            plain = guarded(f"defined({fast[0]})", fast[1], plain)
        return (a, "weft_f16_from_f32"), vector_function("void", name, parameters, plain)
    raw = f"{'u8' if t == 'bool' else t}x{n}"
    value = "a & 1" if t == "bool" else "a"
    return (a, f"{raw}_at"), function(
        "void", name, parameters, f"*({raw}_at *)p = __builtin_convertvector({value}, {raw});"
    )


def _pairs(name: str, t: str, n: int) -> Generated:
    """Pairs of neighbours of 16 bits, the first in the low half."""
    v = f"{t}x{n}"
    plain = f"{v} r = {{0}};\n{lane_loop(n, 'r[lane] = weft_pair(p + 2 * lane);')}\nreturn r;"
    fast = f"return *(const {v}_at *)p;"
    condition = "__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__"
    needs = (v, f"{v}_at", "weft_pair")
    return needs, vector_function(v, name, "const uint16_t *p", guarded(condition, fast, plain))


def scalar_load(t: str) -> tuple[str, str]:
    """`(helper, format)` of the read of one stored element: the format takes the element's text."""
    if t in ("bf16", "f16"):
        return f"weft_f32_from_{t}", f"weft_f32_from_{t}({{}})"
    return "", "{} != 0" if t == "bool" else "{}"


def scalar_store(t: str) -> tuple[str, str]:
    """The same for the value that is written to one element (given in the arithmetic type)."""
    if t in ("bf16", "f16"):
        return f"weft_{t}_from_f32", f"weft_{t}_from_f32({{}})"
    return "", {"i8": "(int8_t){}", "i16": "(int16_t){}", "u8": "(uint8_t){}"}.get(t, "{}")


def _masked(t: str, n: int) -> tuple[str, str, str, str, str] | None:
    """`(prefix, suffix, type, condition, pointer cast)` of masked loads and stores."""
    if t not in ("f32", "f64", "i32", "i64"):
        return None
    bits = 8 * ELEMENTS[t][1] * n
    if bits not in (128, 256, 512):
        return None
    prefix = "_mm" if bits == 128 else f"_mm{bits}"
    suffix = {"f32": "ps", "f64": "pd", "i32": "epi32", "i64": "epi64"}[t]
    c = f"__m{bits}" + {"f32": "", "f64": "d"}.get(t, "i")
    return prefix, suffix, c, "__AVX512F__" if bits == 512 else "__AVX512VL__", f"__mmask{max(8, n)}"


def _load_part(name: str, t: str, n: int) -> Generated:
    a, c = f"{_arithmetic(t)}x{n}", STORAGE[_STORED[t]]
    helper, form = scalar_load(t)
    value = form.format("p[lane]")
    value = f"-({value})" if t == "bool" else value
    plain = f"{lane_loop(n, 'if (bits >> lane & 1)')}\n        fill[lane] = {value};\nreturn fill;"
    r = _masked(t, n)
    if r is not None:
        p, s, m, condition, k = r
        fast = f"return ({a}){p}_mask_loadu_{s}(({m})fill, ({k})bits, p);"
        plain = guarded(f"defined({condition})", fast, plain)
    return (a, *([helper] if helper else [])), vector_function(a, name, f"const {c} *p, uint32_t bits, {a} fill", plain)


def _store_part(name: str, t: str, n: int) -> Generated:
    a, c = f"{_arithmetic(t)}x{n}", STORAGE[_STORED[t]]
    helper, form = scalar_store(t)
    value = form.format("(a[lane] & 1)" if t == "bool" else "a[lane]")
    plain = f"{lane_loop(n, 'if (bits >> lane & 1)')}\n        p[lane] = {value};"
    r = _masked(t, n)
    if r is not None:
        p, s, m, condition, k = r
        plain = guarded(f"defined({condition})", f"{p}_mask_storeu_{s}(p, ({k})bits, ({m})a);", plain)
    return (a, *([helper] if helper else [])), vector_function("void", name, f"{c} *p, uint32_t bits, {a} a", plain)


def _stream(name: str, t: str, n: int) -> Generated:
    """A store past the caches, where the address and the machine allow it."""
    a, c = f"{t}x{n}", STORAGE[_STORED[t]]
    size = ELEMENTS[t][1] * n
    plain = f"*({a}_at *)p = a;"
    if size in (16, 32, 64):
        bits = 8 * size
        prefix = "_mm" if bits == 128 else f"_mm{bits}"
        suffix, m = {"f32": ("ps", ""), "f64": ("pd", "d")}.get(t, ("si128" if bits == 128 else f"si{bits}", "i"))
        condition = {16: "__SSE2__", 32: "__AVX__", 64: "__AVX512F__"}[size]
        pointer = f"(__m{bits}i *)p" if m == "i" else "p"
        fast = (
            f"if (((uintptr_t)p & {size - 1}) == 0) {{\n"
            f"    {prefix}_stream_{suffix}({pointer}, (__m{bits}{m})a);\n    return;\n}}"
        )
        plain = f"#if defined({condition})\n{fast}\n#endif\n{plain}"
    return (a, f"{a}_at"), vector_function("void", name, f"{c} *p, {a} a", plain)


MEMORY: dict[str, Callable[[str, str, int], Generated]] = {
    "load": _load,
    "store": _store,
    "load_part": _load_part,
    "store_part": _store_part,
    "stream": _stream,
    "pairs": _pairs,
}
