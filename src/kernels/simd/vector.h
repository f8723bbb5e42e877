/* Sums, products, reductions and conversions of vectors, and the AdamW step, on any ISA. Needs the ISA's simd.h
 * before it. */
#ifndef VLM_KERNELS_SIMD_VECTOR_H
#define VLM_KERNELS_SIMD_VECTOR_H

#include <math.h>

static void add(float *y, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store(y + i, vf_add(vf_load(a + i), vf_load(b + i)));
    if (i < n)
        vf_store_n(y + i, vf_add(vf_load_n(a + i, n - i), vf_load_n(b + i, n - i)), n - i);
}

static void multiply(float *y, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store(y + i, vf_mul(vf_load(a + i), vf_load(b + i)));
    if (i < n)
        vf_store_n(y + i, vf_mul(vf_load_n(a + i, n - i), vf_load_n(b + i, n - i)), n - i);
}

static void axpy(float *y, float a, const float *x, size_t n)
{
    vf factor = vf_set(a);
    size_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store(y + i, vf_fma(factor, vf_load(x + i), vf_load(y + i)));
    if (i < n)
        vf_store_n(y + i, vf_fma(factor, vf_load_n(x + i, n - i), vf_load_n(y + i, n - i)), n - i);
}

static void scale(float *x, float a, size_t n)
{
    vf factor = vf_set(a);
    size_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store(x + i, vf_mul(factor, vf_load(x + i)));
    if (i < n)
        vf_store_n(x + i, vf_mul(factor, vf_load_n(x + i, n - i)), n - i);
}

static float dot(const float *a, const float *b, size_t n)
{
    vf p = vf_zero(), q = vf_zero(), r = vf_zero(), s = vf_zero();
    size_t i = 0;
    for (; i + 4 * VF_LANES <= n; i += 4 * VF_LANES) {
        p = vf_fma(vf_load(a + i), vf_load(b + i), p);
        q = vf_fma(vf_load(a + i + VF_LANES), vf_load(b + i + VF_LANES), q);
        r = vf_fma(vf_load(a + i + 2 * VF_LANES), vf_load(b + i + 2 * VF_LANES), r);
        s = vf_fma(vf_load(a + i + 3 * VF_LANES), vf_load(b + i + 3 * VF_LANES), s);
    }
    for (; i + VF_LANES <= n; i += VF_LANES)
        p = vf_fma(vf_load(a + i), vf_load(b + i), p);
    if (i < n)
        q = vf_fma(vf_load_n(a + i, n - i), vf_load_n(b + i, n - i), q);
    return vf_sum(vf_add(vf_add(p, q), vf_add(r, s)));
}

static double sum_squares(const float *x, size_t n)
{
    vd a = vd_zero(), b = vd_zero();
    size_t i = 0;
    for (; i + 2 * VF_LANES <= n; i += 2 * VF_LANES) {
        a = vd_add_squares(a, vf_load(x + i));
        b = vd_add_squares(b, vf_load(x + i + VF_LANES));
    }
    for (; i < n; i += VF_LANES)
        a = vd_add_squares(a, vf_load_n(x + i, n - i < VF_LANES ? n - i : VF_LANES));
    return vd_sum(vd_add(a, b));
}

static float max(const float *x, size_t n)
{
    vf largest = vf_set(-INFINITY);
    size_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        largest = vf_max(vf_load(x + i), largest);
    float result = vf_largest(largest);
    for (; i < n; i++)
        result = x[i] > result ? x[i] : result;
    return result;
}

static void f16_to_f32(float *out, const void *in, size_t n)
{
    const char *from = in;
    size_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store(out + i, vf_load_f16(from + 2 * i));
    if (i < n)
        vf_store_n(out + i, vf_load_f16_n(from + 2 * i, n - i), n - i);
}

static void bf16_to_f32(float *out, const void *in, size_t n)
{
    const char *from = in;
    size_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store(out + i, vf_load_bf16(from + 2 * i));
    if (i < n)
        vf_store_n(out + i, vf_load_bf16_n(from + 2 * i, n - i), n - i);
}

static void f32_to_f16(void *out, const float *in, size_t n)
{
    char *to = out;
    size_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store_f16(to + 2 * i, vf_load(in + i));
    if (i < n)
        vf_store_f16_n(to + 2 * i, vf_load_n(in + i, n - i), n - i);
}

static void f32_to_bf16(void *out, const float *in, size_t n)
{
    char *to = out;
    size_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store_bf16(to + 2 * i, vf_load(in + i));
    if (i < n)
        vf_store_bf16_n(to + 2 * i, vf_load_n(in + i, n - i), n - i);
}

/* Matches torch.optim.AdamW: decay first, both moments corrected for their start. */
static void adamw(float *w, float *m, float *v, const float *grad, size_t n, float grad_scale, float rate, float b1,
                  float b2, float eps, float decay, float c1, float c2)
{
    vf factor = vf_set(grad_scale), keep = vf_set(1.0f - rate * decay), step = vf_set(rate / c1);
    vf m_old = vf_set(b1), m_new = vf_set(1.0f - b1), v_old = vf_set(b2), v_new = vf_set(1.0f - b2);
    vf inverse_c2 = vf_set(1.0f / c2), small = vf_set(eps);
    for (size_t i = 0; i < n; i += VF_LANES) {
        size_t count = n - i < VF_LANES ? n - i : VF_LANES;
        vf g = vf_mul(vf_load_n(grad + i, count), factor);
        vf first = vf_fma(m_old, vf_load_n(m + i, count), vf_mul(m_new, g));
        vf second = vf_fma(v_old, vf_load_n(v + i, count), vf_mul(v_new, vf_mul(g, g)));
        vf change = vf_div(vf_mul(step, first), vf_add(vf_sqrt(vf_mul(second, inverse_c2)), small));
        vf_store_n(m + i, first, count);
        vf_store_n(v + i, second, count);
        vf_store_n(w + i, vf_sub(vf_mul(keep, vf_load_n(w + i, count)), change), count);
    }
}

static void fill_vector(vlm_kernels *table)
{
    table->add = add;
    table->multiply = multiply;
    table->axpy = axpy;
    table->scale = scale;
    table->dot = dot;
    table->sum_squares = sum_squares;
    table->max = max;
    table->f16_to_f32 = f16_to_f32;
    table->bf16_to_f32 = bf16_to_f32;
    table->f32_to_f16 = f32_to_f16;
    table->f32_to_bf16 = f32_to_bf16;
    table->adamw = adamw;
}

#endif
