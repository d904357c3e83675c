"""Helpers on vectors of the GCC and Clang vector extensions: `f32x16_max(a, b)` and so on.

Every helper has a portable body. Where the compiler would make a poor job of that, a body of intrinsics stands before
it under `#if`, so the text compiles for any machine and is good on those with AVX2 or AVX-512.
Bool vectors are masks: integers of 0 or -1, as wide as what was compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .c_helpers import LDEXP_BIAS, LDEXP_LIMIT, LIBM
from .c_types import ELEMENTS
from .c_vector_memory import MEMORY
from .c_vector_text import Generated, function, guarded, is_wide, lane_loop, mask, register, vector_function

_NAME = re.compile(r"(?P<t>bf16|f16|bool|[fiu]\d+)x(?P<n>\d+)(?:_(?P<op>\w+))?")


def generate_vector(name: str) -> Generated | None:
    """The helper or type called `name`, or None."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    t, n, op = match["t"], int(match["n"]), match["op"]
    if op is None or op == "at":
        return _typedef(name, t, n, op)
    if op in MEMORY:
        return MEMORY[op](name, t, n)
    if op.startswith("from_"):
        return _convert(name, t, n, op[5:])
    made = _OPS.get(op)
    return made(name, t, n) if made is not None else None


def _typedef(name: str, t: str, n: int, op: str | None) -> Generated:
    c, size = ELEMENTS[t]
    if op == "at":  # the same at any address of an element
        return (f"{t}x{n}",), f"typedef {t}x{n} {name} __attribute__((aligned({size}), may_alias));"
    return (), f"typedef {c} {name} __attribute__((vector_size({size * n})));"


# ---- arithmetic


def _set(name: str, t: str, n: int) -> Generated:
    v = f"{t}x{n}"
    return (v,), function(v, name, f"{ELEMENTS[t][0]} x", f"return ({v}){{{', '.join(['x'] * n)}}};")


def _join(name: str, t: str, n: int) -> Generated:
    v, half = f"{t}x{n}", f"{t}x{n // 2}"
    plain = f"const {half} parts[2] = {{lo, hi}};\n{v} r;\nmemcpy(&r, parts, sizeof r);\nreturn r;"
    if ELEMENTS[t][1] * n == 64:
        fast = f"return ({v})_mm512_insertf64x4(_mm512_castpd256_pd512((__m256d)lo), (__m256d)hi, 1);"
        plain = guarded("defined(__AVX512F__)", fast, plain)
    return (v, half), vector_function(v, name, f"{half} lo, {half} hi", plain)


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
    if is_wide(t, n):
        half = n // 2
        types, part = (f"{t}x{half}", mask(t, half)), f"{t}x{half}_select"
        text = (
            f"{types[1]} ms[2];\n{types[0]} as[2], bs[2];\n"
            "memcpy(ms, &m, sizeof m);\nmemcpy(as, &a, sizeof a);\nmemcpy(bs, &b, sizeof b);\n"
            f"for (int k = 0; k < 2; ++k)\n    as[k] = {part}(ms[k], as[k], bs[k]);\n"
            "memcpy(&a, as, sizeof a);\nreturn a;"
        )
        return (v, m, *types, part), function(v, name, f"{m} m, {v} a, {v} b", text)
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
        v, half = f"{t}x{n}", f"{t}x{n // 2}"
        if is_wide(t, n):
            text = (
                f"{half} as[2], bs[2];\nmemcpy(as, &a, sizeof a);\nmemcpy(bs, &b, sizeof b);\n"
                f"for (int k = 0; k < 2; ++k)\n    as[k] = {half}_{intrinsic}(as[k], bs[k]);\n"
                "memcpy(&a, as, sizeof a);\nreturn a;"
            )
            return (v, half, f"{half}_{intrinsic}"), function(v, name, f"{v} a, {v} b", text)
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


def _dot2_bf16(name: str, t: str, n: int) -> Generated:
    """Products of pairs of bf16, the bits of which lie in one i32 each."""
    i, u = f"i32x{n}", f"u32x{n}"
    plain = (
        f"const {u} x = ({u})a, y = ({u})b;\n"
        f"c = {t}x{n}_fma(({t}x{n})(x & 0xffff0000), ({t}x{n})(y & 0xffff0000), c);\n"
        f"return {t}x{n}_fma(({t}x{n})(x << 16), ({t}x{n})(y << 16), c);"
    )
    r = register(t, n)
    if r is not None:
        bits = r[0].removeprefix("_mm")
        condition = "defined(__AVX512BF16__)" + ("" if bits == "512" else " && defined(__AVX512VL__)")
        fast = f"return ({t}x{n}){r[0]}_dpbf16_ps(({r[2]})c, (__m{bits}bh)a, (__m{bits}bh)b);"
        plain = guarded(condition, fast, plain)
    return (f"{t}x{n}", i, u, f"{t}x{n}_fma"), vector_function(f"{t}x{n}", name, f"{i} a, {i} b, {t}x{n} c", plain)


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


def _scan(op: str) -> Callable[[str, str, int], Generated | None]:
    """Every lane combined with all lanes before it, in log2(lanes) steps. (Hillis and Steele, CACM 1986.)"""

    def make(name: str, t: str, n: int) -> Generated | None:
        v, index = f"{t}x{n}", mask(t, n)
        needs: tuple[str, ...] = ()
        if op in ("and", "or"):
            combined = {"and": "b & a", "or": "b | a"}[op]
        elif t[0] == "f" and op in ("add", "mul"):
            combined = {"add": "b + a", "mul": "b * a"}[op]
        else:
            combined, needs = f"{v}_{op}(b, a)", (f"{v}_{op}",)
        lines, step = [f"{v} b;"], 1
        while step < n:
            order = [(lane - step) % n for lane in range(n)]
            on = ", ".join("0" if lane < step else "-1" for lane in range(n))
            lines.append(f"b = WEFT_SHUFFLE({index}, a, {', '.join(map(str, order))});")
            lines.append(f"a = {v}_select(({index}){{{on}}}, {combined}, a);")
            step *= 2
        lines.append("return a;")
        return ("weft_shuffle", v, index, f"{v}_select", *needs), function(v, name, f"{v} a", "\n".join(lines))

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


_OPS: dict[str, Callable[[str, str, int], Generated | None]] = {
    "set": _set,
    "iota": _iota,
    "join": _join,
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
    "dot2_bf16": _dot2_bf16,
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
    **{f"scan_{op}": _scan(op) for op in ("add", "mul", "max", "min", "and", "or")},
    **{f: _lanewise(f, 1) for f in LIBM},
}
