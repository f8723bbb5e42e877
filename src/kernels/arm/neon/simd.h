/* The vocabulary of kernels/simd in NEON of any AArch64: 4 floats a vector. Tails go through a copy, as NEON has no
 * masks. */
#ifndef VLM_KERNELS_ARM_NEON_SIMD_H
#define VLM_KERNELS_ARM_NEON_SIMD_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/kernels.h"

typedef float32x4_t vf;
typedef uint32x4_t vmask;
typedef float64x2_t vd;

/* A tile of 6 rows by 4 vectors: 24 sums, 4 vectors of w, one value of x, of 32 registers. */
enum { VF_LANES = 4, VF_PANEL_VECTORS = 4 };
#define VF_TILE_ROWS 6

static inline vf vf_zero(void) { return vdupq_n_f32(0); }
static inline vf vf_set(float a) { return vdupq_n_f32(a); }
static inline vf vf_load(const float *p) { return vld1q_f32(p); }
static inline vf vf_load_n(const float *p, size_t count)
{
    float lanes[VF_LANES] = {0};
    if (count == VF_LANES)
        return vf_load(p);
    memcpy(lanes, p, count * sizeof *lanes);
    return vf_load(lanes);
}
static inline void vf_store(float *p, vf v) { vst1q_f32(p, v); }
static inline void vf_store_n(float *p, vf v, size_t count)
{
    float lanes[VF_LANES];
    if (count == VF_LANES) {
        vf_store(p, v);
        return;
    }
    vf_store(lanes, v);
    memcpy(p, lanes, count * sizeof *lanes);
}

static inline vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
static inline vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
static inline vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
static inline vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
static inline vf vf_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }
static inline vf vf_sqrt(vf v) { return vsqrtq_f32(v); }
static inline vf vf_max(vf a, vf b) { return vmaxq_f32(a, b); }
static inline vf vf_min(vf a, vf b) { return vminq_f32(a, b); }
static inline vf vf_abs(vf v) { return vabsq_f32(v); }
static inline vf vf_round(vf v) { return vrndnq_f32(v); }

/* v * 2^n for -252 <= n <= 254, in two factors so that neither leaves the exponents; the result may. */
static inline vf vf_ldexp(vf v, vf n)
{
    int32x4_t bias = vdupq_n_s32(127), whole = vcvtnq_s32_f32(n), half = vshrq_n_s32(whole, 1);
    vf a = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
    vf b = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vsubq_s32(whole, half), bias), 23));
    return vmulq_f32(vmulq_f32(v, a), b);
}

static inline vmask vf_less(vf a, vf b) { return vcltq_f32(a, b); }
static inline vf vf_select(vmask mask, vf yes, vf no) { return vbslq_f32(mask, yes, no); }
static inline vf vf_copy_sign(vf magnitude, vf sign)
{
    return vbslq_f32(vdupq_n_u32(0x80000000), sign, magnitude);
}

static inline float vf_sum(vf v) { return vaddvq_f32(v); }
static inline float vf_largest(vf v) { return vmaxvq_f32(v); }

/* The larger magnitude by bit patterns, where NaN is above infinity. */
static inline vf vf_amax(vf a, vf b)
{
    return vreinterpretq_f32_u32(vmaxq_u32(vreinterpretq_u32_f32(vf_abs(a)), vreinterpretq_u32_f32(vf_abs(b))));
}

static inline float vf_largest_bits(vf v)
{
    uint32_t bits = vmaxvq_u32(vreinterpretq_u32_f32(v));
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline vd vd_zero(void) { return vdupq_n_f64(0); }
static inline vd vd_add(vd a, vd b) { return vaddq_f64(a, b); }
static inline double vd_sum(vd v) { return vaddvq_f64(v); }
static inline vd vd_add_squares(vd sum, vf v)
{
    vd low = vcvt_f64_f32(vget_low_f32(v)), high = vcvt_high_f64_f32(v);
    return vfmaq_f64(vfmaq_f64(sum, low, low), high, high);
}

/* Up to 4 values of 16 bits, zeros after; files are read at odd addresses. */
static inline uint16x4_t load_halves(const void *p, size_t count)
{
    uint16_t halves[VF_LANES] = {0};
    memcpy(halves, p, count * sizeof *halves);
    return vld1_u16(halves);
}

static inline void store_halves(void *p, uint16x4_t v, size_t count)
{
    uint16_t halves[VF_LANES];
    vst1_u16(halves, v);
    memcpy(p, halves, count * sizeof *halves);
}

static inline vf vf_load_f16_n(const void *p, size_t count)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(load_halves(p, count)));
}
static inline vf vf_load_f16(const void *p) { return vf_load_f16_n(p, VF_LANES); }
static inline vf vf_load_bf16_n(const void *p, size_t count)
{
    return vreinterpretq_f32_u32(vshll_n_u16(load_halves(p, count), 16));
}
static inline vf vf_load_bf16(const void *p) { return vf_load_bf16_n(p, VF_LANES); }

static inline void vf_store_f16_n(void *p, vf v, size_t count)
{
    store_halves(p, vreinterpret_u16_f16(vcvt_f16_f32(v)), count);
}
static inline void vf_store_f16(void *p, vf v) { vf_store_f16_n(p, v, VF_LANES); }

/* Round to nearest even by adding half of the last kept bit, less one when that bit is even; NaN stays NaN. */
static inline void vf_store_bf16_n(void *p, vf v, size_t count)
{
    uint32x4_t bits = vreinterpretq_u32_f32(v), high = vshrq_n_u32(bits, 16), odd = vandq_u32(high, vdupq_n_u32(1));
    uint32x4_t rounded = vshrq_n_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff))), 16);
    uint32x4_t nan = vmvnq_u32(vceqq_f32(v, v));
    rounded = vbslq_u32(nan, vorrq_u32(high, vdupq_n_u32(0x40)), rounded);
    store_halves(p, vmovn_u32(rounded), count);
}
static inline void vf_store_bf16(void *p, vf v) { vf_store_bf16_n(p, v, VF_LANES); }

/* 4 integers in -127..127, rounded to nearest even; NaN becomes 0 (its group's scale is NaN). */
static inline void vf_store_i8(int8_t *p, vf v)
{
    int32x4_t integers = vminq_s32(vmaxq_s32(vcvtnq_s32_f32(v), vdupq_n_s32(-127)), vdupq_n_s32(127));
    int8_t lanes[8];
    vst1_s8(lanes, vmovn_s16(vcombine_s16(vmovn_s32(integers), vmovn_s32(integers))));
    memcpy(p, lanes, VF_LANES);
}

/* rows[i] lane j <-> rows[j] lane i */
static inline void vf_transpose(vf rows[VF_LANES])
{
    float32x4x2_t low = vtrnq_f32(rows[0], rows[1]), high = vtrnq_f32(rows[2], rows[3]);
    rows[0] = vcombine_f32(vget_low_f32(low.val[0]), vget_low_f32(high.val[0]));
    rows[1] = vcombine_f32(vget_low_f32(low.val[1]), vget_low_f32(high.val[1]));
    rows[2] = vcombine_f32(vget_high_f32(low.val[0]), vget_high_f32(high.val[0]));
    rows[3] = vcombine_f32(vget_high_f32(low.val[1]), vget_high_f32(high.val[1]));
}

#endif
