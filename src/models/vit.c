/* ViT in the transformers layout: ViTForImageClassification ("vit." before its names, a classifier) and the
 * bare ViTModel. Dosovitskiy et al. 2021; Hugging Face modeling_vit.py.
 * Traps: layer_norm_eps is 1e-12 by default; the class keeps its labels in id2label, whose keys are strings;
 * the attention output is the layer's "attention.output.dense", its MLP "intermediate" and "output". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/bind.h"

static const vlm_block_names block_names = {
    .norm1 = "layernorm_before",
    .q = "attention.attention.query",
    .k = "attention.attention.key",
    .v = "attention.attention.value",
    .out = "attention.output.dense",
    .norm2 = "layernorm_after",
    .up = "intermediate.dense",
    .down = "output.dense",
};

/* The names that release 5 of the reference writes. */
static const vlm_block_names newer_block_names = {
    .norm1 = "layernorm_before",
    .q = "attention.q_proj",
    .k = "attention.k_proj",
    .v = "attention.v_proj",
    .out = "attention.o_proj",
    .norm2 = "layernorm_after",
    .up = "mlp.fc1",
    .down = "mlp.fc2",
};

/* id2label's names by number; "LABEL_i" where one is missing. */
static void read_labels(vlm_binder *binder, const json_t *config, size_t n)
{
    vlm_network *network = binder->network;
    const json_t *labels = json_object_get(config, "id2label");
    network->labels = vlm_binder_alloc(binder, n, sizeof *network->labels);
    for (size_t i = 0; i < n && !vlm_binder_failed(binder); i++) {
        char number[24], fallback[40];
        snprintf(number, sizeof number, "%zu", i);
        snprintf(fallback, sizeof fallback, "LABEL_%zu", i);
        const json_t *value = json_object_get(labels, number);
        const char *label = json_is_string(value) ? json_string_value(value) : fallback;
        network->labels[i] = vlm_arena_copy_text(&network->arena, label, strlen(label));
        if (!network->labels[i])
            vlm_binder_fail(binder, VLM_ERR_MEMORY, "out of memory: labels");
    }
    network->n_labels = vlm_binder_failed(binder) ? 0 : n;
}

/* How many classes: the checkpoint's own rows, which id2label must name. */
static size_t count_labels(vlm_binder *binder, const json_t *config)
{
    const json_t *labels = json_object_get(config, "id2label");
    size_t n = json_is_object(labels) ? json_object_size(labels) : vlm_config_size(binder, config, "num_labels", 2, VLM_MOST_TOKENS);
    if (n < 1 || n > VLM_MOST_TOKENS)
        vlm_binder_fail(binder, VLM_ERR_FORMAT, "%s: %zu labels", binder->where, n);
    return n;
}

void vlm_build_vit(vlm_binder *binder, const json_t *config)
{
    bool classifies = binder->weights ? vlm_binder_has(binder, "classifier.weight") : true;
    if (!binder->weights || vlm_binder_has(binder, "vit.embeddings.cls_token"))
        binder->prefix = "vit.";
    vlm_vision_tower *tower = vlm_new_vision(binder);
    if (!tower)
        return;
    size_t width = tower->width = vlm_config_size(binder, config, "hidden_size", 768, VLM_MOST_WIDTH), patch_width;
    vlm_config_pair(binder, config, "image_size", 224, VLM_MOST_PIXELS, &tower->image_height, &tower->image_width);
    vlm_config_pair(binder, config, "patch_size", 16, VLM_MOST_PIXELS, &tower->patch, &patch_width);
    if (vlm_config_size(binder, config, "num_channels", 3, 1024) != 3 || patch_width != tower->patch)
        vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: square patches of 3 channels are wanted", binder->where);
    if (!vlm_binder_failed(binder) && (tower->patch > tower->image_height || tower->patch > tower->image_width))
        vlm_binder_fail(binder, VLM_ERR_FORMAT, "%s: patch_size %zu is larger than the picture", binder->where, tower->patch);
    double eps = vlm_config_number(binder, config, "layer_norm_eps", 1e-12);
    tower->body = (vlm_transformer){
        .width = width,
        .n_heads = vlm_config_size(binder, config, "num_attention_heads", 12, VLM_MOST_WIDTH),
        .hidden = vlm_config_size(binder, config, "intermediate_size", 3072, VLM_MOST_WIDTH * 4),
        .n_blocks = vlm_config_size(binder, config, "num_hidden_layers", 12, VLM_MOST_BLOCKS),
        .activation = vlm_config_activation(binder, config, "hidden_act", VLM_ACT_GELU),
    };
    vlm_config_check_body(binder, &tower->body, "the config");
    const json_t *qkv_bias = json_object_get(config, "qkv_bias");
    if (vlm_binder_failed(binder))
        return;
    size_t p = tower->patch;
    const char *class_name = vlm_binder_name(binder, "embeddings.cls_token"), *positions = vlm_binder_name(binder, "embeddings.position_embeddings");
    const char *bias = vlm_binder_name(binder, "embeddings.patch_embeddings.projection.bias");
    tower->class_token = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &class_name, 3, (size_t[]){1, 1, width});
    vlm_matrix_source patches = {.kind = VLM_PARAMETER_EDGE, .n_parts = 1, .rows = {width}, .k = 3 * p * p, .n_dims = 4, .shape = {width, 3, p, p},
                                 .names = {vlm_binder_name(binder, "embeddings.patch_embeddings.projection.weight")}};
    tower->patches.weight = vlm_bind_matrix(binder, &patches);
    tower->patches.bias = vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, &bias, 1, &width);
    tower->positions = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &positions, 3, (size_t[]){1, vlm_vision_tokens(tower) + 1, width});
    bool newer = vlm_binder_has(binder, vlm_binder_name(binder, "layers.0.attention.q_proj.weight"));
    vlm_bind_blocks(binder, &tower->body, newer ? "layers.{}." : "encoder.layer.{}.", newer ? &newer_block_names : &block_names, eps, !json_is_false(qkv_bias));
    tower->after = vlm_bind_norm(binder, vlm_binder_name(binder, "layernorm"), width, eps);
    tower->embedding = width;
    if (classifies) {
        size_t n = count_labels(binder, config);
        tower->classifier = vlm_bind_linear(binder, VLM_PARAMETER_EDGE, "classifier", n, width, true);
        read_labels(binder, config, n);
    }
}
