/* vlm bench: seconds for one batch of a part of a model, after a warm-up, on made-up input of the right shape. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fail.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/threads.h"
#include "cli/cli.h"
#include "vlm/train.h"

typedef struct bench_options {
    vlm_common common;
    const char *part;
    size_t batch;
    double seconds;
} bench_options;

static const vlm_option options[] = {
    {"part", 0, VLM_OPTION_TEXT, offsetof(bench_options, part), "PART", "vision (also without it), text, or train: one step of the optimiser.", 0, 0, "vision text train"},
    {"batch", 0, VLM_OPTION_COUNT, offsetof(bench_options, batch), "B", "Inputs at once; without it 1.", 1, 65536, NULL},
    {"seconds", 0, VLM_OPTION_NUMBER, offsetof(bench_options, seconds), "S", "How long to measure; without it 3. At least three runs are made.", 0, 0, NULL},
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

/* What is timed, and what its line says of it. */
typedef struct work {
    const char *part, *dtype;
    size_t batch, n_threads;
    vlm_model *model;
    size_t height, width;
    float *pixels;  /* [batch, 3, height, width]; NULL: text */
    int32_t *ids;   /* of all texts */
    size_t *starts; /* [batch + 1] */
    float *vectors; /* [batch, embedding_size] */
    vlm_train_bench *training; /* NULL: a forward pass */
} work;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static vlm_status run_once(work *w, double *seconds, vlm_error *error)
{
    if (w->training)
        return vlm_train_bench_step(w->training, seconds, error);
    double start = now();
    vlm_status status = w->pixels ? vlm_embed_pixels(w->model, w->pixels, w->batch, w->height, w->width, 0, w->vectors, error)
                                  : vlm_embed_tokens(w->model, w->ids, w->starts, w->batch, 0, w->vectors, error);
    *seconds = now() - start;
    return status;
}

static void free_work(work *w)
{
    free(w->pixels);
    free(w->ids);
    free(w->starts);
    free(w->vectors);
    vlm_train_bench_close(w->training);
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

/* The largest matrix of an embedding is the one of the tokens. */
typedef struct vocabulary {
    size_t n, depth; /* depth: of the embedding at hand; 0: none */
} vocabulary;

static void find_vocabulary(void *user, const vlm_node *node)
{
    vocabulary *v = user;
    bool embedding = strcmp(node->kind, "embedding") == 0;
    if (embedding || node->depth <= v->depth)
        v->depth = embedding ? node->depth : 0;
    if (v->depth && node->n_dims == 2 && node->shape[0] > v->n)
        v->n = node->shape[0];
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
    vocabulary words = {0};
    vlm_random random;
    vlm_model_visit(model, find_vocabulary, &words);
    vlm_random_seed(&random, 1);
    for (size_t i = 0; i + 1 < length; i++)
        ids[i] = words.n > 1 ? (int32_t)vlm_random_below(&random, words.n - 1) : 0;
    ids[length - 1] = words.n ? (int32_t)(words.n - 1) : 0;
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

static int compare_times(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool report(const work *w, bool json, double *times, size_t n)
{
    qsort(times, n, sizeof *times, compare_times);
    double median = n % 2 ? times[n / 2] : (times[n / 2 - 1] + times[n / 2]) / 2;
    vlm_text line = {0};
    if (!json) {
        vlm_text_printf(&line, "%s, batch %zu, threads %zu, %s, %s: %.4g ms (median of %zu runs), %.4g ms at best, %.4g a second", w->part,
                        w->batch, w->n_threads, w->dtype, vlm_isa(), 1e3 * median, n, 1e3 * times[0], (double)w->batch / median);
        return vlm_print_line(&line);
    }
    vlm_put_open(&line, '{');
    vlm_put_key(&line, "part");
    vlm_put_string(&line, w->part);
    vlm_put_key(&line, "batch");
    vlm_put_count(&line, w->batch);
    vlm_put_key(&line, "threads");
    vlm_put_count(&line, w->n_threads);
    vlm_put_key(&line, "dtype");
    vlm_put_string(&line, w->dtype);
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

static int measure(work *w, double seconds, bool json)
{
    enum { WARM_UP = 2, FEWEST = 3, MOST = 1000000 };
    double *times = NULL, time = 0;
    size_t n = 0, capacity = 0;
    vlm_error error = {0};
    vlm_status status = VLM_OK;
    for (size_t i = 0; status == VLM_OK && i < WARM_UP; i++)
        status = run_once(w, &time, &error);
    double start = now();
    while (status == VLM_OK && n < MOST && (n < FEWEST || now() - start < seconds)) {
        status = run_once(w, &time, &error);
        if (status == VLM_OK && !vlm_grow(&times, &capacity, n + 1, sizeof *times))
            status = vlm_fail_memory(&error, (n + 1) * sizeof *times, "keeping times");
        if (status == VLM_OK)
            times[n++] = time;
    }
    int result = VLM_EXIT_OK;
    if (status != VLM_OK)
        result = vlm_say_error(&error);
    else if (!report(w, json, times, n))
        result = VLM_EXIT_FAILED;
    free(times);
    return result;
}

/* ---- the parts --------------------------------------------------------------------------------------------------- */

/* Only the weights are needed; a tokenizer is used where there is one. */
static int open_part(vlm_model **model, const vlm_common *common, bool text)
{
    vlm_model_options wanted = {.n_threads = common->n_threads, .dtype = common->dtype, .arch = common->arch};
    vlm_error error = {0};
    if (!text)
        return vlm_open_model(model, common, VLM_PART_VISION);
    wanted.parts = VLM_PART_TEXT | VLM_PART_TOKENIZER;
    if (vlm_model_open(model, common->model, &wanted, &error) == VLM_OK)
        return VLM_EXIT_OK;
    return vlm_open_model(model, common, VLM_PART_TEXT);
}

static int prepare_forward(work *w, const vlm_common *common, bool text)
{
    size_t n = 0;
    int status = open_part(&w->model, common, text);
    if (status != VLM_EXIT_OK)
        return status;
    const vlm_model_info *info = vlm_model_get_info(w->model);
    w->dtype = info->dtype;
    w->n_threads = info->n_threads;
    if (vlm_multiply(w->batch, info->embedding_size, &n))
        w->vectors = vlm_alloc(n + 1, sizeof *w->vectors);
    if (!w->vectors || (!text && !make_pixels(w)))
        return vlm_say_memory();
    return text ? make_texts(w) : VLM_EXIT_OK;
}

static int prepare_training(work *w, const vlm_common *common)
{
    vlm_error error = {0};
    vlm_threads *threads = NULL;
    w->dtype = common->dtype ? common->dtype : "f32";
    if (!common->model)
        return vlm_say_usage("-m is wanted: a folder whose config.json says what is trained");
    if (strcmp(w->dtype, "f32") != 0 && strcmp(w->dtype, "bf16") != 0)
        return vlm_say_usage("--dtype %s: training computes in f32 or bf16", w->dtype);
    if (vlm_threads_create(&threads, common->n_threads, &error) != VLM_OK)
        return vlm_say_error(&error);
    w->n_threads = vlm_threads_count(threads);
    vlm_threads_free(threads);
    if (vlm_train_bench_open(&w->training, common->model, w->batch, w->n_threads, w->dtype, &error) != VLM_OK)
        return vlm_say_error(&error);
    return VLM_EXIT_OK;
}

static int run_bench(const vlm_verb *verb, const void *parsed)
{
    const bench_options *o = parsed;
    work w = {.part = o->part ? o->part : "vision", .batch = o->batch ? o->batch : 1};
    (void)verb;
    if (o->common.inputs.n)
        return vlm_say_usage("'%s': bench makes its own input", o->common.inputs.items[0].value);
    int status = strcmp(w.part, "train") == 0 ? prepare_training(&w, &o->common) : prepare_forward(&w, &o->common, strcmp(w.part, "text") == 0);
    if (status == VLM_EXIT_OK)
        status = measure(&w, o->seconds > 0 ? o->seconds : 3, o->common.json);
    free_work(&w);
    return status;
}

const vlm_verb vlm_verb_bench = {
    "bench", "how long one batch takes",
    "[--part vision|text|train] [--batch B] [--seconds S]",
    "Runs one batch of made-up input through a part of the model again and again, after a warm-up, and prints the "
    "median and the least time of a batch; with --json {\"part\":..., \"batch\":..., \"threads\":..., \"dtype\":..., "
    "\"isa\":..., \"runs\":..., \"seconds_median\":..., \"seconds_min\":...}. A text fills the model's whole length. A step of training begins "
    "from the config.json of -m with random weights; its dtype is f32 or bf16.",
    "vlm bench\nvlm bench --part text --batch 32 --threads 2 --json\nvlm bench --dtype q8 --seconds 10",
    options, sizeof(bench_options), run_bench};
