/* A run: config, data and model come together, then batch, step, log and checkpoint until it is done or asked
 * to stop. What is public of training (vlm/train.h) is here.
 * Trap: everything that a later step depends on must be in the checkpoint or follow from (seed, step). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <errno.h>
#include <time.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/hub.h"
#include "formats/json.h"
#include "train/dump.h"
#include "train/log.h"
#include "train/model_config.h"
#include "train/save.h"
#include "vlm/train.h"

typedef struct run {
    const vlm_train_options *options;
    bool clip;
    vlm_train_config config;
    vlm_threads *threads;
    char *from;           /* the folder that the values come from, or NULL */
    bool resumed;
    vlm_dataset *dataset;
    vlm_words words;
    json_t *model;        /* as config.json keeps it */
    vlm_network *network;
    vlm_trainer *trainer;
    vlm_batch_maker *maker;
    vlm_train_log *log;
    vlm_dump dump;
    vlm_run_state state;
    vlm_train_progress progress;
    double began, last;   /* seconds */
} run;

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- what the run begins from ------------------------------------------------------------------------------ */

static vlm_status make_folder(const char *path, vlm_error *error)
{
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return vlm_fail(error, VLM_ERR_IO, "%s: cannot make this folder: %s", path, strerror(errno));
    return vlm_is_folder(path) ? VLM_OK : vlm_fail(error, VLM_ERR_IO, "%s: is no folder", path);
}

static vlm_status find_start(run *r, vlm_error *error)
{
    const vlm_train_options *options = r->options;
    bool found;
    vlm_status status = make_folder(options->output, error);
    if (status == VLM_OK)
        status = vlm_load_state(options->output, &r->state, &found, error);
    if (status != VLM_OK)
        return status;
    if (found && !options->resume)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: holds a run at step %zu; --resume goes on with it, any other folder begins anew", options->output, r->state.step);
    r->resumed = found;
    if (found)
        r->from = vlm_copy_text(options->output, strlen(options->output));
    else if (options->init)
        return vlm_hub_resolve(&r->from, options->init, error);
    return found && !r->from ? vlm_fail_memory(error, strlen(options->output), "a path") : VLM_OK;
}

static vlm_status read_config(run *r, vlm_error *error)
{
    const vlm_train_options *options = r->options;
    vlm_status status = vlm_train_config_read(&r->config, options->config, r->clip, error);
    if (status != VLM_OK)
        return status;
    vlm_train_config *config = &r->config;
    if (options->batch)
        config->batch = options->batch;
    if (options->has_seed)
        config->seed = options->seed;
    if (options->steps) {
        config->steps = options->steps;
        config->epochs = 0;
    }
    if (!config->steps && !config->epochs)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: neither train.steps nor train.epochs says how long to train", config->where);
    if (r->resumed && (r->state.batch != config->batch || r->state.seed != config->seed))
        return vlm_fail(error, VLM_ERR_MISMATCH, "%s: the run was begun with batch %zu and seed %llu, the config says %zu and %llu; a resumed run keeps them", options->output,
                        r->state.batch, (unsigned long long)r->state.seed, config->batch, (unsigned long long)config->seed);
    return VLM_OK;
}

/* The model's description: the config's, or that of the folder it begins from. */
static vlm_status read_base(const json_t **base, json_t **owned, const run *r, vlm_error *error)
{
    *owned = NULL;
    *base = r->config.model;
    if (*base && !r->resumed)
        return VLM_OK;
    if (!r->from)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: \"model\" is missing; a config of transformers' %s is wanted, or a model to begin from (--init)", r->config.where,
                        r->clip ? "CLIPConfig" : "ViTConfig");
    char *path = vlm_join_path(r->from, "config.json");
    vlm_status status = path ? vlm_json_read(owned, path, error) : vlm_fail_memory(error, strlen(r->from), "a path");
    free(path);
    *base = *owned;
    return status;
}

static vlm_status open_data(run *r, const json_t *base, vlm_error *error)
{
    const vlm_train_config *config = &r->config;
    vlm_data_options data = {.path = r->options->data, .settings = config->data, .augmentation = config->augmentation, .where = config->where,
                             .labels = !r->clip, .threads = r->threads};
    memcpy(data.mean, config->mean, sizeof data.mean);
    vlm_status status = vlm_model_image_size(&data.image_height, &data.image_width, base, config->where, error);
    if (status == VLM_OK)
        status = vlm_dataset_open(&r->dataset, &data, error);
    if (status == VLM_OK && !r->clip && !r->dataset->n_labels)
        status = vlm_fail(error, VLM_ERR_ARGUMENT, "%s: this data has no labels; a folder for each class, or a table with a label column is wanted", r->options->data);
    return status;
}

/* Epochs are known in steps once the data is. */
static void settle_schedule(run *r)
{
    vlm_train_config *config = &r->config;
    if (config->epochs)
        config->steps = (config->epochs * r->dataset->n_items + config->batch - 1) / config->batch;
    double warm_up = config->warm_up < 1 ? config->warm_up * (double)config->steps : config->warm_up;
    config->schedule.steps = config->steps;
    config->schedule.warm_up = (size_t)(warm_up + 0.5);
    r->state.steps = config->steps;
    r->state.batch = config->batch;
    r->state.seed = config->seed;
}

static vlm_status make_model(run *r, const json_t *base, vlm_error *error)
{
    vlm_status status = VLM_OK;
    if (r->clip)
        status = vlm_words_open(&r->words, &r->config, r->from, r->dataset, error);
    if (status == VLM_OK)
        status = vlm_complete_model(&r->model, base, r->config.where, r->words.tokenizer, r->dataset->labels, r->clip ? 0 : r->dataset->n_labels, error);
    if (status == VLM_OK)
        status = vlm_make_network(&r->network, r->model, r->from, &r->config, r->threads, error);
    if (status == VLM_OK && (r->network->vision->image_height != r->dataset->image_height || r->network->vision->image_width != r->dataset->image_width))
        status = vlm_fail(error, VLM_ERR_MISMATCH, "%s: the model takes %zu x %zu pixels, the data has %zu x %zu", r->config.where, r->network->vision->image_width,
                          r->network->vision->image_height, r->dataset->image_width, r->dataset->image_height);
    if (status == VLM_OK)
        status = vlm_trainer_create(&r->trainer, &r->config, r->network, r->threads, error);
    if (status == VLM_OK && r->resumed)
        status = vlm_load_optimizer(r->options->output, r->trainer->optimizer, &r->state, error);
    return status;
}

static vlm_status make_batches(run *r, vlm_error *error)
{
    const vlm_train_config *config = &r->config;
    vlm_batch_options batch = {.batch = config->batch, .negatives = config->negatives, .steps = config->steps, .seed = config->seed, .positives = config->positives};
    memcpy(batch.mean, config->mean, sizeof batch.mean);
    memcpy(batch.std, config->std, sizeof batch.std);
    if (r->network->text) {
        batch.context_length = r->network->text->context_length;
        batch.pad_id = r->network->text->pad_id;
        batch.pad_to_length = r->network->text->pad_to_length;
    }
    return vlm_batch_maker_create(&r->maker, r->dataset, r->words.tokenizer, &batch, r->threads, error);
}

static vlm_status begin(run *r, vlm_error *error)
{
    const json_t *base;
    json_t *owned = NULL;
    const char *folder = r->options->output;
    vlm_status status = find_start(r, error);
    if (status == VLM_OK)
        status = vlm_threads_create(&r->threads, r->options->n_threads, error);
    if (status == VLM_OK)
        status = read_config(r, error);
    if (status == VLM_OK)
        status = read_base(&base, &owned, r, error);
    if (status == VLM_OK)
        status = open_data(r, base, error);
    if (status == VLM_OK) {
        settle_schedule(r);
        status = make_model(r, base, error);
    }
    if (status == VLM_OK)
        status = make_batches(r, error);
    if (status == VLM_OK && !r->resumed)
        status = vlm_save_description(folder, r->model, &r->config, r->network, r->clip ? &r->words : NULL, error);
    if (status == VLM_OK)
        status = vlm_train_log_open(&r->log, folder, r->state.step, error);
    json_decref(owned);
    return status;
}

static void end(run *r)
{
    vlm_train_log_close(r->log);
    vlm_dump_free(&r->dump);
    vlm_batch_maker_free(r->maker);
    vlm_trainer_free(r->trainer);
    vlm_network_free(r->network);
    json_decref(r->model);
    vlm_words_close(&r->words);
    vlm_dataset_close(r->dataset);
    vlm_train_config_free(&r->config);
    vlm_threads_free(r->threads);
    free(r->from);
}

/* ---- the loop ------------------------------------------------------------------------------------------------ */

static vlm_status one_step(run *r, vlm_step_result *result, vlm_error *error)
{
    const vlm_batch *batch;
    size_t dump_steps = r->options->dump_steps ? r->options->dump_steps : 1;
    vlm_status status = vlm_batch_make(r->maker, r->state.step, &batch, error);
    if (status == VLM_OK)
        status = vlm_trainer_gradients(r->trainer, batch, result, error);
    if (status == VLM_OK && r->options->dump && r->dump.n_steps < dump_steps) {
        status = vlm_dump_step(&r->dump, r->network, batch, r->dataset->image_height, r->dataset->image_width, result->loss, error);
        if (status == VLM_OK && r->dump.n_steps == dump_steps)
            status = vlm_dump_write(&r->dump, r->options->dump, error);
    }
    if (status == VLM_OK)
        status = vlm_trainer_update(r->trainer, r->state.step, result, error);
    if (status == VLM_OK)
        r->state.step++;
    return status;
}

/* What the caller and the log are told; returns whether to go on. */
static bool report(run *r, const vlm_step_result *result, bool saved, vlm_train_function *tell, void *user)
{
    r->progress.step = r->state.step;
    r->progress.steps = r->config.steps;
    r->progress.loss = result->loss;
    r->progress.rate = result->rate;
    r->progress.gradient_norm = result->gradient_norm;
    r->progress.temperature = result->temperature;
    r->progress.saved = saved;
    r->progress.log = vlm_train_log_path(r->log);
    return !tell || tell(user, &r->progress);
}

static vlm_status save(run *r, const vlm_step_result *result, vlm_train_function *tell, void *user, bool *go_on, vlm_error *error)
{
    vlm_status status = vlm_train_log_flush(r->log, error);
    if (status == VLM_OK)
        status = vlm_save_checkpoint(r->options->output, r->trainer, &r->state, error);
    if (status == VLM_OK)
        *go_on = report(r, result, true, tell, user) && *go_on;
    return status;
}

static vlm_status loop(run *r, vlm_train_function *tell, void *user, vlm_error *error)
{
    const vlm_train_config *config = &r->config;
    vlm_status status = VLM_OK;
    bool go_on = true, unsaved = r->state.step == 0;
    vlm_step_result result = {0};
    r->began = r->last = seconds_now();
    while (status == VLM_OK && go_on && r->state.step < config->steps) {
        status = one_step(r, &result, error);
        if (status != VLM_OK)
            break;
        double now = seconds_now(), rate = (double)config->batch / (now - r->last);
        r->progress.samples_per_second += (r->progress.samples_per_second ? 0.1 : 1) * (rate - r->progress.samples_per_second);
        r->last = now;
        if (r->state.step % config->log_every == 0 || r->state.step == config->steps)
            status = vlm_train_log_step(r->log, r->state.step, &result, rate, error);
        go_on = report(r, &result, false, tell, user) && go_on;
        if (r->options->max_seconds > 0 && now - r->began > r->options->max_seconds)
            go_on = false;
        unsaved = true;
        if (status == VLM_OK && config->checkpoint_every && r->state.step % config->checkpoint_every == 0) {
            status = save(r, &result, tell, user, &go_on, error);
            unsaved = false;
            r->last = seconds_now();
        }
    }
    return status == VLM_OK && unsaved ? save(r, &result, tell, user, &go_on, error) : status;
}

static vlm_status train(const vlm_train_options *options, bool clip, vlm_train_function *tell, void *user, vlm_error *error)
{
    if (!options->data || !options->config || !options->output)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "training needs data, a config and a folder for the result");
    run r = {.options = options, .clip = clip};
    vlm_status status = begin(&r, error);
    if (status == VLM_OK)
        status = loop(&r, tell, user, error);
    if (status == VLM_OK && options->dump && r.dump.n_steps && r.dump.n_steps < (options->dump_steps ? options->dump_steps : 1))
        status = vlm_dump_write(&r.dump, options->dump, error);
    end(&r);
    return status;
}

vlm_status vlm_train_clip(const vlm_train_options *options, vlm_train_function *progress, void *user, vlm_error *error)
{
    return train(options, true, progress, user, error);
}

vlm_status vlm_train_vit(const vlm_train_options *options, vlm_train_function *progress, void *user, vlm_error *error)
{
    return train(options, false, progress, user, error);
}
