// products: written by weft for a machine like avx512; see products.h for the interface.

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

// The product of two extents, or more than any memory holds.
WEFT_INLINE int64_t weft_times(int64_t a, int64_t b)
{
    if (a <= 0 || b <= 0)
        return 0;
    return a > (INT64_MAX >> 20) / b ? INT64_MAX >> 20 : a * b;
}

// Bytes of count elements, rounded up to whole cache lines.
WEFT_INLINE int64_t weft_padded(int64_t count, int64_t size)
{
    return count > (INT64_MAX >> 20) / size ? INT64_MAX >> 20 : (count * size + 63) / 64 * 64;
}

// Room for count elements, aligned to a cache line; NULL where there is none.
WEFT_INLINE void *weft_allocate(int64_t count, int64_t size)
{
    if (count < 0 || count > (INT64_MAX - 64) / size)
        return NULL;
    return aligned_alloc(64, ((size_t)(count * size) / 64 + 1) * 64);
}

// The number of this thread in its team.
WEFT_INLINE int weft_thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

WEFT_INLINE f32x16 f32x16_set(float x) { return (f32x16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
WEFT_INLINE f32x16 f32x16_load(const float *p) { return *(const f32x16_at *)p; }

WEFT_INLINE f32x16 f32x16_fma(f32x16 a, f32x16 b, f32x16 c)
{
#if defined(__AVX512F__)
    return (f32x16)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#else
    f32x16 r = a;
    for (int lane = 0; lane < 16; ++lane)
        r[lane] = fmaf(a[lane], b[lane], c[lane]);
    return r;
#endif
}

WEFT_INLINE void f32x16_stream(float *p, f32x16 a)
{
#if defined(__AVX512F__)
    if (((uintptr_t)p & 63) == 0) {
        _mm512_stream_ps(p, (__m512)a);
        return;
    }
#endif
    *(f32x16_at *)p = a;
}

// ---- kernels

// kernel tiles
static int products_tiles(const float *restrict a, const float *restrict b, float *restrict c, int64_t M,
    int64_t N, int64_t K, int threads)
{
    const int64_t panel_bytes = weft_padded(weft_times(K, 32), 4);
    char *const scratch = weft_allocate((int64_t)threads * panel_bytes, 1);
    if (scratch == NULL)
        return 1;
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(static) collapse(2)
#endif
    for (int64_t i = 0; i < M; i += 2) { // parallel unit
        for (int64_t j = 0; j < N; j += 32) { // parallel unit
            char *const own = scratch + (int64_t)weft_thread() * panel_bytes;
            // alloc panel: f32[K, 32] sram
            float *const panel = (float *)own;
            // move<K, 32> panel[@0, @1] = b[@0, j + @1]
            for (int64_t c0 = 0; c0 < K; ++c0) {
                memcpy(panel + 32 * c0, b + c0 * N + j, (size_t)32 * 4);
            }
            // alloc acc: f32<2, 32> reg
            f32x16 acc[4] = {{0}};
            // acc: f32<2, 32> = 0.0
            acc[0] = f32x16_set(0.0f);
            acc[1] = f32x16_set(0.0f);
            acc[2] = f32x16_set(0.0f);
            acc[3] = f32x16_set(0.0f);
            for (int64_t k = 0; k < K; ++k) {
                // u = load<2, 1> a[i + @0, k]
                const float *const a_at = a + i * K + k;
                float u[2];
                u[0] = a_at[0];
                u[1] = a_at[K];
                // v = load<1, 32> panel[k, @1]
                const float *const panel_at = panel + 32 * k;
                f32x16 v[2];
                v[0] = f32x16_load(panel_at);
                v[1] = f32x16_load(panel_at + 16);
                // acc: f32<2, 32> = fma(u, v, acc)
                acc[0] = f32x16_fma(f32x16_set(u[0]), v[0], acc[0]);
                acc[1] = f32x16_fma(f32x16_set(u[0]), v[1], acc[1]);
                acc[2] = f32x16_fma(f32x16_set(u[1]), v[0], acc[2]);
                acc[3] = f32x16_fma(f32x16_set(u[1]), v[1], acc[3]);
            }
            // store<2, 32> c[i + @0, j + @1] = acc streaming
            float *const c_at = c + i * N + j;
            f32x16_stream(c_at, acc[0]);
            f32x16_stream(c_at + 16, acc[1]);
            f32x16_stream(c_at + N, acc[2]);
            f32x16_stream(c_at + N + 16, acc[3]);
        }
    }
    free(scratch);
    return 0;
}

// ---- interface

// All kernels, one after another.
static int products_run(const float *restrict a, const float *restrict b, float *restrict c, int64_t M,
    int64_t N, int64_t K, int threads)
{
#ifdef _OPENMP
    if (threads < 1)
        threads = omp_get_max_threads();
#else
    threads = 1;
#endif
    int error = 0;
    if (error == 0)
        error = products_tiles(a, b, c, M, N, K, threads);
    return error;
}

int products_threads(const float *restrict a, const float *restrict b, float *restrict c, int64_t M, int64_t N,
    int64_t K, int threads)
{
    return products_run(a, b, c, M, N, K, threads);
}

int products(const float *restrict a, const float *restrict b, float *restrict c, int64_t M, int64_t N,
    int64_t K)
{
    return products_threads(a, b, c, M, N, K, 0);
}

int products_call(void *const *buffers, const int64_t *symbols, int threads)
{
    return products_run((const float *)buffers[0], (const float *)buffers[1], (float *)buffers[2], symbols[0], symbols[1], symbols[2], threads);
}
