/* Products with f32, f16 and bf16 weights, NEON. */
#include "kernels/arm/neon/simd.h"

#include "kernels/simd/matmul.h"
#include "kernels/arm/neon/neon.h"

void vlm_fill_matmul_neon(vlm_kernels *table)
{
    fill_matmul(table);
}
