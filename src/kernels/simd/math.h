/* exp, the normal distribution, sigmoid, tanh and the activations on vectors of any ISA.
 * Needs the ISA's simd.h before it. Relative errors: exp, sigmoid and tanh 2e-7; Phi(x) 3e-7 for x > -4, below it
 * grows to 1e-3 at -7 where |x Phi(x)| < 1e-11. Coefficients: minimax fits in the given ranges.
 * Trap: vf_max(a, b) gives b when either is NaN, so the value stands second and NaN passes through. */
#ifndef VLM_KERNELS_SIMD_MATH_H
#define VLM_KERNELS_SIMD_MATH_H

/* exp(x) = 2^n * e^r, |r| <= ln2 / 2, e^r = 1 + r + r^2 Q(r). ln2 in two parts, the first short, so that x - n ln2
 * is exact. */
static inline vf vf_exp(vf x)
{
    x = vf_min(vf_set(89.0f), vf_max(vf_set(-105.0f), x)); /* 0 and infinity lie within */
    vf n = vf_round(vf_mul(x, vf_set(0x1.715476p+0f)));
    vf r = vf_fnma(n, vf_set(0x1.62e4p-1f), x);
    r = vf_fnma(n, vf_set(0x1.7f7d1cp-20f), r);
    vf q = vf_set(0x1.6a23ccp-10f);
    q = vf_fma(q, r, vf_set(0x1.123a2p-7f));
    q = vf_fma(q, r, vf_set(0x1.5558f2p-5f));
    q = vf_fma(q, r, vf_set(0x1.555492p-3f));
    q = vf_fma(q, r, vf_set(0x1.fffffcp-2f));
    q = vf_fma(vf_mul(r, r), q, r);
    return vf_ldexp(vf_add(q, vf_set(1.0f)), n);
}

/* 2^x for x <= 0, |x| < 1000. */
static inline vf vf_exp2_negative(vf x)
{
    x = vf_max(vf_set(-152.0f), x);
    vf n = vf_round(x), r = vf_sub(x, n);
    vf q = vf_set(0x1.41fb82p-13f);
    q = vf_fma(q, r, vf_set(0x1.5f3eacp-10f));
    q = vf_fma(q, r, vf_set(0x1.3b2d4ep-7f));
    q = vf_fma(q, r, vf_set(0x1.c6aee8p-5f));
    q = vf_fma(q, r, vf_set(0x1.ebfbdcp-3f));
    q = vf_fma(q, r, vf_set(0x1.62e43p-1f));
    return vf_ldexp(vf_fma(q, r, vf_set(1.0f)), n);
}

/* The standard normal distribution function. For a = |x|, log2(2 Phi(-a)) = a P(a), P fitted on [0, 6.5] and
 * falling beyond; Phi(a) = 1 - Phi(-a). So the lower tail has no cancellation. */
static inline vf vf_phi(vf x)
{
    vf a = vf_min(vf_set(16.0f), vf_abs(x));
    vf p = vf_set(-0x1.09e566p-25f);
    p = vf_fma(p, a, vf_set(0x1.d8a108p-21f));
    p = vf_fma(p, a, vf_set(-0x1.6d2aeap-17f));
    p = vf_fma(p, a, vf_set(0x1.37c35ap-14f));
    p = vf_fma(p, a, vf_set(-0x1.185e5ap-12f));
    p = vf_fma(p, a, vf_set(-0x1.203616p-15f));
    p = vf_fma(p, a, vf_set(0x1.ca9d7ep-8f));
    p = vf_fma(p, a, vf_set(-0x1.adeb82p-5f));
    p = vf_fma(p, a, vf_set(-0x1.d63a6p-2f));
    p = vf_fma(p, a, vf_set(-0x1.26aedep+0f));
    vf tail = vf_mul(vf_set(0.5f), vf_exp2_negative(vf_mul(p, a)));
    return vf_select(vf_less(x, vf_zero()), tail, vf_sub(vf_set(1.0f), tail));
}

static inline vf vf_sigmoid(vf x)
{
    return vf_div(vf_set(1.0f), vf_add(vf_set(1.0f), vf_exp(vf_sub(vf_zero(), x))));
}

/* x + x^3 P(x^2) near zero, 1 - 2 / (exp(2|x|) + 1) with the sign of x elsewhere. */
static inline vf vf_tanh(vf x)
{
    vf a = vf_abs(x), z = vf_mul(x, x);
    vf p = vf_set(-0x1.75e1a8p-8f);
    p = vf_fma(p, z, vf_set(0x1.522692p-6f));
    p = vf_fma(p, z, vf_set(-0x1.b83c58p-5f));
    p = vf_fma(p, z, vf_set(0x1.110726p-3f));
    p = vf_fma(p, z, vf_set(-0x1.555532p-2f));
    vf near_zero = vf_fma(vf_mul(p, z), x, x);
    vf far = vf_sub(vf_set(1.0f), vf_div(vf_set(2.0f), vf_add(vf_exp(vf_add(a, a)), vf_set(1.0f))));
    return vf_select(vf_less(a, vf_set(0.625f)), near_zero, vf_copy_sign(far, x));
}

/* GELU in the tanh form is x * sigmoid(u), u = 2 sqrt(2/pi) (x + 0.044715 x^3). */
static inline vf gelu_tanh_gate(vf x)
{
    vf inner = vf_fma(vf_mul(vf_set(0.044715f), vf_mul(x, x)), x, x);
    return vf_mul(vf_set(1.5957691216f), inner);
}

static inline vf vf_activate(vf x, vlm_activation kind)
{
    switch (kind) {
    case VLM_ACT_GELU: return vf_mul(x, vf_phi(x));
    case VLM_ACT_GELU_TANH: return vf_mul(x, vf_sigmoid(gelu_tanh_gate(x)));
    case VLM_ACT_QUICK_GELU: return vf_mul(x, vf_sigmoid(vf_mul(vf_set(1.702f), x)));
    case VLM_ACT_RELU: return vf_max(vf_zero(), x);
    case VLM_ACT_SILU: return vf_mul(x, vf_sigmoid(x));
    case VLM_ACT_TANH: return vf_tanh(x);
    case VLM_ACT_NONE:
    default: return x;
    }
}

/* d(x s)/dx for s = sigmoid(u): s + x s (1 - s) du/dx. With e = exp(-|u|), s (1 - s) = e / (1 + e)^2 has no
 * cancellation. */
static inline vf gate_derivative(vf x, vf u, vf du)
{
    vf e = vf_exp(vf_sub(vf_zero(), vf_abs(u))), r = vf_div(vf_set(1.0f), vf_add(vf_set(1.0f), e)), er = vf_mul(e, r);
    vf s = vf_select(vf_less(u, vf_zero()), er, r);
    return vf_fma(vf_mul(x, du), vf_mul(er, r), s);
}

/* Beyond 100 every gate is exactly 0 or 1: nothing may overflow against it. */
static inline vf within_100(vf x)
{
    return vf_min(vf_set(100.0f), vf_max(vf_set(-100.0f), x));
}

static inline vf vf_activation_derivative(vf x, vlm_activation kind)
{
    switch (kind) {
    case VLM_ACT_GELU: { /* Phi(x) + x phi(x) */
        vf density = vf_mul(vf_set(0.39894228f), vf_exp(vf_mul(vf_mul(x, x), vf_set(-0.5f))));
        return vf_fma(x, density, vf_phi(x));
    }
    case VLM_ACT_GELU_TANH:
        x = within_100(x);
        return gate_derivative(x, gelu_tanh_gate(x),
                               vf_fma(vf_set(1.5957691216f * 3 * 0.044715f), vf_mul(x, x), vf_set(1.5957691216f)));
    case VLM_ACT_QUICK_GELU:
        x = within_100(x);
        return gate_derivative(x, vf_mul(vf_set(1.702f), x), vf_set(1.702f));
    case VLM_ACT_RELU: return vf_select(vf_less(vf_zero(), x), vf_set(1.0f), vf_zero());
    case VLM_ACT_SILU:
        x = within_100(x);
        return gate_derivative(x, x, vf_set(1.0f));
    case VLM_ACT_TANH: {
        vf t = vf_tanh(x);
        return vf_fnma(t, t, vf_set(1.0f));
    }
    case VLM_ACT_NONE:
    default: return vf_set(1.0f);
    }
}

#endif
