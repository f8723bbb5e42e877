/* LayerNorm and RMSNorm over rows [rows, n], and the backward pass of LayerNorm, on any ISA.
 * Matches torch.nn.LayerNorm: the biased variance, in two passes. Needs the ISA's simd.h before it. */
#ifndef VLM_KERNELS_SIMD_NORM_H
#define VLM_KERNELS_SIMD_NORM_H

#include <math.h>

/* Sums run in four vectors, so that the additions overlap; `centre` is subtracted first. */
static inline float sum_of(const float *x, size_t n)
{
    vf a = vf_zero(), b = vf_zero(), c = vf_zero(), d = vf_zero();
    size_t i = 0;
    for (; i + 4 * VF_LANES <= n; i += 4 * VF_LANES) {
        a = vf_add(a, vf_load(x + i));
        b = vf_add(b, vf_load(x + i + VF_LANES));
        c = vf_add(c, vf_load(x + i + 2 * VF_LANES));
        d = vf_add(d, vf_load(x + i + 3 * VF_LANES));
    }
    for (; i + VF_LANES <= n; i += VF_LANES)
        a = vf_add(a, vf_load(x + i));
    if (i < n)
        b = vf_add(b, vf_load_n(x + i, n - i));
    return vf_sum(vf_add(vf_add(a, b), vf_add(c, d)));
}

static inline float sum_of_squares(const float *x, float centre, size_t n)
{
    vf mean = vf_set(centre), a = vf_zero(), b = vf_zero(), c = vf_zero(), d = vf_zero();
    size_t i = 0;
    for (; i + 4 * VF_LANES <= n; i += 4 * VF_LANES) {
        vf p = vf_sub(vf_load(x + i), mean), q = vf_sub(vf_load(x + i + VF_LANES), mean);
        vf r = vf_sub(vf_load(x + i + 2 * VF_LANES), mean), s = vf_sub(vf_load(x + i + 3 * VF_LANES), mean);
        a = vf_fma(p, p, a);
        b = vf_fma(q, q, b);
        c = vf_fma(r, r, c);
        d = vf_fma(s, s, d);
    }
    for (; i + VF_LANES <= n; i += VF_LANES) {
        vf p = vf_sub(vf_load(x + i), mean);
        a = vf_fma(p, p, a);
    }
    float tail = 0;
    for (; i < n; i++)
        tail += (x[i] - centre) * (x[i] - centre);
    return vf_sum(vf_add(vf_add(a, b), vf_add(c, d))) + tail;
}

static void layernorm(float *y, const float *x, const float *gain, const float *bias, float eps, size_t rows, size_t n,
                      float *mean, float *rstd)
{
    for (size_t r = 0; r < rows; r++, x += n, y += n) {
        float centre = sum_of(x, n) / (float)n;
        float inverse = 1.0f / sqrtf(sum_of_squares(x, centre, n) / (float)n + eps);
        vf c = vf_set(centre), s = vf_set(inverse);
        size_t i = 0;
        for (; i + VF_LANES <= n; i += VF_LANES) {
            vf h = vf_mul(vf_sub(vf_load(x + i), c), s);
            vf_store(y + i, vf_fma(h, vf_load(gain + i), vf_load(bias + i)));
        }
        if (i < n) {
            vf h = vf_mul(vf_sub(vf_load_n(x + i, n - i), c), s);
            vf_store_n(y + i, vf_fma(h, vf_load_n(gain + i, n - i), vf_load_n(bias + i, n - i)), n - i);
        }
        if (mean)
            mean[r] = centre;
        if (rstd)
            rstd[r] = inverse;
    }
}

/* A row's sums of g = dy * gain and of g * h, h = (x - mean) * rstd; dgain and dbias on the way. */
static inline void backward_sums(float *sum_g, float *sum_gh, float *dgain, float *dbias, const float *dy, const float *x,
                                 const float *gain, float mean, float rstd, size_t n)
{
    vf g_total = vf_zero(), gh_total = vf_zero(), centre = vf_set(mean), inverse = vf_set(rstd);
    for (size_t i = 0; i < n; i += VF_LANES) {
        size_t count = n - i < VF_LANES ? n - i : VF_LANES;
        vf d = vf_load_n(dy + i, count), h = vf_mul(vf_sub(vf_load_n(x + i, count), centre), inverse);
        vf g = vf_mul(d, vf_load_n(gain + i, count));
        g_total = vf_add(g_total, g);
        gh_total = vf_fma(g, h, gh_total); /* lanes past n: g is zero */
        if (dgain)
            vf_store_n(dgain + i, vf_fma(d, h, vf_load_n(dgain + i, count)), count);
        if (dbias)
            vf_store_n(dbias + i, vf_add(d, vf_load_n(dbias + i, count)), count);
    }
    *sum_g = vf_sum(g_total);
    *sum_gh = vf_sum(gh_total);
}

/* dx = rstd * (g - mean(g) - h * mean(g * h)). */
static void layernorm_backward(float *dx, float *dgain, float *dbias, const float *dy, const float *x, const float *gain,
                               const float *mean, const float *rstd, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, dy += n, x += n) {
        float sum_g, sum_gh;
        backward_sums(&sum_g, &sum_gh, dgain, dbias, dy, x, gain, mean[r], rstd[r], n);
        vf centre = vf_set(mean[r]), inverse = vf_set(rstd[r]);
        vf mean_g = vf_set(sum_g / (float)n), mean_gh = vf_set(sum_gh / (float)n);
        float *out = dx ? dx + r * n : NULL;
        for (size_t i = 0; out && i < n; i += VF_LANES) {
            size_t count = n - i < VF_LANES ? n - i : VF_LANES;
            vf h = vf_mul(vf_sub(vf_load_n(x + i, count), centre), inverse);
            vf g = vf_sub(vf_mul(vf_load_n(dy + i, count), vf_load_n(gain + i, count)), mean_g);
            vf_store_n(out + i, vf_fma(inverse, vf_fnma(h, mean_gh, g), vf_load_n(out + i, count)), count);
        }
    }
}

static void rmsnorm(float *y, const float *x, const float *gain, float eps, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, x += n, y += n) {
        vf inverse = vf_set(1.0f / sqrtf(sum_of_squares(x, 0, n) / (float)n + eps));
        for (size_t i = 0; i < n; i += VF_LANES) {
            size_t count = n - i < VF_LANES ? n - i : VF_LANES;
            vf_store_n(y + i, vf_mul(vf_mul(vf_load_n(x + i, count), inverse), vf_load_n(gain + i, count)), count);
        }
    }
}

static void fill_norm(vlm_kernels *table)
{
    table->layernorm = layernorm;
    table->layernorm_backward = layernorm_backward;
    table->rmsnorm = rmsnorm;
}

#endif
