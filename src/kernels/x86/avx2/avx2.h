/* The parts of the AVX2 table, one function for each file of this folder. */
#ifndef VLM_KERNELS_X86_AVX2_AVX2_H
#define VLM_KERNELS_X86_AVX2_AVX2_H

#include "kernels/kernels.h"

void vlm_fill_matmul_avx2(vlm_kernels *table);
void vlm_fill_matmul_q8_avx2(vlm_kernels *table);
void vlm_fill_elementwise_avx2(vlm_kernels *table);

#endif
