/* float32 from and to the 16-bit types, in C. Rounding is to nearest, ties to even. */
#include <string.h>

#include "kernels/ref/ref.h"

static void f16_to_f32(float *out, const void *in, size_t n)
{
    vlm_convert_to_f32(out, in, VLM_F16, n);
}

static void bf16_to_f32(float *out, const void *in, size_t n)
{
    vlm_convert_to_f32(out, in, VLM_BF16, n);
}

static void f32_to_f16(void *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half = vlm_f32_to_f16(in[i]);
        memcpy((char *)out + i * sizeof half, &half, sizeof half);
    }
}

static void f32_to_bf16(void *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half = vlm_f32_to_bf16(in[i]);
        memcpy((char *)out + i * sizeof half, &half, sizeof half);
    }
}

void vlm_fill_convert_ref(vlm_kernels *table)
{
    table->f16_to_f32 = f16_to_f32;
    table->bf16_to_f32 = bf16_to_f32;
    table->f32_to_f16 = f32_to_f16;
    table->f32_to_bf16 = f32_to_bf16;
}
