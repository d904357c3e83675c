"""Helpers on vectors of the GCC and Clang vector extensions: `f32x16_max(a, b)` and so on.

Every helper has a portable body. Where the compiler would make a poor job of that, a body of intrinsics stands before
it under `#if`, so the text compiles for any machine and is good on those with AVX2 or AVX-512.
Bool vectors are masks: integers of 0 or -1, as wide as what was compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..ir.dtypes import DType
from .c_helpers import LDEXP_BIAS, LDEXP_LIMIT, LIBM, Generated, function
from .c_types import ELEMENTS, STORAGE

_STORED = {d.value: d for d in DType}
_NAME = re.compile(r"(?P<t>bf16|f16|bool|[fiu]\d+)x(?P<n>\d+)(?:_(?P<op>\w+))?")


def generate_vector(name: str) -> Generated | None:
    """The helper or type called `name`, or None."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    t, n, op = match["t"], int(match["n"]), match["op"]
    if op is None or op == "at":
        return _typedef(name, t, n, op)
    if op in ("load", "store", "load_part", "store_part", "stream"):
        return _MEMORY[op](name, t, n)
    if op.startswith("from_"):
        return _convert(name, t, n, op[5:])
    made = _OPS.get(op)
    return made(name, t, n) if made is not None else None


def _typedef(name: str, t: str, n: int, op: str | None) -> Generated:
    c, size = ELEMENTS[t]
    if op == "at":  # the same at any address of an element
        return (f"{t}x{n}",), f"typedef {t}x{n} {name} __attribute__((aligned({size}), may_alias));"
    return (), f"typedef {c} {name} __attribute__((vector_size({size * n})));"


def register(t: str, n: int) -> tuple[str, str, str, str] | None:
    """`(prefix, suffix, type, condition)` of the intrinsics for a float vector that is one machine register."""
    bits = 8 * ELEMENTS[t][1] * n
    if t[0] != "f" or bits not in (256, 512):
        return None
    suffix, c = ("ps", "") if t == "f32" else ("pd", "d")
    return f"_mm{bits}", suffix, f"__m{bits}{c}", "__AVX512F__" if bits == 512 else "__AVX2__"


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


# ---- arithmetic


def _set(name: str, t: str, n: int) -> Generated:
    v = f"{t}x{n}"
    return (v,), function(v, name, f"{ELEMENTS[t][0]} x", f"return ({v}){{{', '.join(['x'] * n)}}};")


def _iota(name: str, t: str, n: int) -> Generated:
    v = f"{t}x{n}"
    return (v,), function(v, name, "void", f"return ({v}){{{', '.join(map(str, range(n)))}}};")


def _wrapping(operator: str) -> Callable[[str, str, int], Generated | None]:
    def make(name: str, t: str, n: int) -> Generated | None:
        v, u = f"{t}x{n}", f"u{t[1:]}x{n}"
        return (v, u), function(v, name, f"{v} a, {v} b", f"return ({v})(({u})a {operator} ({u})b);")

    return make


def _neg(name: str, t: str, n: int) -> Generated:
    v, u = f"{t}x{n}", f"u{t[1:]}x{n}"
    return (v, u), function(v, name, f"{v} a", f"return ({v})(0 - ({u})a);")


def _abs(name: str, t: str, n: int) -> Generated:
    v, u = f"{t}x{n}", f"u{8 * ELEMENTS[t][1]}x{n}"
    if t[0] == "f":
        sign = "0x7fffffffu" if t == "f32" else "0x7fffffffffffffffu"
        return (v, u), function(v, name, f"{v} a", f"return ({v})(({u})a & {sign});")
    return (f"{v}_select", f"{v}_neg"), function(v, name, f"{v} a", f"return {v}_select(a < 0, {v}_neg(a), a);")


def _select(name: str, t: str, n: int) -> Generated:
    v, m = f"{t}x{n}", mask(t, n)
    plain = f"return ({v})((m & ({m})a) | (~m & ({m})b));"
    r = register(t, n)
    if r is not None:
        p, s, c, _ = r
        if p == "_mm512":
            bits = "_mm512_movepi32_mask" if t == "f32" else "_mm512_movepi64_mask"
            fast = f"return ({v})_mm512_mask_blend_{s}({bits}((__m512i)m), ({c})b, ({c})a);"
            plain = guarded("defined(__AVX512DQ__)", fast, plain)
        else:
            plain = guarded("defined(__AVX2__)", f"return ({v})_mm256_blendv_{s}(({c})b, ({c})a, ({c})m);", plain)
    return (v, m), vector_function(v, name, f"{m} m, {v} a, {v} b", plain)


def _max(operator: str, intrinsic: str) -> Callable[[str, str, int], Generated | None]:
    def make(name: str, t: str, n: int) -> Generated | None:
        v = f"{t}x{n}"
        nan = " | (a != a)" if t[0] == "f" else ""
        plain = f"return {v}_select((a {operator} b){nan}, a, b);"
        r = register(t, n)
        if r is not None:  # the instruction gives b where either is NaN: a NaN in a has to be put back
            p, s, c, condition = r
            fast = f"const {c} x = {p}_{intrinsic}_{s}(({c})a, ({c})b);\n"
            if p == "_mm512":
                fast += (
                    f"return ({v})_mm512_mask_mov_{s}(x, _mm512_cmp_{s}_mask(({c})a, ({c})a, _CMP_UNORD_Q), ({c})a);"
                )
            else:
                fast += f"return ({v})_mm256_blendv_{s}(x, ({c})a, _mm256_cmp_{s}(({c})a, ({c})a, _CMP_UNORD_Q));"
            plain = guarded(f"defined({condition})", fast, plain)
        return (f"{v}_select",), vector_function(v, name, f"{v} a, {v} b", plain)

    return make


def _fma(name: str, t: str, n: int) -> Generated:
    v = f"{t}x{n}"
    f = "fmaf" if t == "f32" else "fma"
    plain = f"{v} r = a;\n{lane_loop(n, f'r[lane] = {f}(a[lane], b[lane], c[lane]);')}\nreturn r;"
    r = register(t, n)
    if r is not None:
        p, s, c, condition = r
        condition = condition if p == "_mm512" else "__FMA__"
        fast = f"return ({v}){p}_fmadd_{s}(({c})a, ({c})b, ({c})c);"
        plain = guarded(f"defined({condition})", fast, plain)
    return (v,), vector_function(v, name, f"{v} a, {v} b, {v} c", plain)


def _ldexp(name: str, t: str, n: int) -> Generated:
    v, i, u = f"{t}x{n}", mask(t, n), f"u{8 * ELEMENTS[t][1]}x{n}"
    limit, (bias, shift) = LDEXP_LIMIT[t] + (".0f" if t == "f32" else ".0"), LDEXP_BIAS[t]
    plain = (
        f"const {v} c = {v}_min({v}_max(x, {v}_set(-{limit})), {v}_set({limit}));\n"
        f"const {i} e = __builtin_convertvector(({v})(({i})c & (c == c)), {i}), k = e >> 2;\n"
        f"const {v} m = ({v})(({u})(k + {bias}) << {shift});\n"
        f"return {v}_select(c == c, a * m * m * m * ({v})(({u})(e - 3 * k + {bias}) << {shift}), c);"
    )
    r = register(t, n)
    if r is not None and r[0] == "_mm512":
        fast = f"return ({v})_mm512_scalef_{r[1]}(({r[2]})a, ({r[2]})x);"
        plain = guarded(f"defined({r[3]})", fast, plain)
    needs = (v, i, u, f"{v}_set", f"{v}_select", f"{v}_max", f"{v}_min")
    return needs, vector_function(v, name, f"{v} a, {v} x", plain)


def _rounding(f: str, code: str) -> Callable[[str, str, int], Generated | None]:
    def make(name: str, t: str, n: int) -> Generated | None:
        v = f"{t}x{n}"
        call = f + ("f" if t == "f32" else "")
        plain = f"{v} r = a;\n{lane_loop(n, f'r[lane] = {call}(a[lane]);')}\nreturn r;"
        r = register(t, n)
        if r is not None:
            p, s, c, condition = r
            if f == "sqrt":
                fast = f"return ({v}){p}_sqrt_{s}(({c})a);"
            else:
                round_ = "roundscale" if p == "_mm512" else "round"
                fast = f"return ({v}){p}_{round_}_{s}(({c})a, {code} | _MM_FROUND_NO_EXC);"
            plain = guarded(f"defined({condition})", fast, plain)
        return (v,), vector_function(v, name, f"{v} a", plain)

    return make


def _lanewise(op: str, arity: int) -> Callable[[str, str, int], Generated | None]:
    """A scalar function at every lane."""

    def make(name: str, t: str, n: int) -> Generated | None:
        v = f"{t}x{n}"
        needs: tuple[str, ...] = (v,)
        if op in LIBM or op == "pow":
            call = op + ("f" if t == "f32" else "")
        else:
            call = f"weft_{op}_{t}"
            needs += (call,)
        names = "ab"[:arity]
        args = ", ".join(f"{x}[lane]" for x in names)
        body = f"{v} r = a;\n{lane_loop(n, f'r[lane] = {call}({args});')}\nreturn r;"
        return needs, function(v, name, ", ".join(f"{v} {x}" for x in names), body)

    return make


def _fold(op: str) -> Callable[[str, str, int], Generated | None]:
    """All lanes combined into one, by halves."""

    def make(name: str, t: str, n: int) -> Generated | None:
        v, c = f"{t}x{n}", ELEMENTS[t][0]
        needs: list[str] = [v]
        lines = []
        half = n // 2
        if op in ("add", "mul") and t[0] == "f":
            combine = {"add": "a = a + b;", "mul": "a = a * b;"}[op]
        elif op in ("and", "or"):
            combine = {"and": "a = a & b;", "or": "a = a | b;"}[op]
        else:
            needs.append(f"{v}_{op}")
            combine = f"a = {v}_{op}(a, b);"
        index = f"{mask(t, n)}"
        needs.append(index)
        while half:
            order = [(lane + half) % n for lane in range(n)]
            lines.append(f"b = WEFT_SHUFFLE({index}, a, {', '.join(map(str, order))});")
            lines.append(combine)
            half //= 2
        needs.insert(0, "weft_shuffle")
        return tuple(needs), function(c, name, f"{v} a", f"{v} b;\n" + "\n".join(lines) + "\nreturn a[0];")

    return make


# ---- conversions


def _convert(name: str, t: str, n: int, source: str) -> Generated | None:
    """`i32x16_from_f32`: a cast of arithmetic types; `f32x16_from_bf16`: a rounding to a narrow type and back."""
    v = f"{t}x{n}"
    if source in ("bf16", "f16", "i8", "i16", "u8"):  # round to a narrow type and back
        if source[0] in "iu":
            narrow = f"{source}x{n}"
            text = f"return __builtin_convertvector(__builtin_convertvector(a, {narrow}), {v});"
            return (v, narrow), function(v, name, f"{v} a", text)
        needs = (f"weft_{source}_from_{t}", f"weft_f32_from_{source}")
        body = f"{v} r = a;\n{lane_loop(n, f'r[lane] = {needs[1]}({needs[0]}(a[lane]));')}\nreturn r;"
        return (v, *needs), function(v, name, f"{v} a", body)
    s = f"{source}x{n}"
    if source[0] == "f" and t[0] == "i":
        m = mask(source, n)
        bits = ELEMENTS[t][1] * 8
        limit = {"i32": "2147483648.0", "i64": "9223372036854775808.0"}[t] + ("f" if source == "f32" else "")
        below = f"a < -{limit}" if bits == 64 or source == "f32" else "a <= -2147483649.0"
        convert = f"{v}_widen{ELEMENTS[source][1] * 8}"
        body = (
            f"const {m} above = a >= {limit}, below = {below};\n"
            f"const {s} inside = ({s})(({m})a & ~(above | below | (a != a))); // 0 where it does not fit\n"
            f"const {v} r = __builtin_convertvector(inside, {v});\n"
            f"return {v}_select({convert}(above), {v}_set(INT{bits}_MAX), "
            f"{v}_select({convert}(below), {v}_set(INT{bits}_MIN), r));"
        )
        return (v, s, m, convert, f"{v}_select", f"{v}_set"), function(v, name, f"{s} a", body)
    return (v, s), function(v, name, f"{s} a", f"return __builtin_convertvector(a, {v});")


def _widen(bits: int) -> Callable[[str, str, int], Generated | None]:
    """A mask of another width."""

    def make(name: str, t: str, n: int) -> Generated | None:
        v, s = f"{t}x{n}", f"i{bits}x{n}"
        text = "return a;" if v == s else f"return __builtin_convertvector(a, {v});"
        return (v, s), function(v, name, f"{s} a", text)

    return make


# ---- memory


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


_MEMORY: dict[str, Callable[[str, str, int], Generated]] = {
    "load": _load,
    "store": _store,
    "load_part": _load_part,
    "store_part": _store_part,
    "stream": _stream,
}
_OPS: dict[str, Callable[[str, str, int], Generated | None]] = {
    "set": _set,
    "iota": _iota,
    "add": _wrapping("+"),
    "sub": _wrapping("-"),
    "mul": _wrapping("*"),
    "neg": _neg,
    "abs": _abs,
    "select": _select,
    "max": _max(">=", "max"),
    "min": _max("<=", "min"),
    "fma": _fma,
    "ldexp": _ldexp,
    "sqrt": _rounding("sqrt", ""),
    "floor": _rounding("floor", "_MM_FROUND_TO_NEG_INF"),
    "ceil": _rounding("ceil", "_MM_FROUND_TO_POS_INF"),
    "round": _rounding("rint", "_MM_FROUND_TO_NEAREST_INT"),
    "floordiv": _lanewise("floordiv", 2),
    "mod": _lanewise("mod", 2),
    "pow": _lanewise("pow", 2),
    "sigmoid": _lanewise("sigmoid", 1),
    "widen32": _widen(32),
    "widen64": _widen(64),
    **{f"fold_{op}": _fold(op) for op in ("add", "mul", "max", "min", "and", "or")},
    **{f: _lanewise(f, 1) for f in LIBM},
}
