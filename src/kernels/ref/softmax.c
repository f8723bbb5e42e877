/* Softmax over rows [rows, n], in place, and its backward pass, in C. */
#include <math.h>

#include "kernels/ref/ref.h"

static void softmax(float *x, size_t rows, size_t n, size_t ld, float scale)
{
    for (size_t r = 0; r < rows; r++, x += ld) {
        float largest = -INFINITY;
        for (size_t i = 0; i < n; i++) {
            x[i] *= scale;
            largest = x[i] > largest ? x[i] : largest;
        }
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            /* -infinity - -infinity is NaN: a row that is masked everywhere becomes zeros instead */
            x[i] = x[i] == -INFINITY ? 0.0f : expf(x[i] - largest);
            sum += x[i];
        }
        float inverse = sum == 0 ? 0.0f : (float)(1.0 / sum);
        for (size_t i = 0; i < n; i++)
            x[i] *= inverse;
    }
}

static void softmax_backward(float *dp, const float *p, size_t rows, size_t n, size_t ld, float scale)
{
    for (size_t r = 0; r < rows; r++, dp += ld, p += ld) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)p[i] * dp[i];
        for (size_t i = 0; i < n; i++)
            dp[i] = scale * p[i] * (dp[i] - (float)sum);
    }
}

void vlm_fill_softmax_ref(vlm_kernels *table)
{
    table->softmax = softmax;
    table->softmax_backward = softmax_backward;
}
