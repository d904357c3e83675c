"""Helpers that are always the same text: bits of floats, 16-bit floats, memory, threads."""

from __future__ import annotations

from .c_vector_text import Generated, function

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

FIXED: dict[str, Generated] = {
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
    "weft_pair": (
        (),
        function("int32_t", "weft_pair", "const uint16_t *p", "return (int32_t)(p[0] | (uint32_t)p[1] << 16);"),
    ),
    "weft_dot2_bf16": (
        ("weft_f32_from_bits",),
        function(
            "float",
            "weft_dot2_bf16",
            "int32_t a, int32_t b, float c",
            "const uint32_t u = (uint32_t)a, v = (uint32_t)b;\n"
            "const float high = fmaf(weft_f32_from_bits(u & 0xffff0000), weft_f32_from_bits(v & 0xffff0000), c);\n"
            "return fmaf(weft_f32_from_bits(u << 16), weft_f32_from_bits(v << 16), high);",
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
    "weft_prefetch": (
        (),
        "// A hint: bytes from p + offset on, maybe outside of the array, will be read soon; line: of a cache.\n"
        + function(
            "void",
            "weft_prefetch",
            "const void *p, int64_t offset, int64_t bytes, int64_t line",
            "const uintptr_t at = (uintptr_t)p + (uintptr_t)offset;\n"
            "for (int64_t k = 0; k < bytes; k += line)\n"
            "    __builtin_prefetch((const void *)(at + (uintptr_t)k), 0, 2);",
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
