/* y = activation(x w^T + b) + residual: forward and backward.
 * x [m, k], w [n, k], b [n], residual [m, n] -> y [m, n]. Matches torch.nn.functional.linear.
 * A loaded model's weights are packed once; a trained parameter is plain rows and is packed by each pass. */
#include <string.h>

#include "layers/ops.h"

enum { SUMMED_ROWS = 1024, BIAS_ROWS = 128 };

typedef struct linear_saved {
    vlm_tensor *x, *y, *weight, *bias, *residual;
} linear_saved;

typedef struct bias_job {
    const vlm_kernels *kernels;
    float *partial; /* [runs, n] */
    const float *dy;
    size_t n;
} bias_job;

static void sum_rows(void *argument, size_t first, size_t last, size_t thread)
{
    (void)thread;
    const bias_job *job = argument;
    float *sum = job->partial + first / BIAS_ROWS * job->n;
    memcpy(sum, job->dy + first * job->n, job->n * sizeof *sum);
    for (size_t row = first + 1; row < last; row++)
        job->kernels->add(sum, sum, job->dy + row * job->n, job->n);
}

/* db [n] += the sum of dy's rows: runs of rows, then the runs in order, whatever thread made them. */
static void add_bias_gradient(vlm_context *context, vlm_tensor *bias, const float *dy, size_t rows, size_t n)
{
    size_t runs = (rows + BIAS_ROWS - 1) / BIAS_ROWS;
    float *grad = vlm_grad_zeroed(context, bias);
    vlm_arena_mark mark = vlm_arena_get_mark(&context->values);
    bias_job job = {context->kernels, vlm_context_floats(context, runs * n), dy, n};
    if (vlm_context_failed(context))
        return;
    vlm_parallel(context, rows, BIAS_ROWS, sum_rows, &job);
    for (size_t i = 0; i < runs; i++)
        context->kernels->add(grad, grad, job.partial + i * n, n);
    vlm_arena_rewind(&context->values, mark);
}

/* dw [n, k] += dy^T [n, m] x [m, k]. The sum over rows is cut into runs, by its length alone, so that what a
 * run reads stays in the second cache. */
static void add_weight_gradient(vlm_context *context, vlm_tensor *w, const vlm_tensor *x, const float *dy, size_t n)
{
    bool fresh;
    size_t m = vlm_tensor_rows(x), k = vlm_tensor_columns(x);
    float *dw = vlm_grad_fresh(context, w, &fresh);
    const float *values = x->data;
    for (size_t first = 0; first < m && !vlm_context_failed(context); first += SUMMED_ROWS) {
        size_t rows = m - first < SUMMED_ROWS ? m - first : SUMMED_ROWS;
        vlm_arena_mark mark = vlm_arena_get_mark(&context->values);
        void *panels = vlm_pack(context, context->product, values + first * k, 1, k, k, rows);
        if (dw && panels)
            vlm_matmul(context, dw, k, dy + first * n, 1, n, context->product, panels, n, k, rows, &(vlm_epilogue){.accumulate = !fresh || first});
        vlm_arena_rewind(&context->values, mark);
    }
}

static void linear_backward(vlm_context *context, void *argument)
{
    linear_saved *saved = argument;
    vlm_tensor *x = saved->x, *w = saved->weight;
    size_t m = vlm_tensor_rows(x), k = vlm_tensor_columns(x), n = vlm_tensor_columns(saved->y);
    const float *dy = saved->y->grad;
    if (!dy)
        return; /* nothing that the loss depends on came through here */
    if (x->wants_grad) { /* dx [m, k] = dy [m, n] w [n, k] */
        bool fresh;
        float *dx = vlm_grad_fresh(context, x, &fresh);
        vlm_arena_mark mark = vlm_arena_get_mark(&context->values);
        void *panels = w->packed ? NULL : vlm_pack(context, context->product, w->data, 1, k, k, n);
        if (w->packed)
            vlm_context_fail(context, VLM_ERR_UNSUPPORTED, "a gradient through packed weights; open the model for training");
        if (dx && panels)
            vlm_matmul(context, dx, k, dy, n, 1, context->product, panels, m, k, n, &(vlm_epilogue){.accumulate = !fresh});
        vlm_arena_rewind(&context->values, mark);
    }
    if (w->wants_grad)
        add_weight_gradient(context, w, x, dy, n);
    if (saved->bias && saved->bias->wants_grad)
        add_bias_gradient(context, saved->bias, dy, m, n);
    if (saved->residual && saved->residual->wants_grad) {
        if (!saved->residual->grad) { /* dy is spent: the residual takes it over */
            saved->residual->grad = saved->y->grad;
            saved->y->grad = NULL;
        } else {
            vlm_accumulate(context, saved->residual->grad, dy, m * n);
        }
    }
}

static bool wants_grad(const vlm_tensor *tensor)
{
    return tensor && tensor->wants_grad;
}

vlm_tensor *vlm_op_linear(vlm_context *context, vlm_tensor *x, const vlm_linear *linear, vlm_activation activation, vlm_tensor *residual)
{
    if (vlm_context_failed(context))
        return NULL;
    vlm_tensor *w = linear->weight, *b = linear->bias;
    size_t m = vlm_tensor_rows(x), k = vlm_tensor_columns(x), n = w->shape[0];
    if (w->shape[1] != k)
        return vlm_context_fail(context, VLM_ERR_MISMATCH, "%s: multiplies %zu values, is given %zu", w->name ? w->name : "linear", w->shape[1], k);
    bool record = vlm_recording(context);
    if (record && activation != VLM_ACT_NONE) { /* the backward pass needs what went into the activation */
        vlm_tensor *before = vlm_op_linear(context, x, linear, VLM_ACT_NONE, NULL);
        vlm_tensor *after = vlm_op_activate(context, before, activation);
        return residual ? vlm_op_add(context, after, residual) : after;
    }
    vlm_tensor *y = residual && !record ? residual : vlm_context_matrix(context, m, n);
    vlm_scope scope = vlm_scope_open(context);
    const void *panels = w->data;
    vlm_arena_mark mark = vlm_arena_get_mark(&context->values);
    if (!w->packed)
        panels = vlm_pack(context, context->product, w->data, k, 1, n, k);
    if (vlm_context_failed(context))
        return NULL;
    vlm_epilogue epilogue = {.bias = b ? b->data : NULL, .activation = activation,
                             .residual = residual ? residual->data : NULL, .ld_residual = n};
    vlm_matmul(context, y->data, n, x->data, k, 1, w->packed ? w->type : context->product, panels, m, n, k, &epilogue);
    if (record) {
        vlm_arena_rewind(&context->values, mark);
        y->wants_grad = x->wants_grad || w->wants_grad || wants_grad(b) || wants_grad(residual);
        linear_saved saved = {x, y, w, b, residual};
        if (y->wants_grad)
            vlm_context_record(context, linear_backward, &saved, sizeof saved);
    }
    vlm_scope_close(context, scope);
    return vlm_context_failed(context) ? NULL : y;
}
