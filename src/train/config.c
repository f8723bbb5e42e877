/* Reading the config of a run. Every key has a default but model (unless a run begins from a model) and the
 * number of steps. */
#include "train/config.h"

#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "formats/json.h"

/* A reader that stops at its first error. */
typedef struct reader {
    const json_t *object;
    const char *where;
    vlm_error *error;
    vlm_status status;
} reader;

static void get_number(reader *r, double *value, const char *key, double fallback, double low, double high)
{
    if (r->status != VLM_OK)
        return;
    r->status = vlm_json_get_double(value, r->object, key, fallback, r->where, r->error);
    if (r->status == VLM_OK && !(*value >= low && *value <= high))
        r->status = vlm_fail(r->error, VLM_ERR_ARGUMENT, "%s: train.%s is %g; %g to %g is wanted", r->where, key, *value, low, high);
}

static void get_size(reader *r, size_t *value, const char *key, size_t fallback)
{
    if (r->status == VLM_OK)
        r->status = vlm_json_get_size(value, r->object, key, fallback, r->where, r->error);
}

/* One of n words; *value is its number. */
static void get_word(reader *r, int *value, const char *key, const char *const *words, size_t n)
{
    const char *found;
    if (r->status != VLM_OK)
        return;
    r->status = vlm_json_get_string(&found, r->object, key, words[0], r->where, r->error);
    for (size_t i = 0; i < n && r->status == VLM_OK; i++)
        if (strcmp(found, words[i]) == 0) {
            *value = (int)i;
            return;
        }
    if (r->status == VLM_OK)
        r->status = vlm_fail(r->error, VLM_ERR_ARGUMENT, "%s: train.%s is \"%s\"; %s%s%s%s%s is wanted", r->where, key, found, words[0],
                             n > 2 ? ", " : "", n > 2 ? words[1] : "", " or ", words[n - 1]);
}

static void get_betas(reader *r, vlm_optimizer_options *options)
{
    const json_t *betas = json_object_get(r->object, "betas");
    if (r->status != VLM_OK || !betas || json_is_null(betas))
        return;
    double values[2] = {-1, -1};
    for (size_t i = 0; i < 2 && json_array_size(betas) == 2 && json_is_number(json_array_get(betas, i)); i++)
        values[i] = json_number_value(json_array_get(betas, i));
    if (values[0] < 0 || values[0] >= 1 || values[1] < 0 || values[1] >= 1)
        r->status = vlm_fail(r->error, VLM_ERR_ARGUMENT, "%s: train.betas: two numbers from 0 to below 1 are wanted", r->where);
    options->beta1 = values[0];
    options->beta2 = values[1];
}

static void get_optimizer(reader *r, vlm_train_config *config, bool clip)
{
    static const char *const optimizers[] = {"adamw", "muon"}, *const types[] = {"f32", "bf16"};
    vlm_optimizer_options *o = &config->optimizer;
    int muon = 0, muon_type = 0;
    o->beta1 = 0.9;
    o->beta2 = clip ? 0.98 : 0.999;
    get_word(r, &muon, "optimizer", optimizers, 2);
    get_word(r, &muon_type, "muon_precision", types, 2);
    get_betas(r, o);
    get_number(r, &config->rate, "rate", clip ? 5e-4 : 1e-3, 0, 1e3);
    get_number(r, &config->muon_rate, "muon_rate", 0.02, 0, 1e3);
    get_number(r, &o->eps, "eps", clip ? 1e-6 : 1e-8, 0, 1);
    get_number(r, &o->decay, "decay", clip ? 0.2 : 0.05, 0, 1e3);
    get_number(r, &o->muon_momentum, "muon_momentum", 0.95, 0, 0.9999);
    get_number(r, &o->muon_decay, "muon_decay", 0.1, 0, 1e3);
    get_number(r, &config->gradient_clip, "gradient_clip", 1, 0, 1e9);
    o->muon = muon == 1;
    o->muon_type = muon_type ? VLM_BF16 : VLM_F32;
}

static void get_schedule(reader *r, vlm_train_config *config)
{
    static const char *const schedules[] = {"cosine", "linear", "constant"};
    int kind = 0;
    get_size(r, &config->steps, "steps", 0);
    get_size(r, &config->epochs, "epochs", 0);
    get_word(r, &kind, "schedule", schedules, 3);
    get_number(r, &config->warm_up, "warm_up", 0.05, 0, 1e9);
    get_number(r, &config->schedule.decay_part, "decay_part", 1, 1e-9, 1);
    config->schedule.kind = kind == 0 ? VLM_SCHEDULE_COSINE : kind == 1 ? VLM_SCHEDULE_LINEAR : VLM_SCHEDULE_CONSTANT;
    if (r->status == VLM_OK && config->steps && config->epochs)
        r->status = vlm_fail(r->error, VLM_ERR_ARGUMENT, "%s: train has both steps and epochs; one of them is wanted", r->where);
}

static void get_rest(reader *r, vlm_train_config *config)
{
    static const char *const positives[] = {"groups", "captions"}, *const starts[] = {"noise", "sines"}, *const types[] = {"f32", "bf16"};
    int same = 0, sines = 0, type = 0;
    size_t seed = 0;
    get_size(r, &config->batch, "batch", 128);
    get_size(r, &config->negatives, "negatives", 0);
    get_size(r, &seed, "seed", 0);
    get_word(r, &same, "positives", positives, 2);
    get_word(r, &sines, "positions", starts, 2);
    get_word(r, &type, "precision", types, 2);
    get_number(r, &config->label_smoothing, "label_smoothing", 0, 0, 0.999);
    get_size(r, &config->checkpoint_every, "checkpoint_every", 500);
    get_size(r, &config->log_every, "log_every", 1);
    if (r->status == VLM_OK && (!config->batch || !config->log_every))
        r->status = vlm_fail(r->error, VLM_ERR_ARGUMENT, "%s: train.%s is 0; at least 1 is wanted", r->where, config->batch ? "log_every" : "batch");
    if (r->status == VLM_OK && config->batch > (size_t)1 << 20)
        r->status = vlm_fail(r->error, VLM_ERR_LIMIT, "%s: train.batch is %zu; at most 1048576 is taken", r->where, config->batch);
    config->seed = seed;
    config->positives = same ? VLM_POSITIVES_CAPTIONS : VLM_POSITIVES_GROUPS;
    config->sine_positions = sines == 1;
    config->precision = type ? VLM_BF16 : VLM_F32;
}

static void get_triple(reader *r, double values[3], const char *key, const double *fallback, bool positive)
{
    const json_t *list = json_object_get(r->object, key);
    memcpy(values, fallback, 3 * sizeof *values);
    if (r->status != VLM_OK || !list || json_is_null(list))
        return;
    for (size_t i = 0; i < 3; i++) {
        values[i] = json_number_value(json_array_get(list, i));
        if (json_array_size(list) != 3 || !json_is_number(json_array_get(list, i)) || !isfinite(values[i]) || (positive && values[i] <= 0))
            r->status = vlm_fail(r->error, VLM_ERR_ARGUMENT, "%s: pixels.%s: three %snumbers are wanted", r->where, key, positive ? "positive " : "");
    }
}

static vlm_status get_pixels(vlm_train_config *config, bool clip, vlm_error *error)
{
    static const char *const keys[] = {"image_mean", "image_std"};
    static const double clip_mean[] = {0.48145466, 0.4578275, 0.40821073}, clip_std[] = {0.26862954, 0.26130258, 0.27577711}, half[] = {0.5, 0.5, 0.5};
    reader r = {config->pixels, config->where, error, vlm_config_check_keys(config->pixels, keys, 2, "pixels", config->where, error)};
    get_triple(&r, config->mean, "image_mean", clip ? clip_mean : half, false);
    get_triple(&r, config->std, "image_std", clip ? clip_std : half, true);
    return r.status;
}

static vlm_status section(const json_t **out, const vlm_train_config *config, const char *key, vlm_error *error)
{
    const json_t *found = json_object_get(config->root, key);
    *out = found && !json_is_null(found) ? found : NULL;
    if (!*out || json_is_object(found))
        return VLM_OK;
    return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"%s\" is not an object", config->where, key);
}

static vlm_status read_sections(vlm_train_config *config, bool clip, vlm_error *error)
{
    static const char *const top[] = {"model", "tokenizer", "pixels", "data", "augmentation", "train"};
    static const char *const keys[] = {"batch", "negatives", "steps", "epochs", "seed", "optimizer", "rate", "muon_rate", "betas", "eps", "decay",
                                       "muon_momentum", "muon_decay", "muon_precision", "gradient_clip", "schedule", "warm_up", "decay_part",
                                       "positives", "positions", "precision", "label_smoothing", "checkpoint_every", "log_every"};
    const json_t *train;
    if (!json_is_object(config->root))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: the config is not a JSON object", config->where);
    vlm_status status = vlm_config_check_keys(config->root, top, sizeof top / sizeof *top, "config", config->where, error);
    if (status == VLM_OK)
        status = section(&config->model, config, "model", error);
    if (status == VLM_OK)
        status = section(&config->data, config, "data", error);
    if (status == VLM_OK)
        status = section(&config->pixels, config, "pixels", error);
    if (status == VLM_OK)
        status = section(&train, config, "train", error);
    if (status == VLM_OK)
        status = vlm_config_check_keys(train, keys, sizeof keys / sizeof *keys, "train", config->where, error);
    if (status != VLM_OK)
        return status;
    config->tokenizer = json_object_get(config->root, "tokenizer");
    config->augmentation = json_object_get(config->root, "augmentation");
    reader r = {train, config->where, error, VLM_OK};
    get_optimizer(&r, config, clip);
    get_schedule(&r, config);
    get_rest(&r, config);
    if (r.status == VLM_OK)
        r.status = vlm_json_get_double(&config->logit_scale, config->model, "logit_scale_init_value", log(1 / 0.07), config->where, error);
    return r.status == VLM_OK ? get_pixels(config, clip, error) : r.status;
}

vlm_status vlm_train_config_parse(vlm_train_config *config, json_t *root, const char *where, bool clip, vlm_error *error)
{
    *config = (vlm_train_config){.root = root, .where = where};
    vlm_status status = read_sections(config, clip, error);
    if (status != VLM_OK)
        vlm_train_config_free(config);
    return status;
}

vlm_status vlm_train_config_read(vlm_train_config *config, const char *path, bool clip, vlm_error *error)
{
    json_t *root;
    *config = (vlm_train_config){0};
    vlm_status status = vlm_json_read(&root, path, error);
    return status == VLM_OK ? vlm_train_config_parse(config, root, path, clip, error) : status;
}

void vlm_train_config_free(vlm_train_config *config)
{
    json_decref(config->root);
    config->root = NULL;
}
