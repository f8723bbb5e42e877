/* Elementwise ops: activations and sums, forward and backward. x [any shape] -> y of the same shape. */
#include "layers/ops.h"

enum { BLOCK = 1 << 14 }; /* values a task: 64 KiB, the first cache and a bit */

typedef struct elementwise_job {
    const vlm_kernels *kernels;
    float *y;
    const float *a, *b;
    vlm_activation kind;
} elementwise_job;

static void activate_range(void *argument, size_t first, size_t last, size_t thread)
{
    (void)thread;
    const elementwise_job *job = argument;
    job->kernels->activate(job->y + first, job->a + first, last - first, job->kind);
}

static void activate_backward_range(void *argument, size_t first, size_t last, size_t thread)
{
    (void)thread;
    const elementwise_job *job = argument;
    job->kernels->activate_backward(job->y + first, job->a + first, job->b + first, last - first, job->kind);
}

static void add_range(void *argument, size_t first, size_t last, size_t thread)
{
    (void)thread;
    const elementwise_job *job = argument;
    job->kernels->add(job->y + first, job->a + first, job->b + first, last - first);
}

void vlm_accumulate(vlm_context *context, float *sum, const float *x, size_t n)
{
    elementwise_job job = {context->kernels, sum, sum, x, VLM_ACT_NONE};
    vlm_parallel(context, n, BLOCK, add_range, &job);
}

typedef struct activate_saved {
    vlm_tensor *x, *y;
    vlm_activation kind;
} activate_saved;

static void activate_backward(vlm_context *context, void *argument)
{
    activate_saved *saved = argument;
    if (!saved->y->grad)
        return;
    float *dx = vlm_grad_zeroed(context, saved->x);
    elementwise_job job = {context->kernels, dx, saved->x->data, saved->y->grad, saved->kind};
    if (dx)
        vlm_parallel(context, vlm_tensor_count(saved->x), BLOCK, activate_backward_range, &job);
}

vlm_tensor *vlm_op_activate(vlm_context *context, vlm_tensor *x, vlm_activation kind)
{
    if (vlm_context_failed(context) || kind == VLM_ACT_NONE)
        return vlm_context_failed(context) ? NULL : x;
    vlm_tensor *y = vlm_context_tensor(context, x->n_dims, x->shape);
    if (vlm_context_idle(context))
        return y;
    elementwise_job job = {context->kernels, y->data, x->data, NULL, kind};
    vlm_parallel(context, vlm_tensor_count(x), BLOCK, activate_range, &job);
    if (vlm_recording(context) && x->wants_grad) {
        y->wants_grad = true;
        vlm_context_record(context, activate_backward, &(activate_saved){x, y, kind}, sizeof(activate_saved));
    }
    return y;
}

typedef struct add_saved {
    vlm_tensor *a, *b, *y;
} add_saved;

static void add_backward(vlm_context *context, void *argument)
{
    add_saved *saved = argument;
    vlm_tensor *inputs[2] = {saved->a, saved->b};
    for (int i = 0; i < 2 && saved->y->grad; i++) {
        if (!inputs[i]->wants_grad)
            continue;
        float *grad = vlm_grad_zeroed(context, inputs[i]);
        if (grad)
            vlm_accumulate(context, grad, saved->y->grad, vlm_tensor_count(saved->y));
    }
}

vlm_tensor *vlm_op_add(vlm_context *context, vlm_tensor *a, vlm_tensor *b)
{
    if (vlm_context_failed(context))
        return NULL;
    if (vlm_tensor_count(a) != vlm_tensor_count(b))
        return vlm_context_fail(context, VLM_ERR_MISMATCH, "a sum of %zu and %zu values", vlm_tensor_count(a), vlm_tensor_count(b));
    vlm_tensor *y = vlm_context_tensor(context, a->n_dims, a->shape);
    if (vlm_context_idle(context))
        return y;
    elementwise_job job = {context->kernels, y->data, a->data, b->data, VLM_ACT_NONE};
    vlm_parallel(context, vlm_tensor_count(a), BLOCK, add_range, &job);
    if (vlm_recording(context) && (a->wants_grad || b->wants_grad)) {
        y->wants_grad = true;
        vlm_context_record(context, add_backward, &(add_saved){a, b, y}, sizeof(add_saved));
    }
    return y;
}

static void multiply_range(void *argument, size_t first, size_t last, size_t thread)
{
    (void)thread;
    const elementwise_job *job = argument;
    job->kernels->multiply(job->y + first, job->a + first, job->b + first, last - first);
}

vlm_tensor *vlm_op_gate(vlm_context *context, vlm_tensor *a, vlm_tensor *b)
{
    if (vlm_context_failed(context))
        return NULL;
    if (vlm_tensor_count(a) != vlm_tensor_count(b))
        return vlm_context_fail(context, VLM_ERR_MISMATCH, "a product of %zu and %zu values", vlm_tensor_count(a), vlm_tensor_count(b));
    if (vlm_recording(context))
        return vlm_context_fail(context, VLM_ERR_UNSUPPORTED, "training through a gated MLP is not supported");
    if (vlm_context_idle(context))
        return a;
    elementwise_job job = {context->kernels, a->data, a->data, b->data, VLM_ACT_NONE};
    vlm_parallel(context, vlm_tensor_count(a), BLOCK, multiply_range, &job);
    return a;
}
