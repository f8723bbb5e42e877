/* Number types of tensors, in files and in memory, and the conversions between them. */
#ifndef VLM_BASE_DTYPE_H
#define VLM_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum vlm_dtype {
    VLM_F32 = 0,
    VLM_F16,
    VLM_BF16,
    VLM_Q8, /* int8 in groups of VLM_Q8_GROUP along k with a float scale; only ever packed (see kernels.h) */
    VLM_Q4, /* 4 bits by groups: the seam is here, the format follows with the language models */
    VLM_F64,
    VLM_I64,
    VLM_I32,
    VLM_I16,
    VLM_I8,
    VLM_U8,
    VLM_BOOL,
    VLM_DTYPES
} vlm_dtype;

/* "f32", "bf16" ...; static storage. */
const char *vlm_dtype_name(vlm_dtype type);
/* Bytes of one element; 0 for the packed types, whose size depends on their layout. */
size_t vlm_dtype_size(vlm_dtype type);

static inline float vlm_bf16_to_f32(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Round to nearest, ties to even; NaN stays NaN. */
static inline uint16_t vlm_f32_to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)((bits >> 16) | 0x40);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float vlm_f16_to_f32(uint16_t h);
uint16_t vlm_f32_to_f16(float f);

/* n elements of a plain type (no q8, q4) into float32. */
void vlm_convert_to_f32(float *out, const void *in, vlm_dtype type, size_t n);

#endif
