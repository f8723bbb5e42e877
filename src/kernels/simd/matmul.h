/* y[m, n] = x[m, k] * w[n, k]^T for weights of a plain type (f32, f16, bf16) on any ISA, by float32 FMA.
 * Needs the ISA's simd.h before it.
 *
 * A panel is PANEL columns of w, k-major: [k][PANEL] values of the type. A tile is up to VF_TILE_ROWS rows of x by one
 * panel, its sums in registers over the whole of k: at each step one broadcast value of x for each row times the
 * panel's vectors. One or few rows (decode) take several panels at once instead: several streams from memory, and
 * enough independent sums to hide the latency of the FMA.
 *
 * Whatever the tile, a sum is one chain of FMA over ascending k from zero: results do not depend on m, n or place. */
#ifndef VLM_KERNELS_SIMD_MATMUL_H
#define VLM_KERNELS_SIMD_MATMUL_H

#include <string.h>

#include "kernels/simd/finish.h"

#include "kernels/simd/drive.h"
#include "kernels/simd/load.h"

enum {
    CHUNK = 64,                 /* steps of k whose values of x are copied side by side */
    STEPS = 4,                  /* steps of k in a loop's body */
    MAX_STREAMS = 4             /* panels at once for few rows */
};

static ALWAYS_INLINE size_t plain_panel_bytes(vlm_dtype type, size_t k)
{
    return (k * PANEL * plain_size(type) + 63) / 64 * 64;
}

/* One step of k: rows x (streams * VF_PANEL_VECTORS) sums. */
static ALWAYS_INLINE void tile_step(vf sums[], const float *x, size_t x_row, const char *w, size_t stream_bytes,
                                    vlm_dtype type, size_t rows, size_t streams)
{
    const size_t value_size = plain_size(type), vectors = streams * VF_PANEL_VECTORS;
    vf columns[MAX_STREAMS * VF_PANEL_VECTORS];
#pragma GCC unroll 16
    for (size_t v = 0; v < vectors; v++)
        columns[v] = load_as(type, w + v / VF_PANEL_VECTORS * stream_bytes + v % VF_PANEL_VECTORS * VF_LANES * value_size);
#pragma GCC unroll 16
    for (size_t r = 0; r < rows; r++) {
        vf value = vf_set(x[r * x_row]);
#pragma GCC unroll 16
        for (size_t v = 0; v < vectors; v++)
            sums[r * vectors + v] = vf_fma(value, columns[v], sums[r * vectors + v]);
    }
}

/* depth steps of k. rows, streams, type, and x_k or x_row when it is 1, are constants where this is inlined. */
static ALWAYS_INLINE void tile_steps(vf sums[], const float *x, size_t x_row, size_t x_k, const char *w,
                                     size_t stream_bytes, vlm_dtype type, size_t depth, size_t rows, size_t streams)
{
    const size_t step_bytes = PANEL * plain_size(type);
    size_t j = 0;
    for (; j + STEPS <= depth; j += STEPS, x += STEPS * x_k, w += STEPS * step_bytes) {
#pragma GCC unroll 4
        for (size_t s = 0; s < STEPS; s++)
            tile_step(sums, x + s * x_k, x_row, w + s * step_bytes, stream_bytes, type, rows, streams);
    }
    for (; j < depth; j++, x += x_k, w += step_bytes)
        tile_step(sums, x, x_row, w, stream_bytes, type, rows, streams);
}

static ALWAYS_INLINE void copy_row(float *copy, const float *x)
{
#pragma GCC unroll 16
    for (size_t j = 0; j < CHUNK; j += VF_LANES)
        vf_store(copy + j, vf_load(x + j));
}

/* The whole of k for rows of x that are contiguous along k. Their stride is often a multiple of 4096 bytes, so that
 * they would fight for one set of the first-level cache: they are copied side by side, a chunk of k ahead of its use
 * and a row at a time between the steps, where loads and stores are free. */
static ALWAYS_INLINE void tile_rows(vf sums[], const float *x, size_t x_row, const char *w, vlm_dtype type, size_t k,
                                    size_t rows, const char *ahead, size_t lines)
{
    const size_t step_bytes = PANEL * plain_size(type);
    float copies[2][VF_TILE_ROWS][CHUNK] __attribute__((aligned(64)));
    size_t j = 0;
    if (k >= CHUNK)
        for (size_t r = 0; r < rows; r++)
            copy_row(copies[0][r], x + r * x_row);
    for (; j + CHUNK <= k; j += CHUNK) {
        float(*now)[CHUNK] = copies[j / CHUNK % 2], (*next)[CHUNK] = copies[(j / CHUNK + 1) % 2];
        const size_t coming = j + 2 * CHUNK <= k ? rows : 0;
        for (size_t i = 0; i < CHUNK / STEPS; i++, w += STEPS * step_bytes) {
            if (i < coming)
                copy_row(next[i], x + i * x_row + j + CHUNK);
            for (size_t l = 0; l < lines; l++, ahead += 64)
                __builtin_prefetch(ahead, 0, 2);
#pragma GCC unroll 4
            for (size_t s = 0; s < STEPS; s++)
                tile_step(sums, now[0] + i * STEPS + s, CHUNK, w + s * step_bytes, 0, type, rows, 1);
        }
    }
    for (; j < k; j++, w += step_bytes)
        tile_step(sums, x + j, x_row, w, 0, type, rows, 1);
}

static ALWAYS_INLINE size_t tile(const tile_job *job, size_t x_row, size_t x_k, vlm_dtype type, size_t rows,
                                 size_t streams)
{
    const size_t vectors = streams * VF_PANEL_VECTORS;
    const float *x = (const float *)job->x;
    vf sums[VF_TILE_ROWS * VF_PANEL_VECTORS];
    fetch_results(&job->out, rows);
#pragma GCC unroll 32
    for (size_t i = 0; i < rows * vectors; i++)
        sums[i] = vf_zero();
    if (x_k == 1 && streams == 1)
        tile_rows(sums, x, x_row, job->panel, type, job->k, rows, job->out.ahead, job->out.lines);
    else
        tile_steps(sums, x, x_row, x_k, job->panel, job->panel_bytes, type, job->k, rows, streams);
    float finished[VF_TILE_ROWS * PANEL] __attribute__((aligned(64)));
#pragma GCC unroll 32
    for (size_t i = 0; i < rows * vectors; i++)
        vf_store(finished + i * VF_LANES, sums[i]);
    finish_tile(&job->out, finished, rows, vectors);
    return streams;
}

/* One panel by a tile of some height: every height is its own code. */
static ALWAYS_INLINE size_t tile_of_rows(const tile_job *job, size_t x_row, size_t x_k, vlm_dtype type)
{
    switch (job->rows) {
#if VF_TILE_ROWS >= 14
    case 14: return tile(job, x_row, x_k, type, 14, 1);
    case 13: return tile(job, x_row, x_k, type, 13, 1);
    case 12: return tile(job, x_row, x_k, type, 12, 1);
    case 11: return tile(job, x_row, x_k, type, 11, 1);
    case 10: return tile(job, x_row, x_k, type, 10, 1);
    case 9: return tile(job, x_row, x_k, type, 9, 1);
    case 8: return tile(job, x_row, x_k, type, 8, 1);
    case 7: return tile(job, x_row, x_k, type, 7, 1);
#endif
    case 6: return tile(job, x_row, x_k, type, 6, 1);
    case 5: return tile(job, x_row, x_k, type, 5, 1);
    case 4: return tile(job, x_row, x_k, type, 4, 1);
    case 3: return tile(job, x_row, x_k, type, 3, 1);
    case 2: return tile(job, x_row, x_k, type, 2, 1);
    default: return tile(job, x_row, x_k, type, 1, 1);
    }
}

/* x contiguous along k. Few rows take several panels at once. */
static ALWAYS_INLINE size_t tile_rows_together(const tile_job *job, vlm_dtype type)
{
    const size_t x_row = job->x_row / sizeof(float);
    if (job->panels >= 4) {
        switch (job->rows) {
        case 1: return tile(job, x_row, 1, type, 1, 4);
#if VF_TILE_ROWS >= 12
        case 2: return tile(job, x_row, 1, type, 2, 4);
        case 3: return tile(job, x_row, 1, type, 3, 4);
#endif
        default: break;
        }
    }
    if (job->panels >= 2) {
        switch (job->rows) {
        case 2: return tile(job, x_row, 1, type, 2, 2);
        case 3: return tile(job, x_row, 1, type, 3, 2);
#if VF_TILE_ROWS >= 12
        case 4: return tile(job, x_row, 1, type, 4, 2);
        case 5: return tile(job, x_row, 1, type, 5, 2);
        case 6: return tile(job, x_row, 1, type, 6, 2);
#endif
        default: break;
        }
    }
    return tile_of_rows(job, x_row, 1, type);
}

/* Any strides, by low tiles: x is not laid out for this and nobody is in a hurry. */
static ALWAYS_INLINE size_t tile_any_order(const tile_job *job, vlm_dtype type)
{
    const size_t x_row = job->x_row / sizeof(float);
    switch (job->rows) {
    case 4: return tile(job, x_row, job->x_k, type, 4, 1);
    case 3: return tile(job, x_row, job->x_k, type, 3, 1);
    case 2: return tile(job, x_row, job->x_k, type, 2, 1);
    default: return tile(job, x_row, job->x_k, type, 1, 1);
    }
}

static size_t tile_f32(const tile_job *job)
{
    return tile_rows_together(job, VLM_F32);
}

static size_t tile_f32_transposed(const tile_job *job) /* x contiguous along its rows */
{
    return tile_of_rows(job, 1, job->x_k, VLM_F32);
}

static size_t tile_f32_any_order(const tile_job *job)
{
    return tile_any_order(job, VLM_F32);
}

static size_t tile_f16(const tile_job *job)
{
    return tile_rows_together(job, VLM_F16);
}

static size_t tile_f16_any_order(const tile_job *job)
{
    return tile_any_order(job, VLM_F16);
}

static size_t tile_bf16(const tile_job *job)
{
    return tile_rows_together(job, VLM_BF16);
}

static size_t tile_bf16_any_order(const tile_job *job)
{
    return tile_any_order(job, VLM_BF16);
}

static product plain_product(tile_function *run, size_t tallest, vlm_dtype type, const void *x, size_t x_row, size_t x_k,
                             const void *panels, size_t k)
{
    return (product){.run = run,
                     .tallest = tallest,
                     .step_bytes = STEPS * PANEL * plain_size(type),
                     .x = x,
                     .x_row = x_row * sizeof(float),
                     .x_k = x_k,
                     .x_row_bytes = k * sizeof(float),
                     .panels = panels,
                     .panel_bytes = plain_panel_bytes(type, k)};
}

static void multiply_f32(float *y, size_t ldy, const void *x, size_t x_row, size_t x_k, const void *panels, size_t m,
                         size_t n, size_t k, const vlm_epilogue *epilogue)
{
    tile_function *run = x_k == 1 ? tile_f32 : x_row == 1 ? tile_f32_transposed : tile_f32_any_order;
    product p = plain_product(run, run == tile_f32_any_order ? 4 : VF_TILE_ROWS, VLM_F32, x, x_row, x_k, panels, k);
    multiply_tiles(&p, y, ldy, m, n, k, epilogue);
}

static void multiply_f16(float *y, size_t ldy, const void *x, size_t x_row, size_t x_k, const void *panels, size_t m,
                         size_t n, size_t k, const vlm_epilogue *epilogue)
{
    product p = plain_product(x_k == 1 ? tile_f16 : tile_f16_any_order, x_k == 1 ? VF_TILE_ROWS : 4, VLM_F16, x, x_row, x_k,
                              panels, k);
    multiply_tiles(&p, y, ldy, m, n, k, epilogue);
}

static void multiply_bf16(float *y, size_t ldy, const void *x, size_t x_row, size_t x_k, const void *panels, size_t m,
                          size_t n, size_t k, const vlm_epilogue *epilogue)
{
    product p = plain_product(x_k == 1 ? tile_bf16 : tile_bf16_any_order, x_k == 1 ? VF_TILE_ROWS : 4, VLM_BF16, x, x_row,
                              x_k, panels, k);
    multiply_tiles(&p, y, ldy, m, n, k, epilogue);
}

/* Columns row .. row + PANEL - 1, values j .. j + depth - 1 of k, to their place. */
static ALWAYS_INLINE void pack_block(char *panels, vlm_dtype to, const plain_matrix *w, vlm_dtype from, size_t row,
                                     size_t j, size_t depth)
{
    const size_t vector_bytes = VF_LANES * plain_size(to);
    char *at = panels + row / PANEL * plain_panel_bytes(to, w->k) + j * PANEL * plain_size(to);
    for (size_t v = 0; v < VF_PANEL_VECTORS; v++) {
        vf columns[VF_LANES];
        load_block(columns, w, from, row + v * VF_LANES, j, depth);
        for (size_t i = 0; i < depth; i++)
            store_as(to, at + (i * VF_PANEL_VECTORS + v) * vector_bytes, columns[i]);
    }
}

/* Along k within a panel where k is contiguous, else along the rows within a few values of k: few pages at a time. */
static ALWAYS_INLINE void pack_plain(char *panels, vlm_dtype to, const plain_matrix *w, vlm_dtype from)
{
    if (w->row_stride == 1) {
        for (size_t j = 0; j < w->k; j += VF_LANES)
            for (size_t row = 0; row < w->n; row += PANEL)
                pack_block(panels, to, w, from, row, j, w->k - j < VF_LANES ? w->k - j : VF_LANES);
    } else {
        for (size_t row = 0; row < w->n; row += PANEL)
            for (size_t j = 0; j < w->k; j += VF_LANES)
                pack_block(panels, to, w, from, row, j, w->k - j < VF_LANES ? w->k - j : VF_LANES);
    }
}

static ALWAYS_INLINE void pack_from(void *panels, vlm_dtype to, const void *values, vlm_dtype from, size_t row_stride,
                                    size_t k_stride, size_t n, size_t k)
{
    plain_matrix w = {values, from, row_stride, k_stride, n, k};
    size_t panel_bytes = plain_panel_bytes(to, k), used = k * PANEL * plain_size(to);
    for (size_t p = 0; used < panel_bytes && p * PANEL < n; p++) /* the rest of a panel's last cache line */
        memset((char *)panels + p * panel_bytes + used, 0, panel_bytes - used);
    if (from == VLM_F32)
        pack_plain(panels, to, &w, VLM_F32);
    else if (from == VLM_F16)
        pack_plain(panels, to, &w, VLM_F16);
    else
        pack_plain(panels, to, &w, VLM_BF16);
}

static void pack_f32(void *panels, const void *w, vlm_dtype from, size_t row_stride, size_t k_stride, size_t n, size_t k)
{
    pack_from(panels, VLM_F32, w, from, row_stride, k_stride, n, k);
}

static void pack_f16(void *panels, const void *w, vlm_dtype from, size_t row_stride, size_t k_stride, size_t n, size_t k)
{
    pack_from(panels, VLM_F16, w, from, row_stride, k_stride, n, k);
}

static void pack_bf16(void *panels, const void *w, vlm_dtype from, size_t row_stride, size_t k_stride, size_t n, size_t k)
{
    pack_from(panels, VLM_BF16, w, from, row_stride, k_stride, n, k);
}

static void unpack_plain(float *out, const void *panels, vlm_dtype type, size_t row, size_t k)
{
    const char *panel = (const char *)panels + row / PANEL * plain_panel_bytes(type, k);
    for (size_t j = 0; j < k; j++)
        vlm_convert_to_f32(&out[j], panel + (j * PANEL + row % PANEL) * plain_size(type), type, 1);
}

static void unpack_row_f32(float *out, const void *panels, size_t row, size_t k)
{
    unpack_plain(out, panels, VLM_F32, row, k);
}

static void unpack_row_f16(float *out, const void *panels, size_t row, size_t k)
{
    unpack_plain(out, panels, VLM_F16, row, k);
}

static void unpack_row_bf16(float *out, const void *panels, size_t row, size_t k)
{
    unpack_plain(out, panels, VLM_BF16, row, k);
}

static size_t panel_bytes_f32(size_t k)
{
    return plain_panel_bytes(VLM_F32, k);
}

static size_t panel_bytes_half(size_t k)
{
    return plain_panel_bytes(VLM_F16, k);
}

/* The f32, f16 and bf16 rows of the table. */
static void fill_matmul(vlm_kernels *table)
{
    table->matmul[VLM_F32] = (vlm_matmul_kernel){.panel = PANEL, .panel_bytes = panel_bytes_f32, .pack = pack_f32,
                                                 .unpack_row = unpack_row_f32, .multiply = multiply_f32};
    table->matmul[VLM_F16] = (vlm_matmul_kernel){.panel = PANEL, .panel_bytes = panel_bytes_half, .pack = pack_f16,
                                                 .unpack_row = unpack_row_f16, .multiply = multiply_f16};
    table->matmul[VLM_BF16] = (vlm_matmul_kernel){.panel = PANEL, .panel_bytes = panel_bytes_half, .pack = pack_bf16,
                                                  .unpack_row = unpack_row_bf16, .multiply = multiply_bf16};
}

#endif
