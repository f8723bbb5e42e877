/* The vocabulary of kernels/simd in AVX2, FMA and F16C: 8 floats a vector. Tails go through masked loads and stores,
 * which are slow on some CPUs, so whole vectors never do. */
#ifndef VLM_KERNELS_X86_AVX2_SIMD_H
#define VLM_KERNELS_X86_AVX2_SIMD_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/kernels.h"

typedef __m256 vf;
typedef __m256 vmask;
typedef __m256d vd;

/* A tile of 6 rows by 2 vectors: 12 sums, 2 vectors of w, one value of x, of 16 registers. */
enum { VF_LANES = 8, VF_PANEL_VECTORS = 2 };
#define VF_TILE_ROWS 6

static inline __m256i first_lanes(size_t count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline vf vf_zero(void) { return _mm256_setzero_ps(); }
static inline vf vf_set(float a) { return _mm256_set1_ps(a); }
static inline vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
static inline vf vf_load_n(const float *p, size_t count)
{
    return count == VF_LANES ? vf_load(p) : _mm256_maskload_ps(p, first_lanes(count));
}
static inline void vf_store(float *p, vf v) { _mm256_storeu_ps(p, v); }
static inline void vf_store_n(float *p, vf v, size_t count)
{
    if (count == VF_LANES)
        vf_store(p, v);
    else
        _mm256_maskstore_ps(p, first_lanes(count), v);
}

static inline vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
static inline vf vf_sqrt(vf v) { return _mm256_sqrt_ps(v); }
static inline vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf vf_abs(vf v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
static inline vf vf_round(vf v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

/* v * 2^n for -252 <= n <= 254, in two factors so that neither leaves the exponents; the result may. */
static inline vf vf_ldexp(vf v, vf n)
{
    __m256i bias = _mm256_set1_epi32(127), whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    __m256i rest = _mm256_sub_epi32(whole, half);
    vf a = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    vf b = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return vf_mul(vf_mul(v, a), b);
}

static inline vmask vf_less(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
static inline vf vf_select(vmask mask, vf yes, vf no) { return _mm256_blendv_ps(no, yes, mask); }
static inline vf vf_copy_sign(vf magnitude, vf sign)
{
    return _mm256_or_ps(magnitude, _mm256_and_ps(sign, _mm256_set1_ps(-0.0f)));
}

static inline float vf_sum(vf v)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline float vf_largest(vf v)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/* The larger magnitude by bit patterns, where NaN is above infinity. */
static inline vf vf_amax(vf a, vf b)
{
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(vf_abs(a)), _mm256_castps_si256(vf_abs(b))));
}

static inline float vf_largest_bits(vf v)
{
    __m256i bits = _mm256_castps_si256(v);
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
    __m128i two = _mm_max_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(two, _mm_shuffle_epi32(two, 1))));
}

static inline vd vd_zero(void) { return _mm256_setzero_pd(); }
static inline vd vd_add(vd a, vd b) { return _mm256_add_pd(a, b); }
static inline double vd_sum(vd v)
{
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}
static inline vd vd_add_squares(vd sum, vf v)
{
    vd low = _mm256_cvtps_pd(_mm256_castps256_ps128(v)), high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
    return _mm256_fmadd_pd(high, high, _mm256_fmadd_pd(low, low, sum));
}

/* Up to 8 values of 16 bits, zeros after; through a copy, as AVX2 has no masks for them. */
static inline __m128i load_halves(const void *p, size_t count)
{
    uint16_t halves[VF_LANES] = {0};
    memcpy(halves, p, count * sizeof *halves);
    return _mm_loadu_si128((const void *)halves);
}

static inline void store_halves(void *p, __m128i v, size_t count)
{
    uint16_t halves[VF_LANES];
    _mm_storeu_si128((void *)halves, v);
    memcpy(p, halves, count * sizeof *halves);
}

static inline vf from_bf16(__m128i halves)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

static inline vf vf_load_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128(p)); }
static inline vf vf_load_f16_n(const void *p, size_t count) { return _mm256_cvtph_ps(load_halves(p, count)); }
static inline vf vf_load_bf16(const void *p) { return from_bf16(_mm_loadu_si128(p)); }
static inline vf vf_load_bf16_n(const void *p, size_t count) { return from_bf16(load_halves(p, count)); }

static inline __m128i to_f16(vf v) { return _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

/* Round to nearest even by adding half of the last kept bit, less one when that bit is even; NaN stays NaN. */
static inline __m128i to_bf16(vf v)
{
    __m256i bits = _mm256_castps_si256(v), high = _mm256_srli_epi32(bits, 16);
    __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    rounded = _mm256_blendv_epi8(rounded, _mm256_or_si256(high, _mm256_set1_epi32(0x40)), nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
}

static inline void vf_store_f16(void *p, vf v) { _mm_storeu_si128(p, to_f16(v)); }
static inline void vf_store_f16_n(void *p, vf v, size_t count) { store_halves(p, to_f16(v), count); }
static inline void vf_store_bf16(void *p, vf v) { _mm_storeu_si128(p, to_bf16(v)); }
static inline void vf_store_bf16_n(void *p, vf v, size_t count) { store_halves(p, to_bf16(v), count); }

/* 8 integers in -127..127, rounded to nearest even; NaN becomes -127. */
static inline void vf_store_i8(int8_t *p, vf v)
{
    __m256i integers = _mm256_max_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(-127));
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(integers), _mm256_extracti128_si256(integers, 1));
    _mm_storel_epi64((void *)p, _mm_packs_epi16(words, words));
}

/* rows[i] lane j <-> rows[j] lane i: pairs, then fours of floats within 128 bits, then the halves. */
static inline void vf_transpose(vf rows[VF_LANES])
{
    vf pairs[8], fours[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        fours[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
        fours[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
        fours[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
        fours[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) { /* half h of fours[i + 4 q] holds column 4 h + i of rows 4 q .. 4 q + 3 */
        rows[i] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20);
        rows[i + 4] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
    }
}

#endif
