/* vlm verify: this program against the reference, stage by stage, from the dump beside a model.
 * tools/dump_reference.py writes MODEL/reference/: reference.json {"pictures":[...], "texts":[...], ...}, copies
 * of the pictures, and stages.safetensors with "image.<i>.<stage>" and "text.<i>.<stage>", the stages named as
 * in vlm_trace_function; "ids" are neither cut nor padded, "*.vector" is as the model gives it.
 * A difference counts relative to the largest magnitude of its stage: single values near zero have no scale. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "formats/checkpoint.h"
#include "formats/json.h"

typedef struct verify_options {
    vlm_common common;
    const char *reference;
} verify_options;

static const vlm_option options[] = {
    {"reference", 0, VLM_OPTION_TEXT, offsetof(verify_options, reference), "DIR", "The dump; without it the folder reference beside the model.", 0, 0, NULL},
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

/* What counts as equal. f32: only the order of sums differs. The others round the weights, so that their stages
 * are only shown and their results judged: f16 and bf16 by the relative difference, q8 by the cosine. */
static const struct tolerance {
    const char *dtype;
    double stage, result, cosine;
} tolerances[] = {{"f32", 1e-5, 1e-5, 0}, {"f16", INFINITY, 1e-3, 0}, {"bf16", INFINITY, 1e-2, 0}, {"q8", INFINITY, INFINITY, 0.999}};

typedef struct stage {
    char *name;       /* without "image.<i>." */
    size_t n;         /* inputs compared */
    double absolute, relative, cosine; /* the largest two, the least one */
    char problem[160]; /* why it could not be compared; empty: it could */
} stage;

typedef struct verification {
    const verify_options *options;
    const struct tolerance *tolerance;
    vlm_model *model;
    vlm_checkpoint *dump;
    bool *compared; /* [tensors of the dump] */
    stage *stages;
    size_t n_stages, capacity;
    const char *kind; /* of the input at hand: "image" or "text" */
    size_t input;
    bool traced; /* the stages of this input have been compared: the head runs the tower once more */
    bool out_of_memory;
} verification;

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static stage *get_stage(verification *v, const char *name)
{
    for (size_t i = 0; i < v->n_stages; i++)
        if (strcmp(v->stages[i].name, name) == 0)
            return &v->stages[i];
    char *copy = vlm_copy_text(name, strlen(name));
    if (!copy || !vlm_grow(&v->stages, &v->capacity, v->n_stages + 1, sizeof *v->stages)) {
        free(copy);
        v->out_of_memory = true;
        return NULL;
    }
    v->stages[v->n_stages] = (stage){.name = copy, .cosine = 1};
    return &v->stages[v->n_stages++];
}

static const vlm_entry *find_entry(verification *v, const char *name)
{
    char full[512];
    snprintf(full, sizeof full, "%s.%zu.%s", v->kind, v->input, name);
    for (size_t i = 0; i < vlm_checkpoint_count(v->dump); i++)
        if (strcmp(vlm_checkpoint_at(v->dump, i)->name, full) == 0) {
            v->compared[i] = true;
            return vlm_checkpoint_at(v->dump, i);
        }
    return NULL;
}

static size_t last_size(const size_t *shape, size_t n_dims)
{
    return n_dims ? shape[n_dims - 1] : 1;
}

/* n values of ours against the reference's. A value that is not finite differs by infinity. */
static void compare_values(stage *s, const float *ours, const float *reference, size_t n)
{
    double absolute = 0, largest = 0, dot = 0, a = 0, b = 0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)ours[i], y = (double)reference[i], difference = fabs(x - y);
        if (!isfinite(difference))
            difference = INFINITY;
        absolute = difference > absolute ? difference : absolute;
        largest = fabs(y) > largest ? fabs(y) : largest;
        dot += x * y;
        a += x * x;
        b += y * y;
    }
    double relative = absolute == 0 ? 0 : largest > 0 ? absolute / largest : INFINITY;
    double cosine = a > 0 && b > 0 ? dot / sqrt(a * b) : a == b;
    s->absolute = absolute > s->absolute ? absolute : s->absolute;
    s->relative = relative > s->relative ? relative : s->relative;
    s->cosine = cosine < s->cosine || isnan(cosine) ? cosine : s->cosine;
    s->n++;
}

/* Ours may have more rows than the reference (padding behind the end of a text), never fewer. */
static void compare_stage(verification *v, const char *name, const size_t *shape, size_t n_dims, const float *values)
{
    const vlm_entry *entry = find_entry(v, name);
    stage *s = entry ? get_stage(v, name) : NULL;
    if (!s)
        return;
    size_t n = 1;
    for (size_t i = 0; i < n_dims; i++)
        n *= shape[i];
    if (entry->type == VLM_DTYPES || n < entry->n || last_size(shape, n_dims) != last_size(entry->shape, entry->n_dims)) {
        snprintf(s->problem, sizeof s->problem, "%s.%zu: rows of %zu, %zu values; the reference has rows of %zu, %zu values", v->kind, v->input,
                 last_size(shape, n_dims), n, last_size(entry->shape, entry->n_dims), entry->n);
        return;
    }
    float *reference = vlm_alloc(entry->n + 1, sizeof *reference);
    if (!reference) {
        v->out_of_memory = true;
        return;
    }
    vlm_convert_to_f32(reference, entry->data, entry->type, entry->n);
    compare_values(s, values, reference, entry->n);
    free(reference);
}

/* Pixels and vectors are compared as the public functions give them; the trace is for what lies between. */
static void take_trace(void *user, const char *name, const size_t *shape, size_t n_dims, const float *values)
{
    const verification *v = user;
    size_t length = strlen(name);
    if (v->traced || strcmp(name, "pixels") == 0 || (length > 7 && strcmp(name + length - 7, ".vector") == 0) || strcmp(name, "vision.logits") == 0)
        return;
    compare_stage(user, name, shape, n_dims, values);
}

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

static vlm_status verify_picture(verification *v, const char *path, vlm_error *error)
{
    const vlm_model_info *info = vlm_model_get_info(v->model);
    size_t shape[3], n = info->embedding_size > info->n_labels ? info->embedding_size : info->n_labels;
    vlm_image *image = NULL;
    float *pixels = NULL, *vector = vlm_alloc(n + 1, sizeof *vector);
    vlm_status status = vector ? vlm_image_open(&image, path, NULL, error) : VLM_ERR_MEMORY;
    const vlm_image *const images[] = {image};
    if (status == VLM_OK)
        status = vlm_image_pixels(v->model, image, &pixels, shape, error);
    if (status == VLM_OK) {
        compare_stage(v, "pixels", shape, 3, pixels);
        status = vlm_embed_images(v->model, images, 1, VLM_EMBED_RAW, vector, error);
    }
    if (status == VLM_OK) {
        v->traced = true;
        compare_stage(v, "vision.vector", &info->embedding_size, 1, vector);
        status = info->n_labels ? vlm_classify_images(v->model, images, 1, vector, error) : VLM_OK;
    }
    if (status == VLM_OK && info->n_labels)
        compare_stage(v, "vision.logits", &info->n_labels, 1, vector);
    free(vector);
    free(pixels);
    vlm_image_free(image);
    return status;
}

static vlm_status verify_text(verification *v, const char *text, size_t length, vlm_error *error)
{
    const vlm_model_info *info = vlm_model_get_info(v->model);
    vlm_tokens tokens = {0};
    float *ids = NULL, *vector = vlm_alloc(info->embedding_size + 1, sizeof *vector);
    vlm_status status = vector ? vlm_tokenize(v->model, text, length, &tokens, error) : VLM_ERR_MEMORY;
    if (status == VLM_OK && !(ids = vlm_alloc(tokens.n + 1, sizeof *ids)))
        status = VLM_ERR_MEMORY;
    if (status == VLM_OK) {
        for (size_t i = 0; i < tokens.n; i++)
            ids[i] = (float)tokens.ids[i]; /* exact: vocabularies are smaller than 2^24 */
        compare_stage(v, "ids", &tokens.n, 1, ids);
        status = vlm_embed_texts(v->model, &text, &length, 1, VLM_EMBED_RAW, vector, NULL, error);
    }
    if (status == VLM_OK)
        compare_stage(v, "text.vector", &info->embedding_size, 1, vector);
    free(vector);
    free(ids);
    vlm_tokens_free(&tokens);
    return status;
}

/* Every picture or text that the dump lists. */
static vlm_status verify_list(verification *v, const json_t *list, const char *folder, vlm_error *error)
{
    vlm_status status = VLM_OK;
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item) {
        const char *text = json_string_value(item);
        v->input = i;
        v->traced = false;
        if (!text || (folder && strchr(text, '/'))) {
            error->status = VLM_ERR_FORMAT;
            snprintf(error->message, sizeof error->message, "reference.json: %s %zu is not a name", v->kind, i);
            return VLM_ERR_FORMAT;
        }
        char *path = folder ? vlm_join_path(folder, text) : NULL;
        if (folder && !path)
            status = VLM_ERR_MEMORY;
        else
            status = folder ? verify_picture(v, path, error) : verify_text(v, text, json_string_length(item), error);
        free(path);
        if (status != VLM_OK)
            break;
    }
    return status;
}

/* A tensor of the dump that nothing was compared with must not pass for equal. */
static void find_missing(verification *v)
{
    for (size_t i = 0; i < vlm_checkpoint_count(v->dump); i++) {
        const char *name = vlm_checkpoint_at(v->dump, i)->name, *rest = strchr(name, '.');
        rest = rest ? strchr(rest + 1, '.') : NULL;
        stage *s = v->compared[i] ? NULL : get_stage(v, rest ? rest + 1 : name);
        if (s && !*s->problem)
            snprintf(s->problem, sizeof s->problem, "%.100s: this program has no such stage", name);
    }
}

/* ---- the report -------------------------------------------------------------------------------------------------- */

static bool is_result(const char *name)
{
    return strcmp(name, "vision.vector") == 0 || strcmp(name, "text.vector") == 0 || strcmp(name, "vision.logits") == 0;
}

static bool stage_passes(const verification *v, const stage *s)
{
    if (*s->problem || !isfinite(s->absolute))
        return false;
    if (strcmp(s->name, "ids") == 0)
        return s->absolute == 0;
    if (strcmp(s->name, "pixels") == 0) /* made before any weight is read */
        return s->relative <= tolerances[0].stage;
    if (is_result(s->name))
        return s->relative <= v->tolerance->result && s->cosine >= v->tolerance->cosine;
    return s->relative <= v->tolerance->stage;
}

static bool print_stage(const verification *v, const stage *s)
{
    vlm_text line = {0};
    vlm_put_open(&line, '{');
    vlm_put_key(&line, "stage");
    vlm_put_string(&line, s->name);
    vlm_put_key(&line, "inputs");
    vlm_put_count(&line, s->n);
    vlm_put_key(&line, "absolute");
    vlm_put_float(&line, (float)s->absolute);
    vlm_put_key(&line, "relative");
    vlm_put_float(&line, (float)s->relative);
    vlm_put_key(&line, "cosine");
    vlm_put_float(&line, (float)s->cosine);
    vlm_put_key(&line, "ok");
    vlm_put_bool(&line, stage_passes(v, s));
    if (*s->problem) {
        vlm_put_key(&line, "error");
        vlm_put_string(&line, s->problem);
    }
    vlm_put_close(&line, '}');
    return vlm_print_line(&line);
}

static bool print_table(const verification *v)
{
    static const char *const heads[] = {"stage", "inputs", "absolute", "relative", "cosine", ""};
    vlm_table table = {.n_columns = 6, .align = "lrrrrl"};
    for (size_t i = 0; i < 6; i++)
        vlm_table_cell(&table, heads[i], strlen(heads[i]));
    for (size_t i = 0; i < v->n_stages; i++) {
        const stage *s = &v->stages[i];
        const char *verdict = *s->problem ? s->problem : stage_passes(v, s) ? "ok" : "DIFFERS";
        vlm_table_cell(&table, s->name, strlen(s->name));
        vlm_table_float(&table, "%.0f", (double)s->n);
        vlm_table_float(&table, "%.2e", s->absolute);
        vlm_table_float(&table, "%.2e", s->relative);
        vlm_table_float(&table, "%.7f", s->cosine);
        vlm_table_cell(&table, verdict, strlen(verdict));
    }
    return vlm_table_print(&table);
}

static int report(const verification *v)
{
    bool json = v->options->common.json, good = json || print_table(v);
    const char *first = NULL;
    size_t n_bad = 0;
    for (size_t i = 0; good && i < v->n_stages; i++) {
        good = !json || print_stage(v, &v->stages[i]);
        bool passes = stage_passes(v, &v->stages[i]);
        n_bad += !passes;
        first = first || passes ? first : v->stages[i].name;
    }
    if (first)
        vlm_say("%zu of %zu stages differ from the reference by more than %s allows; the first is %s", n_bad, v->n_stages,
                v->tolerance->dtype, first);
    return good && !first ? VLM_EXIT_OK : VLM_EXIT_FAILED;
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */

static int compare_all(verification *v, const char *folder, const json_t *description)
{
    vlm_error error = {0};
    const json_t *pictures = json_object_get(description, "pictures"), *texts = json_object_get(description, "texts");
    v->compared = vlm_alloc_zero(vlm_checkpoint_count(v->dump) + 1, sizeof *v->compared);
    vlm_status status = v->compared ? VLM_OK : VLM_ERR_MEMORY;
    v->kind = "image";
    if (status == VLM_OK)
        status = verify_list(v, pictures, folder, &error);
    v->kind = "text";
    if (status == VLM_OK)
        status = verify_list(v, texts, NULL, &error);
    if (status == VLM_OK)
        find_missing(v);
    if (v->out_of_memory || (status == VLM_ERR_MEMORY && !*error.message))
        return vlm_say_memory();
    if (status != VLM_OK)
        return vlm_say_error(&error);
    if (v->n_stages == 0) {
        vlm_say("%s: the dump holds nothing to compare", folder);
        return VLM_EXIT_FAILED;
    }
    return report(v);
}

/* The dump's folder in fresh memory: as given, or beside the model. */
static char *find_dump(const verify_options *o, const vlm_model *model)
{
    if (o->reference)
        return vlm_copy_text(o->reference, strlen(o->reference));
    const char *name = vlm_model_get_info(model)->name, *slash = strrchr(name, '/');
    if (vlm_is_folder(name))
        return vlm_join_path(name, "reference");
    char *folder = vlm_copy_text(name, slash ? (size_t)(slash - name) + 1 : 0);
    char *path = folder ? vlm_join_path(folder, "reference") : NULL;
    free(folder);
    return path;
}

static int open_dump(verification *v, const char *folder, json_t **description)
{
    vlm_error error = {0};
    char *json = vlm_join_path(folder, "reference.json"), *tensors = vlm_join_path(folder, "stages.safetensors");
    int status = json && tensors ? VLM_EXIT_OK : vlm_say_memory();
    if (status == VLM_EXIT_OK && (!vlm_file_exists(json) || !vlm_file_exists(tensors))) {
        vlm_say("%s: there is no dump of the reference here (reference.json, stages.safetensors); tools/dump_reference.py writes it", folder);
        status = VLM_EXIT_FAILED;
    }
    if (status == VLM_EXIT_OK && (vlm_json_read(description, json, &error) != VLM_OK || vlm_checkpoint_open(&v->dump, tensors, &error) != VLM_OK))
        status = vlm_say_error(&error);
    free(json);
    free(tensors);
    return status;
}

static const struct tolerance *find_tolerance(const char *dtype)
{
    for (size_t i = 0; i < sizeof tolerances / sizeof *tolerances; i++)
        if (strcmp(tolerances[i].dtype, dtype) == 0)
            return &tolerances[i];
    return &tolerances[0];
}

static int run_verify(const vlm_verb *verb, const void *parsed)
{
    const verify_options *o = parsed;
    verification v = {.options = o};
    vlm_model_options wanted = {.n_threads = o->common.n_threads, .dtype = o->common.dtype, .arch = o->common.arch, .trace = take_trace, .trace_user = &v};
    json_t *description = NULL;
    char *folder = NULL;
    vlm_error error = {0};
    (void)verb;
    if (o->common.inputs.n)
        return vlm_say_usage("'%s': a model is named with -m, a dump with --reference", o->common.inputs.items[0].value);
    int status = vlm_model_open(&v.model, o->common.model, &wanted, &error) == VLM_OK ? VLM_EXIT_OK : vlm_say_error(&error);
    if (status == VLM_EXIT_OK && !(folder = find_dump(o, v.model)))
        status = vlm_say_memory();
    if (status == VLM_EXIT_OK)
        status = open_dump(&v, folder, &description);
    if (status == VLM_EXIT_OK) {
        v.tolerance = find_tolerance(vlm_model_get_info(v.model)->dtype);
        status = compare_all(&v, folder, description);
    }
    json_decref(description);
    for (size_t i = 0; i < v.n_stages; i++)
        free(v.stages[i].name);
    free(v.stages);
    free(v.compared);
    free(folder);
    vlm_checkpoint_close(v.dump);
    vlm_model_close(v.model);
    return status;
}

const vlm_verb vlm_verb_verify = {
    "verify", "this program against the reference, stage by stage",
    "[-m MODEL] [--reference DIR]",
    "tools/dump_reference.py writes what the reference computes for some pictures and texts into the folder reference "
    "beside a model. This compares pixels, token ids, every stage and the result with it and prints the largest "
    "absolute difference, the largest relative to the stage's magnitude, and the least cosine; with --json an object a "
    "stage. The status is 1 when a stage differs by more than the type of the matrices allows: f32 1e-5 at every "
    "stage; f16 1e-3, bf16 1e-2 and q8 a cosine of 0.999 at the results.",
    "vlm verify -m FOLDER\nvlm verify -m FOLDER --dtype f16 --json",
    options, sizeof(verify_options), run_verify};
