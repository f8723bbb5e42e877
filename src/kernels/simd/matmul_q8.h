/* y[m, n] = x[m, k] * w[n, k]^T with int8 weights and int8 activations, on any ISA: the layout, the packing and the
 * loops over tiles. Needs before it the ISA's simd.h and
 *   Q8_TILE_ROWS           rows of a tile, at most 7
 *   Q8_X_OFFSET            0x80 where the ISA multiplies unsigned by signed bytes and x is stored as x + 128, else 0
 *   q8_tile                its tile_function (drive.h), declared here; job->k counts groups there
 *
 * Quantisation is ref/matmul_q8.c's, bit for bit. G = VLM_Q8_GROUP values along k share a scale; k is padded by zeros.
 * Panel: for each group a block: int8 [G / 4][PANEL][4] (four values of k side by side, what a dot instruction eats),
 * float scales [PANEL], int32 corrections [PANEL]: -128 times the sum of the group's weights, which takes the offset of
 * x out again. Prepared row: uint8 [groups][G], then a float scale a group. */
#ifndef VLM_KERNELS_SIMD_MATMUL_Q8_H
#define VLM_KERNELS_SIMD_MATMUL_Q8_H

#include <string.h>

#include "kernels/simd/finish.h"

#include "kernels/simd/drive.h"
#include "kernels/simd/load.h"

enum {
    G = VLM_Q8_GROUP,
    Q8_SCALES = G * PANEL,                                   /* offsets in a block */
    Q8_CORRECTIONS = Q8_SCALES + PANEL * (int)sizeof(float),
    Q8_BLOCK = Q8_CORRECTIONS + PANEL * (int)sizeof(int32_t)
};

static size_t q8_groups(size_t k)
{
    return (k + G - 1) / G;
}

static size_t q8_panel_bytes(size_t k)
{
    return q8_groups(k) * Q8_BLOCK;
}

static size_t q8_prepared_bytes(size_t k)
{
    return (q8_groups(k) * (G + sizeof(float)) + 63) / 64 * 64;
}

static inline const float *q8_x_scales(const uint8_t *x, size_t groups)
{
    return (const float *)(x + groups * G);
}

static tile_function q8_tile; /* the ISA's */

/* 127 / amax; 0 where amax is so small that the quotient would overflow. */
static inline vf q8_inverse(vf amax)
{
    return vf_select(vf_less(amax, vf_set(0x1p-120f)), vf_zero(), vf_div(vf_set(127.0f), amax));
}

/* Quantise a group of one panel's columns, in[j] holding the columns at k = j, into its block. */
static void q8_pack_group(char *block, vf in[G][VF_PANEL_VECTORS])
{
    int8_t q[G][PANEL];
    for (size_t v = 0; v < VF_PANEL_VECTORS; v++) {
        vf amax = vf_zero();
        for (size_t j = 0; j < G; j++)
            amax = vf_amax(amax, in[j][v]);
        vf inverse = q8_inverse(amax);
        for (size_t j = 0; j < G; j++)
            vf_store_i8(&q[j][v * VF_LANES], vf_mul(in[j][v], inverse));
        vf_store((float *)(block + Q8_SCALES) + v * VF_LANES, vf_div(amax, vf_set(127.0f)));
    }
    int32_t corrections[PANEL] = {0};
    for (size_t j = 0; j < G; j++) {
        for (size_t c = 0; c < PANEL; c++) {
            corrections[c] -= 128 * q[j][c];
            block[(j / 4 * PANEL + c) * 4 + j % 4] = (char)q[j][c];
        }
    }
    memcpy(block + Q8_CORRECTIONS, corrections, sizeof corrections);
}

static ALWAYS_INLINE void q8_pack_from(char *panels, const plain_matrix *w, vlm_dtype type)
{
    for (size_t row = 0; row < w->n; row += PANEL) {
        char *block = panels + row / PANEL * q8_panel_bytes(w->k);
        for (size_t k0 = 0; k0 < w->k; k0 += G, block += Q8_BLOCK) {
            vf in[G][VF_PANEL_VECTORS], columns[VF_LANES];
            for (size_t j = 0; j < G; j += VF_LANES) {
                size_t left = k0 + j < w->k ? w->k - k0 - j : 0, depth = left < VF_LANES ? left : VF_LANES;
                for (size_t v = 0; v < VF_PANEL_VECTORS; v++) {
                    if (depth)
                        load_block(columns, w, type, row + v * VF_LANES, k0 + j, depth);
                    for (size_t i = 0; i < VF_LANES; i++)
                        in[j + i][v] = i < depth ? columns[i] : vf_zero();
                }
            }
            q8_pack_group(block, in);
        }
    }
}

static void q8_pack(void *panels, const void *values, vlm_dtype from, size_t row_stride, size_t k_stride, size_t n,
                    size_t k)
{
    plain_matrix w = {values, from, row_stride, k_stride, n, k};
    if (from == VLM_F32)
        q8_pack_from(panels, &w, VLM_F32);
    else if (from == VLM_F16)
        q8_pack_from(panels, &w, VLM_F16);
    else
        q8_pack_from(panels, &w, VLM_BF16);
}

static void q8_unpack_row(float *out, const void *panels, size_t row, size_t k)
{
    const char *panel = (const char *)panels + row / PANEL * q8_panel_bytes(k);
    for (size_t j = 0; j < k; j++) {
        const char *block = panel + j / G * Q8_BLOCK;
        const float *scales = (const float *)(block + Q8_SCALES);
        const int8_t *q = (const int8_t *)block;
        out[j] = scales[row % PANEL] * (float)q[(j % G / 4 * PANEL + row % PANEL) * 4 + j % 4];
    }
}

/* One group of one row; returns its scale. */
static inline float q8_prepare_group(uint8_t *out, const float *x)
{
    vf amax = vf_zero();
    for (size_t j = 0; j < G; j += VF_LANES)
        amax = vf_amax(amax, vf_load(x + j));
    float largest = vf_largest_bits(amax);
    vf inverse = q8_inverse(vf_set(largest));
    for (size_t j = 0; j < G; j += VF_LANES)
        vf_store_i8((int8_t *)out + j, vf_mul(vf_load(x + j), inverse));
    for (size_t j = 0; j < G; j++)
        out[j] ^= Q8_X_OFFSET;
    return largest / 127.0f;
}

static void q8_prepare(void *prepared, const float *x, size_t ldx, size_t m, size_t k)
{
    size_t groups = q8_groups(k), whole = k / G, used = groups * (G + sizeof(float));
    for (size_t r = 0; r < m; r++, x += ldx) {
        uint8_t *out = (uint8_t *)prepared + r * q8_prepared_bytes(k);
        float *scales = (float *)(out + groups * G);
        for (size_t g = 0; g < whole; g++)
            scales[g] = q8_prepare_group(out + g * G, x + g * G);
        if (whole < groups) {
            float last[G] = {0};
            memcpy(last, x + whole * G, (k - whole * G) * sizeof *x);
            scales[whole] = q8_prepare_group(out + whole * G, last);
        }
        memset(out + used, 0, q8_prepared_bytes(k) - used);
    }
}

static void q8_multiply(float *y, size_t ldy, const void *x, size_t x_row, size_t x_k, const void *panels, size_t m,
                        size_t n, size_t k, const vlm_epilogue *epilogue)
{
    (void)x_row;
    (void)x_k;
    product p = {.run = q8_tile,
                 .tallest = Q8_TILE_ROWS,
                 .step_bytes = Q8_BLOCK,
                 .x = x,
                 .x_row = q8_prepared_bytes(k),
                 .x_row_bytes = q8_prepared_bytes(k),
                 .panels = panels,
                 .panel_bytes = q8_panel_bytes(k)};
    multiply_tiles(&p, y, ldy, m, n, q8_groups(k), epilogue);
}

static void fill_matmul_q8(vlm_kernels *table)
{
    table->matmul[VLM_Q8] = (vlm_matmul_kernel){.panel = PANEL, .panel_bytes = q8_panel_bytes, .pack = q8_pack,
                                                .unpack_row = q8_unpack_row, .prepared_bytes = q8_prepared_bytes,
                                                .prepare = q8_prepare, .multiply = q8_multiply};
}

#endif
