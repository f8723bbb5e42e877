/* The committed models against the reference, stage by stage: each is opened, its pictures and texts go through
 * with a trace, and the first stage that differs is named.
 * tests/golden/make_models.py made the models; their reference/ folders hold what transformers, open_clip and
 * sentence-transformers compute. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "formats/checkpoint.h"
#include "formats/json.h"
#include "vlm/vlm.h"

/* |difference| / |reference| of a stage. Both sides compute in float32 and differ in the order of sums; random
 * towers of two blocks show 3e-7 to 2e-6, so 1e-5, which is also what the project promises, is not slack. */
static const double stage_tolerance = 1e-5;
/* Pixels are one rounding apart at most: (v / 255 - mean) / std in float32. */
static const double pixel_tolerance = 1e-6;

static const char *const models[] = {
    "clip-tiny",     "clip-tiny-gelu-bin", "clip-vision-tiny",          "vit-tiny",     "vit-bare-tiny",
    "openclip-tiny", "openclip-custom-text-tiny", "st-clip-tiny", "st-multilingual-tiny", "siglip-tiny",
};
enum { N_MODELS = sizeof models / sizeof *models };

typedef struct comparison {
    const vlm_checkpoint *stages;
    char prefix[32];     /* "image.0." */
    size_t n_stages;     /* that the trace showed and the reference has */
    char first[512];     /* what was wrong first; "" when nothing was */
} comparison;

static double relative_difference(const float *values, const float *wanted, size_t n)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)values[i] - wanted[i];
        difference += d * d;
        norm += (double)wanted[i] * wanted[i];
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

/* Compare one stage and keep the first disagreement. A NaN compares as a difference. */
static void compare_stage(comparison *c, const char *stage, const float *values, size_t n)
{
    char name[96];
    snprintf(name, sizeof name, "%s%s", c->prefix, stage);
    const vlm_entry *entry = vlm_checkpoint_find(c->stages, name);
    if (c->first[0])
        return;
    if (!entry) {
        snprintf(c->first, sizeof c->first, "%s: the reference has no such stage", name);
        return;
    }
    if (entry->n != n) {
        snprintf(c->first, sizeof c->first, "%s: %zu values, the reference has %zu", name, n, entry->n);
        return;
    }
    float *wanted = malloc((n ? n : 1) * sizeof *wanted);
    assert_non_null(wanted);
    vlm_convert_to_f32(wanted, entry->data, entry->type, n);
    double difference = relative_difference(values, wanted, n);
    double tolerance = strcmp(stage, "pixels") ? stage_tolerance : pixel_tolerance;
    if (!(difference <= tolerance))
        snprintf(c->first, sizeof c->first, "%s differs by %.3g, %.3g is allowed", name, difference, tolerance);
    free(wanted);
    c->n_stages++;
}

static void on_stage(void *user, const char *name, const size_t *shape, size_t n_dims, const float *values)
{
    size_t n = 1;
    for (size_t i = 0; i < n_dims; i++)
        n *= shape[i];
    compare_stage(user, name, values, n);
}

/* Stages of the reference that a trace should show: all under the prefix but ids and logits, which calls return. */
static size_t count_traced_stages(const vlm_checkpoint *stages, const char *prefix)
{
    size_t count = 0;
    for (size_t i = 0; i < vlm_checkpoint_count(stages); i++) {
        const char *name = vlm_checkpoint_at(stages, i)->name;
        if (strncmp(name, prefix, strlen(prefix)) == 0 && !strstr(name, ".ids") && !strstr(name, ".logits"))
            count++;
    }
    return count;
}

static void assert_ok(vlm_status status, const vlm_error *error)
{
    if (status != VLM_OK)
        fail_msg("%s: %s", vlm_status_name(status), error->message);
}

static void check_picture(vlm_model *model, comparison *c, const char *path, size_t i)
{
    vlm_error error = {0};
    vlm_image *image = NULL;
    const vlm_model_info *info = vlm_model_get_info(model);
    snprintf(c->prefix, sizeof c->prefix, "image.%zu.", i);
    c->n_stages = 0;
    assert_ok(vlm_image_open(&image, path, NULL, &error), &error);
    float *vector = malloc(info->embedding_size * sizeof *vector);
    assert_non_null(vector);
    assert_ok(vlm_embed_images(model, (const vlm_image *const *)&image, 1, VLM_EMBED_RAW, vector, &error), &error);
    if (!c->first[0] && c->n_stages != count_traced_stages(c->stages, c->prefix))
        fail_msg("%s: the trace shows %zu stages, the reference has %zu", c->prefix, c->n_stages, count_traced_stages(c->stages, c->prefix));
    compare_stage(c, "vision.vector", vector, info->embedding_size);
    free(vector);
    if (info->n_labels) {
        float *logits = malloc(info->n_labels * sizeof *logits);
        assert_non_null(logits);
        assert_ok(vlm_classify_images(model, (const vlm_image *const *)&image, 1, logits, &error), &error);
        compare_stage(c, "vision.logits", logits, info->n_labels);
        free(logits);
    }
    vlm_image_free(image);
    if (c->first[0])
        fail_msg("%s", c->first);
}

static void check_ids(vlm_model *model, comparison *c, const char *text)
{
    vlm_error error = {0};
    vlm_tokens tokens = {0};
    char name[96];
    snprintf(name, sizeof name, "%sids", c->prefix);
    const vlm_entry *entry = vlm_checkpoint_find(c->stages, name);
    assert_non_null(entry);
    assert_int_equal(entry->type, VLM_I64);
    assert_ok(vlm_tokenize(model, text, strlen(text), &tokens, &error), &error);
    for (size_t k = 0; k < tokens.n && k < entry->n; k++) {
        int64_t wanted;
        memcpy(&wanted, (const char *)entry->data + k * sizeof wanted, sizeof wanted);
        if (tokens.ids[k] != wanted)
            fail_msg("%s[%zu] is %d, the reference has %lld", name, k, tokens.ids[k], (long long)wanted);
    }
    if (tokens.n != entry->n)
        fail_msg("%s: %zu ids, the reference has %zu", name, tokens.n, entry->n);
    vlm_tokens_free(&tokens);
}

static void check_text(vlm_model *model, comparison *c, const char *text, size_t i)
{
    vlm_error error = {0};
    const vlm_model_info *info = vlm_model_get_info(model);
    snprintf(c->prefix, sizeof c->prefix, "text.%zu.", i);
    c->n_stages = 0;
    check_ids(model, c, text);
    float *vector = malloc(info->embedding_size * sizeof *vector);
    assert_non_null(vector);
    bool cut = false;
    assert_ok(vlm_embed_texts(model, &text, NULL, 1, VLM_EMBED_RAW, vector, &cut, &error), &error);
    if (!c->first[0] && c->n_stages != count_traced_stages(c->stages, c->prefix))
        fail_msg("%s: the trace shows %zu stages, the reference has %zu", c->prefix, c->n_stages, count_traced_stages(c->stages, c->prefix));
    compare_stage(c, "text.vector", vector, info->embedding_size);
    free(vector);
    if (c->first[0])
        fail_msg("%s", c->first);
}

/* What the config and the checkpoint say about the model as a whole. */
static void check_info(const vlm_model *model, const json_t *reference)
{
    const vlm_model_info *info = vlm_model_get_info(model);
    assert_int_equal(info->n_parameters, json_integer_value(json_object_get(reference, "parameters")));
    const json_t *scale = json_object_get(reference, "logit_scale");
    if (scale && fabs(info->logit_scale / json_real_value(scale) - 1) > 1e-6)
        fail_msg("logit scale %.9g, the reference has %.9g", (double)info->logit_scale, json_real_value(scale));
    const json_t *bias = json_object_get(reference, "logit_bias");
    if (bias && fabs(info->logit_bias - json_real_value(bias)) > 1e-6)
        fail_msg("logit bias %.9g, the reference has %.9g", (double)info->logit_bias, json_real_value(bias));
    const json_t *labels = json_object_get(reference, "labels");
    assert_int_equal(info->n_labels, json_array_size(labels));
    for (size_t i = 0; i < info->n_labels; i++)
        assert_string_equal(vlm_model_label(model, i), json_string_value(json_array_get(labels, i)));
}

static void test_a_model_gives_the_stages_of_the_reference(void **state)
{
    char folder[1024], path[2048];
    vlm_error error = {0};
    vlm_checkpoint *stages = NULL;
    vlm_model *model = NULL;
    json_t *reference = NULL;
    snprintf(folder, sizeof folder, "%s/tests/golden/models/%s", VLM_SOURCE_FOLDER, (const char *)*state);
    snprintf(path, sizeof path, "%s/reference/reference.json", folder);
    assert_ok(vlm_json_read(&reference, path, &error), &error);
    snprintf(path, sizeof path, "%s/reference/stages.safetensors", folder);
    assert_ok(vlm_checkpoint_open(&stages, path, &error), &error);

    comparison c = {.stages = stages};
    vlm_model_options options = {.n_threads = 2, .trace = on_stage, .trace_user = &c};
    assert_ok(vlm_model_open(&model, folder, &options, &error), &error);
    check_info(model, reference);
    const json_t *pictures = json_object_get(reference, "pictures"), *texts = json_object_get(reference, "texts");
    for (size_t i = 0; i < json_array_size(pictures); i++) {
        snprintf(path, sizeof path, "%s/reference/%s", folder, json_string_value(json_array_get(pictures, i)));
        check_picture(model, &c, path, i);
    }
    for (size_t i = 0; i < json_array_size(texts); i++)
        check_text(model, &c, json_string_value(json_array_get(texts, i)), i);
    assert_true(json_array_size(pictures) + json_array_size(texts) > 0);

    vlm_model_close(model);
    vlm_checkpoint_close(stages);
    json_decref(reference);
}

/* An argument is a pattern of names: `test_models '*siglip*'`. */
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    struct CMUnitTest tests[N_MODELS] = {{0}};
    static char names[N_MODELS][96];
    for (size_t i = 0; i < N_MODELS; i++) {
        snprintf(names[i], sizeof names[i], "test_%s_gives_the_stages_of_the_reference", models[i]);
        tests[i].name = names[i];
        tests[i].test_func = test_a_model_gives_the_stages_of_the_reference;
        tests[i].initial_state = (void *)(uintptr_t)models[i];
    }
    return cmocka_run_group_tests_name("models", tests, NULL, NULL);
}
