/* The parts of the NEON table, one function for each file of this folder. */
#ifndef VLM_KERNELS_ARM_NEON_NEON_H
#define VLM_KERNELS_ARM_NEON_NEON_H

#include "kernels/kernels.h"

void vlm_fill_matmul_neon(vlm_kernels *table);
void vlm_fill_matmul_q8_neon(vlm_kernels *table);
void vlm_fill_elementwise_neon(vlm_kernels *table);

#endif
