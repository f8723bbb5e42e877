/* SigLIP in the transformers layout: two towers without a projection of CLIP's kind; the picture is pooled by
 * a learned query, the text by its last token. Zhai et al. 2023; Hugging Face modeling_siglip.py.
 * Traps: there is no class token; the text tower is not causal and was trained on texts padded to its full
 * length, padding seen; the probe's attention is torch.nn.MultiheadAttention, whose q, k and v are one tensor. */
#include "models/bind.h"
#include "vlm/vlm.h"

static const vlm_block_names block_names = {
    .norm1 = "layer_norm1",
    .q = "self_attn.q_proj",
    .k = "self_attn.k_proj",
    .v = "self_attn.v_proj",
    .out = "self_attn.out_proj",
    .norm2 = "layer_norm2",
    .up = "mlp.fc1",
    .down = "mlp.fc2",
};

static vlm_transformer read_body(vlm_binder *binder, const json_t *config, const char *which)
{
    vlm_transformer body = {
        .width = vlm_config_size(binder, config, "hidden_size", 768, VLM_MOST_WIDTH),
        .n_heads = vlm_config_size(binder, config, "num_attention_heads", 12, VLM_MOST_WIDTH),
        .hidden = vlm_config_size(binder, config, "intermediate_size", 3072, VLM_MOST_WIDTH * 4),
        .n_blocks = vlm_config_size(binder, config, "num_hidden_layers", 12, VLM_MOST_BLOCKS),
        .activation = vlm_config_activation(binder, config, "hidden_act", VLM_ACT_GELU_TANH),
    };
    vlm_config_check_body(binder, &body, which);
    return body;
}

/* A view of [first, first + n) of a vector. */
static vlm_tensor *view(vlm_binder *binder, const vlm_tensor *vector, size_t first, size_t n)
{
    vlm_tensor *part = vlm_binder_alloc(binder, 1, sizeof *part);
    if (!part)
        return NULL;
    *part = *vector;
    part->shape[0] = n;
    part->data = vlm_tensor_floats(vector) + first;
    return part;
}

static void bind_pooling_head(vlm_binder *binder, vlm_vision_tower *tower, double eps)
{
    size_t width = tower->width, stacked = 3 * width;
    const char *probe = vlm_binder_name(binder, "vision_model.head.probe"), *bias = vlm_binder_name(binder, "vision_model.head.attention.in_proj_bias");
    vlm_matrix_source q = {.kind = VLM_PARAMETER_MATRIX, .n_parts = 1, .names = {vlm_binder_name(binder, "vision_model.head.attention.in_proj_weight")},
                           .rows = {width}, .k = width, .n_dims = 2, .shape = {stacked, width}};
    vlm_matrix_source kv = q;
    kv.rows[0] = 2 * width;
    kv.first_row = width;
    tower->probe = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &probe, 3, (size_t[]){1, 1, width});
    vlm_tensor *biases = vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, &bias, 1, &stacked);
    tower->probe_q.weight = vlm_bind_matrix(binder, &q);
    tower->probe_kv.weight = vlm_bind_matrix(binder, &kv);
    if (vlm_binder_failed(binder))
        return;
    tower->probe_q.bias = view(binder, biases, 0, width);
    tower->probe_kv.bias = view(binder, biases, width, 2 * width);
    tower->probe_out = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "vision_model.head.attention.out_proj"), width, width, true);
    tower->probe_norm = vlm_bind_norm(binder, vlm_binder_name(binder, "vision_model.head.layernorm"), width, eps);
    tower->probe_up = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "vision_model.head.mlp.fc1"), tower->body.hidden, width, true);
    tower->probe_down = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "vision_model.head.mlp.fc2"), width, tower->body.hidden, true);
}

static void bind_vision(vlm_binder *binder, const json_t *config)
{
    vlm_vision_tower *tower = vlm_new_vision(binder);
    if (!tower)
        return;
    tower->body = read_body(binder, config, "vision_config");
    size_t width = tower->width = tower->embedding = tower->body.width, patch_width;
    vlm_config_pair(binder, config, "image_size", 224, VLM_MOST_PIXELS, &tower->image_height, &tower->image_width);
    vlm_config_pair(binder, config, "patch_size", 16, VLM_MOST_PIXELS, &tower->patch, &patch_width);
    double eps = vlm_config_number(binder, config, "layer_norm_eps", 1e-6);
    if (json_is_false(json_object_get(config, "vision_use_head")))
        vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: vision_use_head is false; a vector needs the head", binder->where);
    if (!vlm_binder_failed(binder) && (tower->patch != patch_width || tower->patch > tower->image_height || tower->patch > tower->image_width))
        vlm_binder_fail(binder, VLM_ERR_FORMAT, "%s: square patches no larger than the picture are wanted, patch_size is %zu x %zu", binder->where, tower->patch, patch_width);
    if (vlm_binder_failed(binder))
        return;
    size_t p = tower->patch;
    tower->pooling = VLM_POOL_ATTENTION;
    const char *positions = vlm_binder_name(binder, "vision_model.embeddings.position_embedding.weight"), *bias = vlm_binder_name(binder, "vision_model.embeddings.patch_embedding.bias");
    vlm_matrix_source patches = {.kind = VLM_PARAMETER_EDGE, .n_parts = 1, .rows = {width}, .k = 3 * p * p, .n_dims = 4, .shape = {width, 3, p, p},
                                 .names = {vlm_binder_name(binder, "vision_model.embeddings.patch_embedding.weight")}};
    tower->patches.weight = vlm_bind_matrix(binder, &patches);
    tower->patches.bias = vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, &bias, 1, &width);
    tower->positions = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &positions, 2, (size_t[]){vlm_vision_tokens(tower), width});
    vlm_bind_blocks(binder, &tower->body, "vision_model.encoder.layers.{}.", &block_names, eps, true);
    tower->after = vlm_bind_norm(binder, vlm_binder_name(binder, "vision_model.post_layernorm"), width, eps);
    bind_pooling_head(binder, tower, eps);
}

static void bind_text(vlm_binder *binder, const json_t *config)
{
    vlm_text_tower *tower = vlm_new_text(binder);
    if (!tower)
        return;
    tower->body = read_body(binder, config, "text_config");
    size_t width = tower->width = tower->body.width;
    tower->vocabulary = vlm_config_size(binder, config, "vocab_size", 32000, VLM_MOST_TOKENS);
    tower->context_length = vlm_config_size(binder, config, "max_position_embeddings", 64, VLM_MOST_TOKENS);
    tower->embedding = vlm_config_size(binder, config, "projection_size", width, VLM_MOST_WIDTH);
    double eps = vlm_config_number(binder, config, "layer_norm_eps", 1e-6);
    const json_t *pad = json_object_get(config, "pad_token_id");
    tower->pad_id = json_is_integer(pad) ? (int32_t)json_integer_value(pad) : 1;
    tower->pooling = VLM_POOL_LAST;
    tower->pad_to_length = true;
    if (vlm_binder_failed(binder))
        return;
    const char *positions = vlm_binder_name(binder, "text_model.embeddings.position_embedding.weight");
    tower->tokens = vlm_bind_table(binder, vlm_binder_name(binder, "text_model.embeddings.token_embedding.weight"), tower->vocabulary, width);
    tower->positions = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &positions, 2, (size_t[]){tower->context_length, width});
    vlm_bind_blocks(binder, &tower->body, "text_model.encoder.layers.{}.", &block_names, eps, true);
    tower->after = vlm_bind_norm(binder, vlm_binder_name(binder, "text_model.final_layer_norm"), width, eps);
    tower->projection = vlm_bind_linear(binder, VLM_PARAMETER_EDGE, vlm_binder_name(binder, "text_model.head"), tower->embedding, width, true);
}

void vlm_build_siglip(vlm_binder *binder, const json_t *config)
{
    const char *scale = vlm_binder_name(binder, "logit_scale"), *bias = vlm_binder_name(binder, "logit_bias");
    if (binder->options->parts & VLM_PART_VISION)
        bind_vision(binder, json_object_get(config, "vision_config"));
    if (binder->options->parts & VLM_PART_TEXT)
        bind_text(binder, json_object_get(config, "text_config"));
    binder->network->logit_scale = vlm_bind_values(binder, VLM_PARAMETER_SCALAR, 1, &scale, 0, (size_t[]){1});
    binder->network->logit_bias = vlm_bind_values(binder, VLM_PARAMETER_SCALAR, 1, &bias, 0, (size_t[]){1});
}
