/* Rotary positions (Su et al. 2021), the halves form of Llama and Mistral: in each head the pair (x[i], x[i + d/2])
 * is turned by the angle position * frequency[i]. In place on some columns of a matrix.
 * Matches apply_rotary_pos_emb of modeling_llama.py: angles are float32 products, cosine and sine of those.
 * Trap: GGUF stores q and k for the interleaved form; its reader puts them back. */
#include <math.h>

#include "layers/ops.h"

typedef struct rope_job {
    float *x;
    size_t stride, column, n_heads, head, half;
    const float *cosines, *sines; /* [rows, half] */
} rope_job;

static void turn_rows(void *argument, size_t first, size_t last, size_t thread)
{
    (void)thread;
    const rope_job *job = argument;
    for (size_t row = first; row < last; row++) {
        const float *c = job->cosines + row * job->half, *s = job->sines + row * job->half;
        float *x = job->x + row * job->stride + job->column;
        for (size_t h = 0; h < job->n_heads; h++, x += job->head)
            for (size_t i = 0; i < job->half; i++) {
                float a = x[i], b = x[i + job->half];
                x[i] = a * c[i] - b * s[i];
                x[i + job->half] = b * c[i] + a * s[i];
            }
    }
}

vlm_tensor *vlm_op_rope(vlm_context *context, vlm_tensor *x, size_t column, size_t n_heads, size_t head, vlm_spans spans, const size_t *positions, const vlm_rope *rope)
{
    if (vlm_context_failed(context))
        return NULL;
    size_t rows = vlm_tensor_rows(x), half = rope->half;
    vlm_scope scope = vlm_scope_open(context);
    float *angles = vlm_context_floats(context, rows * half * 2);
    if (!vlm_context_idle(context)) {
        for (size_t s = 0; s < spans.n; s++)
            for (size_t r = spans.starts[s]; r < spans.starts[s + 1]; r++)
                for (size_t i = 0; i < half; i++) {
                    float angle = (float)(positions[s] + r - spans.starts[s]) * rope->frequencies[i];
                    angles[r * half + i] = cosf(angle) * rope->scale;
                    angles[(rows + r) * half + i] = sinf(angle) * rope->scale;
                }
        rope_job job = {x->data, vlm_tensor_columns(x), column, n_heads, head, half, angles, angles + rows * half};
        vlm_parallel(context, rows, 8, turn_rows, &job);
    }
    vlm_scope_close(context, scope);
    return x;
}
