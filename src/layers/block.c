/* The one transformer block, pre-norm (x += f(norm(x))) or post-norm (x = norm(x + f(x))).
 * x [rows, width] -> [rows, width]; rows of several sequences, apart only in attention. */
#include "layers/block.h"

#include <stdio.h>

static vlm_tensor *attend(vlm_context *context, const vlm_transformer *body, const vlm_block *block, vlm_tensor *h, vlm_spans spans, vlm_tensor *x)
{
    h = vlm_op_linear(context, h, &block->qkv, VLM_ACT_NONE, NULL);
    h = vlm_op_attention(context, h, spans, body->n_heads, body->causal);
    return vlm_op_linear(context, h, &block->out, VLM_ACT_NONE, x);
}

static vlm_tensor *mlp(vlm_context *context, const vlm_transformer *body, const vlm_block *block, vlm_tensor *h, vlm_tensor *x)
{
    h = vlm_op_linear(context, h, &block->up, body->activation, NULL);
    return vlm_op_linear(context, h, &block->down, VLM_ACT_NONE, x);
}

static vlm_tensor *pre_norm_block(vlm_context *context, const vlm_transformer *body, const vlm_block *block, vlm_tensor *x, vlm_spans spans)
{
    vlm_scope scope = vlm_scope_open(context);
    x = attend(context, body, block, vlm_op_norm(context, x, &block->norm1), spans, x);
    x = mlp(context, body, block, vlm_op_norm(context, x, &block->norm2), x);
    vlm_scope_close(context, scope);
    return x;
}

/* x is written in place by the sums; the norm's output is the next x, so that it is kept and x's buffer
 * serves the scratch of the block. */
static vlm_tensor *post_norm_block(vlm_context *context, const vlm_transformer *body, const vlm_block *block, vlm_tensor *x, vlm_spans spans)
{
    x = attend(context, body, block, x, spans, x);
    x = vlm_op_norm(context, x, &block->norm1);
    x = mlp(context, body, block, x, x);
    return vlm_op_norm(context, x, &block->norm2);
}

vlm_tensor *vlm_transformer_forward(vlm_context *context, const vlm_transformer *body, vlm_tensor *x, vlm_spans spans, const char *trace)
{
    for (size_t i = 0; i < body->n_blocks && !vlm_context_failed(context); i++) {
        const vlm_block *block = &body->blocks[i];
        x = body->post_norm ? post_norm_block(context, body, block, x, spans) : pre_norm_block(context, body, block, x, spans);
        if (context->trace && x) {
            char name[64];
            snprintf(name, sizeof name, "%s.block.%zu", trace, i);
            vlm_context_trace(context, name, x);
        }
    }
    return x;
}
