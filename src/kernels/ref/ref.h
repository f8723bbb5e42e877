/* The parts of the C kernels' table, one function for each file of this folder. */
#ifndef VLM_KERNELS_REF_REF_H
#define VLM_KERNELS_REF_REF_H

#include "kernels/kernels.h"

void vlm_fill_matmul_ref(vlm_kernels *table);
void vlm_fill_matmul_q8_ref(vlm_kernels *table);
void vlm_fill_norm_ref(vlm_kernels *table);
void vlm_fill_softmax_ref(vlm_kernels *table);
void vlm_fill_activation_ref(vlm_kernels *table);
void vlm_fill_vector_ref(vlm_kernels *table);
void vlm_fill_convert_ref(vlm_kernels *table);
void vlm_fill_adamw_ref(vlm_kernels *table);

/* f(x) for one value. */
float vlm_activation_ref(float x, vlm_activation kind);
/* Finish n columns of one row: sums are the products, column0 the first one's place in bias and residual. */
void vlm_finish_row_ref(float *y, const float *sums, const vlm_epilogue *epilogue, size_t row, size_t column0, size_t n);

#endif
