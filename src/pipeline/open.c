/* Open what a name stands for: find the layout of a folder and read the parts that were asked for.
 * Three layouts: transformers (config.json), OpenCLIP (open_clip_config.json), sentence-transformers
 * (modules.json); a bare OpenCLIP checkpoint with the name of its config; and the embedded model.
 * Trap: hub folders of OpenCLIP's authors often hold the transformers layout as well; either gives the same
 * vectors, and config.json with its own weights wins. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/hub.h"
#include "formats/json.h"
#include "models/embedded.h"
#include "models/openclip_configs.h"
#include "pipeline/model.h"

/* One opening: the model being filled and what is asked of it. */
typedef struct opening {
    vlm_model *model;
    unsigned parts;  /* asked for; 0: whatever there is */
    vlm_dtype dtype;
    const char *arch;
    const vlm_model_options *options;
    vlm_error *error;
} opening;

/* True when the part was asked for by name (its absence is then an error). */
static bool required(const opening *o, unsigned part)
{
    return (o->parts & part) != 0;
}

static bool wanted(const opening *o, unsigned part)
{
    return o->parts == 0 || required(o, part);
}

static vlm_status read_json(json_t **json, const char *folder, const char *name, vlm_error *error)
{
    *json = NULL;
    char *path = vlm_join_path(folder, name);
    vlm_status status = path ? vlm_json_read(json, path, error) : vlm_fail_memory(error, strlen(folder), "a path");
    free(path);
    return status;
}

static vlm_status keep_checkpoint(opening *o, vlm_checkpoint *checkpoint)
{
    o->model->checkpoints[o->model->n_checkpoints++] = checkpoint;
    return VLM_OK;
}

static vlm_network_options network_options(const opening *o)
{
    return (vlm_network_options){.parts = o->parts, .dtype = o->dtype, .threads = o->model->threads, .progress = o->options->progress, .user = o->options->user};
}

/* ---- parts that stand alone ---------------------------------------------------------------------------- */

static vlm_status open_tokenizer(opening *o, const char *folder, bool openclip)
{
    if (!wanted(o, VLM_PART_TOKENIZER))
        return VLM_OK;
    vlm_error local = {0};
    vlm_status status = openclip ? vlm_tokenizer_open_openclip(&o->model->tokenizer, folder, &local) : vlm_tokenizer_open(&o->model->tokenizer, folder, &local);
    if (status == VLM_OK || (!required(o, VLM_PART_TOKENIZER) && status == VLM_ERR_IO))
        return VLM_OK;
    return vlm_fail(o->error, status, "%s", local.message);
}

static vlm_status describe_pixels(opening *o)
{
    vlm_model *model = o->model;
    return vlm_pixel_contract_describe(model->pixel_line, sizeof model->pixel_line, &model->pixels)
               ? VLM_OK : vlm_fail_memory(o->error, sizeof model->pixel_line, "the pixel contract");
}

static vlm_status open_pixels(opening *o, const char *folder)
{
    bool there = vlm_folder_has(folder, "preprocessor_config.json") || vlm_folder_has(folder, "processor_config.json");
    if (!wanted(o, VLM_PART_PIXELS) || (!there && !required(o, VLM_PART_PIXELS)))
        return VLM_OK;
    vlm_status status = vlm_pixel_contract_read(&o->model->pixels, folder, o->error);
    if (status == VLM_OK)
        status = describe_pixels(o);
    return status;
}

/* ---- transformers -------------------------------------------------------------------------------------- */

/* `file`: the checkpoint, or NULL for the folder's own. */
static vlm_status open_transformers_network(opening *o, const char *folder, const char *file)
{
    bool towers = wanted(o, VLM_PART_VISION | VLM_PART_TEXT | VLM_PART_LANGUAGE);
    bool there = vlm_folder_has(folder, "config.json") && (file || vlm_checkpoint_exists(folder));
    if (!towers || (!there && o->parts == 0))
        return VLM_OK;
    json_t *config = NULL;
    vlm_checkpoint *checkpoint = NULL;
    char *where = vlm_join_path(folder, "config.json");
    vlm_status status = where ? vlm_json_read(&config, where, o->error) : vlm_fail_memory(o->error, strlen(folder), "a path");
    if (status == VLM_OK)
        status = vlm_checkpoint_open(&checkpoint, file ? file : folder, o->error);
    if (status == VLM_OK)
        status = keep_checkpoint(o, checkpoint);
    vlm_network_options options = network_options(o);
    if (status == VLM_OK)
        status = vlm_network_create(&o->model->network, config, checkpoint, &options, where, o->error);
    if (status == VLM_OK && o->model->network->language)
        status = vlm_read_language_settings(o->model, config, folder, o->error);
    json_decref(config);
    free(where);
    return status;
}

static vlm_status open_transformers(opening *o, const char *folder, const char *file)
{
    o->model->layout = "transformers";
    vlm_status status = open_transformers_network(o, folder, file);
    if (status == VLM_OK)
        status = open_pixels(o, folder);
    if (status == VLM_OK)
        status = open_tokenizer(o, folder, false);
    return status;
}

/* ---- OpenCLIP ------------------------------------------------------------------------------------------ */

/* checkpoint: a folder or a file. config: {"model_cfg":..., "preprocess_cfg":...}. */
static vlm_status open_openclip_parts(opening *o, const json_t *config, const char *checkpoint_path, const char *where)
{
    static const char *const names[] = {"open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_model.safetensors.index.json", "open_clip_pytorch_model.bin",
                                        "open_clip_pytorch_model.bin.index.json", "model.safetensors", "pytorch_model.bin"};
    const json_t *model_cfg = json_object_get(config, "model_cfg"), *vision = json_object_get(model_cfg, "vision_cfg");
    bool towers = wanted(o, VLM_PART_VISION) || wanted(o, VLM_PART_TEXT);
    vlm_status status = VLM_OK;
    if (towers) {
        vlm_checkpoint *checkpoint = NULL;
        vlm_network_options options = network_options(o);
        status = vlm_is_folder(checkpoint_path) ? vlm_checkpoint_open_named(&checkpoint, checkpoint_path, names, sizeof names / sizeof *names, o->error)
                                                : vlm_checkpoint_open(&checkpoint, checkpoint_path, o->error);
        if (status == VLM_OK)
            status = keep_checkpoint(o, checkpoint);
        if (status == VLM_OK)
            status = vlm_network_create_openclip(&o->model->network, model_cfg, false, checkpoint, &options, where, o->error);
    }
    if (status == VLM_OK && wanted(o, VLM_PART_PIXELS) && json_is_object(vision)) {
        vlm_vision_tower size = {0};
        const json_t *value = json_object_get(vision, "image_size");
        size.image_height = size.image_width = json_is_integer(value) && json_integer_value(value) > 0 ? (size_t)json_integer_value(value) : 224;
        if (json_is_array(value) && json_array_size(value) == 2) {
            size.image_height = (size_t)json_integer_value(json_array_get(value, 0));
            size.image_width = (size_t)json_integer_value(json_array_get(value, 1));
        }
        status = vlm_pixel_contract_openclip(&o->model->pixels, json_object_get(config, "preprocess_cfg"), size.image_height, size.image_width, where, o->error);
        if (status == VLM_OK)
            status = describe_pixels(o);
    }
    return status;
}

static vlm_status open_openclip(opening *o, const char *folder)
{
    json_t *config = NULL;
    o->model->layout = "openclip";
    char *where = vlm_join_path(folder, "open_clip_config.json");
    vlm_status status = where ? vlm_json_read(&config, where, o->error) : vlm_fail_memory(o->error, strlen(folder), "a path");
    if (status == VLM_OK)
        status = open_openclip_parts(o, config, folder, where);
    if (status == VLM_OK)
        status = open_tokenizer(o, folder, true);
    json_decref(config);
    free(where);
    return status;
}

/* A checkpoint file alone: OpenCLIP's, with the name of its config, or one beside a transformers config. */
static vlm_status open_file(opening *o, const char *path)
{
    if (!o->arch) {
        const char *slash = strrchr(path, '/');
        char *folder = slash ? vlm_copy_text(path, slash == path ? 1 : (size_t)(slash - path)) : vlm_copy_text(".", 1);
        vlm_status status = folder ? VLM_OK : vlm_fail_memory(o->error, strlen(path), "a path");
        if (status == VLM_OK)
            status = vlm_folder_has(folder, "config.json") ? open_transformers(o, folder, path)
                                                     : vlm_fail(o->error, VLM_ERR_ARGUMENT, "%s: a checkpoint without a config beside it; say which of OpenCLIP's it is with --arch NAME (ViT-B-32, ViT-L-14-quickgelu ...)", path);
        free(folder);
        return status;
    }
    json_t *model_cfg = NULL;
    const char *text = vlm_openclip_config(o->arch);
    if (!text)
        return vlm_fail(o->error, VLM_ERR_UNSUPPORTED, "--arch %s: not a built-in config that is computed here; ViT-B-32, ViT-B-16, ViT-L-14, ViT-H-14, ViT-g-14, ViT-bigG-14 and their kin are, with and without -quickgelu", o->arch);
    vlm_status status = vlm_json_parse(&model_cfg, text, strlen(text), o->arch, o->error);
    json_t *config = status == VLM_OK ? json_pack("{s:o}", "model_cfg", model_cfg) : NULL;
    if (status == VLM_OK && !config)
        status = vlm_fail_memory(o->error, 1, "a config");
    o->model->layout = "openclip";
    if (status == VLM_OK)
        status = open_openclip_parts(o, config, path, o->arch);
    if (status == VLM_OK && wanted(o, VLM_PART_TOKENIZER))
        status = vlm_tokenizer_open_openclip(&o->model->tokenizer, NULL, o->error);
    json_decref(config);
    return status;
}

/* ---- sentence-transformers ----------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* 1_Pooling: the mean over the tokens is what is computed; cls is the other kind that exists for this. */
static vlm_status read_pooling(opening *o, const char *folder)
{
    json_t *config = NULL;
    vlm_status status = read_json(&config, folder, "config.json", o->error);
    if (status != VLM_OK || !o->model->network || !o->model->network->text) {
        json_decref(config);
        return status;
    }
    const char *mode = json_string_value(json_object_get(config, "pooling_mode"));
    vlm_text_tower *tower = o->model->network->text;
    if (json_is_true(json_object_get(config, "pooling_mode_mean_tokens")) || (mode && strcmp(mode, "mean") == 0))
        tower->pooling = VLM_POOL_MEAN;
    else if (json_is_true(json_object_get(config, "pooling_mode_cls_token")) || (mode && strcmp(mode, "cls") == 0))
        tower->pooling = VLM_POOL_FIRST;
    else
        status = vlm_fail(o->error, VLM_ERR_UNSUPPORTED, "%s: this kind of pooling is not computed; mean and cls are", folder);
    json_decref(config);
    return status;
}

/* 2_Dense: a linear layer of its own file, and an activation by its Python class. */
static vlm_status read_dense(opening *o, const char *folder)
{
    vlm_network *network = o->model->network;
    if (!network || !network->text)
        return VLM_OK;
    json_t *config = NULL;
    vlm_checkpoint *checkpoint = NULL;
    if (o->model->n_checkpoints == VLM_MOST_CHECKPOINTS || network->text->projection.weight)
        return vlm_fail(o->error, VLM_ERR_UNSUPPORTED, "%s: more than one dense module", folder);
    vlm_status status = read_json(&config, folder, "config.json", o->error);
    if (status == VLM_OK)
        status = vlm_checkpoint_open(&checkpoint, folder, o->error);
    if (status == VLM_OK)
        status = keep_checkpoint(o, checkpoint);
    if (status == VLM_OK)
        status = vlm_network_add_dense(network, config, checkpoint, &(vlm_network_options){.parts = VLM_PART_TEXT, .dtype = o->dtype, .threads = o->model->threads}, folder, o->error);
    json_decref(config);
    return status;
}

static vlm_status read_max_tokens(opening *o, const char *folder)
{
    json_t *config = NULL;
    if (!vlm_folder_has(folder, "sentence_bert_config.json"))
        return VLM_OK;
    vlm_status status = read_json(&config, folder, "sentence_bert_config.json", o->error);
    if (status == VLM_OK)
        status = vlm_json_get_size(&o->model->max_tokens, config, "max_seq_length", 0, "sentence_bert_config.json", o->error);
    json_decref(config);
    return status;
}

static vlm_status open_module(opening *o, const char *folder, const char *type)
{
    if (ends_with(type, "CLIPModel") || ends_with(type, "Transformer")) {
        vlm_status status = open_transformers(o, folder, NULL);
        return status == VLM_OK ? read_max_tokens(o, folder) : status;
    }
    if (ends_with(type, "Pooling"))
        return read_pooling(o, folder);
    if (ends_with(type, "Dense"))
        return read_dense(o, folder);
    if (ends_with(type, "Normalize"))
        return VLM_OK; /* vectors are scaled to unit length unless raw ones are asked for */
    return vlm_fail(o->error, VLM_ERR_UNSUPPORTED, "%s: module %s; CLIPModel, Transformer, Pooling, Dense and Normalize are known", folder, type);
}

static vlm_status open_sentence_transformers(opening *o, const char *folder)
{
    json_t *modules = NULL;
    vlm_status status = read_json(&modules, folder, "modules.json", o->error);
    if (status == VLM_OK && !json_array_size(modules))
        status = vlm_fail(o->error, VLM_ERR_FORMAT, "%s/modules.json: a list of modules is wanted", folder);
    for (size_t i = 0; status == VLM_OK && i < json_array_size(modules); i++) {
        const json_t *module = json_array_get(modules, i);
        const char *path = NULL, *type = NULL;
        status = vlm_json_get_string(&path, module, "path", "", "modules.json", o->error);
        if (status == VLM_OK)
            status = vlm_json_get_string(&type, module, "type", "", "modules.json", o->error);
        if (status == VLM_OK && (strstr(path, "..") || path[0] == '/'))
            status = vlm_fail(o->error, VLM_ERR_FORMAT, "%s/modules.json: the path \"%s\" leads out of the folder", folder, path);
        char *inside = status == VLM_OK ? vlm_join_path(folder, path) : NULL;
        if (status == VLM_OK)
            status = inside ? open_module(o, inside, type) : vlm_fail_memory(o->error, strlen(folder), "a path");
        free(inside);
    }
    o->model->layout = "sentence-transformers";
    json_decref(modules);
    return status;
}

/* ---- the embedded model --------------------------------------------------------------------------------- */

static vlm_status embedded_json(json_t **json, const char *name, vlm_error *error)
{
    const vlm_embedded_file *file = vlm_embedded_find(name);
    *json = NULL;
    if (!file)
        return vlm_fail(error, VLM_ERR_IO, "this build carries no embedded model; name one with -m");
    return vlm_json_parse(json, (const char *)file->data, file->size, name, error);
}

static vlm_status open_embedded(opening *o)
{
    json_t *config = NULL, *processor = NULL;
    vlm_checkpoint *checkpoint = NULL;
    const vlm_embedded_file *weights = vlm_embedded_find("model.safetensors"), *tokenizer = vlm_embedded_find("tokenizer.json"), *settings = vlm_embedded_find("tokenizer_config.json");
    o->model->layout = "transformers";
    vlm_status status = embedded_json(&config, "config.json", o->error);
    if (status == VLM_OK && (!weights || !tokenizer))
        status = vlm_fail(o->error, VLM_ERR_IO, "this build carries no embedded model; name one with -m");
    if (status == VLM_OK && (wanted(o, VLM_PART_VISION) || wanted(o, VLM_PART_TEXT))) {
        vlm_network_options options = network_options(o);
        status = vlm_checkpoint_open_memory(&checkpoint, weights->data, weights->size, "the embedded model", o->error);
        if (status == VLM_OK)
            status = keep_checkpoint(o, checkpoint);
        if (status == VLM_OK)
            status = vlm_network_create(&o->model->network, config, checkpoint, &options, "the embedded config.json", o->error);
    }
    if (status == VLM_OK && wanted(o, VLM_PART_PIXELS)) {
        status = embedded_json(&processor, "preprocessor_config.json", o->error);
        if (status == VLM_OK)
            status = vlm_pixel_contract_parse(&o->model->pixels, processor, "the embedded preprocessor_config.json", o->error);
        if (status == VLM_OK)
            status = describe_pixels(o);
    }
    if (status == VLM_OK && wanted(o, VLM_PART_TOKENIZER))
        status = vlm_tokenizer_parse(&o->model->tokenizer, (const char *)tokenizer->data, tokenizer->size, settings ? (const char *)settings->data : NULL,
                                     settings ? settings->size : 0, "the embedded tokenizer.json", o->error);
    json_decref(config);
    json_decref(processor);
    return status;
}

/* ---- the way in ----------------------------------------------------------------------------------------- */

static vlm_status open_path(opening *o, const char *path)
{
    if (!vlm_is_folder(path))
        return open_file(o, path);
    bool openclip = vlm_folder_has(path, "open_clip_config.json");
    bool transformers = vlm_folder_has(path, "config.json") && (vlm_folder_has(path, "model.safetensors") || vlm_folder_has(path, "model.safetensors.index.json") ||
                                                                vlm_folder_has(path, "pytorch_model.bin") || vlm_folder_has(path, "pytorch_model.bin.index.json"));
    if (vlm_folder_has(path, "modules.json") && !(transformers && vlm_folder_has(path, "preprocessor_config.json")))
        return open_sentence_transformers(o, path);
    if (openclip && !transformers)
        return open_openclip(o, path);
    return open_transformers(o, path, NULL);
}

static vlm_status parse_dtype(vlm_dtype *dtype, const char *name, vlm_error *error)
{
    static const vlm_dtype known[] = {VLM_F32, VLM_F16, VLM_BF16, VLM_Q8};
    *dtype = VLM_F32;
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
        if (strcmp(name, vlm_dtype_name(known[i])) == 0) {
            *dtype = known[i];
            return VLM_OK;
        }
    return name ? vlm_fail(error, VLM_ERR_ARGUMENT, "dtype %s; f32, f16, bf16 and q8 are known", name) : VLM_OK;
}

/* What was opened, against what was asked for. */
static vlm_status check_parts(const opening *o)
{
    const vlm_model *model = o->model;
    const char *name = model->path ? model->path : "the embedded model";
    const vlm_network *network = model->network;
    if (required(o, VLM_PART_VISION) && !(network && network->vision))
        return vlm_fail(o->error, VLM_ERR_UNSUPPORTED, "%s: no vision tower; this is a model of text alone", name);
    if (required(o, VLM_PART_TEXT) && !(network && network->text))
        return vlm_fail(o->error, VLM_ERR_UNSUPPORTED, "%s: no text tower; this is a model of pictures alone", name);
    if (required(o, VLM_PART_LANGUAGE) && !(network && network->language))
        return vlm_fail(o->error, VLM_ERR_UNSUPPORTED, "%s: no language model; this one writes no text", name);
    if (required(o, VLM_PART_PIXELS) && !model->pixel_line[0])
        return vlm_fail(o->error, VLM_ERR_IO, "%s: nothing says how pictures become pixels; a preprocessor_config.json is wanted", name);
    if (!network && !model->tokenizer && !model->pixel_line[0])
        return vlm_fail(o->error, VLM_ERR_IO, "%s: no model here; config.json with its weights, open_clip_config.json or modules.json is wanted", name);
    if (network && network->vision && network->text && network->vision->embedding != network->text->embedding)
        return vlm_fail(o->error, VLM_ERR_MISMATCH, "%s: pictures become %zu numbers, texts %zu; one space needs one size", name, network->vision->embedding, network->text->embedding);
    return VLM_OK;
}

static bool is_bound(const vlm_network *network, const char *name)
{
    for (size_t i = 0; i < network->n_parameters_listed; i++)
        for (size_t j = 0; j < network->parameters[i].n_parts; j++)
            if (strcmp(network->parameters[i].names[j], name) == 0)
                return true;
    return false;
}

/* Tell of tensors that nothing reads, when all parts were opened: a checkpoint of another model would have many. */
static void log_unused(const opening *o)
{
    const vlm_model *model = o->model;
    if (!o->options->log || o->parts || !model->network || !model->n_checkpoints)
        return;
    vlm_text message = {0};
    size_t unused = 0;
    const vlm_checkpoint *checkpoint = model->checkpoints[0];
    for (size_t i = 0; i < vlm_checkpoint_count(checkpoint); i++) {
        const char *name = vlm_checkpoint_at(checkpoint, i)->name;
        if (ends_with(name, "position_ids") || is_bound(model->network, name))
            continue;
        if (unused++ < 3)
            vlm_text_printf(&message, "%s%s", unused > 1 ? ", " : "", name);
    }
    vlm_text line = {0};
    vlm_text_printf(&line, "%s: %zu of %zu tensors are not used: %s%s", vlm_checkpoint_path(checkpoint), unused, vlm_checkpoint_count(checkpoint), message.data ? message.data : "", unused > 3 ? " ..." : "");
    if (unused && !line.failed)
        o->options->log(o->options->user, line.data);
    vlm_text_free(&message);
    vlm_text_free(&line);
}

vlm_status vlm_model_open(vlm_model **out, const char *name, const vlm_model_options *options, vlm_error *error)
{
    static const vlm_model_options defaults = {0};
    vlm_error local;
    error = error ? error : &local;
    options = options ? options : &defaults;
    *out = NULL;
    *error = (vlm_error){0};
    vlm_model *model = vlm_alloc_zero(1, sizeof *model);
    if (!model)
        return vlm_fail_memory(error, sizeof *model, "a model");
    pthread_mutex_init(&model->lock, NULL);
    opening o = {model, options->parts, VLM_F32, options->arch, options, error};
    vlm_status status = parse_dtype(&o.dtype, options->dtype, error);
    if (status == VLM_OK)
        status = vlm_threads_create(&model->threads, options->n_threads, error);
    if (status == VLM_OK && name)
        status = vlm_hub_resolve(&model->path, name, error);
    if (status == VLM_OK)
        status = name ? open_path(&o, model->path) : open_embedded(&o);
    if (status == VLM_OK)
        status = check_parts(&o);
    if (status != VLM_OK) {
        vlm_model_close(model);
        return status;
    }
    log_unused(&o);
    vlm_context_init(&model->context, model->threads);
    model->context.trace = options->trace;
    model->context.trace_user = options->trace_user;
    vlm_model_describe(model, o.dtype);
    *out = model;
    return VLM_OK;
}

void vlm_model_close(vlm_model *model)
{
    if (!model)
        return;
    vlm_context_free(&model->context);
    vlm_network_free(model->network);
    for (size_t i = 0; i < model->n_checkpoints; i++)
        vlm_checkpoint_close(model->checkpoints[i]);
    vlm_tokenizer_close(model->tokenizer);
    vlm_tokenizer_close(model->instruction_tokenizer);
    free(model->language.ends);
    vlm_threads_free(model->threads);
    pthread_mutex_destroy(&model->lock);
    free(model->path);
    free(model);
}
