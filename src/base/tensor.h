/* A tensor knows its type, its shape and who owns its bytes. Row-major; the last size is contiguous. */
#ifndef VLM_BASE_TENSOR_H
#define VLM_BASE_TENSOR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/dtype.h"

enum { VLM_MAX_DIMS = 4 };

typedef enum vlm_owner {
    VLM_OWNED_BY_FILE,  /* points into a mapping: read-only, maybe unaligned */
    VLM_OWNED_BY_MODEL, /* in the model's arena: lives until the model closes */
    VLM_OWNED_BY_PASS   /* in a context's arena: gone at the next pass */
} vlm_owner;

typedef struct vlm_tensor {
    vlm_dtype type;
    vlm_owner owner;
    bool packed;     /* a matrix [n, k] in panels, as kernels->matmul[type] packs it; else plain rows */
    bool wants_grad; /* a trained parameter, or computed from one */
    size_t n_dims, shape[VLM_MAX_DIMS];
    void *data;       /* NULL while a context only measures */
    float *grad;      /* as data, float32; NULL until the backward pass first needs it */
    const char *name; /* of a parameter, as errors and the structure call it; NULL for activations */
} vlm_tensor;

static inline size_t vlm_tensor_count(const vlm_tensor *tensor)
{
    size_t n = 1;
    for (size_t i = 0; i < tensor->n_dims; i++)
        n *= tensor->shape[i];
    return n;
}

/* Rows of a tensor seen as a matrix: all sizes but the last. */
static inline size_t vlm_tensor_rows(const vlm_tensor *tensor)
{
    size_t n = 1;
    for (size_t i = 0; i + 1 < tensor->n_dims; i++)
        n *= tensor->shape[i];
    return n;
}

static inline size_t vlm_tensor_columns(const vlm_tensor *tensor)
{
    return tensor->n_dims ? tensor->shape[tensor->n_dims - 1] : 1;
}

static inline float *vlm_tensor_floats(const vlm_tensor *tensor)
{
    return (float *)tensor->data;
}

#endif
