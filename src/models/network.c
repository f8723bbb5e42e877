/* Networks from configs. ADD A FAMILY HERE: a row in `families`, a file that binds its names, a golden. */
#include "models/network.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "formats/json.h"
#include "models/bind.h"
#include "vlm/vlm.h"

typedef struct family {
    const char *model_type; /* of config.json */
    const char *name;
    unsigned parts; /* what it has */
    void (*build)(vlm_binder *binder, const json_t *config);
} family;

static const family families[] = {
    {"clip", "clip", VLM_PART_VISION | VLM_PART_TEXT, vlm_build_clip},
    {"clip_vision_model", "clip", VLM_PART_VISION, vlm_build_clip_vision},
    {"clip_text_model", "clip", VLM_PART_TEXT, vlm_build_clip_text},
    {"siglip", "siglip", VLM_PART_VISION | VLM_PART_TEXT, vlm_build_siglip},
    {"vit", "vit", VLM_PART_VISION, vlm_build_vit},
    {"distilbert", "distilbert", VLM_PART_TEXT, vlm_build_distilbert},
    {"blip-2", "blip2", VLM_PART_VISION | VLM_PART_TEXT | VLM_PART_LANGUAGE, vlm_build_blip2},
    {"instructblip", "instructblip", VLM_PART_VISION | VLM_PART_LANGUAGE, vlm_build_blip2},
    {"opt", "opt", VLM_PART_LANGUAGE, vlm_build_opt},
    {"llama", "llama", VLM_PART_LANGUAGE, vlm_build_llama},
    {"mistral", "mistral", VLM_PART_LANGUAGE, vlm_build_llama},
    {"gpt2", "gpt2", VLM_PART_LANGUAGE, vlm_build_gpt2},
    {"t5", "t5", VLM_PART_LANGUAGE, vlm_build_t5},
};

static const family *find_family(const json_t *config, const char *where, vlm_error *error)
{
    const char *type = NULL;
    if (!json_is_object(config)) {
        vlm_fail(error, VLM_ERR_FORMAT, "%s: an object is wanted", where);
        return NULL;
    }
    if (vlm_json_get_string(&type, config, "model_type", NULL, where, error) != VLM_OK)
        return NULL;
    for (size_t i = 0; type && i < sizeof families / sizeof *families; i++)
        if (strcmp(type, families[i].model_type) == 0)
            return &families[i];
    vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: model_type \"%s\"; clip, clip_vision_model, clip_text_model, siglip, vit, distilbert, blip-2, instructblip, opt, llama, mistral, gpt2 and t5 are known",
             where, type ? type : "(none)");
    return NULL;
}

/* Narrow the asked parts to what the family has; it must have at least one of them. */
static vlm_status choose_parts(vlm_network_options *options, const family *row, const char *where, vlm_error *error)
{
    unsigned towers = VLM_PART_VISION | VLM_PART_TEXT | VLM_PART_LANGUAGE, asked = options->parts & towers ? options->parts & towers : towers;
    options->parts = asked & row->parts;
    if (options->parts)
        return VLM_OK;
    return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: this %s model has no %s", where, row->name,
                    asked & VLM_PART_LANGUAGE ? "language model" : asked & VLM_PART_TEXT ? "text tower" : "vision tower");
}

static vlm_status begin(vlm_network **network, vlm_binder *binder, vlm_error *error)
{
    *network = vlm_alloc_zero(1, sizeof **network);
    if (!*network)
        return vlm_fail_memory(error, sizeof **network, "a model");
    binder->network = *network;
    return VLM_OK;
}

static vlm_status finish(vlm_network **network, const vlm_binder *binder)
{
    if (!vlm_binder_failed(binder))
        return VLM_OK;
    vlm_network_free(*network);
    *network = NULL;
    return binder->status;
}

vlm_status vlm_network_create(vlm_network **network, const json_t *config, const vlm_checkpoint *weights, const vlm_network_options *asked, const char *where, vlm_error *error)
{
    *network = NULL;
    vlm_error local;
    error = error ? error : &local;
    vlm_network_options options = *asked;
    vlm_binder binder = {.weights = weights, .options = &options, .where = where, .prefix = "", .error = error};
    const family *row = find_family(config, where, error);
    if (!row)
        return error->status;
    vlm_status status = choose_parts(&options, row, where, error);
    if (status == VLM_OK)
        status = begin(network, &binder, error);
    if (status != VLM_OK)
        return status;
    (*network)->family = row->name;
    (*network)->layout = "transformers";
    row->build(&binder, config);
    return finish(network, &binder);
}

vlm_status vlm_network_create_openclip(vlm_network **network, const json_t *model_cfg, bool force_quick_gelu, const vlm_checkpoint *weights, const vlm_network_options *asked, const char *where, vlm_error *error)
{
    static const family openclip = {"", "clip", VLM_PART_VISION | VLM_PART_TEXT, NULL};
    *network = NULL;
    vlm_error local;
    error = error ? error : &local;
    vlm_network_options options = *asked;
    vlm_binder binder = {.weights = weights, .options = &options, .where = where, .prefix = "", .error = error};
    if (!json_is_object(model_cfg))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"model_cfg\" with vision_cfg and text_cfg is wanted", where);
    vlm_status status = choose_parts(&options, &openclip, where, error);
    if (status == VLM_OK)
        status = begin(network, &binder, error);
    if (status != VLM_OK)
        return status;
    (*network)->family = openclip.name;
    (*network)->layout = "openclip";
    vlm_build_openclip(&binder, model_cfg, force_quick_gelu);
    return finish(network, &binder);
}

/* torch.nn.modules.activation.Tanh is sentence-transformers' default; Identity is what CLIP's half has. */
static vlm_activation dense_activation(vlm_binder *binder, const json_t *config)
{
    const char *name = json_string_value(json_object_get(config, "activation_function"));
    const char *class_name = name && strrchr(name, '.') ? strrchr(name, '.') + 1 : name ? name : "Tanh";
    if (strcmp(class_name, "Tanh") == 0)
        return VLM_ACT_TANH;
    if (strcmp(class_name, "ReLU") == 0)
        return VLM_ACT_RELU;
    if (strcmp(class_name, "GELU") == 0)
        return VLM_ACT_GELU;
    if (strcmp(class_name, "Identity") != 0)
        vlm_binder_fail(binder, VLM_ERR_UNSUPPORTED, "%s: activation_function %s; Identity, Tanh, ReLU and GELU are known", binder->where, name);
    return VLM_ACT_NONE;
}

vlm_status vlm_network_add_dense(vlm_network *network, const json_t *config, const vlm_checkpoint *weights, const vlm_network_options *options, const char *where, vlm_error *error)
{
    vlm_error local;
    error = error ? error : &local;
    vlm_binder binder = {.network = network, .weights = weights, .options = options, .where = where, .prefix = "", .error = error};
    vlm_text_tower *tower = network->text;
    size_t k = vlm_config_size(&binder, config, "in_features", tower->embedding, VLM_MOST_WIDTH), n = vlm_config_size(&binder, config, "out_features", tower->embedding, VLM_MOST_WIDTH);
    if (!vlm_binder_failed(&binder) && k != tower->embedding)
        vlm_binder_fail(&binder, VLM_ERR_MISMATCH, "%s: in_features is %zu, the tower gives %zu", where, k, tower->embedding);
    tower->projection_activation = dense_activation(&binder, config);
    vlm_linear dense = vlm_bind_linear(&binder, VLM_PARAMETER_EDGE, "linear", n, k, !json_is_false(json_object_get(config, "bias")));
    if (!vlm_binder_failed(&binder)) {
        tower->projection = dense;
        tower->embedding = n;
    }
    return binder.status;
}

void vlm_network_free(vlm_network *network)
{
    if (!network)
        return;
    free(network->parameters);
    vlm_arena_free(&network->arena);
    free(network);
}
