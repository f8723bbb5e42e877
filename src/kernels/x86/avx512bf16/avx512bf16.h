/* The parts of the AVX512-BF16 table. */
#ifndef VLM_KERNELS_X86_AVX512BF16_AVX512BF16_H
#define VLM_KERNELS_X86_AVX512BF16_AVX512BF16_H

#include "kernels/kernels.h"

void vlm_fill_matmul_bf16_avx512bf16(vlm_kernels *table);

#endif
