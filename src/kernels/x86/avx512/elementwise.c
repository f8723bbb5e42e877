/* What is not a product of matrices, AVX-512. */
#include "kernels/x86/avx512/simd.h"

#include "kernels/simd/activation.h"
#include "kernels/simd/norm.h"
#include "kernels/simd/softmax.h"
#include "kernels/simd/vector.h"
#include "kernels/x86/avx512/avx512.h"

void vlm_fill_elementwise_avx512(vlm_kernels *table)
{
    fill_norm(table);
    fill_softmax(table);
    fill_activation(table);
    fill_vector(table);
}
