/* What a language model's folder says beside its sizes: where texts begin and end, and InstructBLIP's second
 * tokenizer. generation_config.json counts before config.json; for BLIP-2 the language model's part of config.json
 * alone does, as the reference's inner model has no other.
 * Trap: a key that is missing means the class's default (OPT ends with 2), a null that there is none. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"
#include "pipeline/model.h"

/* Hugging Face's configuration classes; -1: none. */
static const struct {
    const char *model_type;
    int32_t begin, end;
} defaults[] = {{"opt", 2, 2}, {"llama", 1, 2}, {"mistral", 1, 2}, {"gpt2", 50256, 50256}, {"t5", -1, 1}};

static bool is_id(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= INT32_MAX;
}

/* A number, a list of them, or null. */
static vlm_status read_ends(vlm_language_settings *settings, const json_t *value, const char *where, vlm_error *error)
{
    size_t n = json_is_array(value) ? json_array_size(value) : json_is_null(value) ? 0 : 1;
    free(settings->ends);
    settings->n_ends = 0;
    settings->ends = vlm_alloc(n + 1, sizeof *settings->ends);
    if (!settings->ends)
        return vlm_fail_memory(error, n * sizeof *settings->ends, where);
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_is_array(value) ? json_array_get(value, i) : value;
        if (!is_id(id))
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: eos_token_id: a token's number, or a list of them, is wanted", where);
        settings->ends[settings->n_ends++] = (int32_t)json_integer_value(id);
    }
    return VLM_OK;
}

static vlm_status read_begin(int32_t *begin, const json_t *config, const char *key, const char *where, vlm_error *error)
{
    const json_t *value = json_object_get(config, key);
    if (value && !json_is_null(value) && !is_id(value))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: %s: a token's number is wanted", where, key);
    if (value)
        *begin = json_is_null(value) ? -1 : (int32_t)json_integer_value(value);
    return VLM_OK;
}

static vlm_status read_defaults(vlm_language_settings *settings, const json_t *config, vlm_error *error)
{
    const char *type = json_string_value(json_object_get(config, "model_type"));
    settings->begin = -1;
    settings->ends = vlm_alloc(1, sizeof *settings->ends);
    if (!settings->ends)
        return vlm_fail_memory(error, sizeof *settings->ends, "a model");
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (strcmp(type ? type : "opt", defaults[i].model_type) == 0) {
            settings->begin = defaults[i].begin;
            settings->ends[0] = defaults[i].end;
            settings->n_ends = 1;
        }
    return VLM_OK;
}

static vlm_status read_config(vlm_language_settings *settings, const json_t *config, const char *where, vlm_error *error)
{
    const json_t *ends = json_object_get(config, "eos_token_id");
    vlm_status status = ends ? read_ends(settings, ends, where, error) : VLM_OK;
    return status == VLM_OK ? read_begin(&settings->begin, config, "bos_token_id", where, error) : status;
}

static vlm_status read_generation_config(vlm_model *model, const char *folder, vlm_error *error)
{
    json_t *config = NULL;
    char *path = vlm_join_path(folder, "generation_config.json");
    vlm_status status = path ? vlm_json_read(&config, path, error) : vlm_fail_memory(error, strlen(folder), "a path");
    if (status == VLM_OK)
        status = read_config(&model->language, config, path, error);
    int32_t start = model->network->language->start_id;
    if (status == VLM_OK)
        status = read_begin(&start, config, "decoder_start_token_id", path, error);
    if (start >= 0)
        model->network->language->start_id = start;
    json_decref(config);
    free(path);
    return status;
}

static vlm_status open_instruction_tokenizer(vlm_model *model, const char *folder, vlm_error *error)
{
    char *path = vlm_join_path(folder, "qformer_tokenizer");
    vlm_status status = path ? vlm_tokenizer_open(&model->instruction_tokenizer, path, error) : vlm_fail_memory(error, strlen(folder), "a path");
    free(path);
    return status;
}

vlm_status vlm_read_language_settings(vlm_model *model, const json_t *config, const char *folder, vlm_error *error)
{
    const vlm_bridge *bridge = model->network->bridge;
    const json_t *own = bridge ? json_object_get(config, "text_config") : config;
    vlm_status status = read_defaults(&model->language, own, error);
    if (status == VLM_OK)
        status = read_config(&model->language, own, "config.json", error);
    if (status == VLM_OK && !bridge && vlm_folder_has(folder, "generation_config.json"))
        status = read_generation_config(model, folder, error);
    if (status == VLM_OK && bridge && bridge->instructed)
        status = open_instruction_tokenizer(model, folder, error);
    return status;
}
