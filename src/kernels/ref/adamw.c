/* One step of AdamW, in C. Matches torch.optim.AdamW (decay first, both moments corrected for their start). */
#include <math.h>

#include "kernels/ref/ref.h"

static void adamw(float *w, float *m, float *v, const float *grad, size_t n, float grad_scale, float rate, float b1,
                  float b2, float eps, float decay, float c1, float c2)
{
    for (size_t i = 0; i < n; i++) {
        float g = grad[i] * grad_scale;
        m[i] = b1 * m[i] + (1.0f - b1) * g;
        v[i] = b2 * v[i] + (1.0f - b2) * g * g;
        w[i] = w[i] * (1.0f - rate * decay) - rate * (m[i] / c1) / (sqrtf(v[i] / c2) + eps);
    }
}

void vlm_fill_adamw_ref(vlm_kernels *table)
{
    table->adamw = adamw;
}
