/* Turn token ids into one vector: embed, transformer, pooling, projection.
 * ids of spans.n texts -> [spans.n, embedding]. Matches CLIPTextTransformer, open_clip's text transformer,
 * SiglipTextTransformer and DistilBERT with mean pooling (Radford et al. 2021; Reimers and Gurevych 2019).
 * Trap: CLIP's old configs pool at the largest id, not at the end token that they name. */
#include "models/network.h"

/* The row that is pooled of one text, counted from its start. */
static size_t pooled_row(const vlm_text_tower *tower, const int32_t *ids, size_t length)
{
    size_t found = 0;
    switch (tower->pooling) {
    case VLM_POOL_END_ID:
        for (size_t i = 0; i < length; i++)
            if (ids[i] == tower->end_id)
                return i;
        return 0; /* as the reference: the argmax of a row without the end token */
    case VLM_POOL_LARGEST_ID:
        for (size_t i = 1; i < length; i++)
            if (ids[i] > ids[found])
                found = i;
        return found;
    case VLM_POOL_LAST: return length - 1;
    default: return 0;
    }
}

/* All blocks, and one row of each text. */
static vlm_tensor *run_and_pool(vlm_context *context, const vlm_text_tower *tower, vlm_tensor *x, const int32_t *ids, vlm_spans spans)
{
    if (vlm_context_failed(context))
        return NULL;
    if (tower->pooling == VLM_POOL_MEAN)
        return vlm_op_mean(context, vlm_transformer_forward(context, &tower->body, x, spans, "text"), spans);
    size_t *rows = vlm_arena_alloc(&context->headers, spans.n, sizeof *rows);
    if (!rows)
        return vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: a batch of %zu", spans.n);
    for (size_t i = 0; i < spans.n; i++)
        rows[i] = spans.starts[i] + pooled_row(tower, ids + spans.starts[i], spans.starts[i + 1] - spans.starts[i]);
    return vlm_transformer_forward_rows(context, &tower->body, x, spans, rows, "text");
}

vlm_tensor *vlm_text_forward(vlm_context *context, const vlm_text_tower *tower, const int32_t *ids, vlm_spans spans)
{
    for (size_t i = 0; i < spans.n; i++)
        if (spans.starts[i + 1] <= spans.starts[i])
            return vlm_context_fail(context, VLM_ERR_ARGUMENT, "text %zu has no tokens", i);
    vlm_tensor *x = vlm_op_embed(context, ids, spans, tower->tokens, tower->positions, tower->position_offset);
    if (tower->before.gain)
        x = vlm_op_norm(context, x, &tower->before);
    if (!vlm_context_failed(context))
        vlm_context_trace(context, "text.embeddings", x);
    x = run_and_pool(context, tower, x, ids, spans);
    if (tower->after.gain)
        x = vlm_op_norm(context, x, &tower->after);
    if (tower->projection.weight)
        x = vlm_op_linear(context, x, &tower->projection, tower->projection_activation, NULL);
    if (!vlm_context_failed(context))
        vlm_context_trace(context, "text.vector", x);
    return x;
}
