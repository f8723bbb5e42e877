/* Norms by rows, forward and backward. x [rows, n] -> y [rows, n].
 * LayerNorm (Ba et al. 2016, torch.nn.LayerNorm), RMSNorm (Zhang and Sennrich 2019), and unit length.
 * Trap: gradients of gain and bias are sums over rows: rows are cut into blocks of fixed size, and the
 * blocks' sums are added in order, so that the bits do not depend on the number of threads. */
#include <math.h>
#include <string.h>

#include "layers/ops.h"

enum { ROWS = 32 };        /* rows a task */
enum { ROWS_BACKWARD = 128 };

typedef struct norm_job {
    const vlm_kernels *kernels;
    const vlm_norm *norm;
    const float *x, *dy;
    float *y, *mean, *rstd, *dx, *partial;
    size_t n;
} norm_job;

static void norm_range(void *argument, size_t first, size_t last, size_t thread)
{
    (void)thread;
    const norm_job *job = argument;
    const vlm_norm *norm = job->norm;
    const float *x = job->x + first * job->n;
    float *y = job->y + first * job->n;
    if (norm->bias)
        job->kernels->layernorm(y, x, norm->gain->data, norm->bias->data, norm->eps, last - first, job->n,
                                job->mean ? job->mean + first : NULL, job->rstd ? job->rstd + first : NULL);
    else
        job->kernels->rmsnorm(y, x, norm->gain->data, norm->eps, last - first, job->n);
}

typedef struct norm_saved {
    vlm_norm norm;
    vlm_tensor *x, *y;
    float *mean, *rstd;
} norm_saved;

/* A task's gradients of gain and bias go to its own row pair of `partial` [blocks, 2, n]. */
static void norm_backward_range(void *argument, size_t first, size_t last, size_t thread)
{
    (void)thread;
    const norm_job *job = argument;
    float *partial = job->partial ? job->partial + first / ROWS_BACKWARD * 2 * job->n : NULL;
    if (partial)
        memset(partial, 0, 2 * job->n * sizeof *partial);
    size_t at = first * job->n;
    job->kernels->layernorm_backward(job->dx ? job->dx + at : NULL, partial, partial ? partial + job->n : NULL, job->dy + at,
                                     job->x + at, job->norm->gain->data, job->mean + first, job->rstd + first, last - first, job->n);
}

static void norm_backward(vlm_context *context, void *argument)
{
    norm_saved *saved = argument;
    if (!saved->y->grad)
        return;
    size_t n = vlm_tensor_columns(saved->x), rows = vlm_tensor_rows(saved->x), blocks = (rows + ROWS_BACKWARD - 1) / ROWS_BACKWARD;
    bool trained = saved->norm.gain->wants_grad;
    float *dx = saved->x->wants_grad ? vlm_grad_zeroed(context, saved->x) : NULL;
    float *dgain = trained ? vlm_grad_zeroed(context, saved->norm.gain) : NULL;
    float *dbias = trained ? vlm_grad_zeroed(context, saved->norm.bias) : NULL;
    vlm_arena_mark mark = vlm_arena_get_mark(&context->values);
    float *partial = trained ? vlm_context_floats(context, blocks * 2 * n) : NULL;
    if (vlm_context_failed(context))
        return;
    norm_job job = {.kernels = context->kernels, .norm = &saved->norm, .x = saved->x->data, .dy = saved->y->grad,
                    .mean = saved->mean, .rstd = saved->rstd, .dx = dx, .partial = partial, .n = n};
    vlm_parallel(context, rows, ROWS_BACKWARD, norm_backward_range, &job);
    for (size_t i = 0; trained && i < blocks; i++) {
        context->kernels->add(dgain, dgain, partial + 2 * i * n, n);
        context->kernels->add(dbias, dbias, partial + (2 * i + 1) * n, n);
    }
    vlm_arena_rewind(&context->values, mark);
}

vlm_tensor *vlm_op_norm(vlm_context *context, vlm_tensor *x, const vlm_norm *norm)
{
    if (vlm_context_failed(context))
        return NULL;
    size_t n = vlm_tensor_columns(x), rows = vlm_tensor_rows(x);
    if (norm->gain->shape[0] != n)
        return vlm_context_fail(context, VLM_ERR_MISMATCH, "%s: norm of %zu values, is given %zu", norm->gain->name, norm->gain->shape[0], n);
    bool record = vlm_recording(context) && (x->wants_grad || norm->gain->wants_grad);
    if (record && !norm->bias)
        return vlm_context_fail(context, VLM_ERR_UNSUPPORTED, "training through RMSNorm is not supported");
    vlm_tensor *y = vlm_context_tensor(context, x->n_dims, x->shape);
    float *statistics = record ? vlm_context_floats(context, 2 * rows) : NULL;
    if (vlm_context_idle(context))
        return y;
    norm_job job = {.kernels = context->kernels, .norm = norm, .x = x->data, .y = y->data, .mean = statistics,
                    .rstd = statistics ? statistics + rows : NULL, .n = n};
    vlm_parallel(context, rows, ROWS, norm_range, &job);
    if (record) {
        y->wants_grad = true;
        norm_saved saved = {*norm, x, y, job.mean, job.rstd};
        vlm_context_record(context, norm_backward, &saved, sizeof saved);
    }
    return y;
}

typedef struct unit_saved {
    vlm_tensor *x, *y;
    float *length;
} unit_saved;

/* dx += (dy - y (y . dy)) / |x| */
static void unit_backward(vlm_context *context, void *argument)
{
    unit_saved *saved = argument;
    if (!saved->y->grad)
        return;
    float *dx = vlm_grad_zeroed(context, saved->x);
    size_t n = vlm_tensor_columns(saved->x), rows = vlm_tensor_rows(saved->x);
    for (size_t i = 0; dx && i < rows; i++) {
        const float *y = vlm_tensor_floats(saved->y) + i * n, *dy = saved->y->grad + i * n;
        float along = context->kernels->dot(y, dy, n), inverse = saved->length[i] > 0 ? 1 / saved->length[i] : 0;
        context->kernels->axpy(dx + i * n, inverse, dy, n);
        context->kernels->axpy(dx + i * n, -inverse * along, y, n);
    }
}

vlm_tensor *vlm_op_unit(vlm_context *context, vlm_tensor *x)
{
    if (vlm_context_failed(context))
        return NULL;
    size_t n = vlm_tensor_columns(x), rows = vlm_tensor_rows(x);
    vlm_tensor *y = vlm_context_tensor(context, x->n_dims, x->shape);
    float *length = vlm_context_floats(context, rows);
    if (vlm_context_idle(context))
        return y;
    for (size_t i = 0; i < rows; i++) {
        const float *row = vlm_tensor_floats(x) + i * n;
        float *out = vlm_tensor_floats(y) + i * n;
        length[i] = (float)sqrt(context->kernels->sum_squares(row, n));
        memcpy(out, row, n * sizeof *out);
        context->kernels->scale(out, length[i] > 0 ? 1 / length[i] : 0, n);
    }
    if (vlm_recording(context) && x->wants_grad) {
        y->wants_grad = true;
        vlm_context_record(context, unit_backward, &(unit_saved){x, y, length}, sizeof(unit_saved));
    }
    return y;
}
