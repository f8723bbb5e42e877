/* Products with int8 weights by VNNI: vpdpbusd sums four products of an unsigned and a signed byte into each int32.
 * x is stored as x + 128, unsigned; each group's sums begin at the correction that takes the 128 out again, so the
 * offset costs nothing. A tile of 7 rows by 2 vectors: 14 integer and 14 float sums, 2 vectors of w, one value of x. */
#include "kernels/x86/avx512/simd.h"

#define Q8_TILE_ROWS 7
#define Q8_X_OFFSET 0x80
#include "kernels/simd/matmul_q8.h"
#include "kernels/x86/avx512/avx512.h"

enum { STREAMS = 4 }; /* panels at once for one row */

static inline __m512i broadcast4(const uint8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

/* One group: sums += scale_x * scale_w * (x . w). rows and panels are constants where this is inlined. */
static ALWAYS_INLINE void group_step(vf sums[], const uint8_t *x, size_t x_bytes, const float *x_scales,
                                     const char *block, size_t panel_bytes, size_t rows, size_t panels)
{
    enum { MAX_VECTORS = STREAMS * VF_PANEL_VECTORS };
    const size_t vectors = panels * VF_PANEL_VECTORS;
    __m512i dots[Q8_TILE_ROWS * VF_PANEL_VECTORS];
    const char *at[MAX_VECTORS];
#pragma GCC unroll 16
    for (size_t v = 0; v < vectors; v++)
        at[v] = block + v / VF_PANEL_VECTORS * panel_bytes + v % VF_PANEL_VECTORS * 64;
#pragma GCC unroll 32
    for (size_t i = 0; i < rows * vectors; i++)
        dots[i] = _mm512_loadu_si512(at[i % vectors] + Q8_CORRECTIONS);
#pragma GCC unroll 2
    for (size_t j = 0; j < G / 4; j++) {
        __m512i w[MAX_VECTORS];
#pragma GCC unroll 16
        for (size_t v = 0; v < vectors; v++)
            w[v] = _mm512_loadu_si512(at[v] + j * 4 * PANEL);
#pragma GCC unroll 16
        for (size_t r = 0; r < rows; r++) {
            __m512i value = broadcast4(x + r * x_bytes + 4 * j);
#pragma GCC unroll 16
            for (size_t v = 0; v < vectors; v++)
                dots[r * vectors + v] = _mm512_dpbusd_epi32(dots[r * vectors + v], value, w[v]);
        }
    }
#pragma GCC unroll 16
    for (size_t r = 0; r < rows; r++) {
        vf x_scale = vf_set(*(const float *)((const char *)x_scales + r * x_bytes));
#pragma GCC unroll 16
        for (size_t v = 0; v < vectors; v++) {
            vf scale = vf_mul(x_scale, vf_load((const float *)(at[v] + Q8_SCALES)));
            sums[r * vectors + v] = vf_fma(_mm512_cvtepi32_ps(dots[r * vectors + v]), scale, sums[r * vectors + v]);
        }
    }
}

static ALWAYS_INLINE size_t tile(const tile_job *job, size_t rows, size_t panels)
{
    const size_t vectors = panels * VF_PANEL_VECTORS, groups = job->k;
    const uint8_t *x = (const uint8_t *)job->x;
    const float *x_scales = q8_x_scales(x, groups);
    const char *block = job->panel, *ahead = job->out.ahead;
    vf sums[Q8_TILE_ROWS * VF_PANEL_VECTORS];
#pragma GCC unroll 32
    for (size_t i = 0; i < rows * vectors; i++)
        sums[i] = vf_zero();
    for (size_t g = 0; g < groups; g++, x += G, x_scales++, block += Q8_BLOCK) {
        for (size_t l = 0; l < job->out.lines; l++, ahead += 64)
            __builtin_prefetch(ahead, 0, 2);
        group_step(sums, x, job->x_row, x_scales, block, job->panel_bytes, rows, panels);
    }
    float finished[Q8_TILE_ROWS * PANEL] __attribute__((aligned(64)));
#pragma GCC unroll 32
    for (size_t i = 0; i < rows * vectors; i++)
        vf_store(finished + i * VF_LANES, sums[i]);
    finish_tile(&job->out, finished, rows, vectors);
    return panels;
}

static size_t q8_tile(const tile_job *job)
{
    switch (job->rows) {
    case 7: return tile(job, 7, 1);
    case 6: return tile(job, 6, 1);
    case 5: return tile(job, 5, 1);
    case 4: return tile(job, 4, 1);
    case 3: return job->panels >= 2 ? tile(job, 3, 2) : tile(job, 3, 1);
    case 2: return job->panels >= 2 ? tile(job, 2, 2) : tile(job, 2, 1);
    default: return job->panels >= STREAMS ? tile(job, 1, STREAMS) : tile(job, 1, 1);
    }
}

void vlm_fill_matmul_q8_avx512(vlm_kernels *table)
{
    fill_matmul_q8(table);
}
