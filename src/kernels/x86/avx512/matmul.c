/* Products with f32, f16 and bf16 weights, AVX-512. */
#include "kernels/x86/avx512/simd.h"

#include "kernels/simd/matmul.h"
#include "kernels/x86/avx512/avx512.h"

void vlm_fill_matmul_avx512(vlm_kernels *table)
{
    fill_matmul(table);
}
