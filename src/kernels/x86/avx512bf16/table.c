/* The table for CPUs that have AVX512-BF16 beside the rest: AVX-512's, with bf16 products in hardware. */
#include "kernels/fill.h"
#include "kernels/x86/avx512bf16/avx512bf16.h"

void vlm_kernels_fill_avx512bf16(vlm_kernels *table)
{
    vlm_kernels_fill_avx512(table);
    vlm_fill_matmul_bf16_avx512bf16(table);
}
