/* y[m, n] = x[m, k] * w[n, k]^T with bf16 weights and x rounded to bf16, by vdpbf16ps: each lane takes two neighbouring
 * values of k, sums are float32.
 * Panel: bf16 [k / 2][PANEL][2], k padded to pairs by a zero. Prepared row: bf16 [k], padded by zeros to 64 bytes.
 * A sum is one chain over ascending pairs of k. vdpbf16ps rounds after each of its two products and treats subnormals
 * as zero, which is why bf16 differs from C by more than the order of sums. */
#include "kernels/x86/avx512/simd.h"

#include <string.h>

#include "kernels/simd/finish.h"

#include "kernels/simd/drive.h"
#include "kernels/simd/load.h"
#include "kernels/x86/avx512bf16/avx512bf16.h"

enum {
    PAIR_BYTES = PANEL * 4, /* of a panel, for two values of k */
    STEPS = 4,              /* pairs in a loop's body */
    STREAMS = 4             /* panels at once for one row */
};

static size_t panel_bytes(size_t k)
{
    return (k + 1) / 2 * PAIR_BYTES;
}

/* A multiple of 64 but never of 2048: rows a power of two apart would fight for one set of the cache. */
static size_t prepared_bytes(size_t k)
{
    size_t bytes = (2 * k + 63) / 64 * 64;
    return bytes && bytes % 2048 == 0 ? bytes + 64 : bytes;
}

static ALWAYS_INLINE void pack_from(char *panels, const plain_matrix *w, vlm_dtype type)
{
    for (size_t row = 0; row < w->n; row += PANEL) {
        char *panel = panels + row / PANEL * panel_bytes(w->k);
        for (size_t j = 0; j < w->k; j += VF_LANES) {
            size_t depth = w->k - j < VF_LANES ? w->k - j : VF_LANES;
            for (size_t v = 0; v < VF_PANEL_VECTORS; v++) {
                vf columns[VF_LANES + 1];
                load_block(columns, w, type, row + v * VF_LANES, j, depth);
                columns[depth] = vf_zero(); /* the second of the last pair when k is odd */
                for (size_t i = 0; i < depth; i += 2) {
                    __m512i low = _mm512_cvtepu16_epi32(to_bf16(columns[i]));
                    __m512i high = _mm512_cvtepu16_epi32(to_bf16(columns[i + 1]));
                    _mm512_storeu_si512(panel + (j + i) / 2 * PAIR_BYTES + v * 64,
                                        _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
                }
            }
        }
    }
}

static void pack(void *panels, const void *values, vlm_dtype from, size_t row_stride, size_t k_stride, size_t n, size_t k)
{
    plain_matrix w = {values, from, row_stride, k_stride, n, k};
    if (from == VLM_F32)
        pack_from(panels, &w, VLM_F32);
    else if (from == VLM_F16)
        pack_from(panels, &w, VLM_F16);
    else
        pack_from(panels, &w, VLM_BF16);
}

static void unpack_row(float *out, const void *panels, size_t row, size_t k)
{
    const uint16_t *panel = (const uint16_t *)((const char *)panels + row / PANEL * panel_bytes(k));
    for (size_t j = 0; j < k; j++)
        out[j] = vlm_bf16_to_f32(panel[(j / 2 * PANEL + row % PANEL) * 2 + j % 2]);
}

static void prepare(void *prepared, const float *x, size_t ldx, size_t m, size_t k)
{
    for (size_t r = 0; r < m; r++, x += ldx) {
        char *out = (char *)prepared + r * prepared_bytes(k);
        size_t j = 0;
        for (; j + VF_LANES <= k; j += VF_LANES)
            vf_store_bf16(out + 2 * j, vf_load(x + j));
        if (j < k)
            vf_store_bf16_n(out + 2 * j, vf_load_n(x + j, k - j), k - j);
        memset(out + 2 * k, 0, prepared_bytes(k) - 2 * k);
    }
}

static inline __m512bh broadcast_pair(const char *x)
{
    int32_t pair;
    memcpy(&pair, x, sizeof pair);
    return (__m512bh)_mm512_set1_epi32(pair);
}

/* One pair of k. rows and panels are constants where this is inlined. */
static ALWAYS_INLINE void pair_step(vf sums[], const char *x, size_t x_bytes, const char *w, size_t stream_bytes,
                                    size_t rows, size_t panels)
{
    const size_t vectors = panels * VF_PANEL_VECTORS;
    __m512bh columns[STREAMS * VF_PANEL_VECTORS];
#pragma GCC unroll 16
    for (size_t v = 0; v < vectors; v++)
        columns[v] = (__m512bh)_mm512_loadu_si512(w + v / VF_PANEL_VECTORS * stream_bytes + v % VF_PANEL_VECTORS * 64);
#pragma GCC unroll 16
    for (size_t r = 0; r < rows; r++) {
        __m512bh value = broadcast_pair(x + r * x_bytes);
#pragma GCC unroll 16
        for (size_t v = 0; v < vectors; v++)
            sums[r * vectors + v] = _mm512_dpbf16_ps(sums[r * vectors + v], value, columns[v]);
    }
}

static ALWAYS_INLINE size_t tile(const tile_job *job, size_t rows, size_t panels)
{
    const size_t vectors = panels * VF_PANEL_VECTORS, pairs = (job->k + 1) / 2;
    const char *x = job->x, *w = job->panel, *ahead = job->out.ahead;
    vf sums[VF_TILE_ROWS * VF_PANEL_VECTORS];
    fetch_results(&job->out, rows);
#pragma GCC unroll 32
    for (size_t i = 0; i < rows * vectors; i++)
        sums[i] = vf_zero();
    size_t j = 0;
    for (; j + STEPS <= pairs; j += STEPS, x += STEPS * 4, w += STEPS * PAIR_BYTES) {
        for (size_t l = 0; l < job->out.lines; l++, ahead += 64)
            __builtin_prefetch(ahead, 0, 2);
#pragma GCC unroll 4
        for (size_t s = 0; s < STEPS; s++)
            pair_step(sums, x + 4 * s, job->x_row, w + s * PAIR_BYTES, job->panel_bytes, rows, panels);
    }
    for (; j < pairs; j++, x += 4, w += PAIR_BYTES)
        pair_step(sums, x, job->x_row, w, job->panel_bytes, rows, panels);
    float finished[VF_TILE_ROWS * PANEL] __attribute__((aligned(64)));
#pragma GCC unroll 32
    for (size_t i = 0; i < rows * vectors; i++)
        vf_store(finished + i * VF_LANES, sums[i]);
    finish_tile(&job->out, finished, rows, vectors);
    return panels;
}

static size_t run_tile(const tile_job *job)
{
    switch (job->rows) {
    case 14: return tile(job, 14, 1);
    case 13: return tile(job, 13, 1);
    case 12: return tile(job, 12, 1);
    case 11: return tile(job, 11, 1);
    case 10: return tile(job, 10, 1);
    case 9: return tile(job, 9, 1);
    case 8: return tile(job, 8, 1);
    case 7: return tile(job, 7, 1);
    case 6: return tile(job, 6, 1);
    case 5: return tile(job, 5, 1);
    case 4: return tile(job, 4, 1);
    case 3: return job->panels >= 2 ? tile(job, 3, 2) : tile(job, 3, 1);
    case 2: return job->panels >= 2 ? tile(job, 2, 2) : tile(job, 2, 1);
    default: return job->panels >= STREAMS ? tile(job, 1, STREAMS) : tile(job, 1, 1);
    }
}

static void multiply(float *y, size_t ldy, const void *x, size_t x_row, size_t x_k, const void *panels, size_t m,
                     size_t n, size_t k, const vlm_epilogue *epilogue)
{
    (void)x_row;
    (void)x_k;
    product p = {.run = run_tile,
                 .tallest = VF_TILE_ROWS,
                 .step_bytes = STEPS * PAIR_BYTES,
                 .x = x,
                 .x_row = prepared_bytes(k),
                 .x_row_bytes = prepared_bytes(k),
                 .panels = panels,
                 .panel_bytes = panel_bytes(k)};
    multiply_tiles(&p, y, ldy, m, n, k, epilogue);
}

void vlm_fill_matmul_bf16_avx512bf16(vlm_kernels *table)
{
    table->matmul[VLM_BF16] = (vlm_matmul_kernel){.panel = PANEL, .panel_bytes = panel_bytes, .pack = pack,
                                                  .unpack_row = unpack_row, .prepared_bytes = prepared_bytes,
                                                  .prepare = prepare, .multiply = multiply};
}
