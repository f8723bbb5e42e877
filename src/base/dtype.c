/* Number types: names, sizes, conversions in plain C. The hot conversions are in kernels/. */
#include "base/dtype.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[VLM_DTYPES] = {
    [VLM_F32] = {"f32", 4}, [VLM_F16] = {"f16", 2}, [VLM_BF16] = {"bf16", 2}, [VLM_Q8] = {"q8", 0},
    [VLM_Q4] = {"q4", 0},   [VLM_F64] = {"f64", 8}, [VLM_I64] = {"i64", 8},   [VLM_I32] = {"i32", 4},
    [VLM_I16] = {"i16", 2}, [VLM_I8] = {"i8", 1},   [VLM_U8] = {"u8", 1},     [VLM_BOOL] = {"bool", 1},
};

const char *vlm_dtype_name(vlm_dtype type)
{
    return (size_t)type < VLM_DTYPES ? dtypes[type].name : "unknown";
}

size_t vlm_dtype_size(vlm_dtype type)
{
    return (size_t)type < VLM_DTYPES ? dtypes[type].size : 0;
}

float vlm_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 0x1f, mantissa = h & 0x3ff, bits;
    if (exponent == 0x1f) {
        bits = sign | 0x7f800000 | mantissa << 13;
    } else if (exponent) {
        bits = sign | (exponent + 112) << 23 | mantissa << 13;
    } else if (mantissa) { /* subnormal: shift until the leading bit is implicit */
        exponent = 113;
        while (!(mantissa & 0x400)) {
            mantissa <<= 1;
            exponent--;
        }
        bits = sign | exponent << 23 | (mantissa & 0x3ff) << 13;
    } else {
        bits = sign;
    }
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint16_t vlm_f32_to_f16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x47800000) /* 65536 and more: infinity */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude >= 0x38800000) { /* normal; a carry out of the mantissa rightly raises the exponent */
        uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
        return (uint16_t)(sign | ((rounded >> 13) - (112 << 10)));
    }
    if (magnitude < 0x33000000)
        return (uint16_t)sign;
    uint32_t shift = 126 - (magnitude >> 23), mantissa = (magnitude & 0x7fffff) | 0x800000;
    uint32_t kept = mantissa >> shift, rest = mantissa & (((uint32_t)1 << shift) - 1), half = (uint32_t)1 << (shift - 1);
    if (rest > half || (rest == half && (kept & 1)))
        kept++;
    return (uint16_t)(sign | kept);
}

#define CONVERT(type, expression)                     \
    do {                                              \
        for (size_t i = 0; i < n; i++) {              \
            type v;                                   \
            memcpy(&v, bytes + i * sizeof v, sizeof v); \
            out[i] = (expression);                    \
        }                                             \
    } while (0)

void vlm_convert_to_f32(float *out, const void *in, vlm_dtype type, size_t n)
{
    const unsigned char *bytes = in; /* a file's data need not be aligned */
    switch (type) {
    case VLM_F32: memcpy(out, in, n * sizeof *out); break;
    case VLM_F16: CONVERT(uint16_t, vlm_f16_to_f32(v)); break;
    case VLM_BF16: CONVERT(uint16_t, vlm_bf16_to_f32(v)); break;
    case VLM_F64: CONVERT(double, (float)v); break;
    case VLM_I64: CONVERT(int64_t, (float)v); break;
    case VLM_I32: CONVERT(int32_t, (float)v); break;
    case VLM_I16: CONVERT(int16_t, (float)v); break;
    case VLM_I8: CONVERT(int8_t, (float)v); break;
    case VLM_U8:
    case VLM_BOOL: CONVERT(uint8_t, (float)v); break;
    default: memset(out, 0, n * sizeof *out); break; /* packed types never come here: the loader refuses them */
    }
}
