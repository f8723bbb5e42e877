/* Products with int8 weights in NEON of any AArch64, without the dot-product instructions. Two bytes' products fit 16
 * bits (2 * 127 * 127), so two steps of four k are multiplied and added there, then widened pairwise to int32.
 * A vector of w holds 4 columns of 4 k each: its halves give sums of pairs, added at the group's end. */
#include "kernels/arm/neon/simd.h"

#define Q8_TILE_ROWS 4
#define Q8_X_OFFSET 0
#include "kernels/simd/matmul_q8.h"
#include "kernels/arm/neon/neon.h"

/* x[0..3] in each half's two columns. */
static inline int8x8_t broadcast4(const uint8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return vreinterpret_s8_s32(vdup_n_s32(four));
}

/* One group of 4 columns: dots[row] = x . w. rows is a constant where this is inlined. */
static ALWAYS_INLINE void group_dots(int32x4_t dots[], const uint8_t *x, size_t x_bytes, const char *w, size_t rows)
{
    int32x4_t low[Q8_TILE_ROWS], high[Q8_TILE_ROWS];
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++)
        low[r] = high[r] = vdupq_n_s32(0);
    for (size_t j = 0; j < G / 4; j += 2) {
        int8x16_t first = vld1q_s8((const int8_t *)w + j * 4 * PANEL);
        int8x16_t second = vld1q_s8((const int8_t *)w + (j + 1) * 4 * PANEL);
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            int8x8_t a = broadcast4(x + r * x_bytes + 4 * j), b = broadcast4(x + r * x_bytes + 4 * j + 4);
            int16x8_t p = vmlal_s8(vmull_s8(vget_low_s8(first), a), vget_low_s8(second), b);
            int16x8_t q = vmlal_s8(vmull_s8(vget_high_s8(first), a), vget_high_s8(second), b);
            low[r] = vpadalq_s16(low[r], p);
            high[r] = vpadalq_s16(high[r], q);
        }
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++)
        dots[r] = vpaddq_s32(low[r], high[r]);
}

static ALWAYS_INLINE size_t tile(const tile_job *job, size_t rows)
{
    const size_t groups = job->k;
    const uint8_t *x = (const uint8_t *)job->x;
    const float *x_scales = q8_x_scales(x, groups);
    const char *block = job->panel;
    float sums[Q8_TILE_ROWS * PANEL];
    memset(sums, 0, sizeof sums);
    for (size_t g = 0; g < groups; g++, x += G, x_scales++, block += Q8_BLOCK) {
        for (size_t v = 0; v < VF_PANEL_VECTORS; v++) {
            int32x4_t dots[Q8_TILE_ROWS];
            group_dots(dots, x, job->x_row, block + v * 4 * VF_LANES, rows);
            vf w_scales = vf_load((const float *)(block + Q8_SCALES) + v * VF_LANES);
            for (size_t r = 0; r < rows; r++) {
                float *sum = sums + (r * VF_PANEL_VECTORS + v) * VF_LANES;
                vf scale = vf_mul(vf_set(*(const float *)((const char *)x_scales + r * job->x_row)), w_scales);
                vf_store(sum, vf_fma(vcvtq_f32_s32(dots[r]), scale, vf_load(sum)));
            }
        }
    }
    finish_tile(&job->out, sums, rows, VF_PANEL_VECTORS);
    return 1;
}

static size_t q8_tile(const tile_job *job)
{
    switch (job->rows) {
    case 4: return tile(job, 4);
    case 3: return tile(job, 3);
    case 2: return tile(job, 2);
    default: return tile(job, 1);
    }
}

void vlm_fill_matmul_q8_neon(vlm_kernels *table)
{
    fill_matmul_q8(table);
}
