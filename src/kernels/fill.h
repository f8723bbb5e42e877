/* What kernels.c calls: one function for each row of isa.def, defined in table.c of the row's folder.
 * It puts the folder's kernels into a table that holds the C ones already, so a folder may lack a slot. */
#ifndef VLM_KERNELS_FILL_H
#define VLM_KERNELS_FILL_H

#include "kernels/kernels.h"

void vlm_kernels_fill_avx512bf16(vlm_kernels *table);
void vlm_kernels_fill_avx512(vlm_kernels *table);
void vlm_kernels_fill_avx2(vlm_kernels *table);
void vlm_kernels_fill_neon(vlm_kernels *table);
void vlm_kernels_fill_c(vlm_kernels *table);

#endif
