/* A training step on random data, to be timed. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/hub.h"
#include "formats/json.h"
#include "train/model_config.h"
#include "train/trainer.h"
#include "vlm/train.h"

struct vlm_train_bench {
    vlm_train_config config;
    vlm_threads *threads;
    vlm_network *network;
    vlm_trainer *trainer;
    vlm_batch batch;
    size_t step;
};

/* Pixels of unit variance, texts of the full length. */
static vlm_status fill_batch(vlm_train_bench *bench, size_t n, vlm_error *error)
{
    const vlm_vision_tower *vision = bench->network->vision;
    const vlm_text_tower *text = bench->network->text;
    size_t length = text ? text->context_length : 0, n_pixels;
    vlm_batch *batch = &bench->batch;
    vlm_random random;
    vlm_random_seed(&random, 1);
    if (!vlm_multiply(n, 3 * vision->image_height * vision->image_width, &n_pixels))
        return vlm_fail(error, VLM_ERR_LIMIT, "a batch of %zu does not fit in memory", n);
    batch->n = n;
    batch->n_texts = text ? n : 0;
    batch->pixels = vlm_alloc_aligned(n_pixels, sizeof(float));
    batch->ids = vlm_alloc(n * length, sizeof *batch->ids);
    batch->starts = vlm_alloc(n + 1, sizeof *batch->starts);
    batch->groups = vlm_alloc(n, sizeof *batch->groups);
    batch->labels = vlm_alloc(n, sizeof *batch->labels);
    if (!batch->pixels || !batch->ids || !batch->starts || !batch->groups || !batch->labels)
        return vlm_fail_memory(error, n_pixels * sizeof(float), "a batch");
    for (size_t i = 0; i < n_pixels; i++)
        batch->pixels[i] = vlm_random_normal(&random);
    for (size_t i = 0; i < n * length; i++)
        batch->ids[i] = (i + 1) % length == 0 && text->end_id >= 0 && (size_t)text->end_id < text->vocabulary ? text->end_id : (int32_t)vlm_random_below(&random, text->vocabulary);
    for (size_t i = 0; i <= n; i++)
        batch->starts[i] = i * length;
    for (size_t i = 0; i < n; i++) {
        batch->groups[i] = (int32_t)i;
        batch->labels[i] = bench->network->n_labels ? (int32_t)(i % bench->network->n_labels) : 0;
    }
    return VLM_OK;
}

/* A config with every default but the batch. */
static vlm_status make_config(vlm_train_config *config, bool clip, size_t batch, const char *precision, vlm_error *error)
{
    json_t *root = json_pack("{s:{s:I, s:s, s:i, s:s}}", "train", "batch", (json_int_t)batch, "precision", precision ? precision : "f32", "steps", 1, "schedule", "constant");
    return root ? vlm_train_config_parse(config, root, "bench", clip, error) : vlm_fail_memory(error, 256, "a config");
}

static vlm_status open_model(vlm_train_bench *bench, const char *folder, size_t batch, const char *precision, vlm_error *error)
{
    json_t *model = NULL;
    char *path = vlm_join_path(folder, "config.json");
    vlm_status status = path ? vlm_json_read(&model, path, error) : vlm_fail_memory(error, strlen(folder), "a path");
    const char *type = json_string_value(json_object_get(model, "model_type"));
    bool clip = type && strcmp(type, "clip") == 0;
    if (status == VLM_OK && !clip && (!type || strcmp(type, "vit") != 0))
        status = vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: model_type \"%s\"; clip and vit can be trained", path, type ? type : "");
    if (status == VLM_OK)
        status = make_config(&bench->config, clip, batch, precision, error);
    if (status == VLM_OK)
        status = vlm_make_network(&bench->network, model, NULL, &bench->config, bench->threads, error);
    if (status == VLM_OK)
        status = vlm_trainer_create(&bench->trainer, &bench->config, bench->network, bench->threads, error);
    json_decref(model);
    free(path);
    return status;
}

vlm_status vlm_train_bench_open(vlm_train_bench **out, const char *model, size_t batch, size_t n_threads, const char *precision, vlm_error *error)
{
    char *folder = NULL;
    vlm_train_bench *bench = *out = vlm_alloc_zero(1, sizeof *bench);
    if (!bench)
        return vlm_fail_memory(error, sizeof *bench, "a bench");
    vlm_status status = vlm_hub_resolve(&folder, model, error);
    if (status == VLM_OK)
        status = vlm_threads_create(&bench->threads, n_threads, error);
    if (status == VLM_OK)
        status = open_model(bench, folder, batch, precision, error);
    if (status == VLM_OK)
        status = fill_batch(bench, bench->config.batch, error);
    free(folder);
    if (status != VLM_OK) {
        vlm_train_bench_close(bench);
        *out = NULL;
    }
    return status;
}

vlm_status vlm_train_bench_step(vlm_train_bench *bench, double *seconds, vlm_error *error)
{
    struct timespec begin, end;
    vlm_step_result result;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    vlm_status status = vlm_trainer_gradients(bench->trainer, &bench->batch, &result, error);
    if (status == VLM_OK)
        status = vlm_trainer_update(bench->trainer, bench->step++, &result, error);
    clock_gettime(CLOCK_MONOTONIC, &end);
    *seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
    return status;
}

void vlm_train_bench_close(vlm_train_bench *bench)
{
    if (!bench)
        return;
    vlm_trainer_free(bench->trainer);
    vlm_network_free(bench->network);
    vlm_train_config_free(&bench->config);
    vlm_threads_free(bench->threads);
    free(bench->batch.pixels);
    free(bench->batch.ids);
    free(bench->batch.starts);
    free(bench->batch.groups);
    free(bench->batch.labels);
    free(bench);
}
