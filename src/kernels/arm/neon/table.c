/* The table of the NEON kernels. */
#include "kernels/fill.h"
#include "kernels/arm/neon/neon.h"

void vlm_kernels_fill_neon(vlm_kernels *table)
{
    vlm_fill_matmul_neon(table);
    vlm_fill_matmul_q8_neon(table);
    vlm_fill_elementwise_neon(table);
}
