/* y[m, n] = x[m, k] * w[n, k]^T with int8 weights and int8 activations, in C.
 * Both are quantised by groups of G = VLM_Q8_GROUP values along k, symmetrically: the scale of a group is
 * amax / 127 and q = round(x * 127 / amax), ties to even. Each group's products are summed exactly in int32;
 * the groups are chained in float: sum += (scale_x * scale_w) * dot.
 * Panel: for each group, int8 [G][PANEL], then float scales [PANEL]; k is padded with zeros.
 * Prepared row: for each group int8 [G], then one float scale a group.
 * Trap: amax is found on the bit patterns, where NaN is above infinity, so that a NaN spoils its group's
 * scale and is seen in the result instead of being rounded to some integer. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels/ref/ref.h"

enum { PANEL = 8, G = VLM_Q8_GROUP, BLOCK = G * PANEL + PANEL * sizeof(float) };

static size_t n_groups(size_t k)
{
    return (k + G - 1) / G;
}

static size_t panel_bytes(size_t k)
{
    return (n_groups(k) * BLOCK + 63) / 64 * 64;
}

static size_t prepared_bytes(size_t k)
{
    return (n_groups(k) * (G + sizeof(float)) + 63) / 64 * 64;
}

/* Quantise count <= G values that stand `stride` apart in q; returns the scale. */
static float quantise(int8_t *q, size_t stride, const float *values, size_t count)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    float amax;
    memcpy(&amax, &largest, sizeof amax);
    float inverse = amax >= 0x1p-120f ? 127.0f / amax : 0.0f; /* no overflow of the quotient */
    for (size_t i = 0; i < count; i++) {
        float rounded = nearbyintf(values[i] * inverse);
        q[i * stride] = (int8_t)(rounded > 127.0f ? 127 : rounded >= -127.0f ? rounded : -127);
    }
    return amax / 127.0f;
}

static void pack(void *panels, const void *w, vlm_dtype from, size_t row_stride, size_t k_stride, size_t n, size_t k)
{
    size_t value_size = vlm_dtype_size(from);
    memset(panels, 0, (n + PANEL - 1) / PANEL * panel_bytes(k));
    for (size_t i = 0; i < n; i++) {
        char *block = (char *)panels + i / PANEL * panel_bytes(k);
        for (size_t k0 = 0; k0 < k; k0 += G, block += BLOCK) {
            float values[G];
            size_t count = k - k0 < G ? k - k0 : G;
            for (size_t j = 0; j < count; j++)
                vlm_convert_to_f32(&values[j], (const char *)w + (i * row_stride + (k0 + j) * k_stride) * value_size,
                                   from, 1);
            float scale = quantise((int8_t *)block + i % PANEL, PANEL, values, count);
            memcpy(block + G * PANEL + i % PANEL * sizeof scale, &scale, sizeof scale);
        }
    }
}

static void unpack_row(float *out, const void *panels, size_t row, size_t k)
{
    const char *block = (const char *)panels + row / PANEL * panel_bytes(k);
    for (size_t j = 0; j < k; j++) {
        const char *group = block + j / G * BLOCK;
        const float *scales = (const float *)(group + G * PANEL);
        out[j] = scales[row % PANEL] * (float)((const int8_t *)group)[j % G * PANEL + row % PANEL];
    }
}

static void prepare(void *prepared, const float *x, size_t ldx, size_t m, size_t k)
{
    for (size_t r = 0; r < m; r++) {
        int8_t *values = (int8_t *)prepared + r * prepared_bytes(k);
        float *scales = (float *)(values + n_groups(k) * G);
        memset(values, 0, prepared_bytes(k));
        for (size_t k0 = 0; k0 < k; k0 += G)
            scales[k0 / G] = quantise(values + k0, 1, x + r * ldx + k0, k - k0 < G ? k - k0 : G);
    }
}

/* One prepared row against one panel. */
static void multiply_row(float *sums, const int8_t *x, const char *block, size_t groups)
{
    const float *x_scales = (const float *)(x + groups * G);
    memset(sums, 0, PANEL * sizeof *sums);
    for (size_t g = 0; g < groups; g++, block += BLOCK) {
        const int8_t *w = (const int8_t *)block;
        const float *w_scales = (const float *)(block + G * PANEL);
        int32_t dots[PANEL] = {0};
        for (size_t j = 0; j < G; j++)
            for (size_t c = 0; c < PANEL; c++)
                dots[c] += (int32_t)x[g * G + j] * w[j * PANEL + c];
        for (size_t c = 0; c < PANEL; c++)
            sums[c] += x_scales[g] * w_scales[c] * (float)dots[c];
    }
}

static void multiply(float *y, size_t ldy, const void *x, size_t x_row, size_t x_k, const void *panels, size_t m,
                     size_t n, size_t k, const vlm_epilogue *epilogue)
{
    (void)x_row;
    (void)x_k;
    for (size_t n0 = 0; n0 < n; n0 += PANEL) {
        const char *panel = (const char *)panels + n0 / PANEL * panel_bytes(k);
        for (size_t r = 0; r < m; r++) {
            float sums[PANEL];
            multiply_row(sums, (const int8_t *)x + r * prepared_bytes(k), panel, n_groups(k));
            vlm_finish_row_ref(y + r * ldy + n0, sums, epilogue, r, n0, n - n0 < PANEL ? n - n0 : PANEL);
        }
    }
}

void vlm_fill_matmul_q8_ref(vlm_kernels *table)
{
    table->matmul[VLM_Q8] = (vlm_matmul_kernel){.panel = PANEL, .panel_bytes = panel_bytes, .pack = pack,
                                                .unpack_row = unpack_row, .prepared_bytes = prepared_bytes,
                                                .prepare = prepare, .multiply = multiply};
}
