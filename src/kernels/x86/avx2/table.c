/* The table of the AVX2 kernels. */
#include "kernels/fill.h"
#include "kernels/x86/avx2/avx2.h"

void vlm_kernels_fill_avx2(vlm_kernels *table)
{
    vlm_fill_matmul_avx2(table);
    vlm_fill_matmul_q8_avx2(table);
    vlm_fill_elementwise_avx2(table);
}
