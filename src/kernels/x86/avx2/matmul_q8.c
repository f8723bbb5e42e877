/* Products with int8 weights in AVX2. maddubs multiplies unsigned by signed bytes, so the sign of x goes to w:
 * |x| * (w with x's sign), two neighbouring products in 16 bits. Both are at most 127 in size: 2 * 127 * 127 fits, and
 * nothing saturates. madd with ones widens to int32. A tile of 4 rows by one vector of 8 columns at a time: 4 sums of
 * integers, 4 of floats, and the operands of two steps in 16 registers. */
#include "kernels/x86/avx2/simd.h"

#define Q8_TILE_ROWS 4
#define Q8_X_OFFSET 0
#include "kernels/simd/matmul_q8.h"
#include "kernels/x86/avx2/avx2.h"

static inline __m256i broadcast4(const uint8_t *x)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

/* One group of 8 columns: dots[row] = x . w. rows is a constant where this is inlined. */
static ALWAYS_INLINE void group_dots(__m256i dots[], const uint8_t *x, size_t x_bytes, const char *w, size_t rows)
{
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++)
        dots[r] = _mm256_setzero_si256();
#pragma GCC unroll 2
    for (size_t j = 0; j < G / 4; j++) {
        __m256i columns = _mm256_loadu_si256((const void *)(w + j * 4 * PANEL));
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            __m256i value = broadcast4(x + r * x_bytes + 4 * j);
            __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(value), _mm256_sign_epi8(columns, value));
            dots[r] = _mm256_add_epi32(dots[r], _mm256_madd_epi16(pairs, ones));
        }
    }
}

static ALWAYS_INLINE size_t tile(const tile_job *job, size_t rows)
{
    const size_t groups = job->k;
    const uint8_t *x = (const uint8_t *)job->x;
    const float *x_scales = q8_x_scales(x, groups);
    const char *block = job->panel;
    float sums[Q8_TILE_ROWS * PANEL] __attribute__((aligned(32)));
    memset(sums, 0, sizeof sums);
    for (size_t g = 0; g < groups; g++, x += G, x_scales++, block += Q8_BLOCK) {
#pragma GCC unroll 2
        for (size_t v = 0; v < VF_PANEL_VECTORS; v++) {
            __m256i dots[Q8_TILE_ROWS];
            group_dots(dots, x, job->x_row, block + v * 4 * VF_LANES, rows);
            vf w_scales = vf_load((const float *)(block + Q8_SCALES) + v * VF_LANES);
#pragma GCC unroll 8
            for (size_t r = 0; r < rows; r++) {
                float *sum = sums + (r * VF_PANEL_VECTORS + v) * VF_LANES;
                vf scale = vf_mul(vf_set(*(const float *)((const char *)x_scales + r * job->x_row)), w_scales);
                vf_store(sum, vf_fma(_mm256_cvtepi32_ps(dots[r]), scale, vf_load(sum)));
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

void vlm_fill_matmul_q8_avx2(vlm_kernels *table)
{
    fill_matmul_q8(table);
}
