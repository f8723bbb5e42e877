/* What is not a product of matrices, NEON. */
#include "kernels/arm/neon/simd.h"

#include "kernels/simd/activation.h"
#include "kernels/simd/norm.h"
#include "kernels/simd/softmax.h"
#include "kernels/simd/vector.h"
#include "kernels/arm/neon/neon.h"

void vlm_fill_elementwise_neon(vlm_kernels *table)
{
    fill_norm(table);
    fill_softmax(table);
    fill_activation(table);
    fill_vector(table);
}
