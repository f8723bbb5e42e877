/* LayerNorm and RMSNorm over rows [rows, n], and the backward pass of LayerNorm, in C.
 * Matches torch.nn.LayerNorm: the biased variance. */
#include <math.h>

#include "kernels/ref/ref.h"

static void layernorm(float *y, const float *x, const float *gain, const float *bias, float eps, size_t rows, size_t n,
                      float *mean, float *rstd)
{
    for (size_t r = 0; r < rows; r++, x += n, y += n) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < n; i++)
            sum += x[i];
        float centre = (float)(sum / (double)n);
        for (size_t i = 0; i < n; i++)
            squares += (double)(x[i] - centre) * (x[i] - centre);
        float inverse = 1.0f / sqrtf((float)(squares / (double)n) + eps);
        for (size_t i = 0; i < n; i++)
            y[i] = (x[i] - centre) * inverse * gain[i] + bias[i];
        if (mean)
            mean[r] = centre;
        if (rstd)
            rstd[r] = inverse;
    }
}

/* With h = (x - mean) * rstd and g = dy * gain: dx = rstd * (g - mean(g) - h * mean(g * h)). */
static void layernorm_backward(float *dx, float *dgain, float *dbias, const float *dy, const float *x, const float *gain,
                               const float *mean, const float *rstd, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, dy += n, x += n) {
        double sum_g = 0, sum_gh = 0;
        for (size_t i = 0; i < n; i++) {
            float h = (x[i] - mean[r]) * rstd[r];
            sum_g += dy[i] * gain[i];
            sum_gh += dy[i] * gain[i] * h;
            if (dgain)
                dgain[i] += dy[i] * h;
            if (dbias)
                dbias[i] += dy[i];
        }
        float mean_g = (float)(sum_g / (double)n), mean_gh = (float)(sum_gh / (double)n);
        for (size_t i = 0; dx && i < n; i++)
            dx[r * n + i] += rstd[r] * (dy[i] * gain[i] - mean_g - (x[i] - mean[r]) * rstd[r] * mean_gh);
    }
}

static void rmsnorm(float *y, const float *x, const float *gain, float eps, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, x += n, y += n) {
        double squares = 0;
        for (size_t i = 0; i < n; i++)
            squares += (double)x[i] * x[i];
        float inverse = 1.0f / sqrtf((float)(squares / (double)n) + eps);
        for (size_t i = 0; i < n; i++)
            y[i] = x[i] * inverse * gain[i];
    }
}

void vlm_fill_norm_ref(vlm_kernels *table)
{
    table->layernorm = layernorm;
    table->layernorm_backward = layernorm_backward;
    table->rmsnorm = rmsnorm;
}
