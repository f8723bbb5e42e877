/* What a forward pass runs in: kernels, threads, the arena of its activations, and the tape when it trains.
 *
 * An op that fails marks the context (the first error is kept) and every later op does nothing and returns
 * NULL, so that a model's forward pass reads like its paper and is checked once, at its end.
 *
 * A pass runs in one of three ways, chosen before it starts:
 *   computing  activations live in the arena; a scope frees what a block made; nothing else is allocated
 *   measuring  the same calls with no data: finds how large the arena must be
 *   recording  every op also notes its backward function on the tape; scopes free nothing */
#ifndef VLM_LAYERS_CONTEXT_H
#define VLM_LAYERS_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/tensor.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "vlm/error.h"

typedef struct vlm_context vlm_context;

/* Called in reverse order by vlm_context_backward with what the op saved. Adds to the gradients of its inputs. */
typedef void vlm_backward_function(vlm_context *context, void *saved);

typedef struct vlm_tape_entry {
    struct vlm_tape_entry *before;
    vlm_backward_function *backward;
    void *saved;
} vlm_tape_entry;

typedef enum vlm_pass { VLM_PASS_COMPUTE, VLM_PASS_MEASURE, VLM_PASS_RECORD } vlm_pass;

struct vlm_context {
    const vlm_kernels *kernels;
    vlm_threads *threads; /* borrowed */
    vlm_pass pass;
    vlm_dtype product; /* what trained matrices are multiplied in: VLM_F32, or VLM_BF16 with float32 sums */
    vlm_error error; /* the first one; VLM_OK while all is well */
    void (*trace)(void *user, const char *name, const size_t *shape, size_t n_dims, const float *values);
    void *trace_user;

    vlm_arena values;  /* activations and scratch */
    vlm_arena headers; /* tensor structs and the tape */
    size_t measured, measured_peak;
    vlm_tape_entry *tape; /* the last op recorded */
};

typedef struct vlm_scope {
    vlm_arena_mark mark;
    size_t measured;
} vlm_scope;

void vlm_context_init(vlm_context *context, vlm_threads *threads);
void vlm_context_free(vlm_context *context);

/* Begin a pass: forget the last one's tensors and tape and clear the error. */
void vlm_context_begin(vlm_context *context, vlm_pass pass);
/* After a measuring pass: make the arena hold what it found, in one block. */
bool vlm_context_reserve(vlm_context *context);
/* Run the tape backwards from `loss` [1], whose gradient is set to `seed`. Gradients of parameters are added
 * to what they hold. */
void vlm_context_backward(vlm_context *context, vlm_tensor *loss, float seed);

static inline bool vlm_context_failed(const vlm_context *context)
{
    return context->error.status != VLM_OK;
}
/* True where an op has nothing to compute: the context failed or only measures. */
static inline bool vlm_context_idle(const vlm_context *context)
{
    return vlm_context_failed(context) || context->pass == VLM_PASS_MEASURE;
}
/* Mark the context failed, unless it already is; returns NULL for `return vlm_context_fail(...)`. */
void *vlm_context_fail(vlm_context *context, vlm_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* What a block allocates between open and close is free again after close, but for a recording pass. */
vlm_scope vlm_scope_open(vlm_context *context);
void vlm_scope_close(vlm_context *context, vlm_scope scope);

/* count floats of the pass (bytes for _bytes); NULL when measuring or failed. Not cleared. */
float *vlm_context_floats(vlm_context *context, size_t count);
void *vlm_context_bytes(vlm_context *context, size_t bytes);
/* A float32 activation; its data is not cleared. NULL when the context has failed. */
vlm_tensor *vlm_context_tensor(vlm_context *context, size_t n_dims, const size_t *shape);
vlm_tensor *vlm_context_matrix(vlm_context *context, size_t rows, size_t columns);

/* True when y, computed from inputs of which some want gradients, must be recorded. */
static inline bool vlm_recording(const vlm_context *context)
{
    return context->pass == VLM_PASS_RECORD && !vlm_context_failed(context);
}
/* Note an op on the tape; `saved` [size] is copied. */
void vlm_context_record(vlm_context *context, vlm_backward_function *backward, const void *saved, size_t size);

/* The gradient of a tensor, made on first use: zeros for _zeroed; for _fresh *fresh says that it holds
 * nothing yet and must be written, not added to. NULL when the context fails. */
float *vlm_grad_zeroed(vlm_context *context, vlm_tensor *tensor);
float *vlm_grad_fresh(vlm_context *context, vlm_tensor *tensor, bool *fresh);

/* Hand a finished stage to the trace callback. Does nothing without one. */
void vlm_context_trace(vlm_context *context, const char *name, const vlm_tensor *tensor);

/* Cut [0, n) into blocks of `block` and run body(argument, first, last, thread) over them in the pool. */
typedef void vlm_range_function(void *argument, size_t first, size_t last, size_t thread);
void vlm_parallel(vlm_context *context, size_t n, size_t block, vlm_range_function *body, void *argument);

#endif
