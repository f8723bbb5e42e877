/* CLIP in the transformers layout: CLIPModel, and its towers saved alone (CLIPVisionModelWithProjection,
 * CLIPTextModelWithProjection). Radford et al. 2021; Hugging Face modeling_clip.py.
 * Traps: "pre_layrnorm" is spelled so; text_config_dict, where an old config has one, overrides text_config;
 * eos_token_id 2 in an old config means "pool at the largest id". */
#include <string.h>

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

/* A key of a tower's config: from <tower>_dict if it is an object (it then gives every key, by the class's
 * defaults), else from <tower>. */
static const json_t *tower_config(const json_t *config, const char *name, const char *dict)
{
    const json_t *old = json_object_get(config, dict);
    return json_is_object(old) ? old : json_object_get(config, name);
}

/* A lone tower that release 5 of transformers saved has bare names: "embeddings.class_embedding". */
static const char *tower_prefix(const vlm_binder *binder, const char *prefix, const char *bare)
{
    return vlm_binder_has(binder, bare) ? "" : prefix;
}

static void bind_vision(vlm_binder *binder, const json_t *config, size_t projection)
{
    vlm_vision_tower *tower = vlm_new_vision(binder);
    if (!tower)
        return;
    tower->width = vlm_config_size(binder, config, "hidden_size", 768, VLM_MOST_WIDTH);
    size_t patch_width;
    vlm_config_pair(binder, config, "image_size", 224, VLM_MOST_PIXELS, &tower->image_height, &tower->image_width);
    vlm_config_pair(binder, config, "patch_size", 32, VLM_MOST_PIXELS, &tower->patch, &patch_width);
    if (vlm_config_size(binder, config, "num_channels", 3, 1024) != 3 || patch_width != tower->patch)
        vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: square patches of 3 channels are wanted", binder->where);
    if (!vlm_binder_failed(binder) && (tower->patch > tower->image_height || tower->patch > tower->image_width))
        vlm_binder_fail(binder, VLM_ERR_FORMAT, "%s: patch_size %zu is larger than the picture", binder->where, tower->patch);
    double eps = vlm_config_number(binder, config, "layer_norm_eps", 1e-5);
    tower->body = (vlm_transformer){
        .width = tower->width,
        .n_heads = vlm_config_size(binder, config, "num_attention_heads", 12, VLM_MOST_WIDTH),
        .hidden = vlm_config_size(binder, config, "intermediate_size", 3072, VLM_MOST_WIDTH * 4),
        .n_blocks = vlm_config_size(binder, config, "num_hidden_layers", 12, VLM_MOST_BLOCKS),
        .activation = vlm_config_activation(binder, config, "hidden_act", VLM_ACT_QUICK_GELU),
    };
    vlm_config_check_body(binder, &tower->body, "vision_config");
    if (vlm_binder_failed(binder))
        return;
    size_t p = tower->patch, width = tower->width;
    binder->prefix = tower_prefix(binder, "vision_model.", "embeddings.class_embedding");
    const char *class_name = vlm_binder_name(binder, "embeddings.class_embedding");
    const char *positions = vlm_binder_name(binder, "embeddings.position_embedding.weight");
    tower->class_token = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &class_name, 1, &width);
    vlm_matrix_source patches = {.kind = VLM_PARAMETER_EDGE, .n_parts = 1, .rows = {width}, .k = 3 * p * p, .n_dims = 4, .shape = {width, 3, p, p},
                                 .names = {vlm_binder_name(binder, "embeddings.patch_embedding.weight")}};
    tower->patches.weight = vlm_bind_matrix(binder, &patches);
    tower->positions = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &positions, 2, (size_t[]){vlm_vision_tokens(tower) + 1, width});
    tower->before = vlm_bind_norm(binder, vlm_binder_name(binder, "pre_layrnorm"), width, eps);
    vlm_bind_blocks(binder, &tower->body, "encoder.layers.{}.", &block_names, eps, true);
    tower->after = vlm_bind_norm(binder, vlm_binder_name(binder, "post_layernorm"), width, eps);
    binder->prefix = "";
    tower->embedding = width;
    if (projection) {
        tower->projection = vlm_bind_linear(binder, VLM_PARAMETER_EDGE, vlm_binder_name(binder, "visual_projection"), projection, width, false);
        tower->embedding = projection;
    }
}

static void bind_text(vlm_binder *binder, const json_t *config, size_t projection)
{
    vlm_text_tower *tower = vlm_new_text(binder);
    if (!tower)
        return;
    tower->width = vlm_config_size(binder, config, "hidden_size", 512, VLM_MOST_WIDTH);
    tower->vocabulary = vlm_config_size(binder, config, "vocab_size", 49408, VLM_MOST_TOKENS);
    tower->context_length = vlm_config_size(binder, config, "max_position_embeddings", 77, VLM_MOST_TOKENS);
    double eps = vlm_config_number(binder, config, "layer_norm_eps", 1e-5);
    tower->body = (vlm_transformer){
        .width = tower->width,
        .n_heads = vlm_config_size(binder, config, "num_attention_heads", 8, VLM_MOST_WIDTH),
        .hidden = vlm_config_size(binder, config, "intermediate_size", 2048, VLM_MOST_WIDTH * 4),
        .n_blocks = vlm_config_size(binder, config, "num_hidden_layers", 12, VLM_MOST_BLOCKS),
        .activation = vlm_config_activation(binder, config, "hidden_act", VLM_ACT_QUICK_GELU),
        .causal = true,
    };
    vlm_config_check_body(binder, &tower->body, "text_config");
    const json_t *eos = json_object_get(config, "eos_token_id");
    if (json_is_array(eos))
        eos = json_array_get(eos, 0);
    tower->end_id = json_is_integer(eos) ? (int32_t)json_integer_value(eos) : 49407;
    tower->pooling = tower->end_id == 2 ? VLM_POOL_LARGEST_ID : VLM_POOL_END_ID;
    if (vlm_binder_failed(binder))
        return;
    size_t width = tower->width;
    binder->prefix = tower_prefix(binder, "text_model.", "embeddings.token_embedding.weight");
    const char *positions = vlm_binder_name(binder, "embeddings.position_embedding.weight");
    tower->tokens = vlm_bind_table(binder, vlm_binder_name(binder, "embeddings.token_embedding.weight"), tower->vocabulary, width);
    tower->positions = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &positions, 2, (size_t[]){tower->context_length, width});
    vlm_bind_blocks(binder, &tower->body, "encoder.layers.{}.", &block_names, eps, true);
    tower->after = vlm_bind_norm(binder, vlm_binder_name(binder, "final_layer_norm"), width, eps);
    binder->prefix = "";
    tower->embedding = width;
    if (projection) {
        tower->projection = vlm_bind_linear(binder, VLM_PARAMETER_EDGE, vlm_binder_name(binder, "text_projection"), projection, width, false);
        tower->embedding = projection;
    }
}

void vlm_build_clip(vlm_binder *binder, const json_t *config)
{
    size_t projection = vlm_config_size(binder, config, "projection_dim", 512, VLM_MOST_WIDTH);
    const char *scale = vlm_binder_name(binder, "logit_scale");
    if (binder->options->parts & VLM_PART_VISION)
        bind_vision(binder, tower_config(config, "vision_config", "vision_config_dict"), projection);
    if (binder->options->parts & VLM_PART_TEXT)
        bind_text(binder, tower_config(config, "text_config", "text_config_dict"), projection);
    if (!vlm_binder_failed(binder) && binder->options->parts & (VLM_PART_VISION | VLM_PART_TEXT))
        binder->network->logit_scale = vlm_bind_values(binder, VLM_PARAMETER_SCALAR, 1, &scale, 0, (size_t[]){1});
}

void vlm_build_clip_vision(vlm_binder *binder, const json_t *config)
{
    bool projected = !binder->weights || vlm_binder_has(binder, "visual_projection.weight");
    size_t projection = vlm_config_size(binder, config, "projection_dim", 512, VLM_MOST_WIDTH);
    bind_vision(binder, config, projected ? projection : 0);
}

void vlm_build_clip_text(vlm_binder *binder, const json_t *config)
{
    bool projected = !binder->weights || vlm_binder_has(binder, "text_projection.weight");
    size_t projection = vlm_config_size(binder, config, "projection_dim", 512, VLM_MOST_WIDTH);
    bind_text(binder, config, projected ? projection : 0);
}
