/* Activation functions over vectors and their backward pass, on any ISA. Needs the ISA's simd.h before it.
 * The kind is a constant in each loop, so that its switch is gone and neighbouring vectors overlap. */
#ifndef VLM_KERNELS_SIMD_ACTIVATION_H
#define VLM_KERNELS_SIMD_ACTIVATION_H

#include "kernels/simd/math.h"

static inline __attribute__((always_inline)) void activate_all(float *y, const float *x, size_t n, vlm_activation kind)
{
    size_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store(y + i, vf_activate(vf_load(x + i), kind));
    if (i < n)
        vf_store_n(y + i, vf_activate(vf_load_n(x + i, n - i), kind), n - i);
}

static void activate(float *y, const float *x, size_t n, vlm_activation kind)
{
    switch (kind) {
    case VLM_ACT_GELU: activate_all(y, x, n, VLM_ACT_GELU); break;
    case VLM_ACT_GELU_TANH: activate_all(y, x, n, VLM_ACT_GELU_TANH); break;
    case VLM_ACT_QUICK_GELU: activate_all(y, x, n, VLM_ACT_QUICK_GELU); break;
    case VLM_ACT_RELU: activate_all(y, x, n, VLM_ACT_RELU); break;
    case VLM_ACT_SILU: activate_all(y, x, n, VLM_ACT_SILU); break;
    case VLM_ACT_TANH: activate_all(y, x, n, VLM_ACT_TANH); break;
    case VLM_ACT_NONE:
    default: activate_all(y, x, n, VLM_ACT_NONE); break;
    }
}

static inline __attribute__((always_inline)) void activate_backward_all(float *dx, const float *x, const float *dy,
                                                                        size_t n, vlm_activation kind)
{
    size_t i = 0;
    for (; i + VF_LANES <= n; i += VF_LANES)
        vf_store(dx + i, vf_fma(vf_load(dy + i), vf_activation_derivative(vf_load(x + i), kind), vf_load(dx + i)));
    if (i < n) {
        vf derivative = vf_activation_derivative(vf_load_n(x + i, n - i), kind);
        vf_store_n(dx + i, vf_fma(vf_load_n(dy + i, n - i), derivative, vf_load_n(dx + i, n - i)), n - i);
    }
}

static void activate_backward(float *dx, const float *x, const float *dy, size_t n, vlm_activation kind)
{
    switch (kind) {
    case VLM_ACT_GELU: activate_backward_all(dx, x, dy, n, VLM_ACT_GELU); break;
    case VLM_ACT_GELU_TANH: activate_backward_all(dx, x, dy, n, VLM_ACT_GELU_TANH); break;
    case VLM_ACT_QUICK_GELU: activate_backward_all(dx, x, dy, n, VLM_ACT_QUICK_GELU); break;
    case VLM_ACT_RELU: activate_backward_all(dx, x, dy, n, VLM_ACT_RELU); break;
    case VLM_ACT_SILU: activate_backward_all(dx, x, dy, n, VLM_ACT_SILU); break;
    case VLM_ACT_TANH: activate_backward_all(dx, x, dy, n, VLM_ACT_TANH); break;
    case VLM_ACT_NONE:
    default: activate_backward_all(dx, x, dy, n, VLM_ACT_NONE); break;
    }
}

static void fill_activation(vlm_kernels *table)
{
    table->activate = activate;
    table->activate_backward = activate_backward;
}

#endif
