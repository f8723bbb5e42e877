/* The table of the C kernels: the definition of correct, and the fallback of every other row. */
#include "kernels/fill.h"
#include "kernels/ref/ref.h"

void vlm_kernels_fill_c(vlm_kernels *table)
{
    vlm_fill_matmul_ref(table);
    vlm_fill_matmul_q8_ref(table);
    vlm_fill_norm_ref(table);
    vlm_fill_softmax_ref(table);
    vlm_fill_activation_ref(table);
    vlm_fill_vector_ref(table);
    vlm_fill_convert_ref(table);
    vlm_fill_adamw_ref(table);
}
