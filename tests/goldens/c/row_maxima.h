// row_maxima: interface.
#ifndef WEFT_ROW_MAXIMA_H
#define WEFT_ROW_MAXIMA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// input x: f32[M, 64]
// output y: f32[M]
// Tensors are row-major and contiguous. No output may overlap another tensor; inputs may overlap each other.
// bf16 and f16 are passed as their 16 bits, bool as a byte of 0 or 1.
// The result is 0, or 1 where memory ran out.
int row_maxima(const float *x, float *y, int64_t M);

// The same with a number of threads (below 1: as many as OpenMP likes).
int row_maxima_threads(const float *x, float *y, int64_t M, int threads);

// The same with all tensors in the order above, temporaries included, and the symbols in the order of the
// parameters.
int row_maxima_call(void *const *buffers, const int64_t *symbols, int threads);

#ifdef __cplusplus
}
#endif

#endif
