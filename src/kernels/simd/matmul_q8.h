/* y[m, n] = x[m, k] * w[n, k]^T with int8 weights and int8 activations, on any ISA: the layout, the packing and the
 * loops over tiles. Needs before it the ISA's simd.h and
 *   Q8_TILE_ROWS           rows of a tile, at most 7
 *   Q8_X_OFFSET            0x80 where the ISA multiplies unsigned by signed bytes and x is stored as x + 128, else 0
 *   void q8_tile(const tile_out *, const uint8_t *x, const char *panel, size_t groups, size_t rows, size_t panels)
 *
 * Quantisation is ref/matmul_q8.c's, bit for bit. G = VLM_Q8_GROUP values along k share a scale; k is padded by zeros.
 * Panel: for each group a block: int8 [G / 4][PANEL][4] (four values of k side by side, what a dot instruction eats),
 * float scales [PANEL], int32 corrections [PANEL]: -128 times the sum of the group's weights, which takes the offset of
 * x out again. Prepared row: uint8 [groups][G], then a float scale a group. */
#ifndef VLM_KERNELS_SIMD_MATMUL_Q8_H
#define VLM_KERNELS_SIMD_MATMUL_Q8_H

#include <string.h>

#include "kernels/simd/finish.h"
#include "kernels/simd/load.h"

enum {
    G = VLM_Q8_GROUP,
    Q8_SCALES = G * PANEL,                                   /* offsets in a block */
    Q8_CORRECTIONS = Q8_SCALES + PANEL * (int)sizeof(float),
    Q8_BLOCK = Q8_CORRECTIONS + PANEL * (int)sizeof(int32_t),
    Q8_X_BLOCK_BYTES = 512 * 1024, /* of prepared rows, half of a usual second-level cache */
    Q8_STREAMS = 4                 /* panels at once for one row */
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

/* The tile is the ISA's; everything below drives it. */
static void q8_tile(const tile_out *out, const uint8_t *x, const char *panel, size_t groups, size_t rows, size_t panels);

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

/* A block of rows by all panels: tiles of even height; one row takes several panels at once. */
static void q8_multiply_block(tile_out out, const uint8_t *x, const char *panels, size_t m, size_t k)
{
    const size_t n_panels = (out.columns + PANEL - 1) / PANEL, groups = q8_groups(k), panel_bytes = q8_panel_bytes(k);
    const size_t n_tiles = (m + Q8_TILE_ROWS - 1) / Q8_TILE_ROWS, height = m / n_tiles, higher = m % n_tiles;
    const size_t group_lines = Q8_BLOCK / 64, lines = (group_lines + n_tiles - 1) / n_tiles;
    for (size_t p = 0; p < n_panels;) {
        size_t done = m == 1 && n_panels - p >= Q8_STREAMS ? Q8_STREAMS : 1;
        tile_out at = out;
        at.y += p * PANEL;
        at.column += p * PANEL;
        at.columns -= p * PANEL;
        for (size_t t = 0, row = 0; t < n_tiles; t++) {
            size_t rows = height + (t < higher);
            at.lines = p + 1 < n_panels && t * lines < group_lines ? lines : 0;
            at.ahead = panels + (p + 1) * panel_bytes + t * groups * lines * 64;
            q8_tile(&at, x + row * q8_prepared_bytes(k), panels + p * panel_bytes, groups, rows, done);
            row += rows;
            at.y += rows * out.ldy;
            at.row += rows;
        }
        p += done;
    }
}

static void q8_multiply(float *y, size_t ldy, const void *x, size_t x_row, size_t x_k, const void *panels, size_t m,
                        size_t n, size_t k, const vlm_epilogue *epilogue)
{
    (void)x_row;
    (void)x_k;
    if (m == 0 || n == 0)
        return;
    size_t fitting = Q8_X_BLOCK_BYTES / (q8_prepared_bytes(k) + 1) / Q8_TILE_ROWS * Q8_TILE_ROWS;
    size_t block = fitting < 4 * Q8_TILE_ROWS ? 4 * Q8_TILE_ROWS : fitting, n_blocks = (m + block - 1) / block;
    for (size_t b = 0, row = 0; b < n_blocks; b++) {
        size_t rows = m / n_blocks + (b < m % n_blocks);
        tile_out out = {.y = y + row * ldy, .ldy = ldy, .row = row, .columns = n, .epilogue = epilogue};
        q8_multiply_block(out, (const uint8_t *)x + row * q8_prepared_bytes(k), panels, rows, k);
        row += rows;
    }
}

static void fill_matmul_q8(vlm_kernels *table)
{
    table->matmul[VLM_Q8] = (vlm_matmul_kernel){.panel = PANEL, .panel_bytes = q8_panel_bytes, .pack = q8_pack,
                                                .unpack_row = q8_unpack_row, .prepared_bytes = q8_prepared_bytes,
                                                .prepare = q8_prepare, .multiply = q8_multiply};
}

#endif
