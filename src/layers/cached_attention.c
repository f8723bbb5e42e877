/* Attention over a key/value cache: what language models do, token by token and prompt by prompt.
 * q [rows, n_heads * head] of several sequences -> [rows, n_heads * head]; keys and values of each sequence lie in
 * its slot of the cache. Grouped heads (Ainslie et al. 2023): n_heads / n_kv_heads queries share a key.
 * Matches the eager attention of OPT, Llama, Mistral, GPT-2 and T5 (with its bias on the scores).
 * Trap: one new token is a chain of dot products bound by memory; many are two matrix products. The two ways
 * round differently in the last bits, so which is taken depends on the sequence's own rows alone. */
#include <math.h>
#include <string.h>

#include "layers/cache.h"
#include "layers/ops.h"

enum { QUERY_BLOCK = 64, FEW_ROWS = 4 };

/* ---- keys and values into the cache --------------------------------------------------------------------- */

static void store_row(const vlm_kernels *kernels, void *out, vlm_dtype type, const float *in, size_t n)
{
    if (type == VLM_F16)
        kernels->f32_to_f16(out, in, n);
    else
        memcpy(out, in, n * sizeof *in);
}

void vlm_op_cache_store(vlm_context *context, vlm_tensor *kv, size_t key_column, size_t value_column, vlm_spans spans, const size_t *slots, vlm_kv_cache *cache, size_t layer)
{
    if (vlm_context_idle(context))
        return;
    size_t stride = vlm_tensor_columns(kv);
    for (size_t s = 0; s < spans.n; s++) {
        size_t n = spans.starts[s + 1] - spans.starts[s], at = cache->lengths[slots[s]];
        if (n > cache->capacity - at) {
            vlm_context_fail(context, VLM_ERR_LIMIT, "%zu tokens do not fit after %zu in a context of %zu", n, at, cache->capacity);
            return;
        }
        for (size_t i = 0; i < n; i++) {
            const float *row = vlm_tensor_floats(kv) + (spans.starts[s] + i) * stride;
            store_row(context->kernels, vlm_kv_cache_key(cache, layer, slots[s], at + i), cache->type, row + key_column, cache->width);
            store_row(context->kernels, vlm_kv_cache_value(cache, layer, slots[s], at + i), cache->type, row + value_column, cache->width);
        }
    }
}

/* ---- attention ------------------------------------------------------------------------------------------ */

typedef struct cached_job {
    const vlm_kernels *kernels;
    const float *q;
    size_t q_stride, q_column;
    float *out;
    vlm_spans spans;
    const size_t *slots;
    const vlm_kv_cache *cache;
    size_t layer;
    const vlm_attention *how;
    size_t kv_heads, group; /* queries a key */
    char *scratch;
    size_t scratch_bytes;
} cached_job;

/* Keys that a sequence's rows may see at most. */
static size_t count_keys(const cached_job *job, size_t s)
{
    size_t kept = job->cache->lengths[job->slots[s]];
    return job->how->cross ? kept : kept + job->spans.starts[s + 1] - job->spans.starts[s];
}

/* Scores of one row -> probabilities over [first, seen); what lies outside becomes 0. */
static void finish_scores(const cached_job *job, float *scores, size_t n_keys, size_t head, size_t position)
{
    size_t seen = job->how->causal ? position + 1 : n_keys, first = 0;
    if (job->how->window && seen > job->how->window)
        first = seen - job->how->window;
    float scale = job->how->scale;
    if (job->how->bias) {
        job->kernels->scale(scores, scale, n_keys);
        for (size_t j = first; j < seen; j++)
            scores[j] += job->how->bias(job->how->bias_user, head, position, j);
        scale = 1;
    }
    memset(scores, 0, first * sizeof *scores);
    memset(scores + seen, 0, (n_keys - seen) * sizeof *scores);
    job->kernels->softmax(scores + first, 1, seen - first, seen - first, scale);
}

/* Rows of the cache as float32: in place, or widened into `wide`. */
static const float *read_rows(const cached_job *job, const void *rows, size_t column, size_t count, size_t *stride, float *wide)
{
    size_t head = job->how->head;
    if (job->cache->type == VLM_F32) {
        *stride = job->cache->width;
        return (const float *)rows + column;
    }
    for (size_t i = 0; i < count; i++)
        job->kernels->f16_to_f32(wide + i * head, (const uint16_t *)rows + i * job->cache->width + column, head);
    *stride = head;
    return wide;
}

/* A few rows: each a chain of dot products over the keys and of sums over the values. */
static void attend_few(const cached_job *job, size_t s, size_t kv_head, char *scratch)
{
    size_t n_keys = count_keys(job, s), head = job->how->head, rows = job->spans.starts[s + 1] - job->spans.starts[s], k_stride, v_stride;
    float *scores = (float *)scratch, *wide = scores + n_keys;
    const float *k = read_rows(job, vlm_kv_cache_key(job->cache, job->layer, job->slots[s], 0), kv_head * head, n_keys, &k_stride, wide);
    const float *v = read_rows(job, vlm_kv_cache_value(job->cache, job->layer, job->slots[s], 0), kv_head * head, n_keys, &v_stride, wide + n_keys * head);
    size_t before = job->cache->lengths[job->slots[s]];
    for (size_t i = 0; i < rows; i++)
        for (size_t g = 0; g < job->group; g++) {
            size_t h = kv_head * job->group + g, row = job->spans.starts[s] + i;
            const float *q = job->q + row * job->q_stride + job->q_column + h * head;
            float *out = job->out + row * job->how->n_heads * head + h * head;
            for (size_t j = 0; j < n_keys; j++)
                scores[j] = job->kernels->dot(q, k + j * k_stride, head);
            finish_scores(job, scores, n_keys, h, before + i);
            memset(out, 0, head * sizeof *out);
            for (size_t j = 0; j < n_keys; j++)
                if (scores[j] != 0)
                    job->kernels->axpy(out, scores[j], v + j * v_stride, head);
        }
}

/* Many rows: keys and values are packed once for all queries of the group. */
static void attend_many(const cached_job *job, size_t s, size_t kv_head, char *scratch)
{
    const vlm_matmul_kernel *kernel = &job->kernels->matmul[VLM_F32];
    const vlm_epilogue plain = {0};
    size_t n_keys = count_keys(job, s), head = job->how->head, width = job->cache->width, before = job->cache->lengths[job->slots[s]];
    size_t n_rows = job->spans.starts[s + 1] - job->spans.starts[s];
    char *keys = scratch, *values = keys + vlm_packed_bytes(job->kernels, VLM_F32, n_keys, head);
    float *scores = (float *)(values + vlm_packed_bytes(job->kernels, VLM_F32, head, n_keys));
    size_t size = vlm_dtype_size(job->cache->type);
    kernel->pack(keys, (const char *)vlm_kv_cache_key(job->cache, job->layer, job->slots[s], 0) + kv_head * head * size, job->cache->type, width, 1, n_keys, head);
    kernel->pack(values, (const char *)vlm_kv_cache_value(job->cache, job->layer, job->slots[s], 0) + kv_head * head * size, job->cache->type, 1, width, head, n_keys);
    for (size_t g = 0; g < job->group; g++)
        for (size_t first = 0; first < n_rows; first += QUERY_BLOCK) {
            size_t h = kv_head * job->group + g, rows = n_rows - first < QUERY_BLOCK ? n_rows - first : QUERY_BLOCK, row = job->spans.starts[s] + first;
            size_t out_width = job->how->n_heads * head;
            kernel->multiply(scores, n_keys, job->q + row * job->q_stride + job->q_column + h * head, job->q_stride, 1, keys, rows, n_keys, head, &plain);
            for (size_t i = 0; i < rows; i++)
                finish_scores(job, scores + i * n_keys, n_keys, h, before + first + i);
            kernel->multiply(job->out + row * out_width + h * head, out_width, scores, n_keys, 1, values, rows, head, n_keys, &plain);
        }
}

static void attend_cached(void *argument, size_t index, size_t thread)
{
    const cached_job *job = argument;
    size_t s = index / job->kv_heads, kv_head = index % job->kv_heads;
    char *scratch = job->scratch + thread * job->scratch_bytes;
    if (job->spans.starts[s + 1] - job->spans.starts[s] <= FEW_ROWS)
        attend_few(job, s, kv_head, scratch);
    else
        attend_many(job, s, kv_head, scratch);
}

static size_t round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

vlm_tensor *vlm_op_cached_attention(vlm_context *context, vlm_tensor *q, size_t q_column, vlm_spans spans, const size_t *slots, const vlm_kv_cache *cache, size_t layer, const vlm_attention *how)
{
    if (vlm_context_failed(context))
        return NULL;
    cached_job job = {.kernels = context->kernels, .q = q->data, .q_stride = vlm_tensor_columns(q), .q_column = q_column, .spans = spans, .slots = slots,
                      .cache = cache, .layer = layer, .how = how, .kv_heads = cache->width / how->head};
    job.group = how->n_heads / job.kv_heads;
    vlm_tensor *y = vlm_context_matrix(context, vlm_tensor_rows(q), how->n_heads * how->head);
    vlm_scope scope = vlm_scope_open(context);
    for (size_t s = 0; s < spans.n; s++) {
        size_t keys = count_keys(&job, s), rows = spans.starts[s + 1] - spans.starts[s];
        size_t few = (keys + (cache->type == VLM_F32 ? 0 : 2 * keys * how->head)) * sizeof(float);
        size_t many = vlm_packed_bytes(context->kernels, VLM_F32, keys, how->head) + vlm_packed_bytes(context->kernels, VLM_F32, how->head, keys) +
                      (rows < QUERY_BLOCK ? rows : QUERY_BLOCK) * keys * sizeof(float);
        size_t wanted = round_up(rows <= FEW_ROWS ? few : many);
        job.scratch_bytes = wanted > job.scratch_bytes ? wanted : job.scratch_bytes;
    }
    job.scratch = vlm_context_bytes(context, job.scratch_bytes * vlm_threads_count(context->threads));
    if (!vlm_context_idle(context)) {
        job.out = y->data;
        vlm_threads_run(context->threads, spans.n * job.kv_heads, attend_cached, &job);
    }
    vlm_scope_close(context, scope);
    return vlm_context_failed(context) ? NULL : y;
}
