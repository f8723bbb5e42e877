/* A model on many inputs: pictures are decoded ahead in a second thread while the model computes, in batches
 * that are bounded in number and in decoded size, and every input ends in one result, in order. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/cli.h"

enum {
    BATCH_PICTURES = 32,
    BATCH_PIXELS = 1 << 25, /* a batch ends when it holds as many: two batches of photos stay below 256 MiB */
    BATCH_TEXTS = 64,
    CUT_TEXTS_SHOWN = 5
};

static bool show_loading(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)user;
    if (total > (uint64_t)64 << 20) /* what loads at once needs no telling */
        vlm_progress(what, done >> 20, total >> 20);
    return true;
}

int vlm_open_model(vlm_model **model, const vlm_common *common, unsigned parts)
{
    vlm_model_options options = {.parts = parts, .n_threads = common->n_threads, .dtype = common->dtype, .arch = common->arch, .progress = show_loading};
    vlm_error error = {0};
    vlm_status status = vlm_model_open(model, common->model, &options, &error);
    vlm_progress_end();
    if (status != VLM_OK)
        return vlm_say_error(&error);
    return VLM_EXIT_OK;
}

double vlm_cosine(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static bool all_finite(const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

/* ---- batches of pictures --------------------------------------------------------------------------------- */

typedef struct batch {
    size_t first, n; /* inputs first .. first + n - 1 */
    vlm_image *images[BATCH_PICTURES]; /* NULL: it failed, see errors */
    vlm_error errors[BATCH_PICTURES];
} batch;

static void empty_batch(batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        vlm_image_free(b->images[i]);
    b->n = 0;
}

/* Decode inputs from b->first on until the batch is full. */
static void fill_batch(batch *b, const vlm_inputs *inputs)
{
    size_t pixels = 0;
    for (b->n = 0; b->n < BATCH_PICTURES && b->first + b->n < inputs->n && pixels < BATCH_PIXELS; b->n++) {
        const vlm_input *input = &inputs->items[b->first + b->n];
        vlm_image **image = &b->images[b->n];
        vlm_error *error = &b->errors[b->n];
        *image = NULL;
        *error = (vlm_error){0};
        if (input->error)
            snprintf(error->message, sizeof error->message, "%s", input->error);
        else if (vlm_image_open(image, input->name, NULL, error) == VLM_OK)
            pixels += vlm_image_width(*image) * vlm_image_height(*image);
    }
}

/* The reader thread fills `next` while it is empty; the caller's thread swaps it for the batch it has done. */
typedef struct reader {
    const vlm_inputs *inputs;
    batch *current, *next;
    bool threaded, full, stop;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
} reader;

static void *read_pictures(void *argument)
{
    reader *r = argument;
    size_t first = 0;
    pthread_mutex_lock(&r->lock);
    while (first < r->inputs->n && !r->stop) {
        if (r->full) {
            pthread_cond_wait(&r->changed, &r->lock);
            continue;
        }
        batch *mine = r->next;
        pthread_mutex_unlock(&r->lock);
        mine->first = first;
        fill_batch(mine, r->inputs);
        first += mine->n;
        pthread_mutex_lock(&r->lock);
        r->full = true;
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static bool open_reader(reader *r, const vlm_inputs *inputs, size_t n_threads)
{
    *r = (reader){.inputs = inputs};
    r->current = vlm_alloc_zero(1, sizeof *r->current);
    r->next = vlm_alloc_zero(1, sizeof *r->next);
    if (!r->current || !r->next) {
        free(r->current);
        free(r->next);
        return false;
    }
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    if (n_threads > 1 && inputs->n > 1) /* one thread was asked for: one thread it is */
        r->threaded = pthread_create(&r->thread, NULL, read_pictures, r) == 0;
    return true;
}

/* The batch that begins with input `first`; valid until the next call. */
static batch *next_batch(reader *r, size_t first)
{
    empty_batch(r->current);
    if (!r->threaded) {
        r->current->first = first;
        fill_batch(r->current, r->inputs);
        return r->current;
    }
    pthread_mutex_lock(&r->lock);
    while (!r->full)
        pthread_cond_wait(&r->changed, &r->lock);
    batch *done = r->current;
    r->current = r->next;
    r->next = done;
    r->full = false;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return r->current;
}

static void close_reader(reader *r)
{
    if (r->threaded) {
        pthread_mutex_lock(&r->lock);
        r->stop = true;
        pthread_cond_broadcast(&r->changed);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->thread, NULL);
    }
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    empty_batch(r->current);
    empty_batch(r->next);
    free(r->current);
    free(r->next);
}

/* ---- results ----------------------------------------------------------------------------------------------- */

static vlm_status compute_images(vlm_model *model, const vlm_image *const *images, size_t n, unsigned flags, float *values,
                                 vlm_error *error)
{
    if (flags & VLM_RUN_CLASSIFY)
        return vlm_classify_images(model, images, n, values, error);
    return vlm_embed_images(model, images, n, flags & VLM_EMBED_RAW, values, error);
}

/* values [b->n, size]: the rows of the pictures that are there. When the batch fails, each picture is tried
 * alone, so that only the one to blame does. */
static void compute_batch(vlm_model *model, batch *b, unsigned flags, size_t size, float *values)
{
    const vlm_image *images[BATCH_PICTURES];
    size_t n = 0;
    vlm_error error = {0};
    for (size_t i = 0; i < b->n; i++)
        if (b->images[i])
            images[n++] = b->images[i];
    if (n == 0)
        return;
    bool together = compute_images(model, images, n, flags, values, &error) == VLM_OK;
    for (size_t i = b->n; i-- > 0;) { /* from the end: rows move up to their inputs' places */
        float *row = values + i * size;
        if (!b->images[i])
            continue;
        n--;
        if (together)
            memmove(row, values + n * size, size * sizeof *row);
        else
            compute_images(model, (const vlm_image *const *)&b->images[i], 1, flags, row, &b->errors[i]);
    }
}

static const char not_finite[] = "the model's result is not finite; are its weights whole?";

/* Hand over one result. The error's sentence is completed where the library named nothing. */
static bool finish(vlm_done_function *done, void *user, vlm_result *result, size_t size, const vlm_error *error, int *status)
{
    if (error->status != VLM_OK || *error->message)
        result->error = *error->message ? error->message : vlm_status_name(error->status);
    else if (!all_finite(result->values, size))
        result->error = not_finite;
    if (result->error) {
        result->values = NULL;
        *status = VLM_EXIT_FAILED;
    }
    return done(user, result);
}

int vlm_run_pictures(vlm_model *model, const vlm_inputs *inputs, unsigned flags, vlm_done_function *done, void *user)
{
    const vlm_model_info *info = vlm_model_get_info(model);
    size_t size = flags & VLM_RUN_CLASSIFY ? info->n_labels : info->embedding_size;
    float *values = vlm_alloc(BATCH_PICTURES * size + 1, sizeof *values);
    reader r;
    if (!values || !open_reader(&r, inputs, info->n_threads)) {
        free(values);
        return vlm_say_memory();
    }
    int status = VLM_EXIT_OK;
    bool going = true;
    for (size_t first = 0; going && first < inputs->n;) {
        batch *b = next_batch(&r, first);
        compute_batch(model, b, flags, size, values);
        for (size_t i = 0; going && i < b->n; i++) {
            const char *name = inputs->items[first + i].name;
            vlm_result result = {first + i, name, strlen(name), b->images[i], values + i * size, NULL};
            going = finish(done, user, &result, size, &b->errors[i], &status);
        }
        first += b->n;
        going = vlm_flush_output() && going;
        vlm_progress("pictures", first, inputs->n);
    }
    if (!going)
        status = VLM_EXIT_FAILED;
    vlm_progress_end();
    close_reader(&r);
    free(values);
    return status;
}

static void warn_cut(const vlm_model *model, const char *text, size_t length)
{
    bool shown_whole = length <= 48;
    vlm_say("\"%.*s%s\" is longer than the %zu tokens that the model reads; the rest was cut", (int)(shown_whole ? length : 45), text,
            shown_whole ? "" : "...", vlm_model_get_info(model)->context_length);
}

int vlm_run_texts(vlm_model *model, const vlm_texts *texts, unsigned flags, vlm_done_function *done, void *user)
{
    size_t size = vlm_model_get_info(model)->embedding_size;
    float *values = vlm_alloc(BATCH_TEXTS * size + 1, sizeof *values);
    if (!values)
        return vlm_say_memory();
    int status = VLM_EXIT_OK;
    bool going = true;
    size_t n_cut = 0;
    for (size_t first = 0; going && first < texts->n;) {
        size_t n = texts->n - first < BATCH_TEXTS ? texts->n - first : BATCH_TEXTS;
        bool cut[BATCH_TEXTS] = {0};
        vlm_error error = {0};
        bool together = vlm_embed_texts(model, texts->items + first, texts->lengths + first, n, flags, values, cut, &error) == VLM_OK;
        for (size_t i = 0; going && i < n; i++) {
            size_t t = first + i;
            vlm_result result = {t, texts->items[t], texts->lengths[t], NULL, values + i * size, NULL};
            error = (vlm_error){0};
            if (!together)
                vlm_embed_texts(model, texts->items + t, texts->lengths + t, 1, flags, values + i * size, &cut[i], &error);
            if (cut[i] && n_cut++ < CUT_TEXTS_SHOWN)
                warn_cut(model, result.input, result.input_length);
            going = finish(done, user, &result, size, &error, &status);
        }
        first += n;
        going = vlm_flush_output() && going;
        vlm_progress("texts", first, texts->n);
    }
    if (n_cut > CUT_TEXTS_SHOWN)
        vlm_say("%zu more texts were cut", n_cut - CUT_TEXTS_SHOWN);
    if (!going)
        status = VLM_EXIT_FAILED;
    vlm_progress_end();
    free(values);
    return status;
}
