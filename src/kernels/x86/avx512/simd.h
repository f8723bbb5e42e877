/* The vocabulary of kernels/simd in AVX-512: 16 floats a vector, lanes beyond a tail masked off. */
#ifndef VLM_KERNELS_X86_AVX512_SIMD_H
#define VLM_KERNELS_X86_AVX512_SIMD_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

typedef __m512 vf;
typedef __mmask16 vmask;
typedef __m512d vd;

/* A tile of 14 rows by 2 vectors fills the register file: 28 sums, 2 vectors of w, one value of x. */
enum { VF_LANES = 16, VF_PANEL_VECTORS = 2 };
#ifdef VLM_SANITIZED
#define VF_TILE_ROWS 6 /* sanitizers take minutes to compile the high ones */
#else
#define VF_TILE_ROWS 14
#endif

static inline __mmask16 first_lanes(size_t count)
{
    return (__mmask16)((1u << count) - 1);
}

static inline vf vf_zero(void) { return _mm512_setzero_ps(); }
static inline vf vf_set(float a) { return _mm512_set1_ps(a); }
static inline vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
static inline vf vf_load_n(const float *p, size_t count) { return _mm512_maskz_loadu_ps(first_lanes(count), p); }
static inline void vf_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
static inline void vf_store_n(float *p, vf v, size_t count) { _mm512_mask_storeu_ps(p, first_lanes(count), v); }

static inline vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
static inline vf vf_sqrt(vf v) { return _mm512_sqrt_ps(v); }
static inline vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf vf_abs(vf v) { return _mm512_abs_ps(v); }
static inline vf vf_round(vf v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline vf vf_ldexp(vf v, vf n) { return _mm512_scalef_ps(v, n); }
static inline vmask vf_less(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline vf vf_select(vmask mask, vf yes, vf no) { return _mm512_mask_blend_ps(mask, no, yes); }
static inline vf vf_copy_sign(vf magnitude, vf sign)
{
    return _mm512_or_ps(magnitude, _mm512_and_ps(sign, _mm512_set1_ps(-0.0f)));
}

static inline float vf_sum(vf v) { return _mm512_reduce_add_ps(v); }
static inline float vf_largest(vf v) { return _mm512_reduce_max_ps(v); }

/* The larger magnitude by bit patterns, where NaN is above infinity. */
static inline vf vf_amax(vf a, vf b)
{
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(vf_abs(a)), _mm512_castps_si512(vf_abs(b))));
}

static inline float vf_largest_bits(vf v)
{
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(_mm512_castps_si512(v)))));
}

static inline vd vd_zero(void) { return _mm512_setzero_pd(); }
static inline vd vd_add(vd a, vd b) { return _mm512_add_pd(a, b); }
static inline double vd_sum(vd v) { return _mm512_reduce_add_pd(v); }
static inline vd vd_add_squares(vd sum, vf v)
{
    vd low = _mm512_cvtps_pd(_mm512_castps512_ps256(v)), high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
    return _mm512_fmadd_pd(high, high, _mm512_fmadd_pd(low, low, sum));
}

static inline vf vf_load_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
static inline vf vf_load_f16_n(const void *p, size_t count)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(count), p));
}

static inline vf from_bf16(__m256i halves)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

static inline vf vf_load_bf16(const void *p) { return from_bf16(_mm256_loadu_si256(p)); }
static inline vf vf_load_bf16_n(const void *p, size_t count)
{
    return from_bf16(_mm256_maskz_loadu_epi16(first_lanes(count), p));
}

static inline __m256i to_f16(vf v) { return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

/* Round to nearest even by adding half of the last kept bit, less one when that bit is even; NaN stays NaN. */
static inline __m256i to_bf16(vf v)
{
    __m512i bits = _mm512_castps_si512(v), high = _mm512_srli_epi32(bits, 16);
    __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_mask_or_epi32(rounded, nan, high, _mm512_set1_epi32(0x40)));
}

static inline void vf_store_f16(void *p, vf v) { _mm256_storeu_si256(p, to_f16(v)); }
static inline void vf_store_f16_n(void *p, vf v, size_t count) { _mm256_mask_storeu_epi16(p, first_lanes(count), to_f16(v)); }
static inline void vf_store_bf16(void *p, vf v) { _mm256_storeu_si256(p, to_bf16(v)); }
static inline void vf_store_bf16_n(void *p, vf v, size_t count) { _mm256_mask_storeu_epi16(p, first_lanes(count), to_bf16(v)); }

/* 16 integers in -127..127, rounded to nearest even; NaN becomes -127. */
static inline void vf_store_i8(int8_t *p, vf v)
{
    __m512i integers = _mm512_max_epi32(_mm512_cvtps_epi32(v), _mm512_set1_epi32(-127));
    _mm_storeu_si128((void *)p, _mm512_cvtsepi32_epi8(_mm512_min_epi32(integers, _mm512_set1_epi32(127))));
}

/* rows[i] lane j <-> rows[j] lane i: pairs, then fours of floats within 128 bits, then the 128-bit parts. */
static inline void vf_transpose(vf rows[VF_LANES])
{
    vf pairs[16], fours[16];
    for (int i = 0; i < 16; i += 2) {
        pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        fours[i] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
        fours[i + 1] = _mm512_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
        fours[i + 2] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
        fours[i + 3] = _mm512_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) { /* part p of fours[i + 4 q] holds column 4 p + i of rows 4 q .. 4 q + 3 */
        vf a = _mm512_shuffle_f32x4(fours[i], fours[i + 4], 0x44), b = _mm512_shuffle_f32x4(fours[i + 8], fours[i + 12], 0x44);
        vf c = _mm512_shuffle_f32x4(fours[i], fours[i + 4], 0xee), d = _mm512_shuffle_f32x4(fours[i + 8], fours[i + 12], 0xee);
        rows[i] = _mm512_shuffle_f32x4(a, b, 0x88);
        rows[i + 4] = _mm512_shuffle_f32x4(a, b, 0xdd);
        rows[i + 8] = _mm512_shuffle_f32x4(c, d, 0x88);
        rows[i + 12] = _mm512_shuffle_f32x4(c, d, 0xdd);
    }
}

#endif
