/* Ops: what models are written in. Each keeps its forward and its backward side by side in its file.
 *
 * All take the context first and return a new activation (or NULL once the context has failed). Rows of
 * several sequences stand one after the other without padding; vlm_spans says where each begins.
 * Parameters are tensors too; a parameter whose wants_grad is set gets its gradient from the tape. */
#ifndef VLM_LAYERS_OPS_H
#define VLM_LAYERS_OPS_H

#include "layers/cache.h"
#include "layers/context.h"

/* n sequences in one matrix: sequence i has the rows starts[i] .. starts[i + 1] - 1. */
typedef struct vlm_spans {
    size_t n;
    const size_t *starts; /* [n + 1] */
} vlm_spans;

typedef struct vlm_linear {
    vlm_tensor *weight; /* [n, k] */
    vlm_tensor *bias;   /* [n] or NULL */
} vlm_linear;

typedef struct vlm_norm {
    vlm_tensor *gain, *bias; /* [n]; bias NULL: RMSNorm */
    float eps;
} vlm_norm;

/* matmul.c: the one way to multiply; used by linear and attention.
 * y[m, n] = x[m, k] * w^T + epilogue, split over the pool. x has strides x_row and x_k. */
void vlm_matmul(vlm_context *context, float *y, size_t ldy, const float *x, size_t x_row, size_t x_k, vlm_dtype type,
                const void *panels, size_t m, size_t n, size_t k, const vlm_epilogue *epilogue);
/* Pack a float32 matrix of the pass (or a trained parameter) into panels of `type` in the pass's memory; value
 * (i, j) stands at w[i * row_stride + j * k_stride]. NULL when the context fails. */
void *vlm_pack(vlm_context *context, vlm_dtype type, const float *w, size_t row_stride, size_t k_stride, size_t n, size_t k);
/* Bytes of n rows of k values packed as `type`. */
size_t vlm_packed_bytes(const vlm_kernels *kernels, vlm_dtype type, size_t n, size_t k);

/* linear.c: x [rows, k] -> activation(x w^T + bias) + residual, [rows, n]. residual [rows, n] or NULL; when
 * not recording the result is written into the residual, which is returned. */
vlm_tensor *vlm_op_linear(vlm_context *context, vlm_tensor *x, const vlm_linear *linear, vlm_activation activation, vlm_tensor *residual);

/* norm.c: by rows. */
vlm_tensor *vlm_op_norm(vlm_context *context, vlm_tensor *x, const vlm_norm *norm);
/* Rows to unit length; a row of zeros stays zero. */
vlm_tensor *vlm_op_unit(vlm_context *context, vlm_tensor *x);

/* activation.c */
/* sum [n] += x [n], over the pool. */
void vlm_accumulate(vlm_context *context, float *sum, const float *x, size_t n);
vlm_tensor *vlm_op_activate(vlm_context *context, vlm_tensor *x, vlm_activation kind);
vlm_tensor *vlm_op_add(vlm_context *context, vlm_tensor *a, vlm_tensor *b);
/* a * b, elementwise, into a (gated MLPs); inference alone. */
vlm_tensor *vlm_op_gate(vlm_context *context, vlm_tensor *a, vlm_tensor *b);

/* attention.c: qkv [rows, 3 * width] -> [rows, width], each sequence by itself, n_heads heads of
 * width / n_heads, scores scaled by its inverse root. causal: a row sees itself and the rows before it. */
vlm_tensor *vlm_op_attention(vlm_context *context, vlm_tensor *qkv, vlm_spans spans, size_t n_heads, bool causal);
/* The same for one row of each sequence, rows [spans.n], which must live as long as the pass -> [spans.n, width];
 * NULL: all of them. */
vlm_tensor *vlm_op_attention_of(vlm_context *context, vlm_tensor *qkv, vlm_spans spans, const size_t *rows, size_t n_heads, bool causal);
/* The same with queries q [q rows, width] and keys and values kv [kv rows, 2 * width] from different rows. */
vlm_tensor *vlm_op_cross_attention(vlm_context *context, vlm_tensor *q, vlm_spans q_spans, vlm_tensor *kv, vlm_spans kv_spans, size_t n_heads);

/* cached_attention.c: inference alone. */
typedef float vlm_score_bias(const void *user, size_t head, size_t query_position, size_t key_position);
typedef struct vlm_attention {
    size_t n_heads, head; /* of the queries; the cache's width says how many heads keys and values have */
    float scale;          /* of the scores */
    bool causal;          /* a row sees itself and what came before; else all of its sequence */
    bool cross;           /* the cache holds another sequence (an encoder's): the new rows are not in it */
    size_t window;        /* keys that a row sees at most, itself included; 0: all */
    vlm_score_bias *bias; /* added to the scaled scores (T5); NULL: none */
    const void *bias_user;
} vlm_attention;
/* Append the new rows' keys and values, kv[:, key_column ...] and kv[:, value_column ...], of cache->width numbers
 * each, behind what slot slots[i] of sequence i holds. The lengths are raised by the caller when all layers are through;
 * until then attention counts the new rows as stored. */
void vlm_op_cache_store(vlm_context *context, vlm_tensor *kv, size_t key_column, size_t value_column, vlm_spans spans, const size_t *slots, vlm_kv_cache *cache, size_t layer);
/* Queries q[:, q_column ...] [rows, n_heads * head] over the cache -> [rows, n_heads * head]. */
vlm_tensor *vlm_op_cached_attention(vlm_context *context, vlm_tensor *q, size_t q_column, vlm_spans spans, const size_t *slots, const vlm_kv_cache *cache, size_t layer, const vlm_attention *how);

/* rope.c */
typedef struct vlm_rope {
    size_t half;              /* pairs of a head that are turned */
    const float *frequencies; /* [half]; NULL: no rotary positions */
    float scale;              /* of cosine and sine; 1 but for some long-context configs */
} vlm_rope;
/* Turn n_heads heads of x, from `column` on, in place; row 0 of sequence i stands at positions[i]. */
vlm_tensor *vlm_op_rope(vlm_context *context, vlm_tensor *x, size_t column, size_t n_heads, size_t head, vlm_spans spans, const size_t *positions, const vlm_rope *rope);

/* embed.c */
/* pixels [n, 3, height, width] -> patches [n * (height / patch) * (width / patch), 3 * patch * patch], in the
 * order of the convolution's weight (channel, row, column). What is left at the right and below is dropped. */
vlm_tensor *vlm_op_patches(vlm_context *context, const float *pixels, size_t n, size_t height, size_t width, size_t patch);
/* patches [n * p, width] -> [n * (p + 1), width]: the class token [width] (NULL: none, then n * p rows)
 * before each picture's patches, the positions [p + 1 or p, width] added (NULL: none). */
vlm_tensor *vlm_op_assemble(vlm_context *context, vlm_tensor *patches, size_t n, vlm_tensor *class_token, vlm_tensor *positions);
/* Row ids[i] of tokens [vocabulary, width] plus row (i - its sequence's start + offset) of positions
 * [length, width] (NULL: none). An id out of range fails the context. */
vlm_tensor *vlm_op_embed(vlm_context *context, const int32_t *ids, vlm_spans spans, vlm_tensor *tokens, vlm_tensor *positions, size_t offset);
/* Rows index[0..n) of x. */
vlm_tensor *vlm_op_gather(vlm_context *context, vlm_tensor *x, const size_t *index, size_t n);
/* Row i of the result is row order[i] of a with b's rows behind it: the inverse of two gathers. */
vlm_tensor *vlm_op_merge(vlm_context *context, vlm_tensor *a, vlm_tensor *b, const size_t *order, size_t n);
/* The mean of each sequence's rows: [spans.n, width]. */
vlm_tensor *vlm_op_mean(vlm_context *context, vlm_tensor *x, vlm_spans spans);

/* loss.c */
/* The contrastive loss of CLIP: unit vectors images [b, d] and texts [t, d], t >= b, log_scale [1].
 * logits = exp(log_scale) images texts^T; the mean of two cross-entropies (pictures over all texts, and the
 * first b texts over all pictures) -> [1]. group [t] (NULL: all different): a text of the picture's own group
 * is a positive as well: the target is shared evenly among them. Texts past b are further negatives for the
 * pictures alone. Equal to open_clip's ClipLoss when t == b and group is NULL. */
vlm_tensor *vlm_op_contrastive_loss(vlm_context *context, vlm_tensor *images, vlm_tensor *texts, vlm_tensor *log_scale, const int32_t *group);
/* Mean cross-entropy of logits [rows, n] against targets [rows], smoothed by `smoothing` as PyTorch does;
 * a target of -100 is left out -> [1]. */
vlm_tensor *vlm_op_cross_entropy(vlm_context *context, vlm_tensor *logits, const int32_t *targets, float smoothing);

#endif
