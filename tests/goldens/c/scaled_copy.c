// scaled_copy: written by weft for a machine like avx512; see scaled_copy.h for the interface.

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

// ---- helpers

#define WEFT_INLINE static inline __attribute__((always_inline))

typedef float f32x16 __attribute__((vector_size(64)));

// One bit per lane, set for lanes lo <= lane < hi.
WEFT_INLINE uint32_t weft_lanes(int64_t lo, int64_t hi)
{
    const uint32_t below_hi = hi >= 32 ? ~0u : hi <= 0 ? 0 : (1u << hi) - 1;
    const uint32_t below_lo = lo >= 32 ? ~0u : lo <= 0 ? 0 : (1u << lo) - 1;
    return below_hi & ~below_lo;
}

WEFT_INLINE f32x16 f32x16_set(float x) { return (f32x16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }

WEFT_INLINE f32x16 f32x16_load_part(const float *p, uint32_t bits, f32x16 fill)
{
#if defined(__AVX512F__)
    return (f32x16)_mm512_mask_loadu_ps((__m512)fill, (__mmask16)bits, p);
#else
    for (int lane = 0; lane < 16; ++lane)
        if (bits >> lane & 1)
            fill[lane] = p[lane];
    return fill;
#endif
}

WEFT_INLINE uint32_t weft_bits_from_f32(float x)
{
    uint32_t u;
    memcpy(&u, &x, 4);
    return u;
}

WEFT_INLINE uint16_t weft_bf16_from_f32(float x)
{
    const uint32_t u = weft_bits_from_f32(x);
    if (x != x)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16); // to nearest even
}

WEFT_INLINE void bf16x16_store_part(uint16_t *p, uint32_t bits, f32x16 a)
{
    for (int lane = 0; lane < 16; ++lane)
        if (bits >> lane & 1)
            p[lane] = weft_bf16_from_f32(a[lane]);
}

// ---- kernels

// kernel whole
static int scaled_copy_whole(const float *restrict x, uint16_t *restrict y, int64_t N, int threads)
{
    (void)threads;
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(static)
#endif
    for (int64_t i = 0; i < N; i += 16) { // parallel unit
        // v = load<16> x[i + @0] where i + @0 < N else 0.0
        const f32x16 v = f32x16_load_part(x + i, weft_lanes(0, N - i), f32x16_set(0.0f));
        // store<16> y[i + @0] = v * 2.0 where i + @0 < N
        bf16x16_store_part(y + i, weft_lanes(0, N - i), v * 2.0f);
    }
    return 0;
}

// ---- interface

// All kernels, one after another.
static int scaled_copy_run(const float *restrict x, uint16_t *restrict y, int64_t N, int threads)
{
#ifdef _OPENMP
    if (threads < 1)
        threads = omp_get_max_threads();
#else
    threads = 1;
#endif
    int error = 0;
    if (error == 0)
        error = scaled_copy_whole(x, y, N, threads);
    return error;
}

int scaled_copy_threads(const float *restrict x, uint16_t *restrict y, int64_t N, int threads)
{
    return scaled_copy_run(x, y, N, threads);
}

int scaled_copy(const float *restrict x, uint16_t *restrict y, int64_t N)
{
    return scaled_copy_threads(x, y, N, 0);
}

int scaled_copy_call(void *const *buffers, const int64_t *symbols, int threads)
{
    return scaled_copy_run((const float *)buffers[0], (uint16_t *)buffers[1], symbols[0], threads);
}
