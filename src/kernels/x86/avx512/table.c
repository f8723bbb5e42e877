/* The table of the AVX-512 kernels. */
#include "kernels/fill.h"
#include "kernels/x86/avx512/avx512.h"

void vlm_kernels_fill_avx512(vlm_kernels *table)
{
    vlm_fill_matmul_avx512(table);
    vlm_fill_matmul_q8_avx512(table);
    vlm_fill_elementwise_avx512(table);
}
