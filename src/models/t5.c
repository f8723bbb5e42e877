/* T5 and Flan-T5 in the transformers layout. Raffel et al. 2020; Hugging Face modeling_t5.py.
 * Traps: scores are not scaled; the relative positions of the first block serve all; "gated-gelu" means the tanh
 * form of GELU (BLIP-2's Flan-T5 has the exact one: its config says dense_act_fn); a tied head is scaled by
 * width^-0.5 unless the config says tie_word_embeddings (or scale_decoder_outputs) false. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "formats/json.h"
#include "models/bind.h"

/* Relative positions: a learned number for each head and bucket of distances. */
typedef struct relative_bias {
    const float *table; /* [buckets, n_heads] */
    size_t buckets, n_heads;
    double max_distance;
    bool bidirectional;
} relative_bias;

static size_t find_bucket(const relative_bias *bias, long distance)
{
    size_t buckets = bias->buckets, first = 0;
    if (bias->bidirectional) {
        buckets /= 2;
        first = distance > 0 ? buckets : 0;
        distance = distance < 0 ? -distance : distance;
    } else {
        distance = distance < 0 ? -distance : 0;
    }
    size_t exact = buckets / 2;
    if ((size_t)distance < exact)
        return first + (size_t)distance;
    float logarithm = logf((float)distance / (float)exact) / (float)log(bias->max_distance / (double)exact) * (float)(buckets - exact);
    size_t bucket = exact + (size_t)logarithm;
    return first + (bucket < buckets ? bucket : buckets - 1);
}

static float score_bias(const void *user, size_t head, size_t query, size_t key)
{
    const relative_bias *bias = user;
    return bias->table[find_bucket(bias, (long)key - (long)query) * bias->n_heads + head];
}

static void bind_mlp(vlm_binder *binder, const vlm_transformer *body, vlm_block *block, const char *at, bool gated)
{
    if (gated)
        block->gate = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s.DenseReluDense.wi_0", at), body->hidden, body->width, false);
    block->up = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s.DenseReluDense.%s", at, gated ? "wi_1" : "wi"), body->hidden, body->width, false);
    block->down = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s.DenseReluDense.wo", at), body->width, body->hidden, false);
}

static vlm_linear bind_out(vlm_binder *binder, const vlm_transformer *body, const char *at)
{
    return vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s.o", at), body->width, body->n_heads * vlm_transformer_head(body), false);
}

/* `side` is "encoder" or "decoder". */
static void bind_stack(vlm_binder *binder, vlm_transformer *body, const char *side, const json_t *config, double eps, bool gated)
{
    bool decodes = strcmp(side, "decoder") == 0;
    size_t queries = body->n_heads * vlm_transformer_head(body);
    body->blocks = vlm_binder_alloc(binder, body->n_blocks, sizeof *body->blocks);
    for (size_t i = 0; i < body->n_blocks && !vlm_binder_failed(binder); i++) {
        vlm_block *block = &body->blocks[i];
        char at[64], attention[96];
        snprintf(at, sizeof at, "%s.block.%zu.layer", side, i);
        snprintf(attention, sizeof attention, "%s.0.SelfAttention", at);
        block->norm1 = vlm_bind_rms(binder, vlm_binder_name(binder, "%s.0.layer_norm.weight", at), body->width, eps);
        block->qkv = vlm_bind_stacked(binder, vlm_binder_name(binder, "%s.q", attention), vlm_binder_name(binder, "%s.k", attention), vlm_binder_name(binder, "%s.v", attention), queries, body->width, false);
        block->out = bind_out(binder, body, attention);
        if (decodes) {
            snprintf(attention, sizeof attention, "%s.1.EncDecAttention", at);
            block->norm_cross = vlm_bind_rms(binder, vlm_binder_name(binder, "%s.1.layer_norm.weight", at), body->width, eps);
            block->cross_q = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s.q", attention), queries, body->width, false);
            block->cross_kv = vlm_bind_stacked(binder, vlm_binder_name(binder, "%s.k", attention), vlm_binder_name(binder, "%s.v", attention), NULL, queries, body->width, false);
            block->cross_out = bind_out(binder, body, attention);
        }
        size_t last = decodes ? 2 : 1;
        block->norm2 = vlm_bind_rms(binder, vlm_binder_name(binder, "%s.%zu.layer_norm.weight", at, last), body->width, eps);
        char mlp[96];
        snprintf(mlp, sizeof mlp, "%s.%zu", at, last);
        bind_mlp(binder, body, block, mlp, gated);
    }
    relative_bias *bias = vlm_binder_alloc(binder, 1, sizeof *bias);
    if (!bias)
        return;
    const char *name = vlm_binder_name(binder, "%s.block.0.layer.0.SelfAttention.relative_attention_bias.weight", side);
    bias->buckets = vlm_config_size(binder, config, "relative_attention_num_buckets", 32, 1 << 16);
    bias->max_distance = (double)vlm_config_size(binder, config, "relative_attention_max_distance", 128, 1 << 24);
    bias->n_heads = body->n_heads;
    bias->bidirectional = !decodes;
    if (!vlm_binder_failed(binder) && (bias->buckets < 4 || bias->max_distance <= (double)bias->buckets / 2))
        vlm_binder_fail(binder, VLM_ERR_FORMAT, "%s: %zu buckets for distances up to %g", binder->where, bias->buckets, bias->max_distance);
    vlm_tensor *table = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &name, 2, (size_t[]){bias->buckets, body->n_heads});
    bias->table = table ? table->data : NULL;
    body->bias = score_bias;
    body->bias_user = bias;
}

/* dense_act_fn where a config has it (BLIP-2 writes it), else by feed_forward_proj. */
static vlm_activation read_activation(vlm_binder *binder, const json_t *config, bool *gated)
{
    const char *projection = NULL;
    *gated = false;
    if (vlm_binder_failed(binder))
        return VLM_ACT_RELU;
    binder->status = vlm_json_get_string(&projection, config, "feed_forward_proj", "relu", binder->where, binder->error);
    if (vlm_binder_failed(binder))
        return VLM_ACT_RELU;
    *gated = strncmp(projection, "gated-", 6) == 0;
    const char *name = *gated ? projection + 6 : projection;
    if (strcmp(projection, "gated-gelu") == 0)
        name = "gelu_new";
    const json_t *function = json_object_get(config, "dense_act_fn"), *is_gated = json_object_get(config, "is_gated_act");
    if (json_is_string(function))
        name = json_string_value(function);
    if (json_is_boolean(is_gated))
        *gated = json_is_true(is_gated);
    json_t *one = json_pack("{s:s}", "feed_forward_proj", name);
    vlm_activation kind = vlm_config_activation(binder, one, "feed_forward_proj", VLM_ACT_RELU);
    json_decref(one);
    return kind;
}

void vlm_build_t5(vlm_binder *binder, const json_t *config)
{
    vlm_language *language = vlm_new_language(binder);
    if (!language)
        return;
    bool gated;
    size_t width = language->width = language->embedding = vlm_config_size(binder, config, "d_model", 512, VLM_MOST_WIDTH);
    language->vocabulary = vlm_config_size(binder, config, "vocab_size", 32128, VLM_MOST_TOKENS);
    language->context_length = SIZE_MAX;
    double eps = vlm_config_number(binder, config, "layer_norm_epsilon", 1e-6);
    vlm_transformer body = {
        .width = width,
        .n_heads = vlm_config_size(binder, config, "num_heads", 8, VLM_MOST_WIDTH),
        .head = vlm_config_size(binder, config, "d_kv", 64, VLM_MOST_WIDTH),
        .hidden = vlm_config_size(binder, config, "d_ff", 2048, VLM_MOST_WIDTH * 4),
        .n_blocks = vlm_config_size(binder, config, "num_layers", 6, VLM_MOST_BLOCKS),
        .activation = read_activation(binder, config, &gated),
        .scale = 1,
    };
    language->encoder = language->body = body;
    language->body.causal = true;
    language->body.n_blocks = vlm_config_size(binder, config, "num_decoder_layers", body.n_blocks, VLM_MOST_BLOCKS);
    const json_t *start = json_object_get(config, "decoder_start_token_id"), *pad = json_object_get(config, "pad_token_id");
    language->start_id = json_is_integer(start) ? (int32_t)json_integer_value(start) : json_is_integer(pad) ? (int32_t)json_integer_value(pad) : 0;
    if (vlm_binder_failed(binder))
        return;
    const char *head = vlm_binder_name(binder, "lm_head.weight"), *table = vlm_binder_name(binder, "shared.weight");
    language->tokens = vlm_bind_table(binder, table, language->vocabulary, width);
    bind_stack(binder, &language->encoder, "encoder", config, eps, gated);
    language->encoder_after = vlm_bind_rms(binder, vlm_binder_name(binder, "encoder.final_layer_norm.weight"), width, eps);
    bind_stack(binder, &language->body, "decoder", config, eps, gated);
    language->after = vlm_bind_rms(binder, vlm_binder_name(binder, "decoder.final_layer_norm.weight"), width, eps);
    const json_t *scaled = json_object_get(config, "scale_decoder_outputs"); /* release 5 writes it; before, the tie said it */
    if (json_is_boolean(scaled) ? json_is_true(scaled) : !json_is_false(json_object_get(config, "tie_word_embeddings")))
        language->head_scale = (float)pow((double)width, -0.5);
    vlm_bind_head(binder, language, head, table);
}
