/* Softmax over rows [rows, n], in place, and its backward pass, on any ISA. Needs the ISA's simd.h before it. */
#ifndef VLM_KERNELS_SIMD_SOFTMAX_H
#define VLM_KERNELS_SIMD_SOFTMAX_H

#include <math.h>

#include "kernels/simd/math.h"

/* The maximum of scale * x. A tail is read again as the last whole vector where the row has one. */
static inline float scaled_max(const float *x, size_t n, vf scale)
{
    vf largest = vf_set(-INFINITY);
    size_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        largest = vf_max(largest, vf_mul(vf_load(x + i), scale));
    if (i < n && n > VF_LANES) {
        largest = vf_max(largest, vf_mul(vf_load(x + n - VF_LANES), scale));
    } else if (i < n) {
        float row[VF_LANES];
        for (size_t j = 0; j < VF_LANES; j++)
            row[j] = x[j < n ? j : 0];
        largest = vf_max(largest, vf_mul(vf_load(row), scale));
    }
    return vf_largest(largest);
}

static void softmax(float *x, size_t rows, size_t n, size_t ld, float scale)
{
    vf s = vf_set(scale);
    for (size_t r = 0; r < rows; r++, x += ld) {
        float max = scaled_max(x, n, s);
        if (max == -INFINITY) { /* masked everywhere; the difference below would be NaN */
            for (size_t i = 0; i < n; i++)
                x[i] = 0;
            continue;
        }
        vf largest = vf_set(max), sum = vf_zero();
        size_t i = 0;
        for (; i + VF_LANES <= n; i += VF_LANES) {
            vf e = vf_exp(vf_sub(vf_mul(vf_load(x + i), s), largest));
            vf_store(x + i, e);
            sum = vf_add(sum, e);
        }
        if (i < n) {
            vf_store_n(x + i, vf_exp(vf_sub(vf_mul(vf_load_n(x + i, n - i), s), largest)), n - i);
            sum = vf_add(sum, vf_load_n(x + i, n - i)); /* zeros past the end */
        }
        vf inverse = vf_set(1.0f / vf_sum(sum));
        for (i = 0; i + VF_LANES <= n; i += VF_LANES)
            vf_store(x + i, vf_mul(vf_load(x + i), inverse));
        if (i < n)
            vf_store_n(x + i, vf_mul(vf_load_n(x + i, n - i), inverse), n - i);
    }
}

static void softmax_backward(float *dp, const float *p, size_t rows, size_t n, size_t ld, float scale)
{
    for (size_t r = 0; r < rows; r++, dp += ld, p += ld) {
        vf total = vf_zero();
        for (size_t i = 0; i < n; i += VF_LANES) {
            size_t count = n - i < VF_LANES ? n - i : VF_LANES;
            total = vf_fma(vf_load_n(p + i, count), vf_load_n(dp + i, count), total);
        }
        vf sum = vf_set(vf_sum(total)), s = vf_set(scale);
        for (size_t i = 0; i < n; i += VF_LANES) {
            size_t count = n - i < VF_LANES ? n - i : VF_LANES;
            vf centred = vf_sub(vf_load_n(dp + i, count), sum);
            vf_store_n(dp + i, vf_mul(vf_mul(s, vf_load_n(p + i, count)), centred), count);
        }
    }
}

static void fill_softmax(vlm_kernels *table)
{
    table->softmax = softmax;
    table->softmax_backward = softmax_backward;
}

#endif
