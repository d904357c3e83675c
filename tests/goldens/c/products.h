// products: interface.
#ifndef WEFT_PRODUCTS_H
#define WEFT_PRODUCTS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// input a: f32[M, K]
// input b: f32[K, N]
// output c: f32[M, N]
// Tensors are row-major and contiguous. No output may overlap another tensor; inputs may overlap each other.
// bf16 and f16 are passed as their 16 bits, bool as a byte of 0 or 1.
// The result is 0, or 1 where memory ran out.
int products(const float *a, const float *b, float *c, int64_t M, int64_t N, int64_t K);

// The same with a number of threads (below 1: as many as OpenMP likes).
int products_threads(const float *a, const float *b, float *c, int64_t M, int64_t N, int64_t K, int threads);

// The same with all tensors in the order above, temporaries included, and the symbols in the order of the
// parameters.
int products_call(void *const *buffers, const int64_t *symbols, int threads);

#ifdef __cplusplus
}
#endif

#endif
