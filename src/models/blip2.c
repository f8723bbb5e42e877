/* BLIP-2 and InstructBLIP in the transformers layout: EVA ViT-g, Q-Former, a projection, and OPT, Llama (Vicuna) or
 * Flan-T5; or, for retrieval, two projections and a matching head. Li et al. 2023; Dai et al. 2023; Hugging Face
 * modeling_blip_2.py, modeling_instructblip.py.
 * Traps: the vision norm's eps is 1e-6; qkv is one matrix whose bias is one vector, or (as LAVIS writes it) q_bias
 * and v_bias with zeros between; cross-attention is in every second Q-Former block; configs are sparse, so the
 * classes' defaults count (39 vision blocks of 1408). */
#include <stdio.h>
#include <string.h>

#include "formats/json.h"
#include "models/bind.h"
#include "vlm/vlm.h"

/* ---- vision -------------------------------------------------------------------------------------------- */

/* [q, 0, v] where q_bias and v_bias stand apart. */
static vlm_tensor *bind_qkv_bias(vlm_binder *binder, size_t block, size_t width)
{
    const char *whole = vlm_binder_name(binder, "encoder.layers.%zu.self_attn.qkv.bias", block);
    const char *q = vlm_binder_name(binder, "encoder.layers.%zu.self_attn.q_bias", block), *v = vlm_binder_name(binder, "encoder.layers.%zu.self_attn.v_bias", block);
    size_t stacked = 3 * width;
    if (!vlm_binder_has(binder, q) || vlm_binder_has(binder, whole))
        return vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, &whole, 1, &stacked);
    vlm_tensor *q_bias = vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, &q, 1, &width), *v_bias = vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, &v, 1, &width);
    vlm_tensor *bias = vlm_binder_alloc(binder, 1, sizeof *bias);
    float *values = vlm_binder_alloc(binder, stacked, sizeof *values);
    if (vlm_binder_failed(binder))
        return NULL;
    memcpy(values, q_bias->data, width * sizeof *values);
    memcpy(values + 2 * width, v_bias->data, width * sizeof *values);
    *bias = *q_bias;
    bias->shape[0] = stacked;
    bias->data = values;
    return bias;
}

static void bind_vision_block(vlm_binder *binder, const vlm_transformer *body, size_t i, double eps, bool qkv_bias)
{
    vlm_block *block = &body->blocks[i];
    size_t width = body->width;
    vlm_matrix_source qkv = {.kind = VLM_PARAMETER_MATRIX, .n_parts = 1, .names = {vlm_binder_name(binder, "encoder.layers.%zu.self_attn.qkv.weight", i)}, .rows = {3 * width}, .k = width};
    block->norm1 = vlm_bind_norm(binder, vlm_binder_name(binder, "encoder.layers.%zu.layer_norm1", i), width, eps);
    block->qkv.weight = vlm_bind_matrix(binder, &qkv);
    block->qkv.bias = qkv_bias ? bind_qkv_bias(binder, i, width) : NULL;
    block->out = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "encoder.layers.%zu.self_attn.projection", i), width, width, true);
    block->norm2 = vlm_bind_norm(binder, vlm_binder_name(binder, "encoder.layers.%zu.layer_norm2", i), width, eps);
    block->up = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "encoder.layers.%zu.mlp.fc1", i), body->hidden, width, true);
    block->down = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "encoder.layers.%zu.mlp.fc2", i), width, body->hidden, true);
}

static void bind_vision(vlm_binder *binder, const json_t *config)
{
    vlm_vision_tower *tower = vlm_new_vision(binder);
    if (!tower)
        return;
    size_t width = tower->width = tower->embedding = vlm_config_size(binder, config, "hidden_size", 1408, VLM_MOST_WIDTH), patch_width;
    vlm_config_pair(binder, config, "image_size", 224, VLM_MOST_PIXELS, &tower->image_height, &tower->image_width);
    vlm_config_pair(binder, config, "patch_size", 14, VLM_MOST_PIXELS, &tower->patch, &patch_width);
    if (!vlm_binder_failed(binder) && (tower->patch != patch_width || tower->patch > tower->image_height || tower->patch > tower->image_width))
        vlm_binder_fail(binder, VLM_ERR_FORMAT, "%s: square patches no larger than the picture are wanted, patch_size is %zu x %zu", binder->where, tower->patch, patch_width);
    double eps = vlm_config_number(binder, config, "layer_norm_eps", 1e-6);
    tower->body = (vlm_transformer){
        .width = width,
        .n_heads = vlm_config_size(binder, config, "num_attention_heads", 16, VLM_MOST_WIDTH),
        .hidden = vlm_config_size(binder, config, "intermediate_size", 6144, VLM_MOST_WIDTH * 4),
        .n_blocks = vlm_config_size(binder, config, "num_hidden_layers", 39, VLM_MOST_BLOCKS),
        .activation = vlm_config_activation(binder, config, "hidden_act", VLM_ACT_GELU),
    };
    vlm_config_check_body(binder, &tower->body, "vision_config");
    if (vlm_binder_failed(binder))
        return;
    bool qkv_bias = !json_is_false(json_object_get(config, "qkv_bias"));
    size_t p = tower->patch;
    binder->prefix = "vision_model.";
    const char *class_name = vlm_binder_name(binder, "embeddings.class_embedding"), *positions = vlm_binder_name(binder, "embeddings.position_embedding");
    const char *bias = vlm_binder_name(binder, "embeddings.patch_embedding.bias");
    tower->class_token = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &class_name, 3, (size_t[]){1, 1, width});
    vlm_matrix_source patches = {.kind = VLM_PARAMETER_EDGE, .n_parts = 1, .rows = {width}, .k = 3 * p * p, .n_dims = 4, .shape = {width, 3, p, p},
                                 .names = {vlm_binder_name(binder, "embeddings.patch_embedding.weight")}};
    tower->patches.weight = vlm_bind_matrix(binder, &patches);
    tower->patches.bias = vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, &bias, 1, &width);
    tower->positions = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &positions, 3, (size_t[]){1, vlm_vision_tokens(tower) + 1, width});
    tower->body.blocks = vlm_binder_alloc(binder, tower->body.n_blocks, sizeof *tower->body.blocks);
    for (size_t i = 0; i < tower->body.n_blocks && !vlm_binder_failed(binder); i++)
        bind_vision_block(binder, &tower->body, i, eps, qkv_bias);
    tower->after = vlm_bind_norm(binder, vlm_binder_name(binder, "post_layernorm"), width, eps);
    binder->prefix = "";
}

/* ---- Q-Former ------------------------------------------------------------------------------------------ */

/* <at>.dense and <at>.LayerNorm */
static vlm_linear bind_output(vlm_binder *binder, const char *at, size_t n, size_t k, vlm_norm *norm, double eps)
{
    *norm = vlm_bind_norm(binder, vlm_binder_name(binder, "%s.LayerNorm", at), n, eps);
    return vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s.dense", at), n, k, true);
}

static void bind_cross(vlm_binder *binder, const vlm_qformer *qformer, vlm_qformer_block *block, const char *at, double eps)
{
    size_t width = qformer->width;
    block->cross_q = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s.crossattention.attention.query", at), width, width, true);
    block->cross_kv = vlm_bind_stacked(binder, vlm_binder_name(binder, "%s.crossattention.attention.key", at), vlm_binder_name(binder, "%s.crossattention.attention.value", at), NULL,
                                       width, qformer->image_width, true);
    char output[96];
    snprintf(output, sizeof output, "%s.crossattention.output", at);
    block->cross_out = bind_output(binder, output, width, width, &block->cross_norm, eps);
}

static void bind_qformer_block(vlm_binder *binder, const vlm_qformer *qformer, size_t i, double eps, bool crosses, bool reads_text)
{
    vlm_qformer_block *block = &qformer->blocks[i];
    size_t width = qformer->width, hidden = qformer->hidden;
    char at[64], part[96];
    snprintf(at, sizeof at, "encoder.layer.%zu", i);
    block->qkv = vlm_bind_stacked(binder, vlm_binder_name(binder, "%s.attention.attention.query", at), vlm_binder_name(binder, "%s.attention.attention.key", at),
                                  vlm_binder_name(binder, "%s.attention.attention.value", at), width, width, true);
    snprintf(part, sizeof part, "%s.attention.output", at);
    block->out = bind_output(binder, part, width, width, &block->norm, eps);
    if (crosses)
        bind_cross(binder, qformer, block, at, eps);
    block->query_up = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s.intermediate_query.dense", at), hidden, width, true);
    snprintf(part, sizeof part, "%s.output_query", at);
    block->query_down = bind_output(binder, part, width, hidden, &block->query_norm, eps);
    if (!reads_text)
        return;
    block->text_up = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s.intermediate.dense", at), hidden, width, true);
    snprintf(part, sizeof part, "%s.output", at);
    block->text_down = bind_output(binder, part, width, hidden, &block->text_norm, eps);
}

static void bind_text_embeddings(vlm_binder *binder, const json_t *config, vlm_qformer *qformer, const char *prefix)
{
    const char *positions = vlm_binder_name(binder, "%sposition_embeddings.weight", prefix);
    size_t vocabulary = vlm_config_size(binder, config, "vocab_size", 30522, VLM_MOST_TOKENS), length = vlm_config_size(binder, config, "max_position_embeddings", 512, VLM_MOST_TOKENS);
    qformer->tokens = vlm_bind_table(binder, vlm_binder_name(binder, "%sword_embeddings.weight", prefix), vocabulary, qformer->width);
    qformer->positions = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &positions, 2, (size_t[]){length, qformer->width});
}

static void bind_qformer(vlm_binder *binder, const json_t *config, vlm_bridge *bridge, size_t image_width, size_t n_queries)
{
    vlm_qformer *qformer = bridge->qformer = vlm_binder_alloc(binder, 1, sizeof *qformer);
    if (!qformer)
        return;
    size_t width = qformer->width = vlm_config_size(binder, config, "hidden_size", 768, VLM_MOST_WIDTH);
    qformer->n_heads = vlm_config_size(binder, config, "num_attention_heads", 12, VLM_MOST_WIDTH);
    qformer->hidden = vlm_config_size(binder, config, "intermediate_size", 3072, VLM_MOST_WIDTH * 4);
    qformer->n_blocks = vlm_config_size(binder, config, "num_hidden_layers", 12, VLM_MOST_BLOCKS);
    qformer->activation = vlm_config_activation(binder, config, "hidden_act", VLM_ACT_GELU);
    qformer->image_width = image_width;
    qformer->n_queries = n_queries;
    size_t frequency = vlm_config_size(binder, config, "cross_attention_frequency", 2, VLM_MOST_BLOCKS);
    double eps = vlm_config_number(binder, config, "layer_norm_eps", 1e-12);
    vlm_config_check_body(binder, &(vlm_transformer){.width = width, .n_heads = qformer->n_heads}, "qformer_config");
    if (vlm_binder_failed(binder))
        return;
    bool reads_text = vlm_binder_has(binder, "qformer.encoder.layer.0.intermediate.dense.weight");
    const char *queries = vlm_binder_name(binder, "query_tokens");
    qformer->queries = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &queries, 3, (size_t[]){1, n_queries, width});
    if (qformer->queries) { /* [1, n, width] is a table of n rows here */
        qformer->queries->n_dims = 2;
        qformer->queries->shape[0] = n_queries;
        qformer->queries->shape[1] = width;
    }
    if (reads_text && vlm_binder_has(binder, "embeddings.word_embeddings.weight"))
        bind_text_embeddings(binder, config, qformer, "embeddings.");
    binder->prefix = "qformer.";
    if (reads_text && vlm_binder_has(binder, "qformer.embeddings.word_embeddings.weight")) {
        bind_text_embeddings(binder, config, qformer, "embeddings.");
        qformer->before = vlm_bind_norm(binder, vlm_binder_name(binder, "embeddings.layernorm"), width, eps);
    } else {
        qformer->before = vlm_bind_norm(binder, vlm_binder_name(binder, "layernorm"), width, eps);
    }
    qformer->blocks = vlm_binder_alloc(binder, qformer->n_blocks, sizeof *qformer->blocks);
    for (size_t i = 0; i < qformer->n_blocks && !vlm_binder_failed(binder); i++)
        bind_qformer_block(binder, qformer, i, eps, i % frequency == 0, reads_text);
    binder->prefix = "";
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

static void bind_language(vlm_binder *binder, const json_t *config, vlm_bridge *bridge)
{
    const char *type = "opt";
    if (!vlm_binder_failed(binder))
        binder->status = vlm_json_get_string(&type, config, "model_type", "opt", binder->where, binder->error);
    if (vlm_binder_failed(binder))
        return;
    binder->prefix = "language_model.";
    if (strcmp(type, "opt") == 0)
        vlm_build_opt(binder, config);
    else if (strcmp(type, "t5") == 0)
        vlm_build_t5(binder, config);
    else if (strcmp(type, "llama") == 0)
        vlm_build_llama(binder, config);
    else
        vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: text_config's model_type \"%s\"; opt, t5 and llama are known behind a Q-Former", binder->where, type);
    binder->prefix = "";
    if (!vlm_binder_failed(binder))
        bridge->language_projection = vlm_bind_linear(binder, VLM_PARAMETER_EDGE, "language_projection", binder->network->language->embedding, bridge->qformer->width, true);
}

void vlm_build_blip2(vlm_binder *binder, const json_t *config)
{
    const json_t *vision = json_object_get(config, "vision_config"), *qformer = json_object_get(config, "qformer_config"), *text = json_object_get(config, "text_config");
    vlm_bridge *bridge = binder->network->bridge = vlm_binder_alloc(binder, 1, sizeof *bridge);
    if (!bridge)
        return;
    size_t n_queries = vlm_config_size(binder, config, "num_query_tokens", 32, 1 << 16), image_width = vlm_config_size(binder, vision, "hidden_size", 1408, VLM_MOST_WIDTH);
    const json_t *image = json_object_get(config, "image_token_index"), *newer = json_object_get(config, "image_token_id");
    image = json_is_integer(image) ? image : newer;
    bridge->image_id = json_is_integer(image) ? (int32_t)json_integer_value(image) : -1;
    bridge->instructed = strcmp(json_string_value(json_object_get(config, "model_type")), "instructblip") == 0;
    if (binder->options->parts & VLM_PART_VISION)
        bind_vision(binder, vision);
    bind_qformer(binder, qformer, bridge, image_width, n_queries);
    if (vlm_binder_has(binder, "itm_head.weight")) { /* retrieval: no language model */
        size_t width = bridge->qformer ? bridge->qformer->width : 1, shared = vlm_config_size(binder, config, "image_text_hidden_size", 256, VLM_MOST_WIDTH);
        bridge->image_projection = vlm_bind_linear(binder, VLM_PARAMETER_EDGE, "vision_projection", shared, width, true);
        bridge->text_projection = vlm_bind_linear(binder, VLM_PARAMETER_EDGE, "text_projection", shared, width, true);
        bridge->matching = vlm_bind_linear(binder, VLM_PARAMETER_EDGE, "itm_head", 2, width, true);
    } else if (binder->options->parts & VLM_PART_LANGUAGE) {
        bind_language(binder, text, bridge);
    }
}
