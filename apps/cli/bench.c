/* vlm bench: seconds for one batch of a part of a model, after a warm-up, on made-up input of the right shape. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/random.h"
#include "cli/cli.h"

typedef struct bench_options {
    vlm_common common;
    const char *part;
    size_t batch;
    double seconds;
} bench_options;

static const vlm_option options[] = {
    {"part", 0, VLM_OPTION_TEXT, offsetof(bench_options, part), "PART", "vision (without it, where there is one) or text.", 0, 0, "vision text"},
    {"batch", 0, VLM_OPTION_COUNT, offsetof(bench_options, batch), "B", "Inputs at once; without it 1.", 1, 65536, NULL},
    {"seconds", 0, VLM_OPTION_NUMBER, offsetof(bench_options, seconds), "S", "How long to measure; without it 3. At least three runs are made.", 0, 0, NULL},
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

/* Made-up input, and the vectors that come of it. */
typedef struct work {
    vlm_model *model;
    size_t batch, height, width;
    float *pixels;  /* [batch, 3, height, width]; NULL: text */
    int32_t *ids;   /* of all texts */
    size_t *starts; /* [batch + 1] */
    float *vectors; /* [batch, embedding_size] */
} work;

static vlm_status run_once(work *w, vlm_error *error)
{
    if (w->pixels)
        return vlm_embed_pixels(w->model, w->pixels, w->batch, w->height, w->width, 0, w->vectors, error);
    return vlm_embed_tokens(w->model, w->ids, w->starts, w->batch, 0, w->vectors, error);
}

static void free_work(work *w)
{
    free(w->pixels);
    free(w->ids);
    free(w->starts);
    free(w->vectors);
    vlm_model_close(w->model);
}

/* Pixels as normalising leaves them: mean 0, standard deviation 1. */
static bool make_pixels(work *w)
{
    const vlm_model_info *info = vlm_model_get_info(w->model);
    size_t n = 0;
    w->height = info->image_height;
    w->width = info->image_width;
    if (!vlm_multiply(w->height, w->width, &n) || !vlm_multiply(n, 3 * w->batch, &n) || !(w->pixels = vlm_alloc(n + 1, sizeof *w->pixels)))
        return false;
    vlm_random random;
    vlm_random_seed(&random, 1);
    for (size_t i = 0; i < n; i++)
        w->pixels[i] = vlm_random_normal(&random);
    return true;
}

static void find_vocabulary(void *user, const vlm_node *node)
{
    size_t *n = user;
    if (strcmp(node->kind, "embedding") == 0 && node->n_dims == 2 && node->shape[0] > *n)
        *n = node->shape[0];
}

/* A text that fills the model's length: words where there is a tokenizer, else ids of which the last, where
 * CLIP has its end token, is the largest. */
static vlm_status make_text(int32_t *ids, size_t length, const vlm_model *model, vlm_error *error)
{
    if (vlm_model_get_info(model)->parts & VLM_PART_TOKENIZER) {
        vlm_text words = {0};
        vlm_tokens tokens = {0};
        for (size_t i = 0; i < length; i++)
            vlm_text_puts(&words, "a photo of a cat and a red car ");
        vlm_status status = vlm_tokenize(model, words.data ? words.data : "", words.length, &tokens, error);
        for (size_t i = 0; status == VLM_OK && i < length; i++) /* some tokenizers make few of many words */
            ids[i] = tokens.ids[i + 1 < length ? i % tokens.n : tokens.n - 1];
        vlm_tokens_free(&tokens);
        vlm_text_free(&words);
        return status;
    }
    size_t n_vocabulary = 0;
    vlm_random random;
    vlm_model_visit(model, find_vocabulary, &n_vocabulary);
    vlm_random_seed(&random, 1);
    for (size_t i = 0; i + 1 < length; i++)
        ids[i] = n_vocabulary > 1 ? (int32_t)vlm_random_below(&random, n_vocabulary - 1) : 0;
    ids[length - 1] = n_vocabulary ? (int32_t)(n_vocabulary - 1) : 0;
    return VLM_OK;
}

static int make_texts(work *w)
{
    enum { USUAL_LENGTH = 77, LONGEST = 512 };
    size_t length = vlm_model_get_info(w->model)->context_length;
    length = length == 0 ? USUAL_LENGTH : length > LONGEST ? LONGEST : length;
    vlm_error error = {0};
    w->ids = vlm_alloc(w->batch * length, sizeof *w->ids);
    w->starts = vlm_alloc(w->batch + 1, sizeof *w->starts);
    if (!w->ids || !w->starts)
        return vlm_say_memory();
    if (make_text(w->ids, length, w->model, &error) != VLM_OK)
        return vlm_say_error(&error);
    for (size_t i = 0; i <= w->batch; i++) {
        w->starts[i] = i * length;
        if (i > 0 && i < w->batch)
            memcpy(w->ids + i * length, w->ids, length * sizeof *w->ids);
    }
    return VLM_EXIT_OK;
}

/* ---- measuring ------------------------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare_times(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool report(const bench_options *o, const vlm_model *model, const char *part, size_t batch, double *times, size_t n)
{
    const vlm_model_info *info = vlm_model_get_info(model);
    qsort(times, n, sizeof *times, compare_times);
    double median = n % 2 ? times[n / 2] : (times[n / 2 - 1] + times[n / 2]) / 2;
    vlm_text line = {0};
    if (!o->common.json) {
        vlm_text_printf(&line, "%s, batch %zu, %zu threads, %s, %s: %.6g s (median of %zu runs), %.6g s at best, %.4g a second", part, batch,
                        info->n_threads, info->dtype, vlm_isa(), median, n, times[0], (double)batch / median);
        return vlm_print_line(&line);
    }
    vlm_put_open(&line, '{');
    vlm_put_key(&line, "part");
    vlm_put_string(&line, part);
    vlm_put_key(&line, "batch");
    vlm_put_count(&line, batch);
    vlm_put_key(&line, "threads");
    vlm_put_count(&line, info->n_threads);
    vlm_put_key(&line, "dtype");
    vlm_put_string(&line, info->dtype);
    vlm_put_key(&line, "isa");
    vlm_put_string(&line, vlm_isa());
    vlm_put_key(&line, "runs");
    vlm_put_count(&line, n);
    vlm_put_key(&line, "seconds_median");
    vlm_put_float(&line, (float)median);
    vlm_put_key(&line, "seconds_min");
    vlm_put_float(&line, (float)times[0]);
    vlm_put_close(&line, '}');
    return vlm_print_line(&line);
}

static int measure(const bench_options *o, work *w, const char *part)
{
    enum { WARM_UP = 2, FEWEST = 3, MOST = 1000000 };
    double seconds = o->seconds > 0 ? o->seconds : 3, *times = NULL;
    size_t n = 0, capacity = 0;
    vlm_error error = {0};
    vlm_status status = VLM_OK;
    bool memory = true;
    for (size_t i = 0; status == VLM_OK && i < WARM_UP; i++)
        status = run_once(w, &error);
    double start = now(), before = start;
    while (status == VLM_OK && memory && n < MOST && (n < FEWEST || before - start < seconds)) {
        status = run_once(w, &error);
        double after = now();
        memory = vlm_grow(&times, &capacity, n + 1, sizeof *times);
        if (memory)
            times[n++] = after - before;
        before = now(); /* growing the array is not the model's time */
    }
    int result = VLM_EXIT_OK;
    if (status != VLM_OK)
        result = vlm_say_error(&error);
    else if (!memory)
        result = vlm_say_memory();
    else if (!report(o, w->model, part, w->batch, times, n))
        result = VLM_EXIT_FAILED;
    free(times);
    return result;
}

static int bench_vision(const bench_options *o, work *w)
{
    if (!make_pixels(w))
        return vlm_say_memory();
    return measure(o, w, "vision");
}

static int bench_text(const bench_options *o, work *w)
{
    int status = make_texts(w);
    return status == VLM_EXIT_OK ? measure(o, w, "text") : status;
}

/* Only the weights are needed; a tokenizer is used where there is one. */
static int open_part(vlm_model **model, const bench_options *o, bool text)
{
    vlm_model_options wanted = {.n_threads = o->common.n_threads, .dtype = o->common.dtype, .arch = o->common.arch};
    vlm_error error = {0};
    if (!text)
        return vlm_open_model(model, &o->common, VLM_PART_VISION);
    wanted.parts = VLM_PART_TEXT | VLM_PART_TOKENIZER;
    if (vlm_model_open(model, o->common.model, &wanted, &error) == VLM_OK)
        return VLM_EXIT_OK;
    return vlm_open_model(model, &o->common, VLM_PART_TEXT);
}

static int run_bench(const vlm_verb *verb, const void *parsed)
{
    const bench_options *o = parsed;
    work w = {.batch = o->batch ? o->batch : 1};
    bool text = o->part && strcmp(o->part, "text") == 0;
    size_t n = 0;
    (void)verb;
    if (o->common.inputs.n)
        return vlm_say_usage("'%s': bench makes its own input", o->common.inputs.items[0].value);
    int status = open_part(&w.model, o, text);
    if (status == VLM_EXIT_OK) {
        if (vlm_multiply(w.batch, vlm_model_get_info(w.model)->embedding_size, &n))
            w.vectors = vlm_alloc(n + 1, sizeof *w.vectors);
        status = !w.vectors ? vlm_say_memory() : text ? bench_text(o, &w) : bench_vision(o, &w);
    }
    free_work(&w);
    return status;
}

const vlm_verb vlm_verb_bench = {
    "bench", "how long one batch takes",
    "[--part vision|text] [--batch B] [--seconds S]",
    "Runs one batch of made-up input through a part of the model again and again, after a warm-up, and prints the "
    "median and the least time of a batch; with --json {\"part\":..., \"batch\":..., \"threads\":..., \"dtype\":..., "
    "\"isa\":..., \"runs\":..., \"seconds_median\":..., \"seconds_min\":...}. A text fills the model's whole length.",
    "vlm bench\nvlm bench --part text --batch 32 --threads 2 --json\nvlm bench --dtype q8 --seconds 10",
    options, sizeof(bench_options), run_bench};
