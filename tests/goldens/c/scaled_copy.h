// scaled_copy: interface.
#ifndef WEFT_SCALED_COPY_H
#define WEFT_SCALED_COPY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// input x: f32[N]
// output y: bf16[N]
// Tensors are row-major and contiguous. No output may overlap another tensor; inputs may overlap each other.
// bf16 and f16 are passed as their 16 bits, bool as a byte of 0 or 1.
// The result is 0, or 1 where memory ran out.
int scaled_copy(const float *x, uint16_t *y, int64_t N);

// The same with a number of threads (below 1: as many as OpenMP likes).
int scaled_copy_threads(const float *x, uint16_t *y, int64_t N, int threads);

// The same with all tensors in the order above, temporaries included, and the symbols in the order of the
// parameters.
int scaled_copy_call(void *const *buffers, const int64_t *symbols, int threads);

#ifdef __cplusplus
}
#endif

#endif
