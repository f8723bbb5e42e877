/* Activation functions and their derivatives, in C with the C library's exp, erf and tanh, in double: what the
 * polynomials of the other folders are measured against. */
#include <math.h>

#include "kernels/ref/ref.h"

#define SQRT_HALF 0.70710678118654752
#define SQRT_2_OVER_PI 0.79788456080286536
#define INVERSE_SQRT_2PI 0.39894228040143268
#define GELU_CUBIC 0.044715
#define QUICK 1.702

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double normal_cdf(double x)
{
    return 0.5 * erfc(-x * SQRT_HALF);
}

float vlm_activation_ref(float value, vlm_activation kind)
{
    double x = value;
    switch (kind) {
    case VLM_ACT_GELU: return (float)(x * normal_cdf(x));
    case VLM_ACT_GELU_TANH: return (float)(x * sigmoid(2 * SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x)));
    case VLM_ACT_QUICK_GELU: return (float)(x * sigmoid(QUICK * x));
    case VLM_ACT_RELU: return value < 0 ? 0.0f : value;
    case VLM_ACT_SILU: return (float)(x * sigmoid(x));
    case VLM_ACT_TANH: return (float)tanh(x);
    case VLM_ACT_NONE:
    default: return value;
    }
}

/* d(x * sigmoid(u)) / dx = s + x * s * (1 - s) * du/dx. */
static double gate_derivative(double x, double u, double du)
{
    double s = sigmoid(u);
    return s + x * s * sigmoid(-u) * du;
}

static double derivative(double x, vlm_activation kind)
{
    switch (kind) {
    case VLM_ACT_GELU: return normal_cdf(x) + x * INVERSE_SQRT_2PI * exp(-0.5 * x * x);
    case VLM_ACT_GELU_TANH:
        return gate_derivative(x, 2 * SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x),
                               2 * SQRT_2_OVER_PI * (1 + 3 * GELU_CUBIC * x * x));
    case VLM_ACT_QUICK_GELU: return gate_derivative(x, QUICK * x, QUICK);
    case VLM_ACT_RELU: return x > 0 ? 1 : 0;
    case VLM_ACT_SILU: return gate_derivative(x, x, 1);
    case VLM_ACT_TANH: return 1 - tanh(x) * tanh(x);
    case VLM_ACT_NONE:
    default: return 1;
    }
}

static void activate(float *y, const float *x, size_t n, vlm_activation kind)
{
    for (size_t i = 0; i < n; i++)
        y[i] = vlm_activation_ref(x[i], kind);
}

static void activate_backward(float *dx, const float *x, const float *dy, size_t n, vlm_activation kind)
{
    for (size_t i = 0; i < n; i++)
        dx[i] += dy[i] * (float)derivative(x[i], kind);
}

void vlm_fill_activation_ref(vlm_kernels *table)
{
    table->activate = activate;
    table->activate_backward = activate_backward;
}
