/* GPT-2 in the transformers layout. Radford et al. 2019; Hugging Face modeling_gpt2.py.
 * Traps: its linear layers are Conv1D, whose weights are stored [k, n]; q, k and v are one matrix already. */
#include "models/bind.h"

static vlm_linear bind_conv1d(vlm_binder *binder, size_t i, const char *name, size_t n, size_t k)
{
    const char *bias = vlm_binder_name(binder, "h.%zu.%s.bias", i, name);
    vlm_matrix_source source = {.kind = VLM_PARAMETER_MATRIX, .n_parts = 1, .names = {vlm_binder_name(binder, "h.%zu.%s.weight", i, name)}, .rows = {n}, .k = k, .transposed = true};
    return (vlm_linear){vlm_bind_matrix(binder, &source), vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, &bias, 1, &n)};
}

void vlm_build_gpt2(vlm_binder *binder, const json_t *config)
{
    vlm_language *language = vlm_new_language(binder);
    if (!language)
        return;
    const char *outer = binder->prefix;
    size_t width = language->width = language->embedding = vlm_config_size(binder, config, "n_embd", 768, VLM_MOST_WIDTH);
    language->vocabulary = vlm_config_size(binder, config, "vocab_size", 50257, VLM_MOST_TOKENS);
    language->context_length = vlm_config_size(binder, config, "n_positions", 1024, VLM_MOST_TOKENS);
    double eps = vlm_config_number(binder, config, "layer_norm_epsilon", 1e-5);
    vlm_transformer *body = &language->body;
    *body = (vlm_transformer){
        .width = width,
        .n_heads = vlm_config_size(binder, config, "n_head", 12, VLM_MOST_WIDTH),
        .hidden = vlm_config_size(binder, config, "n_inner", 4 * width, VLM_MOST_WIDTH * 4),
        .n_blocks = vlm_config_size(binder, config, "n_layer", 12, VLM_MOST_BLOCKS),
        .activation = vlm_config_activation(binder, config, "activation_function", VLM_ACT_GELU_TANH),
        .causal = true,
    };
    vlm_config_check_body(binder, body, "the config");
    if (json_is_false(json_object_get(config, "scale_attn_weights")))
        body->scale = 1;
    if (json_is_true(json_object_get(config, "scale_attn_by_inverse_layer_idx")))
        vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: scale_attn_by_inverse_layer_idx is not computed", binder->where);
    if (vlm_binder_failed(binder))
        return;
    const char *head = vlm_binder_name(binder, "lm_head.weight");
    if (vlm_binder_has(binder, vlm_binder_name(binder, "transformer.wte.weight")))
        binder->prefix = vlm_binder_name(binder, "transformer.");
    const char *table = vlm_binder_name(binder, "wte.weight"), *positions = vlm_binder_name(binder, "wpe.weight");
    language->tokens = vlm_bind_table(binder, table, language->vocabulary, width);
    language->positions = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &positions, 2, (size_t[]){language->context_length, width});
    body->blocks = vlm_binder_alloc(binder, body->n_blocks, sizeof *body->blocks);
    for (size_t i = 0; i < body->n_blocks && !vlm_binder_failed(binder); i++) {
        vlm_block *block = &body->blocks[i];
        block->norm1 = vlm_bind_norm(binder, vlm_binder_name(binder, "h.%zu.ln_1", i), width, eps);
        block->qkv = bind_conv1d(binder, i, "attn.c_attn", 3 * width, width);
        block->out = bind_conv1d(binder, i, "attn.c_proj", width, width);
        block->norm2 = vlm_bind_norm(binder, vlm_binder_name(binder, "h.%zu.ln_2", i), width, eps);
        block->up = bind_conv1d(binder, i, "mlp.c_fc", body->hidden, width);
        block->down = bind_conv1d(binder, i, "mlp.c_proj", width, body->hidden);
    }
    language->after = vlm_bind_norm(binder, vlm_binder_name(binder, "ln_f"), width, eps);
    binder->prefix = outer;
    vlm_bind_head(binder, language, json_is_false(json_object_get(config, "tie_word_embeddings")) ? head : NULL, table);
}
