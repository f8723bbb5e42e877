/* Making batches: a task is one sample, from its drawing or file to normalised pixels and ids.
 * It runs on the pool between two steps: with every core at work in a step there is no idle core that a
 * thread of its own could use, and the matrix products would wait for the core it takes away.
 * Trap: a sample's randomness must depend on its number in the run alone. */
#include "train/batch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"

/* What one place of the batch needs beside its slice of the result. */
typedef struct place {
    vlm_sample sample;
    vlm_ids ids;
} place;

struct vlm_batch_maker {
    const vlm_dataset *dataset;
    const vlm_tokenizer *tokenizer;
    vlm_threads *threads;
    vlm_batch_options options;
    vlm_batch batch;
    place *places;   /* [n + negatives] */
    size_t n_places, step;
    /* the failure of the lowest place, so that the message does not depend on the threads */
    pthread_mutex_t lock;
    size_t failed_place;
    vlm_error failure;
};

static vlm_status allocate(vlm_batch_maker *maker, vlm_error *error)
{
    const vlm_batch_options *options = &maker->options;
    vlm_batch *batch = &maker->batch;
    size_t pixels = 0, ids = 0;
    batch->n = options->batch;
    maker->n_places = options->batch + (maker->dataset->negative && maker->tokenizer ? options->negatives : 0);
    batch->n_texts = maker->tokenizer ? maker->n_places : 0;
    bool fits = vlm_multiply(maker->dataset->image_height, maker->dataset->image_width, &pixels) && vlm_multiply(pixels, 3 * options->batch, &pixels) &&
                vlm_multiply(batch->n_texts, options->context_length, &ids);
    if (!fits)
        return vlm_fail(error, VLM_ERR_LIMIT, "a batch of %zu pictures does not fit in memory", options->batch);
    batch->pixels = vlm_alloc_aligned(pixels, sizeof(float));
    batch->ids = vlm_alloc(ids, sizeof *batch->ids);
    batch->starts = vlm_alloc_zero(batch->n_texts + 1, sizeof *batch->starts);
    batch->groups = vlm_alloc_zero(maker->n_places, sizeof *batch->groups);
    batch->labels = vlm_alloc_zero(batch->n, sizeof *batch->labels);
    maker->places = vlm_alloc_zero(maker->n_places, sizeof *maker->places);
    if (!batch->pixels || !batch->ids || !batch->starts || !batch->groups || !batch->labels || !maker->places)
        return vlm_fail_memory(error, pixels * sizeof(float), "a batch");
    return VLM_OK;
}

vlm_status vlm_batch_maker_create(vlm_batch_maker **out, const vlm_dataset *dataset, const vlm_tokenizer *tokenizer, const vlm_batch_options *options, vlm_threads *threads, vlm_error *error)
{
    vlm_batch_maker *maker = *out = vlm_alloc_zero(1, sizeof *maker);
    if (!maker)
        return vlm_fail_memory(error, sizeof *maker, "a batch");
    maker->dataset = dataset;
    maker->tokenizer = tokenizer;
    maker->threads = threads;
    maker->options = *options;
    pthread_mutex_init(&maker->lock, NULL);
    vlm_status status = allocate(maker, error);
    if (status != VLM_OK) {
        vlm_batch_maker_free(maker);
        *out = NULL;
    }
    return status;
}

void vlm_batch_maker_free(vlm_batch_maker *maker)
{
    if (!maker)
        return;
    for (size_t i = 0; maker->places && i < maker->n_places; i++) {
        vlm_text_free(&maker->places[i].sample.caption);
        vlm_ids_free(&maker->places[i].ids);
    }
    free(maker->places);
    free(maker->batch.pixels);
    free(maker->batch.ids);
    free(maker->batch.starts);
    free(maker->batch.groups);
    free(maker->batch.labels);
    pthread_mutex_destroy(&maker->lock);
    free(maker);
}

static void normalise(float *pixels, size_t n, const double *mean, const double *std)
{
    for (size_t c = 0; c < 3; c++) {
        float scale = (float)(1 / std[c]), shift = (float)(-mean[c] / std[c]);
        for (size_t i = 0; i < n; i++)
            pixels[c * n + i] = pixels[c * n + i] * scale + shift;
    }
}

static vlm_status encode(const vlm_batch_maker *maker, place *p, vlm_error *error)
{
    size_t most = maker->options.context_length;
    p->ids.count = 0;
    vlm_status status = vlm_tokenizer_encode(maker->tokenizer, p->sample.caption.data ? p->sample.caption.data : "", p->sample.caption.length, true, &p->ids, error);
    if (status == VLM_OK && p->ids.count > most) {
        p->ids.data[most - 1] = p->ids.data[p->ids.count - 1];
        p->ids.count = most;
    }
    while (status == VLM_OK && maker->options.pad_to_length && p->ids.count < most)
        if (!vlm_ids_push(&p->ids, (uint32_t)maker->options.pad_id))
            status = vlm_fail_memory(error, most, "a text's ids");
    if (status == VLM_OK && !p->ids.count)
        status = vlm_fail(error, VLM_ERR_FORMAT, "the caption \"%.60s\" has no tokens", p->sample.caption.data ? p->sample.caption.data : "");
    return status;
}

static vlm_status make_place(vlm_batch_maker *maker, size_t i, vlm_error *error)
{
    const vlm_dataset *dataset = maker->dataset;
    const vlm_batch_options *options = &maker->options;
    place *p = &maker->places[i];
    uint64_t first = (uint64_t)maker->step * options->batch, index = i < options->batch ? first + i : first;
    vlm_sample_key key = {.seed = options->seed, .index = index, .epoch = index / dataset->n_items,
                          .progress = options->steps ? (double)maker->step / (double)options->steps : 0};
    key.item = (size_t)(index % dataset->n_items);
    if (!options->in_order)
        key.item = vlm_shuffle(options->seed, key.epoch, key.item, dataset->n_items);
    size_t area = dataset->image_height * dataset->image_width;
    p->sample.pixels = i < options->batch ? maker->batch.pixels + i * 3 * area : NULL;
    p->sample.caption.length = 0;
    p->sample.group = p->sample.label = -1;
    vlm_status status = i < options->batch ? dataset->sample(dataset, &key, &p->sample, error) : dataset->negative(dataset, &key, i - options->batch, &p->sample, error);
    if (status == VLM_OK && p->sample.pixels)
        normalise(p->sample.pixels, area, options->mean, options->std);
    if (status == VLM_OK && maker->tokenizer)
        status = encode(maker, p, error);
    return status;
}

static void run_place(void *argument, size_t index, size_t thread)
{
    (void)thread;
    vlm_batch_maker *maker = argument;
    vlm_error error = {0};
    if (make_place(maker, index, &error) == VLM_OK)
        return;
    pthread_mutex_lock(&maker->lock);
    if (index < maker->failed_place) {
        maker->failed_place = index;
        maker->failure = error;
    }
    pthread_mutex_unlock(&maker->lock);
}

static bool same_text(const vlm_ids *a, const vlm_ids *b)
{
    return a->count == b->count && memcmp(a->data, b->data, a->count * sizeof *a->data) == 0;
}

/* Groups as the loss wants them: equal numbers are positives, and every text has one. */
static void number_groups(vlm_batch_maker *maker)
{
    bool captions = maker->options.positives == VLM_POSITIVES_CAPTIONS && maker->tokenizer;
    int32_t *groups = maker->batch.groups;
    for (size_t i = 0; i < maker->n_places; i++) {
        const place *p = &maker->places[i];
        groups[i] = (int32_t)i;
        for (size_t j = 0; j < i; j++) {
            const place *other = &maker->places[j];
            if ((p->sample.group >= 0 && p->sample.group == other->sample.group) || (captions && same_text(&p->ids, &other->ids))) {
                groups[i] = groups[j];
                break;
            }
        }
    }
}

vlm_status vlm_batch_make(vlm_batch_maker *maker, size_t step, const vlm_batch **out, vlm_error *error)
{
    vlm_batch *batch = &maker->batch;
    maker->step = step;
    maker->failed_place = maker->n_places;
    vlm_threads_run(maker->threads, maker->n_places, run_place, maker);
    if (maker->failed_place < maker->n_places)
        return vlm_fail(error, maker->failure.status, "%s", maker->failure.message);
    size_t at = 0;
    for (size_t i = 0; i < batch->n_texts; i++) {
        const vlm_ids *ids = &maker->places[i].ids;
        batch->starts[i] = at;
        for (size_t j = 0; j < ids->count; j++)
            batch->ids[at++] = (int32_t)ids->data[j];
    }
    batch->starts[batch->n_texts] = at;
    for (size_t i = 0; i < batch->n; i++)
        batch->labels[i] = maker->places[i].sample.label;
    number_groups(maker);
    *out = batch;
    return VLM_OK;
}
