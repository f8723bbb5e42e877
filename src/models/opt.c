/* OPT in the transformers layout. Zhang et al. 2022; Hugging Face modeling_opt.py.
 * Traps: positions begin at row 2; OPT-350m alone norms after its sums, has no last norm, and a token table
 * narrower than its blocks, with a projection on either side; old checkpoints leave "model." off their names. */
#include "models/bind.h"

static const vlm_block_names block_names = {
    .norm1 = "self_attn_layer_norm",
    .q = "self_attn.q_proj",
    .k = "self_attn.k_proj",
    .v = "self_attn.v_proj",
    .out = "self_attn.out_proj",
    .norm2 = "final_layer_norm",
    .up = "fc1",
    .down = "fc2",
};

void vlm_build_opt(vlm_binder *binder, const json_t *config)
{
    vlm_language *language = vlm_new_language(binder);
    if (!language)
        return;
    const char *outer = binder->prefix; /* what stands before the language model inside a larger one */
    size_t width = language->width = vlm_config_size(binder, config, "hidden_size", 768, VLM_MOST_WIDTH);
    language->embedding = vlm_config_size(binder, config, "word_embed_proj_dim", width, VLM_MOST_WIDTH);
    language->vocabulary = vlm_config_size(binder, config, "vocab_size", 50272, VLM_MOST_TOKENS);
    language->context_length = vlm_config_size(binder, config, "max_position_embeddings", 2048, VLM_MOST_TOKENS);
    language->position_offset = 2;
    bool after = !json_is_true(json_object_get(config, "_remove_final_layer_norm"));
    language->body = (vlm_transformer){
        .width = width,
        .n_heads = vlm_config_size(binder, config, "num_attention_heads", 12, VLM_MOST_WIDTH),
        .hidden = vlm_config_size(binder, config, "ffn_dim", 3072, VLM_MOST_WIDTH * 4),
        .n_blocks = vlm_config_size(binder, config, "num_hidden_layers", 12, VLM_MOST_BLOCKS),
        .activation = vlm_config_activation(binder, config, "activation_function", VLM_ACT_RELU),
        .causal = true,
        .post_norm = json_is_false(json_object_get(config, "do_layer_norm_before")),
    };
    vlm_config_check_body(binder, &language->body, "the config");
    if (json_is_false(json_object_get(config, "enable_bias")) || json_is_false(json_object_get(config, "layer_norm_elementwise_affine")))
        vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: OPT without biases or without gains is not computed", binder->where);
    if (vlm_binder_failed(binder))
        return;
    const char *head = vlm_binder_name(binder, "lm_head.weight");
    const char *short_name = vlm_binder_name(binder, "decoder.embed_tokens.weight");
    binder->prefix = vlm_binder_name(binder, vlm_binder_has(binder, short_name) ? "decoder." : "model.decoder.");
    const char *table = vlm_binder_name(binder, "embed_tokens.weight"), *positions = vlm_binder_name(binder, "embed_positions.weight");
    language->tokens = vlm_bind_table(binder, table, language->vocabulary, language->embedding);
    language->positions = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &positions, 2, (size_t[]){language->context_length + 2, width});
    if (language->embedding != width) {
        language->project_in = vlm_bind_linear(binder, VLM_PARAMETER_EDGE, vlm_binder_name(binder, "project_in"), width, language->embedding, false);
        language->project_out = vlm_bind_linear(binder, VLM_PARAMETER_EDGE, vlm_binder_name(binder, "project_out"), language->embedding, width, false);
    }
    vlm_bind_blocks(binder, &language->body, "layers.{}.", &block_names, 1e-5, true);
    if (!language->body.post_norm && after)
        language->after = vlm_bind_norm(binder, vlm_binder_name(binder, "final_layer_norm"), width, 1e-5);
    binder->prefix = outer;
    vlm_bind_head(binder, language, json_is_false(json_object_get(config, "tie_word_embeddings")) ? head : NULL, table);
}
