/* Multi-head attention, forward and backward: softmax(q k^T / sqrt(d)) v for each sequence and head by itself.
 * qkv [rows, 3 * width] -> [rows, width]; or q [rows, width] with kv [rows', 2 * width].
 * Matches torch.nn.functional.scaled_dot_product_attention (Vaswani et al. 2017).
 * A task is one head of one sequence; it packs its keys and values and then is two small products.
 * Trap: a row's result may depend on its own sequence alone, so nothing is padded to the longest. */
#include <math.h>
#include <string.h>

#include "layers/ops.h"

enum { QUERY_BLOCK = 128 }; /* rows of scores held at once */

/* One of q, k, v: row r of head h begins at data[r * stride + h * head]. */
typedef struct heads {
    const float *data;
    float *grad;
    size_t stride;
} heads;

typedef struct attention_job {
    const vlm_kernels *kernels;
    heads q, k, v;
    float *out;       /* [q rows, width] */
    const float *dout;
    size_t width, head, n_heads;
    vlm_spans q_spans, kv_spans;
    const size_t *rows; /* NULL, or [spans.n]: the one row of each sequence that asks; the result has a row for each */
    bool causal;
    float scale;
    float *probabilities;        /* kept for the backward pass, or NULL */
    const size_t *probabilities_at; /* [spans.n]: where a sequence's [n_heads, nq, nk] begin */
    char *scratch;               /* per thread */
    size_t scratch_bytes;
} attention_job;

/* What one task works on. */
typedef struct attention_task {
    size_t nq, nk, q_row, kv_row, out_row, column;
    float *p; /* [nq, nk] kept, or NULL */
    char *scratch;
} attention_task;

static size_t length_of(vlm_spans spans, size_t i)
{
    return spans.starts[i + 1] - spans.starts[i];
}

static attention_task find_task(const attention_job *job, size_t index, size_t thread)
{
    size_t sequence = index / job->n_heads, head = index % job->n_heads;
    attention_task t = {
        .nq = length_of(job->q_spans, sequence),
        .nk = length_of(job->kv_spans, sequence),
        .q_row = job->q_spans.starts[sequence],
        .kv_row = job->kv_spans.starts[sequence],
        .out_row = job->q_spans.starts[sequence],
        .column = head * job->head,
        .scratch = job->scratch + thread * job->scratch_bytes,
    };
    if (job->rows) {
        t.nq = 1;
        t.q_row = job->rows[sequence];
        t.out_row = sequence;
        if (job->causal)
            t.nk = t.q_row - t.kv_row + 1;
    }
    if (job->probabilities)
        t.p = job->probabilities + job->probabilities_at[sequence] + head * t.nq * t.nk;
    return t;
}

static size_t packed(const attention_job *job, size_t n, size_t k)
{
    return vlm_packed_bytes(job->kernels, VLM_F32, n, k);
}

/* y [m, n] (+)= x w^T, with w packed into `panels` first. */
static void multiply(const attention_job *job, float *y, size_t ldy, const float *x, size_t x_row, size_t x_k, const float *w,
                     size_t w_row, size_t w_k, size_t m, size_t n, size_t k, bool accumulate, void *panels)
{
    const vlm_matmul_kernel *kernel = &job->kernels->matmul[VLM_F32];
    kernel->pack(panels, w, VLM_F32, w_row, w_k, n, k);
    kernel->multiply(y, ldy, x, x_row, x_k, panels, m, n, k, &(vlm_epilogue){.accumulate = accumulate});
}

/* Row i of a causal block that begins at row `first` sees nk - nq + first + i + 1 keys. */
static void softmax_rows(const attention_job *job, float *scores, size_t first, size_t rows, const attention_task *t)
{
    if (!job->causal) {
        job->kernels->softmax(scores, rows, t->nk, t->nk, job->scale);
        return;
    }
    for (size_t i = 0; i < rows; i++) {
        size_t seen = t->nk - t->nq + first + i + 1;
        job->kernels->softmax(scores + i * t->nk, 1, seen, t->nk, job->scale);
        memset(scores + i * t->nk + seen, 0, (t->nk - seen) * sizeof *scores);
    }
}

static void attend(void *argument, size_t index, size_t thread)
{
    const attention_job *job = argument;
    attention_task t = find_task(job, index, thread);
    if (!t.nq || !t.nk)
        return;
    const vlm_matmul_kernel *kernel = &job->kernels->matmul[VLM_F32];
    char *keys = t.scratch, *values = keys + packed(job, t.nk, job->head);
    float *scores = (float *)(values + packed(job, job->head, t.nk));
    const vlm_epilogue plain = {0};
    kernel->pack(keys, job->k.data + t.kv_row * job->k.stride + t.column, VLM_F32, job->k.stride, 1, t.nk, job->head);
    kernel->pack(values, job->v.data + t.kv_row * job->v.stride + t.column, VLM_F32, 1, job->v.stride, job->head, t.nk);
    for (size_t first = 0; first < t.nq; first += QUERY_BLOCK) {
        size_t rows = t.nq - first < QUERY_BLOCK ? t.nq - first : QUERY_BLOCK, row = t.q_row + first;
        float *s = t.p ? t.p + first * t.nk : scores;
        kernel->multiply(s, t.nk, job->q.data + row * job->q.stride + t.column, job->q.stride, 1, keys, rows, t.nk, job->head, &plain);
        softmax_rows(job, s, first, rows, &t);
        kernel->multiply(job->out + (t.out_row + first) * job->width + t.column, job->width, s, t.nk, 1, values, rows, job->head, t.nk, &plain);
    }
}

/* dV = P^T dO; dP = dO V^T; dS = scale P (dP - sum(P dP)); dQ = dS K; dK = dS^T Q. Every task writes its own
 * rows and columns of the gradients, so that nothing is shared between threads. */
static void attend_backward(void *argument, size_t index, size_t thread)
{
    const attention_job *job = argument;
    attention_task t = find_task(job, index, thread);
    if (!t.nq || !t.nk)
        return;
    float *ds = (float *)t.scratch;
    void *panels = t.scratch + (t.nq * t.nk * sizeof(float) + 63) / 64 * 64;
    size_t d = job->head, qs = job->q.stride, ks = job->k.stride, vs = job->v.stride, w = job->width;
    const float *dout = job->dout + t.out_row * w + t.column;
    const float *q = job->q.data + t.q_row * qs + t.column, *k = job->k.data + t.kv_row * ks + t.column, *v = job->v.data + t.kv_row * vs + t.column;
    multiply(job, job->v.grad + t.kv_row * vs + t.column, vs, t.p, 1, t.nk, dout, 1, w, t.nk, d, t.nq, true, panels);
    multiply(job, ds, t.nk, dout, w, 1, v, vs, 1, t.nq, t.nk, d, false, panels);
    job->kernels->softmax_backward(ds, t.p, t.nq, t.nk, t.nk, job->scale);
    multiply(job, job->q.grad + t.q_row * qs + t.column, qs, ds, t.nk, 1, k, 1, ks, t.nq, d, t.nk, true, panels);
    multiply(job, job->k.grad + t.kv_row * ks + t.column, ks, ds, 1, t.nk, q, 1, qs, t.nk, d, t.nq, true, panels);
}

static size_t longest(vlm_spans spans)
{
    size_t most = 0;
    for (size_t i = 0; i < spans.n; i++)
        if (length_of(spans, i) > most)
            most = length_of(spans, i);
    return most;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

typedef struct attention_saved {
    attention_job job;
    vlm_tensor *q, *kv, *y; /* q and kv may be the same qkv */
} attention_saved;

static void attention_backward(vlm_context *context, void *argument)
{
    attention_saved *saved = argument;
    if (!saved->y->grad)
        return;
    attention_job *job = &saved->job;
    float *dq = vlm_grad_zeroed(context, saved->q), *dkv = vlm_grad_zeroed(context, saved->kv);
    size_t nq = job->rows ? 1 : longest(job->q_spans), nk = longest(job->kv_spans), most = larger(nq, nk);
    job->scratch_bytes = (nq * nk * sizeof(float) + 63) / 64 * 64 + larger(packed(job, most, job->head), packed(job, job->head, most));
    vlm_arena_mark mark = vlm_arena_get_mark(&context->values);
    job->scratch = vlm_context_bytes(context, job->scratch_bytes * vlm_threads_count(context->threads));
    if (vlm_context_failed(context))
        return;
    job->q.grad = dq;
    job->k.grad = dkv + (job->k.data - vlm_tensor_floats(saved->kv));
    job->v.grad = dkv + (job->v.data - vlm_tensor_floats(saved->kv));
    job->dout = saved->y->grad;
    vlm_threads_run(context->threads, job->q_spans.n * job->n_heads, attend_backward, job);
    vlm_arena_rewind(&context->values, mark);
}

/* The probabilities of all sequences and heads, one after the other, for the backward pass. */
static void keep_probabilities(vlm_context *context, attention_job *job)
{
    size_t n = job->q_spans.n, count = 0;
    size_t *at = vlm_context_bytes(context, (n + 1) * sizeof *at);
    for (size_t i = 0; at && i < n; i++) {
        at[i] = count;
        count += job->n_heads * (job->rows ? 1 : length_of(job->q_spans, i)) * length_of(job->kv_spans, i);
    }
    job->probabilities_at = at;
    job->probabilities = vlm_context_floats(context, count);
}

static vlm_tensor *attention(vlm_context *context, attention_job job, vlm_tensor *q, vlm_tensor *kv)
{
    vlm_tensor *y = vlm_context_matrix(context, job.rows ? job.q_spans.n : vlm_tensor_rows(q), job.width);
    bool record = vlm_recording(context) && (q->wants_grad || kv->wants_grad);
    if (record)
        keep_probabilities(context, &job);
    vlm_scope scope = vlm_scope_open(context);
    vlm_arena_mark mark = vlm_arena_get_mark(&context->values);
    size_t nk = longest(job.kv_spans), nq = job.rows ? 1 : longest(job.q_spans), rows = nq < QUERY_BLOCK ? nq : QUERY_BLOCK;
    job.scratch_bytes = packed(&job, nk, job.head) + packed(&job, job.head, nk) + (rows * nk * sizeof(float) + 63) / 64 * 64;
    job.scratch = vlm_context_bytes(context, job.scratch_bytes * vlm_threads_count(context->threads));
    if (!vlm_context_idle(context)) {
        job.out = y->data;
        vlm_threads_run(context->threads, job.q_spans.n * job.n_heads, attend, &job);
    }
    if (record) {
        vlm_arena_rewind(&context->values, mark);
        y->wants_grad = true;
        vlm_context_record(context, attention_backward, &(attention_saved){job, q, kv, y}, sizeof(attention_saved));
    }
    vlm_scope_close(context, scope);
    return vlm_context_failed(context) ? NULL : y;
}

static attention_job make_job(const vlm_context *context, size_t width, size_t n_heads)
{
    return (attention_job){.kernels = context->kernels, .width = width, .head = width / n_heads, .n_heads = n_heads,
                           .scale = 1 / sqrtf((float)(width / n_heads))};
}

vlm_tensor *vlm_op_attention(vlm_context *context, vlm_tensor *qkv, vlm_spans spans, size_t n_heads, bool causal)
{
    return vlm_op_attention_of(context, qkv, spans, NULL, n_heads, causal);
}

vlm_tensor *vlm_op_attention_of(vlm_context *context, vlm_tensor *qkv, vlm_spans spans, const size_t *rows, size_t n_heads, bool causal)
{
    if (vlm_context_failed(context))
        return NULL;
    size_t stride = vlm_tensor_columns(qkv), width = stride / 3;
    attention_job job = make_job(context, width, n_heads);
    const float *data = qkv->data;
    job.q = (heads){data, NULL, stride};
    job.k = (heads){data ? data + width : NULL, NULL, stride};
    job.v = (heads){data ? data + 2 * width : NULL, NULL, stride};
    job.q_spans = job.kv_spans = spans;
    job.rows = rows;
    job.causal = causal;
    return attention(context, job, qkv, qkv);
}

vlm_tensor *vlm_op_cross_attention(vlm_context *context, vlm_tensor *q, vlm_spans q_spans, vlm_tensor *kv, vlm_spans kv_spans, size_t n_heads)
{
    if (vlm_context_failed(context))
        return NULL;
    size_t width = vlm_tensor_columns(q);
    attention_job job = make_job(context, width, n_heads);
    const float *data = kv->data;
    job.q = (heads){q->data, NULL, width};
    job.k = (heads){data, NULL, 2 * width};
    job.v = (heads){data ? data + width : NULL, NULL, 2 * width};
    job.q_spans = q_spans;
    job.kv_spans = kv_spans;
    return attention(context, job, q, kv);
}
