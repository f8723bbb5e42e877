/* Llama 1, 2, 3 and Mistral in the transformers layout. Touvron et al. 2023; Jiang et al. 2023; Hugging Face
 * modeling_llama.py, modeling_mistral.py, modeling_rope_utils.py.
 * Traps: keys and values have fewer heads than queries; Llama 3 stretches its low frequencies; release 5 writes
 * rope_parameters where older configs have rope_theta and rope_scaling; Mistral 0.1 sees 4096 tokens back, later
 * ones all (sliding_window null, or left out: then the class's default of 4096 holds). */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "formats/json.h"
#include "models/bind.h"

/* Llama 3's stretching of one frequency. */
static double stretch_llama3(double frequency, double factor, double low, double high, double original)
{
    double wavelength = 2 * 3.14159265358979323846 / frequency;
    if (wavelength < original / high)
        return frequency;
    if (wavelength > original / low)
        return frequency / factor;
    double smooth = (original / wavelength - low) / (high - low);
    return (1 - smooth) * frequency / factor + smooth * frequency;
}

static void read_rope(vlm_binder *binder, const json_t *config, vlm_transformer *body, size_t context_length)
{
    const json_t *parameters = json_object_get(config, "rope_parameters"), *scaling = json_object_get(config, "rope_scaling");
    const json_t *settings = json_is_object(parameters) ? parameters : json_is_object(scaling) ? scaling : NULL;
    double theta = vlm_config_number(binder, json_is_object(parameters) && json_object_get(parameters, "rope_theta") ? parameters : config, "rope_theta", 10000);
    const char *type = "default";
    if (json_is_string(json_object_get(settings, "rope_type")))
        type = json_string_value(json_object_get(settings, "rope_type"));
    else if (json_is_string(json_object_get(settings, "type")))
        type = json_string_value(json_object_get(settings, "type"));
    double factor = vlm_config_number(binder, settings, "factor", 1), low = vlm_config_number(binder, settings, "low_freq_factor", 1);
    double high = vlm_config_number(binder, settings, "high_freq_factor", 4);
    double original = vlm_config_number(binder, settings, "original_max_position_embeddings", (double)context_length);
    bool llama3 = strcmp(type, "llama3") == 0, linear = strcmp(type, "linear") == 0;
    if (!llama3 && !linear && strcmp(type, "default") != 0)
        vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: rope type \"%s\"; default, linear and llama3 are known", binder->where, type);
    if (!vlm_binder_failed(binder) && !(theta > 1 && factor > 0 && low > 0 && high > low && original > 0))
        vlm_binder_fail(binder, VLM_ERR_FORMAT, "%s: rope_theta %g, factor %g, low_freq_factor %g, high_freq_factor %g make no positions", binder->where, theta, factor, low, high);
    size_t head = vlm_transformer_head(body), half = head / 2;
    float *frequencies = vlm_binder_alloc(binder, half ? half : 1, sizeof *frequencies);
    for (size_t i = 0; frequencies && i < half; i++) {
        float frequency = 1.0f / powf((float)theta, (float)(2 * i) / (float)head);
        if (llama3)
            frequency = (float)stretch_llama3(frequency, factor, low, high, original);
        frequencies[i] = linear ? frequency / (float)factor : frequency;
    }
    body->rope = (vlm_rope){half, frequencies, 1};
}

static void bind_block(vlm_binder *binder, const vlm_transformer *body, vlm_block *block, size_t i, double eps, bool attention_bias, bool mlp_bias)
{
    size_t head = vlm_transformer_head(body), queries = body->n_heads * head, keys = vlm_transformer_kv_heads(body) * head, width = body->width;
    static const char *const parts[3] = {"q_proj", "k_proj", "v_proj"};
    vlm_matrix_source qkv = {.kind = VLM_PARAMETER_MATRIX, .n_parts = 3, .rows = {queries, keys, keys}, .k = width};
    for (size_t j = 0; j < 3; j++)
        qkv.names[j] = vlm_binder_name(binder, "layers.%zu.self_attn.%s.weight", i, parts[j]);
    block->norm1 = vlm_bind_rms(binder, vlm_binder_name(binder, "layers.%zu.input_layernorm.weight", i), width, eps);
    block->qkv.weight = vlm_bind_matrix(binder, &qkv);
    if (attention_bias)
        block->qkv.bias = vlm_bind_unequal(binder, (const char *[]){vlm_binder_name(binder, "layers.%zu.self_attn.q_proj.bias", i), vlm_binder_name(binder, "layers.%zu.self_attn.k_proj.bias", i),
                                                                    vlm_binder_name(binder, "layers.%zu.self_attn.v_proj.bias", i)}, qkv.rows, 3);
    block->out = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "layers.%zu.self_attn.o_proj", i), width, queries, attention_bias);
    block->norm2 = vlm_bind_rms(binder, vlm_binder_name(binder, "layers.%zu.post_attention_layernorm.weight", i), width, eps);
    block->gate = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "layers.%zu.mlp.gate_proj", i), body->hidden, width, mlp_bias);
    block->up = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "layers.%zu.mlp.up_proj", i), body->hidden, width, mlp_bias);
    block->down = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "layers.%zu.mlp.down_proj", i), width, body->hidden, mlp_bias);
}

void vlm_build_llama(vlm_binder *binder, const json_t *config)
{
    vlm_language *language = vlm_new_language(binder);
    if (!language)
        return;
    const char *type = json_string_value(json_object_get(config, "model_type")), *outer = binder->prefix;
    bool mistral = type && strcmp(type, "mistral") == 0;
    size_t width = language->width = language->embedding = vlm_config_size(binder, config, "hidden_size", 4096, VLM_MOST_WIDTH);
    language->vocabulary = vlm_config_size(binder, config, "vocab_size", 32000, VLM_MOST_TOKENS);
    language->context_length = vlm_config_size(binder, config, "max_position_embeddings", mistral ? 131072 : 2048, VLM_MOST_TOKENS);
    double eps = vlm_config_number(binder, config, "rms_norm_eps", 1e-6);
    vlm_transformer *body = &language->body;
    *body = (vlm_transformer){
        .width = width,
        .n_heads = vlm_config_size(binder, config, "num_attention_heads", 32, VLM_MOST_WIDTH),
        .hidden = vlm_config_size(binder, config, "intermediate_size", mistral ? 14336 : 11008, VLM_MOST_WIDTH * 4),
        .n_blocks = vlm_config_size(binder, config, "num_hidden_layers", 32, VLM_MOST_BLOCKS),
        .activation = vlm_config_activation(binder, config, "hidden_act", VLM_ACT_SILU),
        .causal = true,
    };
    body->n_kv_heads = vlm_config_size(binder, config, "num_key_value_heads", mistral ? 8 : body->n_heads, VLM_MOST_WIDTH);
    body->head = vlm_config_size(binder, config, "head_dim", body->width / body->n_heads ? body->width / body->n_heads : 1, VLM_MOST_WIDTH);
    const json_t *window = json_object_get(config, "sliding_window");
    if (mistral && !json_is_null(window))
        body->window = vlm_config_size(binder, config, "sliding_window", 4096, VLM_MOST_TOKENS);
    if (!vlm_binder_failed(binder) && (body->n_heads % body->n_kv_heads || body->head % 2))
        vlm_binder_fail(binder, VLM_ERR_FORMAT, "%s: %zu heads, %zu key and value heads of %zu; the one must divide the other, and a head be even", binder->where, body->n_heads, body->n_kv_heads, body->head);
    read_rope(binder, config, body, language->context_length);
    if (vlm_binder_failed(binder))
        return;
    bool attention_bias = json_is_true(json_object_get(config, "attention_bias")), mlp_bias = json_is_true(json_object_get(config, "mlp_bias"));
    const char *head = vlm_binder_name(binder, "lm_head.weight");
    binder->prefix = vlm_binder_name(binder, "model.");
    const char *table = vlm_binder_name(binder, "embed_tokens.weight");
    language->tokens = vlm_bind_table(binder, table, language->vocabulary, width);
    body->blocks = vlm_binder_alloc(binder, body->n_blocks, sizeof *body->blocks);
    for (size_t i = 0; i < body->n_blocks && !vlm_binder_failed(binder); i++)
        bind_block(binder, body, &body->blocks[i], i, eps, attention_bias, mlp_bias);
    language->after = vlm_bind_rms(binder, vlm_binder_name(binder, "norm.weight"), width, eps);
    binder->prefix = outer;
    vlm_bind_head(binder, language, json_is_true(json_object_get(config, "tie_word_embeddings")) ? NULL : head, table);
}
