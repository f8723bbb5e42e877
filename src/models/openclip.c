/* CLIP in the OpenCLIP layout: model_cfg of open_clip_config.json and the names of open_clip's CLIP and
 * CustomTextCLIP ("text." before the text tower's names). open_clip model.py and transformer.py.
 * Traps: projections are stored [width, embed_dim], the transpose of a linear layer; QuickGELU is a switch of
 * the whole model, off by default; mlp_ratio times width is truncated to an integer (g/14: 6144). */
#include <stdio.h>
#include <string.h>

#include "formats/json.h"
#include "models/bind.h"
#include "vlm/vlm.h"

/* Settings of either tower that change the arithmetic in ways that are not computed here. */
static void refuse_unknown(vlm_binder *binder, const json_t *config, const char *which)
{
    static const char *const switches[] = {"timm_model_name", "hf_model_name", "attentional_pool", "ls_init_value", "qk_norm", "scaled_cosine_attn", "scale_heads",
                                           "scale_attn_inner", "scale_attn", "scale_fc", "embed_cls", "no_causal_mask", "block_type"};
    for (size_t i = 0; i < sizeof switches / sizeof *switches && !vlm_binder_failed(binder); i++) {
        const json_t *value = json_object_get(config, switches[i]);
        bool plain = !value || json_is_null(value) || json_is_false(value) || (json_is_string(value) && strcmp(json_string_value(value), "default") == 0) ||
                     (json_is_number(value) && json_number_value(value) == 0);
        if (!plain)
            vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: %s sets \"%s\"; only OpenCLIP's own ViT and text transformer without it are computed", binder->where, which, switches[i]);
    }
    if (json_is_array(json_object_get(config, "layers")))
        vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: %s is a ResNet; only vision transformers are computed", binder->where, which);
}

static double norm_eps(vlm_binder *binder, const json_t *config)
{
    return vlm_config_number(binder, json_object_get(config, "norm_kwargs"), "eps", 1e-5);
}

/* nn.GELU(approximate="tanh") is asked for by act_kwargs. */
static vlm_activation activation(vlm_binder *binder, const json_t *config, bool quick)
{
    const char *approximate = NULL;
    if (!vlm_binder_failed(binder))
        binder->status = vlm_json_get_string(&approximate, json_object_get(config, "act_kwargs"), "approximate", NULL, binder->where, binder->error);
    if (quick)
        return VLM_ACT_QUICK_GELU;
    return approximate && strcmp(approximate, "tanh") == 0 ? VLM_ACT_GELU_TANH : VLM_ACT_GELU;
}

static void bind_blocks(vlm_binder *binder, vlm_transformer *body, const char *prefix, double eps)
{
    size_t width = body->width, stacked = 3 * width;
    body->blocks = vlm_binder_alloc(binder, body->n_blocks, sizeof *body->blocks);
    for (size_t i = 0; i < body->n_blocks && !vlm_binder_failed(binder); i++) {
        vlm_block *block = &body->blocks[i];
        char at[96];
        snprintf(at, sizeof at, "%stransformer.resblocks.%zu", prefix, i);
        const char *bias = vlm_binder_name(binder, "%s.attn.in_proj_bias", at);
        vlm_matrix_source qkv = {.kind = VLM_PARAMETER_MATRIX, .n_parts = 1, .names = {vlm_binder_name(binder, "%s.attn.in_proj_weight", at)}, .rows = {stacked}, .k = width};
        block->norm1 = vlm_bind_norm(binder, vlm_binder_name(binder, "%s.ln_1", at), width, eps);
        block->qkv = (vlm_linear){vlm_bind_matrix(binder, &qkv), vlm_bind_values(binder, VLM_PARAMETER_VECTOR, 1, &bias, 1, &stacked)};
        block->out = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s.attn.out_proj", at), width, width, true);
        block->norm2 = vlm_bind_norm(binder, vlm_binder_name(binder, "%s.ln_2", at), width, eps);
        block->up = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s.mlp.c_fc", at), body->hidden, width, true);
        block->down = vlm_bind_linear(binder, VLM_PARAMETER_MATRIX, vlm_binder_name(binder, "%s.mlp.c_proj", at), width, body->hidden, true);
    }
}

static vlm_linear bind_projection(vlm_binder *binder, const char *name, size_t embedding, size_t width)
{
    vlm_matrix_source source = {.kind = VLM_PARAMETER_EDGE, .n_parts = 1, .names = {name}, .rows = {embedding}, .k = width, .transposed = true};
    return (vlm_linear){.weight = vlm_bind_matrix(binder, &source)};
}

static size_t hidden_size(vlm_binder *binder, const json_t *config, size_t width)
{
    double ratio = vlm_config_number(binder, config, "mlp_ratio", 4.0), hidden = (double)width * ratio;
    if (!vlm_binder_failed(binder) && !(hidden >= 1 && hidden <= VLM_MOST_WIDTH * 4))
        vlm_binder_fail(binder, VLM_ERR_FORMAT, "%s: mlp_ratio %g of width %zu", binder->where, ratio, width);
    return vlm_binder_failed(binder) ? 1 : (size_t)hidden;
}

static vlm_vision_pooling vision_pooling(vlm_binder *binder, const json_t *config)
{
    const char *type = NULL;
    bool after = false;
    if (!vlm_binder_failed(binder))
        binder->status = vlm_json_get_string(&type, config, "pool_type", "tok", binder->where, binder->error);
    if (!vlm_binder_failed(binder))
        binder->status = vlm_json_get_bool(&after, config, "final_ln_after_pool", false, binder->where, binder->error);
    if (vlm_binder_failed(binder) || strcmp(type, "tok") == 0)
        return VLM_POOL_CLASS_NORMED;
    if (strcmp(type, "avg") != 0)
        vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: vision pool_type \"%s\"; tok and avg are known", binder->where, type);
    return after ? VLM_POOL_MEAN_NORMED : VLM_POOL_NORMED_MEAN;
}

static void bind_vision(vlm_binder *binder, const json_t *config, size_t embedding, bool quick)
{
    vlm_vision_tower *tower = vlm_new_vision(binder);
    if (!tower)
        return;
    refuse_unknown(binder, config, "vision_cfg");
    size_t width = tower->width = vlm_config_size(binder, config, "width", 768, VLM_MOST_WIDTH), patch_width;
    size_t head = vlm_config_size(binder, config, "head_width", 64, VLM_MOST_WIDTH);
    vlm_config_pair(binder, config, "image_size", 224, VLM_MOST_PIXELS, &tower->image_height, &tower->image_width);
    vlm_config_pair(binder, config, "patch_size", 16, VLM_MOST_PIXELS, &tower->patch, &patch_width);
    if (!vlm_binder_failed(binder) && (tower->patch != patch_width || tower->patch > tower->image_height || tower->patch > tower->image_width))
        vlm_binder_fail(binder, VLM_ERR_FORMAT, "%s: square patches no larger than the picture are wanted, patch_size is %zu x %zu", binder->where, tower->patch, patch_width);
    tower->body = (vlm_transformer){
        .width = width,
        .n_heads = width / head ? width / head : 1,
        .hidden = hidden_size(binder, config, width),
        .n_blocks = vlm_config_size(binder, config, "layers", 12, VLM_MOST_BLOCKS),
        .activation = activation(binder, config, quick),
    };
    vlm_config_check_body(binder, &tower->body, "vision_cfg");
    tower->pooling = vision_pooling(binder, config);
    double eps = norm_eps(binder, config);
    if (vlm_binder_failed(binder))
        return;
    size_t p = tower->patch;
    const char *class_name = vlm_binder_name(binder, "visual.class_embedding"), *positions = vlm_binder_name(binder, "visual.positional_embedding");
    tower->class_token = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &class_name, 1, &width);
    vlm_matrix_source patches = {.kind = VLM_PARAMETER_EDGE, .n_parts = 1, .rows = {width}, .k = 3 * p * p, .n_dims = 4, .shape = {width, 3, p, p},
                                 .names = {vlm_binder_name(binder, "visual.conv1.weight")}};
    tower->patches.weight = vlm_bind_matrix(binder, &patches);
    tower->positions = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &positions, 2, (size_t[]){vlm_vision_tokens(tower) + 1, width});
    if (!json_is_true(json_object_get(config, "no_ln_pre")))
        tower->before = vlm_bind_norm(binder, vlm_binder_name(binder, "visual.ln_pre"), width, eps);
    bind_blocks(binder, &tower->body, "visual.", eps);
    tower->after = vlm_bind_norm(binder, vlm_binder_name(binder, "visual.ln_post"), width, eps);
    tower->projection = bind_projection(binder, vlm_binder_name(binder, "visual.proj"), embedding, width);
    tower->embedding = embedding;
}

static void read_text_pooling(vlm_binder *binder, const json_t *config, vlm_text_tower *tower)
{
    static const struct {
        const char *name;
        vlm_text_pooling pooling;
    } known[] = {{"argmax", VLM_POOL_LARGEST_ID}, {"eos", VLM_POOL_END_ID}, {"last", VLM_POOL_LAST}, {"first", VLM_POOL_FIRST}};
    const char *type = NULL;
    size_t end = 2;
    if (!vlm_binder_failed(binder))
        binder->status = vlm_json_get_string(&type, config, "pool_type", "argmax", binder->where, binder->error);
    if (!vlm_binder_failed(binder))
        binder->status = vlm_json_get_size(&end, config, "eos_id", 2, binder->where, binder->error);
    if (vlm_binder_failed(binder))
        return;
    tower->end_id = (int32_t)end;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(type, known[i].name) == 0) {
            tower->pooling = known[i].pooling;
            tower->pad_to_length = tower->pooling == VLM_POOL_LAST;
            return;
        }
    vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: text pool_type \"%s\"; argmax, eos, last and first are known", binder->where, type);
}

static void bind_text(vlm_binder *binder, const json_t *config, size_t embedding, bool quick)
{
    vlm_text_tower *tower = vlm_new_text(binder);
    if (!tower)
        return;
    refuse_unknown(binder, config, "text_cfg");
    if (vlm_binder_has(binder, "text.token_embedding.weight"))
        binder->prefix = "text.";
    size_t width = tower->width = vlm_config_size(binder, config, "width", 512, VLM_MOST_WIDTH), pad = 0;
    tower->vocabulary = vlm_config_size(binder, config, "vocab_size", 49408, VLM_MOST_TOKENS);
    tower->context_length = vlm_config_size(binder, config, "context_length", 77, VLM_MOST_TOKENS);
    tower->body = (vlm_transformer){
        .width = width,
        .n_heads = vlm_config_size(binder, config, "heads", 8, VLM_MOST_WIDTH),
        .hidden = hidden_size(binder, config, width),
        .n_blocks = vlm_config_size(binder, config, "layers", 12, VLM_MOST_BLOCKS),
        .activation = activation(binder, config, quick),
        .causal = true,
    };
    vlm_config_check_body(binder, &tower->body, "text_cfg");
    read_text_pooling(binder, config, tower);
    double eps = norm_eps(binder, config);
    if (!vlm_binder_failed(binder))
        binder->status = vlm_json_get_size(&pad, config, "pad_id", 0, binder->where, binder->error);
    tower->pad_id = (int32_t)pad;
    if (vlm_binder_failed(binder))
        return;
    const char *positions = vlm_binder_name(binder, "positional_embedding"), *projection = vlm_binder_name(binder, "text_projection");
    tower->tokens = vlm_bind_table(binder, vlm_binder_name(binder, "token_embedding.weight"), tower->vocabulary, width);
    tower->positions = vlm_bind_values(binder, VLM_PARAMETER_EMBEDDING, 1, &positions, 2, (size_t[]){tower->context_length, width});
    bind_blocks(binder, &tower->body, "", eps);
    tower->after = vlm_bind_norm(binder, vlm_binder_name(binder, "ln_final"), width, eps);
    tower->embedding = embedding;
    const json_t *type = json_object_get(config, "proj_type");
    if (json_is_string(type) && strcmp(json_string_value(type), "none") == 0)
        tower->embedding = width;
    else if (json_is_true(json_object_get(config, "proj_bias")))
        tower->projection = vlm_bind_linear(binder, VLM_PARAMETER_EDGE, projection, embedding, width, true);
    else
        tower->projection = bind_projection(binder, projection, embedding, width);
    binder->prefix = "";
}

void vlm_build_openclip(vlm_binder *binder, const json_t *model_cfg, bool force_quick_gelu)
{
    bool quick = force_quick_gelu || json_is_true(json_object_get(model_cfg, "quick_gelu"));
    size_t embedding = vlm_config_size(binder, model_cfg, "embed_dim", 512, VLM_MOST_WIDTH);
    const char *scale = vlm_binder_name(binder, "logit_scale"), *bias = vlm_binder_name(binder, "logit_bias");
    if (binder->options->parts & VLM_PART_VISION)
        bind_vision(binder, json_object_get(model_cfg, "vision_cfg"), embedding, quick);
    if (binder->options->parts & VLM_PART_TEXT)
        bind_text(binder, json_object_get(model_cfg, "text_cfg"), embedding, quick);
    if (vlm_binder_failed(binder))
        return;
    binder->network->logit_scale = vlm_bind_values(binder, VLM_PARAMETER_SCALAR, 1, &scale, 0, (size_t[]){1});
    if (vlm_binder_has(binder, bias))
        binder->network->logit_bias = vlm_bind_values(binder, VLM_PARAMETER_SCALAR, 1, &bias, 0, (size_t[]){1});
}
