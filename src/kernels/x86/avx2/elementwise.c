/* What is not a product of matrices, AVX2. */
#include "kernels/x86/avx2/simd.h"

#include "kernels/simd/activation.h"
#include "kernels/simd/norm.h"
#include "kernels/simd/softmax.h"
#include "kernels/simd/vector.h"
#include "kernels/x86/avx2/avx2.h"

void vlm_fill_elementwise_avx2(vlm_kernels *table)
{
    fill_norm(table);
    fill_softmax(table);
    fill_activation(table);
    fill_vector(table);
}
