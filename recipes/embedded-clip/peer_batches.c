/* The recipe's batches for another trainer: a shared object for pytorch_peer.py, which trains the same network on
 * the same samples. Built by pytorch_peer.py.
 * Texts are padded with the last token, as CLIP's towers expect: nothing after the first end token counts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "tokens/tokenizer.h"
#include "train/batch.h"
#include "train/scenes.h"

#define EXPORT __attribute__((visibility("default")))

typedef struct peer {
    vlm_dataset *dataset;
    vlm_tokenizer *tokenizer;
    vlm_batch_maker *maker;
    vlm_threads *threads;
    size_t context;
} peer;

EXPORT peer *peer_open(const char *drawings, const char *settings, const char *tokenizer, size_t side, size_t batch, size_t context, size_t steps, uint64_t seed);
EXPORT void peer_batch(peer *p, size_t step, float *pixels, int64_t *ids);

static void check(vlm_status status, const vlm_error *error)
{
    if (status) {
        fprintf(stderr, "peer: %s\n", error->message);
        exit(1);
    }
}

peer *peer_open(const char *drawings, const char *settings, const char *tokenizer, size_t side, size_t batch, size_t context, size_t steps, uint64_t seed)
{
    vlm_error error = {0};
    peer *p = calloc(1, sizeof *p);
    json_t *json = json_loads(settings, 0, NULL);
    if (!p || !json)
        exit(1);
    vlm_data_options data = {.path = drawings, .settings = json, .where = "peer", .image_height = side, .image_width = side};
    vlm_batch_options options = {.batch = batch, .context_length = context, .steps = steps, .seed = seed, .mean = {0.5, 0.5, 0.5}, .std = {0.5, 0.5, 0.5}};
    p->context = context;
    check(vlm_threads_create(&p->threads, 0, &error), &error);
    check(vlm_dataset_open_scenes(&p->dataset, &data, &error), &error);
    check(vlm_tokenizer_open(&p->tokenizer, tokenizer, &error), &error);
    check(vlm_batch_maker_create(&p->maker, p->dataset, p->tokenizer, &options, p->threads, &error), &error);
    json_decref(json);
    return p;
}

/* pixels [batch, 3, side, side], ids [batch, context] */
void peer_batch(peer *p, size_t step, float *pixels, int64_t *ids)
{
    vlm_error error = {0};
    const vlm_batch *batch;
    check(vlm_batch_make(p->maker, step, &batch, &error), &error);
    memcpy(pixels, batch->pixels, batch->n * 3 * p->dataset->image_height * p->dataset->image_width * sizeof *pixels);
    for (size_t i = 0; i < batch->n; i++)
        for (size_t j = 0; j < p->context; j++) {
            size_t place = batch->starts[i] + j, last = batch->starts[i + 1] - 1;
            ids[i * p->context + j] = batch->ids[place < last ? place : last];
        }
}
