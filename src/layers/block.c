/* The one transformer block, pre-norm (x += f(norm(x))) or post-norm (x = norm(x + f(x))).
 * x [rows, width] -> [rows, width]; rows of several sequences, apart only in attention.
 * Without a memory attention is within the rows at hand (towers, training); with one it is over a cache. */
#include "layers/block.h"

#include <math.h>
#include <stdio.h>

/* What all blocks of a pass share. */
typedef struct block_pass {
    const vlm_transformer *body;
    vlm_spans spans;
    const vlm_memory *memory; /* NULL: none */
    const size_t *positions;  /* of each sequence's first row, with a memory */
} block_pass;

static vlm_attention describe_attention(const vlm_transformer *body)
{
    size_t head = vlm_transformer_head(body);
    return (vlm_attention){.n_heads = body->n_heads, .head = head, .scale = body->scale > 0 ? body->scale : 1 / sqrtf((float)head), .causal = body->causal,
                           .window = body->window, .bias = body->bias, .bias_user = body->bias_user};
}

/* Self-attention over the cache: turn q and k, store k and v, attend. */
static vlm_tensor *attend_memory(vlm_context *context, const block_pass *pass, vlm_tensor *qkv, size_t layer)
{
    const vlm_transformer *body = pass->body;
    const vlm_memory *memory = pass->memory;
    size_t head = vlm_transformer_head(body), queries = body->n_heads * head, keys = vlm_transformer_kv_heads(body) * head;
    if (body->rope.frequencies)
        qkv = vlm_op_rope(context, qkv, 0, body->n_heads + vlm_transformer_kv_heads(body), head, pass->spans, pass->positions, &body->rope);
    size_t at = memory->cache->n_layers == 1 ? 0 : layer;
    vlm_op_cache_store(context, qkv, queries, queries + keys, pass->spans, memory->slots, memory->cache, at);
    vlm_attention how = describe_attention(body);
    return vlm_op_cached_attention(context, qkv, 0, pass->spans, memory->slots, memory->cache, at, &how);
}

static vlm_tensor *attend(vlm_context *context, const block_pass *pass, size_t layer, vlm_tensor *h, vlm_tensor *x)
{
    const vlm_block *block = &pass->body->blocks[layer];
    h = vlm_op_linear(context, h, &block->qkv, VLM_ACT_NONE, NULL);
    h = pass->memory ? attend_memory(context, pass, h, layer) : vlm_op_attention(context, h, pass->spans, pass->body->n_heads, pass->body->causal);
    return vlm_op_linear(context, h, &block->out, VLM_ACT_NONE, x);
}

static vlm_tensor *attend_encoder(vlm_context *context, const block_pass *pass, size_t layer, vlm_tensor *x)
{
    const vlm_block *block = &pass->body->blocks[layer];
    vlm_attention how = describe_attention(pass->body);
    how.causal = false;
    how.cross = true;
    how.bias = NULL;
    how.window = 0;
    vlm_tensor *q = vlm_op_linear(context, vlm_op_norm(context, x, &block->norm_cross), &block->cross_q, VLM_ACT_NONE, NULL);
    vlm_tensor *h = vlm_op_cached_attention(context, q, 0, pass->spans, pass->memory->slots, pass->memory->cross, layer, &how);
    return vlm_op_linear(context, h, &block->cross_out, VLM_ACT_NONE, x);
}

static vlm_tensor *mlp(vlm_context *context, const vlm_transformer *body, const vlm_block *block, vlm_tensor *h, vlm_tensor *x)
{
    if (block->gate.weight) {
        vlm_tensor *gate = vlm_op_linear(context, h, &block->gate, body->activation, NULL);
        h = vlm_op_gate(context, gate, vlm_op_linear(context, h, &block->up, VLM_ACT_NONE, NULL));
    } else {
        h = vlm_op_linear(context, h, &block->up, body->activation, NULL);
    }
    return vlm_op_linear(context, h, &block->down, VLM_ACT_NONE, x);
}

static vlm_tensor *pre_norm_block(vlm_context *context, const block_pass *pass, size_t layer, vlm_tensor *x)
{
    const vlm_block *block = &pass->body->blocks[layer];
    vlm_scope scope = vlm_scope_open(context);
    x = attend(context, pass, layer, vlm_op_norm(context, x, &block->norm1), x);
    if (block->cross_q.weight)
        x = attend_encoder(context, pass, layer, x);
    x = mlp(context, pass->body, block, vlm_op_norm(context, x, &block->norm2), x);
    vlm_scope_close(context, scope);
    return x;
}

/* Each norm's output is the next x, so that nothing of a block is free before the pass ends. */
static vlm_tensor *post_norm_block(vlm_context *context, const block_pass *pass, size_t layer, vlm_tensor *x)
{
    const vlm_block *block = &pass->body->blocks[layer];
    x = attend(context, pass, layer, x, x);
    x = vlm_op_norm(context, x, &block->norm1);
    x = mlp(context, pass->body, block, x, x);
    return vlm_op_norm(context, x, &block->norm2);
}

/* A pre-norm block of which only one row of each sequence is wanted: keys and values are of all rows, everything
 * after them is of those. Each row's numbers are what the whole block gives. */
static vlm_tensor *block_of_rows(vlm_context *context, const block_pass *pass, size_t layer, vlm_tensor *x, const size_t *rows)
{
    const vlm_transformer *body = pass->body;
    const vlm_block *block = &body->blocks[layer];
    vlm_tensor *kept = vlm_op_gather(context, x, rows, pass->spans.n);
    vlm_tensor *h = vlm_op_linear(context, vlm_op_norm(context, x, &block->norm1), &block->qkv, VLM_ACT_NONE, NULL);
    h = vlm_op_attention_of(context, h, pass->spans, rows, body->n_heads, body->causal);
    x = vlm_op_linear(context, h, &block->out, VLM_ACT_NONE, kept);
    return mlp(context, body, block, vlm_op_norm(context, x, &block->norm2), x);
}

static vlm_tensor *run_blocks(vlm_context *context, const block_pass *pass, size_t n, vlm_tensor *x, const char *trace)
{
    for (size_t i = 0; i < n && !vlm_context_failed(context); i++) {
        x = pass->body->post_norm ? post_norm_block(context, pass, i, x) : pre_norm_block(context, pass, i, x);
        if (context->trace && x) {
            char name[64];
            snprintf(name, sizeof name, "%s.block.%zu", trace, i);
            vlm_context_trace(context, name, x);
        }
    }
    return x;
}

vlm_tensor *vlm_transformer_forward(vlm_context *context, const vlm_transformer *body, vlm_tensor *x, vlm_spans spans, const char *trace)
{
    return run_blocks(context, &(block_pass){body, spans, NULL, NULL}, body->n_blocks, x, trace);
}

vlm_tensor *vlm_transformer_forward_rows(vlm_context *context, const vlm_transformer *body, vlm_tensor *x, vlm_spans spans, const size_t *rows, const char *trace)
{
    block_pass pass = {body, spans, NULL, NULL};
    bool whole = context->trace || body->post_norm || !body->n_blocks; /* a trace shows all rows of every block */
    x = run_blocks(context, &pass, whole ? body->n_blocks : body->n_blocks - 1, x, trace);
    if (vlm_context_failed(context))
        return NULL;
    return whole ? vlm_op_gather(context, x, rows, spans.n) : block_of_rows(context, &pass, body->n_blocks - 1, x, rows);
}

vlm_tensor *vlm_transformer_read(vlm_context *context, const vlm_transformer *body, vlm_tensor *x, vlm_spans spans, const vlm_memory *memory, const char *trace)
{
    size_t *positions = vlm_arena_alloc(&context->headers, spans.n, sizeof *positions);
    if (!positions)
        return vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: a batch of %zu", spans.n);
    for (size_t i = 0; i < spans.n; i++)
        positions[i] = memory->cache->lengths[memory->slots[i]];
    x = run_blocks(context, &(block_pass){body, spans, memory, positions}, body->n_blocks, x, trace);
    for (size_t i = 0; i < spans.n && body->causal && !vlm_context_idle(context); i++)
        memory->cache->lengths[memory->slots[i]] += spans.starts[i + 1] - spans.starts[i];
    return x;
}

void vlm_transformer_fill_cross(vlm_context *context, const vlm_transformer *body, vlm_tensor *x, vlm_spans spans, const vlm_memory *memory)
{
    size_t width = vlm_transformer_kv_heads(body) * vlm_transformer_head(body);
    for (size_t i = 0; i < body->n_blocks && !vlm_context_failed(context); i++) {
        vlm_scope scope = vlm_scope_open(context);
        vlm_tensor *kv = vlm_op_linear(context, x, &body->blocks[i].cross_kv, VLM_ACT_NONE, NULL);
        vlm_op_cache_store(context, kv, 0, width, spans, memory->slots, memory->cross, i);
        vlm_scope_close(context, scope);
    }
    for (size_t i = 0; i < spans.n && !vlm_context_idle(context); i++)
        memory->cross->lengths[memory->slots[i]] = spans.starts[i + 1] - spans.starts[i];
}
