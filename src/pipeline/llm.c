/* Turn tokens (and visual tokens among them) into logits, with the key/value cache.
 * rows [rows, embedding] of several sequences -> logits [wanted rows, vocabulary].
 * Matches OPTForCausalLM, LlamaForCausalLM, MistralForCausalLM, GPT2LMHeadModel and the two halves of
 * T5ForConditionalGeneration.
 * Trap: the head is a third of a small model's work: only the rows whose logits are wanted pass through it. */
#include <string.h>

#include "models/network.h"

vlm_tensor *vlm_language_embed(vlm_context *context, const vlm_language *language, const int32_t *ids, size_t n)
{
    size_t *starts = vlm_arena_alloc(&context->headers, 2, sizeof *starts);
    if (!starts)
        return vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: a prompt");
    starts[0] = 0;
    starts[1] = n;
    return vlm_op_embed(context, ids, (vlm_spans){1, starts}, language->tokens, NULL, 0);
}

/* x + positions, in place: row r of sequence i stands behind what its slot holds. */
static void add_positions(vlm_context *context, const vlm_language *language, vlm_tensor *x, vlm_spans spans, const vlm_memory *memory)
{
    size_t width = language->width;
    for (size_t s = 0; s < spans.n && !vlm_context_failed(context); s++) {
        size_t before = memory->cache->lengths[memory->slots[s]], n = spans.starts[s + 1] - spans.starts[s];
        if (n > language->context_length - before) {
            vlm_context_fail(context, VLM_ERR_LIMIT, "%zu tokens after %zu; the model takes at most %zu", n, before, language->context_length);
            return;
        }
        if (vlm_context_idle(context) || !language->positions)
            continue;
        float *rows = vlm_tensor_floats(x) + spans.starts[s] * width;
        context->kernels->add(rows, rows, vlm_tensor_floats(language->positions) + (before + language->position_offset) * width, n * width);
    }
}

vlm_tensor *vlm_language_read(vlm_context *context, const vlm_language *language, vlm_tensor *x, vlm_spans spans, const vlm_memory *memory, const size_t *wanted, size_t n_wanted)
{
    if (language->project_in.weight)
        x = vlm_op_linear(context, x, &language->project_in, VLM_ACT_NONE, NULL);
    if (vlm_context_failed(context))
        return NULL;
    add_positions(context, language, x, spans, memory);
    x = vlm_transformer_read(context, &language->body, x, spans, memory, "language");
    if (vlm_context_failed(context))
        return NULL;
    x = vlm_op_gather(context, x, wanted, n_wanted);
    if (language->after.gain)
        x = vlm_op_norm(context, x, &language->after);
    if (language->project_out.weight)
        x = vlm_op_linear(context, x, &language->project_out, VLM_ACT_NONE, NULL);
    if (vlm_context_failed(context))
        return NULL;
    if (language->head_scale != 1 && !vlm_context_idle(context))
        context->kernels->scale(x->data, language->head_scale, vlm_tensor_count(x));
    x = vlm_op_linear(context, x, &language->head, VLM_ACT_NONE, NULL);
    if (!vlm_context_failed(context))
        vlm_context_trace(context, "language.logits", x);
    return x;
}

vlm_tensor *vlm_language_encode(vlm_context *context, const vlm_language *language, vlm_tensor *x, vlm_spans spans, const vlm_memory *scratch)
{
    x = vlm_transformer_read(context, &language->encoder, x, spans, scratch, "encoder");
    return vlm_op_norm(context, x, &language->encoder_after);
}
