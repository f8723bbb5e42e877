/* Writing and finding checkpoints.
 * The order is what makes an interruption harmless: first optimizer-<step>.safetensors, then
 * model.safetensors, whose metadata names that step and which is renamed into place as the last act; only
 * then is the optimiser's file of the step before removed. state.json is for people and for the seed. */
#include "train/save.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"
#include "formats/safetensors.h"

static const char STEP_KEY[] = "vlm.step", OPTIMIZER_PREFIX[] = "optimizer-";

static vlm_status write_json(const char *folder, const char *name, const json_t *object, vlm_error *error)
{
    char *path = vlm_join_path(folder, name), *text = json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    vlm_status status = path && text ? vlm_write_file(path, text, strlen(text), error) : vlm_fail_memory(error, 4096, name);
    free(text);
    free(path);
    return status;
}

/* ---- what describes the model ---------------------------------------------------------------------------- */

static json_t *numbers(const double values[3])
{
    return json_pack("[f, f, f]", values[0], values[1], values[2]);
}

static json_t *preprocessor(const vlm_train_config *config, const vlm_network *network)
{
    json_int_t height = (json_int_t)network->vision->image_height, width = (json_int_t)network->vision->image_width;
    if (network->text && height == width)
        return json_pack("{s:s, s:b, s:{s:I}, s:i, s:b, s:{s:I, s:I}, s:b, s:f, s:b, s:o, s:o, s:b}", "image_processor_type", "CLIPImageProcessor",
                         "do_resize", 1, "size", "shortest_edge", height, "resample", 3, "do_center_crop", 1, "crop_size", "height", height, "width", width,
                         "do_rescale", 1, "rescale_factor", 1.0 / 255, "do_normalize", 1, "image_mean", numbers(config->mean), "image_std", numbers(config->std), "do_convert_rgb", 1);
    return json_pack("{s:s, s:b, s:{s:I, s:I}, s:i, s:b, s:f, s:b, s:o, s:o, s:b}", "image_processor_type", network->text ? "CLIPImageProcessor" : "ViTImageProcessor",
                     "do_resize", 1, "size", "height", height, "width", width, "resample", 3, "do_rescale", 1, "rescale_factor", 1.0 / 255, "do_normalize", 1,
                     "image_mean", numbers(config->mean), "image_std", numbers(config->std), "do_convert_rgb", 1);
}

vlm_status vlm_save_description(const char *folder, const json_t *model, const vlm_train_config *config, const vlm_network *network, const vlm_words *words, vlm_error *error)
{
    json_t *pixels = preprocessor(config, network);
    vlm_status status = pixels ? write_json(folder, "preprocessor_config.json", pixels, error) : vlm_fail_memory(error, 1024, "preprocessor_config.json");
    json_decref(pixels);
    if (status == VLM_OK)
        status = write_json(folder, "config.json", model, error);
    if (status == VLM_OK && words)
        status = vlm_words_save(words, folder, network->text ? network->text->context_length : 0, error);
    return status;
}

/* ---- weights and moments ---------------------------------------------------------------------------------- */

vlm_entry vlm_parameter_entry(const vlm_parameter *parameter, size_t part, const float *values)
{
    vlm_entry entry = {.name = parameter->names[part], .type = VLM_F32, .n_dims = parameter->n_dims, .n = 1};
    for (size_t i = 0; i < parameter->n_dims; i++) {
        entry.shape[i] = parameter->shape[i];
        entry.n *= parameter->shape[i];
    }
    entry.bytes = entry.n * sizeof(float);
    entry.data = values + part * entry.n;
    return entry;
}

static vlm_status weight_entries(vlm_entry **entries, size_t *n, const vlm_network *network, vlm_error *error)
{
    *n = 0;
    *entries = vlm_alloc(network->n_parameters_listed * VLM_MAX_PARTS, sizeof **entries);
    if (!*entries)
        return vlm_fail_memory(error, network->n_parameters_listed * VLM_MAX_PARTS * sizeof **entries, "a checkpoint's table");
    for (size_t i = 0; i < network->n_parameters_listed; i++) {
        const vlm_parameter *parameter = &network->parameters[i];
        for (size_t part = 0; part < parameter->n_parts; part++)
            (*entries)[(*n)++] = vlm_parameter_entry(parameter, part, vlm_tensor_floats(parameter->tensor));
    }
    return VLM_OK;
}

static char *optimizer_path(const char *folder, size_t step)
{
    char name[64];
    snprintf(name, sizeof name, "%s%08zu.safetensors", OPTIMIZER_PREFIX, step);
    return vlm_join_path(folder, name);
}

/* Those of other steps are of no use once the model of this one is in place. */
static void remove_old_optimizers(const char *folder, const char *keep)
{
    char **names = NULL;
    size_t n = 0;
    if (vlm_list_folder(&names, &n, folder, NULL) != VLM_OK)
        return;
    for (size_t i = 0; i < n; i++) {
        char *path = strncmp(names[i], OPTIMIZER_PREFIX, sizeof OPTIMIZER_PREFIX - 1) == 0 ? vlm_join_path(folder, names[i]) : NULL;
        if (path && strcmp(path, keep) != 0)
            unlink(path);
        free(path);
        free(names[i]);
    }
    free(names);
}

static vlm_status write_state(const char *folder, const vlm_run_state *state, vlm_error *error)
{
    json_t *object = json_pack("{s:I, s:I, s:I, s:I}", "step", (json_int_t)state->step, "steps", (json_int_t)state->steps, "batch", (json_int_t)state->batch,
                               "seed", (json_int_t)state->seed);
    vlm_status status = object ? write_json(folder, "state.json", object, error) : vlm_fail_memory(error, 256, "state.json");
    json_decref(object);
    return status;
}

vlm_status vlm_save_checkpoint(const char *folder, const vlm_trainer *trainer, const vlm_run_state *state, vlm_error *error)
{
    char step[32];
    snprintf(step, sizeof step, "%zu", state->step);
    const char *metadata[][2] = {{"format", "pt"}, {STEP_KEY, step}};
    char *model = vlm_join_path(folder, "model.safetensors"), *optimizer = optimizer_path(folder, state->step);
    const vlm_entry *moments;
    vlm_entry *weights = NULL;
    size_t n_moments, n_weights;
    vlm_status status = model && optimizer ? weight_entries(&weights, &n_weights, trainer->network, error) : vlm_fail_memory(error, strlen(folder), "a path");
    if (status == VLM_OK) {
        vlm_optimizer_entries(trainer->optimizer, &moments, &n_moments);
        status = vlm_safetensors_write(optimizer, moments, n_moments, metadata + 1, 1, error);
    }
    if (status == VLM_OK)
        status = write_state(folder, state, error);
    if (status == VLM_OK)
        status = vlm_safetensors_write(model, weights, n_weights, metadata, 2, error);
    if (status == VLM_OK)
        remove_old_optimizers(folder, optimizer);
    free(weights);
    free(model);
    free(optimizer);
    return status;
}

/* ---- finding them again ------------------------------------------------------------------------------------ */

static vlm_status read_step(const char *path, size_t *step, vlm_error *error)
{
    vlm_checkpoint *checkpoint;
    vlm_status status = vlm_checkpoint_open(&checkpoint, path, error);
    if (status != VLM_OK)
        return status;
    const char *text = vlm_checkpoint_metadata(checkpoint, STEP_KEY);
    char *end = NULL;
    errno = 0;
    *step = text ? (size_t)strtoull(text, &end, 10) : 0;
    if (!text || !*text || *end || errno)
        status = vlm_fail(error, VLM_ERR_MISMATCH, "%s: no run wrote this model; --init begins from it, --resume cannot", path);
    vlm_checkpoint_close(checkpoint);
    return status;
}

vlm_status vlm_load_state(const char *folder, vlm_run_state *state, bool *found, vlm_error *error)
{
    char *model = vlm_join_path(folder, "model.safetensors"), *path = vlm_join_path(folder, "state.json");
    json_t *root = NULL;
    size_t seed = 0;
    *state = (vlm_run_state){0};
    *found = model && vlm_file_exists(model);
    vlm_status status = model && path ? VLM_OK : vlm_fail_memory(error, strlen(folder), "a path");
    if (status == VLM_OK && *found) {
        status = read_step(model, &state->step, error);
        if (status == VLM_OK)
            status = vlm_json_read(&root, path, error);
        if (status == VLM_OK)
            status = vlm_json_get_size(&state->steps, root, "steps", 0, path, error);
        if (status == VLM_OK)
            status = vlm_json_get_size(&state->batch, root, "batch", 0, path, error);
        if (status == VLM_OK)
            status = vlm_json_get_size(&seed, root, "seed", 0, path, error);
        state->seed = seed;
    }
    json_decref(root);
    free(model);
    free(path);
    return status;
}

vlm_status vlm_load_optimizer(const char *folder, vlm_optimizer *optimizer, const vlm_run_state *state, vlm_error *error)
{
    char *path = optimizer_path(folder, state->step);
    vlm_checkpoint *checkpoint = NULL;
    vlm_status status = path ? vlm_checkpoint_open(&checkpoint, path, error) : vlm_fail_memory(error, strlen(folder), "a path");
    if (status == VLM_OK)
        status = vlm_optimizer_load(optimizer, checkpoint, error);
    vlm_checkpoint_close(checkpoint);
    free(path);
    return status;
}
