/* The parts of the AVX-512 table, one function for each file of this folder. */
#ifndef VLM_KERNELS_X86_AVX512_AVX512_H
#define VLM_KERNELS_X86_AVX512_AVX512_H

#include "kernels/kernels.h"

void vlm_fill_matmul_avx512(vlm_kernels *table);
void vlm_fill_matmul_q8_avx512(vlm_kernels *table);
void vlm_fill_elementwise_avx512(vlm_kernels *table);

#endif
