// row_maxima: written by weft for a machine like avx512; see row_maxima.h for the interface.

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
typedef f32x16 f32x16_at __attribute__((aligned(4), may_alias));
typedef int32_t i32x16 __attribute__((vector_size(64)));

WEFT_INLINE f32x16 f32x16_set(float x) { return (f32x16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
WEFT_INLINE f32x16 f32x16_load(const float *p) { return *(const f32x16_at *)p; }

WEFT_INLINE f32x16 f32x16_select(i32x16 m, f32x16 a, f32x16 b)
{
#if defined(__AVX512DQ__)
    return (f32x16)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)m), (__m512)b, (__m512)a);
#else
    return (f32x16)((m & (i32x16)a) | (~m & (i32x16)b));
#endif
}

WEFT_INLINE f32x16 f32x16_max(f32x16 a, f32x16 b)
{
#if defined(__AVX512F__)
    const __m512 x = _mm512_max_ps((__m512)a, (__m512)b);
    return (f32x16)_mm512_mask_mov_ps(x, _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_UNORD_Q), (__m512)a);
#else
    return f32x16_select((a >= b) | (a != a), a, b);
#endif
}

// Lanes of one vector in another order.
#if defined(__clang__)
#define WEFT_SHUFFLE(index, a, ...) __builtin_shufflevector(a, a, __VA_ARGS__)
#else
#define WEFT_SHUFFLE(index, a, ...) __builtin_shuffle(a, (index){__VA_ARGS__})
#endif

WEFT_INLINE float f32x16_fold_max(f32x16 a)
{
    f32x16 b;
    b = WEFT_SHUFFLE(i32x16, a, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    a = f32x16_max(a, b);
    b = WEFT_SHUFFLE(i32x16, a, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3);
    a = f32x16_max(a, b);
    b = WEFT_SHUFFLE(i32x16, a, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1);
    a = f32x16_max(a, b);
    b = WEFT_SHUFFLE(i32x16, a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0);
    a = f32x16_max(a, b);
    return a[0];
}

// ---- kernels

// kernel rows
static int row_maxima_rows(const float *restrict x, float *restrict y, int64_t M, int threads)
{
    (void)threads;
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(static)
#endif
    for (int64_t i = 0; i < M; ++i) { // parallel unit
        // alloc m: f32<16> reg
        f32x16 m = {0};
        // m: f32<16> = -inf
        m = f32x16_set(-INFINITY);
        {
            const int64_t j = 0;
            // v = load<16> x[i, j * 16 + @0]
            const f32x16 v = f32x16_load(x + 64 * i + 16 * j);
            // m: f32<16> = max(m, v)
            m = f32x16_max(m, v);
        }
        {
            const int64_t j = 1;
            // v = load<16> x[i, j * 16 + @0]
            const f32x16 v = f32x16_load(x + 64 * i + 16 * j);
            // m: f32<16> = max(m, v)
            m = f32x16_max(m, v);
        }
        {
            const int64_t j = 2;
            // v = load<16> x[i, j * 16 + @0]
            const f32x16 v = f32x16_load(x + 64 * i + 16 * j);
            // m: f32<16> = max(m, v)
            m = f32x16_max(m, v);
        }
        {
            const int64_t j = 3;
            // v = load<16> x[i, j * 16 + @0]
            const f32x16 v = f32x16_load(x + 64 * i + 16 * j);
            // m: f32<16> = max(m, v)
            m = f32x16_max(m, v);
        }
        // top = reduce max m over 0
        const float top = f32x16_fold_max(m);
        // t = reduce max top over 0
        const float t = top;
        // store<1> y[i + @0] = t
        y[i] = t;
    }
    return 0;
}

// ---- interface

// All kernels, one after another.
static int row_maxima_run(const float *restrict x, float *restrict y, int64_t M, int threads)
{
#ifdef _OPENMP
    if (threads < 1)
        threads = omp_get_max_threads();
#else
    threads = 1;
#endif
    int error = 0;
    if (error == 0)
        error = row_maxima_rows(x, y, M, threads);
    return error;
}

int row_maxima_threads(const float *restrict x, float *restrict y, int64_t M, int threads)
{
    return row_maxima_run(x, y, M, threads);
}

int row_maxima(const float *restrict x, float *restrict y, int64_t M)
{
    return row_maxima_threads(x, y, M, 0);
}

int row_maxima_call(void *const *buffers, const int64_t *symbols, int threads)
{
    return row_maxima_run((const float *)buffers[0], (float *)buffers[1], symbols[0], threads);
}
