/* The context of a pass: memory, tape, first error. See context.h for the three ways a pass runs. */
#include "layers/context.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"

void vlm_context_init(vlm_context *context, vlm_threads *threads)
{
    *context = (vlm_context){.kernels = vlm_kernels_get(), .threads = threads};
}

void vlm_context_free(vlm_context *context)
{
    vlm_arena_free(&context->values);
    vlm_arena_free(&context->headers);
}

void vlm_context_begin(vlm_context *context, vlm_pass pass)
{
    context->pass = pass;
    context->error = (vlm_error){0};
    context->tape = NULL;
    context->measured = context->measured_peak = 0;
    vlm_arena_rewind(&context->values, (vlm_arena_mark){0});
    vlm_arena_rewind(&context->headers, (vlm_arena_mark){0});
}

bool vlm_context_reserve(vlm_context *context)
{
    size_t wanted = context->measured_peak;
    vlm_arena_rewind(&context->values, (vlm_arena_mark){0});
    if (vlm_arena_reserve(&context->values, wanted))
        return true;
    vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: %zu bytes wanted for activations; try fewer inputs at once", wanted);
    return false;
}

void *vlm_context_fail(vlm_context *context, vlm_status status, const char *format, ...)
{
    if (vlm_context_failed(context))
        return NULL;
    char message[sizeof context->error.message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    vlm_fail(&context->error, status, "%s", message);
    return NULL;
}

vlm_scope vlm_scope_open(vlm_context *context)
{
    return (vlm_scope){vlm_arena_get_mark(&context->values), context->measured};
}

void vlm_scope_close(vlm_context *context, vlm_scope scope)
{
    if (context->pass == VLM_PASS_RECORD)
        return;
    context->measured = scope.measured;
    if (context->pass == VLM_PASS_COMPUTE)
        vlm_arena_rewind(&context->values, scope.mark);
}

void *vlm_context_bytes(vlm_context *context, size_t bytes)
{
    if (vlm_context_failed(context))
        return NULL;
    if (context->pass == VLM_PASS_MEASURE) {
        if (bytes > (size_t)1 << 46) /* more than any machine has: a config's sizes must not wrap the sum */
            return vlm_context_fail(context, VLM_ERR_LIMIT, "an activation of %zu bytes is wanted; are the config's sizes right?", bytes);
        context->measured += (bytes + VLM_ALIGNMENT - 1) / VLM_ALIGNMENT * VLM_ALIGNMENT + (bytes ? 0 : VLM_ALIGNMENT);
        if (context->measured > context->measured_peak)
            context->measured_peak = context->measured;
        return NULL;
    }
    void *block = vlm_arena_alloc(&context->values, bytes, 1);
    if (!block)
        vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: %zu bytes wanted for an activation; try fewer inputs at once", bytes);
    return block;
}

float *vlm_context_floats(vlm_context *context, size_t count)
{
    size_t bytes;
    if (!vlm_multiply(count, sizeof(float), &bytes))
        return vlm_context_fail(context, VLM_ERR_LIMIT, "an activation of %zu numbers does not fit in memory", count);
    return vlm_context_bytes(context, bytes);
}

vlm_tensor *vlm_context_tensor(vlm_context *context, size_t n_dims, const size_t *shape)
{
    if (vlm_context_failed(context))
        return NULL;
    vlm_tensor *tensor = vlm_arena_alloc_zero(&context->headers, 1, sizeof *tensor);
    if (!tensor)
        return vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: a tensor's header");
    size_t count = 1;
    for (size_t i = 0; i < n_dims; i++)
        if (!vlm_multiply(count, shape[i], &count))
            return vlm_context_fail(context, VLM_ERR_LIMIT, "an activation's shape is beyond memory; are the config's sizes right?");
    tensor->type = VLM_F32;
    tensor->owner = VLM_OWNED_BY_PASS;
    tensor->n_dims = n_dims;
    memcpy(tensor->shape, shape, n_dims * sizeof *shape);
    tensor->data = vlm_context_floats(context, count);
    return vlm_context_failed(context) ? NULL : tensor;
}

vlm_tensor *vlm_context_matrix(vlm_context *context, size_t rows, size_t columns)
{
    return vlm_context_tensor(context, 2, (size_t[]){rows, columns});
}

void vlm_context_record(vlm_context *context, vlm_backward_function *backward, const void *saved, size_t size)
{
    vlm_tape_entry *entry = vlm_arena_alloc(&context->headers, 1, sizeof *entry);
    void *copy = vlm_arena_alloc(&context->headers, size, 1);
    if (!entry || !copy) {
        vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: the tape");
        return;
    }
    memcpy(copy, saved, size);
    *entry = (vlm_tape_entry){context->tape, backward, copy};
    context->tape = entry;
}

float *vlm_grad_fresh(vlm_context *context, vlm_tensor *tensor, bool *fresh)
{
    *fresh = !tensor->grad;
    if (!tensor->grad)
        tensor->grad = vlm_context_floats(context, vlm_tensor_count(tensor));
    return tensor->grad;
}

static void clear_range(void *argument, size_t first, size_t last, size_t thread)
{
    (void)thread;
    memset((float *)argument + first, 0, (last - first) * sizeof(float));
}

float *vlm_grad_zeroed(vlm_context *context, vlm_tensor *tensor)
{
    bool fresh;
    float *grad = vlm_grad_fresh(context, tensor, &fresh);
    if (grad && fresh)
        vlm_parallel(context, vlm_tensor_count(tensor), 1 << 16, clear_range, grad);
    return grad;
}

void vlm_context_backward(vlm_context *context, vlm_tensor *loss, float seed)
{
    if (vlm_context_failed(context))
        return;
    float *grad = vlm_grad_zeroed(context, loss);
    if (!grad)
        return;
    grad[0] = seed;
    for (vlm_tape_entry *entry = context->tape; entry && !vlm_context_failed(context); entry = entry->before)
        entry->backward(context, entry->saved);
}

void vlm_context_trace(vlm_context *context, const char *name, const vlm_tensor *tensor)
{
    if (context->trace && !vlm_context_idle(context))
        context->trace(context->trace_user, name, tensor->shape, tensor->n_dims, tensor->data);
}

typedef struct range_job {
    size_t n, block;
    vlm_range_function *body;
    void *argument;
} range_job;

static void run_range(void *argument, size_t index, size_t thread)
{
    const range_job *job = argument;
    size_t first = index * job->block, last = first + job->block;
    job->body(job->argument, first, last < job->n ? last : job->n, thread);
}

void vlm_parallel(vlm_context *context, size_t n, size_t block, vlm_range_function *body, void *argument)
{
    if (!n)
        return;
    range_job job = {n, block ? block : 1, body, argument};
    vlm_threads_run(context->threads, (n + job.block - 1) / job.block, run_range, &job);
}
