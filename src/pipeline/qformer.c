/* Turn ViT features into the visual tokens that the language model reads.
 * features [rows, image_width] of n pictures -> [n * n_queries, width]; with text, [n * (n_queries + T), width].
 * Matches Blip2QFormerModel (BLIP-2, Li et al. 2023, sec. 3.1) and InstructBLIP's, which reads the instruction too.
 * Traps: cross-attention exists only in every second block, and only for the queries; queries and text share
 * self-attention but not their MLPs; all norms stand after the sums. */
#include "models/qformer.h"

#include <stdio.h>

/* Where queries and text stand in the joined rows, and where each comes from. */
typedef struct qformer_rows {
    vlm_spans joined, queries, text;
    size_t *query_index, *text_index; /* rows of the joined matrix */
    size_t *order;                    /* joined row i is row order[i] of queries, then text */
    size_t n_query_rows, n_text_rows;
} qformer_rows;

static size_t *sizes(vlm_context *context, size_t n)
{
    size_t *block = vlm_arena_alloc(&context->headers, n ? n : 1, sizeof *block);
    if (!block)
        vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: a batch of %zu", n);
    return block;
}

static bool lay_out(vlm_context *context, qformer_rows *rows, size_t n, size_t n_queries, vlm_spans text)
{
    size_t text_rows = text.n ? text.starts[text.n] : 0, at = 0;
    size_t *joined = sizes(context, n + 1), *queries = sizes(context, n + 1), *texts = sizes(context, n + 1);
    *rows = (qformer_rows){.n_query_rows = n * n_queries, .n_text_rows = text_rows, .query_index = sizes(context, n * n_queries),
                           .text_index = sizes(context, text_rows), .order = sizes(context, n * n_queries + text_rows)};
    if (vlm_context_failed(context))
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t length = text.n ? text.starts[i + 1] - text.starts[i] : 0, text_start = text.n ? text.starts[i] : 0;
        joined[i] = at;
        queries[i] = i * n_queries;
        texts[i] = text_start;
        for (size_t j = 0; j < n_queries; j++, at++) {
            rows->query_index[i * n_queries + j] = at;
            rows->order[at] = i * n_queries + j;
        }
        for (size_t j = 0; j < length; j++, at++) {
            rows->text_index[text_start + j] = at;
            rows->order[at] = n * n_queries + text_start + j;
        }
    }
    joined[n] = at;
    queries[n] = n * n_queries;
    texts[n] = text_rows;
    rows->joined = (vlm_spans){n, joined};
    rows->queries = (vlm_spans){n, queries};
    rows->text = (vlm_spans){n, texts};
    return true;
}

static vlm_tensor *mlp(vlm_context *context, const vlm_qformer *qformer, vlm_tensor *x, const vlm_linear *up, const vlm_linear *down, const vlm_norm *norm)
{
    vlm_tensor *h = vlm_op_linear(context, x, up, qformer->activation, NULL);
    return vlm_op_norm(context, vlm_op_linear(context, h, down, VLM_ACT_NONE, x), norm);
}

static vlm_tensor *look_at_picture(vlm_context *context, const vlm_qformer *qformer, const vlm_qformer_block *block, vlm_tensor *x, vlm_spans queries, vlm_tensor *features, vlm_spans feature_spans)
{
    vlm_tensor *q = vlm_op_linear(context, x, &block->cross_q, VLM_ACT_NONE, NULL);
    vlm_tensor *kv = vlm_op_linear(context, features, &block->cross_kv, VLM_ACT_NONE, NULL);
    vlm_tensor *h = vlm_op_cross_attention(context, q, queries, kv, feature_spans, qformer->n_heads);
    return vlm_op_norm(context, vlm_op_linear(context, h, &block->cross_out, VLM_ACT_NONE, x), &block->cross_norm);
}

static vlm_tensor *run_block(vlm_context *context, const vlm_qformer *qformer, const vlm_qformer_block *block, vlm_tensor *x, const qformer_rows *rows, vlm_tensor *features, vlm_spans feature_spans)
{
    vlm_tensor *h = vlm_op_linear(context, x, &block->qkv, VLM_ACT_NONE, NULL);
    h = vlm_op_attention(context, h, rows->joined, qformer->n_heads, false);
    x = vlm_op_norm(context, vlm_op_linear(context, h, &block->out, VLM_ACT_NONE, x), &block->norm);
    if (!rows->n_query_rows)
        return mlp(context, qformer, x, &block->text_up, &block->text_down, &block->text_norm);
    vlm_tensor *text = rows->n_text_rows ? vlm_op_gather(context, x, rows->text_index, rows->n_text_rows) : NULL;
    if (text)
        x = vlm_op_gather(context, x, rows->query_index, rows->n_query_rows);
    if (block->cross_q.weight)
        x = look_at_picture(context, qformer, block, x, rows->queries, features, feature_spans);
    x = mlp(context, qformer, x, &block->query_up, &block->query_down, &block->query_norm);
    if (!text)
        return x;
    text = mlp(context, qformer, text, &block->text_up, &block->text_down, &block->text_norm);
    return vlm_op_merge(context, x, text, rows->order, rows->n_query_rows + rows->n_text_rows);
}

/* The queries of every picture, one after the other. */
static vlm_tensor *repeat_queries(vlm_context *context, const vlm_qformer *qformer, size_t n)
{
    size_t *index = sizes(context, n * qformer->n_queries);
    for (size_t i = 0; index && i < n * qformer->n_queries; i++)
        index[i] = i % qformer->n_queries;
    return index ? vlm_op_gather(context, qformer->queries, index, n * qformer->n_queries) : NULL;
}

vlm_tensor *vlm_qformer_forward(vlm_context *context, const vlm_qformer *qformer, vlm_tensor *features, vlm_spans feature_spans, const int32_t *ids, vlm_spans text_spans, vlm_spans *out_spans)
{
    qformer_rows rows;
    size_t n = features ? feature_spans.n : text_spans.n;
    if (vlm_context_failed(context))
        return NULL;
    if (!ids)
        text_spans = (vlm_spans){0};
    else if (!qformer->tokens || (features && text_spans.n != feature_spans.n))
        return vlm_context_fail(context, VLM_ERR_ARGUMENT, "a Q-Former without a text table, or %zu texts for %zu pictures", text_spans.n, n);
    if (!lay_out(context, &rows, n, features ? qformer->n_queries : 0, text_spans))
        return NULL;
    vlm_tensor *text = ids ? vlm_op_embed(context, ids, text_spans, qformer->tokens, qformer->positions, 0) : NULL;
    vlm_tensor *x = features ? repeat_queries(context, qformer, n) : text;
    if (features && text)
        x = vlm_op_merge(context, x, text, rows.order, rows.n_query_rows + rows.n_text_rows);
    x = vlm_op_norm(context, x, &qformer->before);
    for (size_t i = 0; i < qformer->n_blocks && !vlm_context_failed(context); i++) {
        x = run_block(context, qformer, &qformer->blocks[i], x, &rows, features, feature_spans);
        if (context->trace && x) {
            char name[64];
            snprintf(name, sizeof name, "qformer.block.%zu", i);
            vlm_context_trace(context, name, x);
        }
    }
    *out_spans = rows.joined;
    return x;
}
