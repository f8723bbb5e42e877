/* Products with f32, f16 and bf16 weights, AVX2. */
#include "kernels/x86/avx2/simd.h"

#include "kernels/simd/matmul.h"
#include "kernels/x86/avx2/avx2.h"

void vlm_fill_matmul_avx2(vlm_kernels *table)
{
    fill_matmul(table);
}
