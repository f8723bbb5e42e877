/* The whole story on one page: pictures and texts in, vectors out.
 *   picture -> pixels (pixels.c) -> patches, transformer, pooling (vit.c) -> vector
 *   text -> ids (tokens/) -> cut and pad -> transformer, pooling (text_encoder.c) -> vector
 * Inputs go through in batches of bounded size; a vector does not depend on its batch.
 * Trap: CLIP's text tower is causal, so what follows the pooled token is not computed; where the tower looks
 * both ways (SigLIP), padding is part of the text. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "pipeline/model.h"

enum { PICTURES_AT_ONCE = 32, TEXTS_AT_ONCE = 64 };

const char *vlm_version(void)
{
    return VLM_VERSION;
}

const char *vlm_isa(void)
{
    return vlm_kernels_get()->isa;
}

/* ---- a pass -------------------------------------------------------------------------------------------- */

/* One forward of a batch, as a function that can run twice: to measure, then to compute. */
typedef vlm_tensor *forward_function(vlm_context *context, const void *batch);

static vlm_tensor *forward_scaled(vlm_context *context, forward_function *forward, const void *batch, unsigned flags)
{
    vlm_tensor *result = forward(context, batch);
    return flags & VLM_EMBED_RAW ? result : vlm_op_unit(context, result);
}

static vlm_status run(vlm_model *model, forward_function *forward, const void *batch, float *out, unsigned flags, vlm_error *error)
{
    vlm_context *context = &model->context;
    vlm_context_begin(context, VLM_PASS_MEASURE);
    forward_scaled(context, forward, batch, flags);
    if (!vlm_context_failed(context) && vlm_context_reserve(context)) {
        vlm_context_begin(context, VLM_PASS_COMPUTE);
        vlm_tensor *result = forward_scaled(context, forward, batch, flags);
        if (!vlm_context_failed(context))
            memcpy(out, result->data, vlm_tensor_count(result) * sizeof *out);
    }
    if (vlm_context_failed(context) && error)
        *error = context->error;
    return context->error.status;
}

static vlm_status need(const vlm_model *model, unsigned parts, vlm_error *error)
{
    static const struct {
        unsigned part;
        const char *what;
    } names[] = {{VLM_PART_VISION, "vision tower"}, {VLM_PART_TEXT, "text tower"}, {VLM_PART_TOKENIZER, "tokenizer"}, {VLM_PART_PIXELS, "pixel contract (preprocessor_config.json)"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (parts & ~model->info.parts & names[i].part)
            return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: the %s is needed and was not opened or is not there", model->info.name, names[i].what);
    return VLM_OK;
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

typedef struct picture_batch {
    const vlm_vision_tower *tower;
    const float *pixels;
    size_t n, height, width;
    bool classify;
} picture_batch;

static vlm_tensor *forward_pictures(vlm_context *context, const void *argument)
{
    const picture_batch *batch = argument;
    vlm_tensor *x = vlm_vision_forward(context, batch->tower, batch->pixels, batch->n, batch->height, batch->width);
    return batch->classify ? vlm_op_linear(context, x, &batch->tower->classifier, VLM_ACT_NONE, NULL) : x;
}

vlm_status vlm_image_pixels(const vlm_model *model, const vlm_image *image, float **pixels, size_t shape[3], vlm_error *error)
{
    *pixels = NULL;
    vlm_status status = need(model, VLM_PART_PIXELS, error);
    shape[0] = 3;
    if (status == VLM_OK)
        status = vlm_pixels_size(&shape[1], &shape[2], &model->pixels, image, error);
    if (status != VLM_OK)
        return status;
    float *out = vlm_alloc(shape[1] * shape[2], 3 * sizeof *out);
    if (!out)
        return vlm_fail_memory(error, shape[1] * shape[2] * 3 * sizeof *out, "pixels");
    status = vlm_pixels(out, &model->pixels, image, model->threads, error);
    if (status == VLM_OK)
        *pixels = out;
    else
        free(out);
    return status;
}

/* Pixels of one size through the tower; the lock is held. */
static vlm_status embed_batch(vlm_model *model, const float *pixels, size_t n, size_t height, size_t width, bool classify, unsigned flags, float *out, vlm_error *error)
{
    picture_batch batch = {model->network->vision, pixels, n, height, width, classify};
    if (model->context.trace) {
        size_t shape[4] = {n, 3, height, width};
        model->context.trace(model->context.trace_user, "pixels", shape, 4, pixels);
    }
    return run(model, forward_pictures, &batch, out, flags, error);
}

vlm_status vlm_embed_pixels(vlm_model *model, const float *pixels, size_t n, size_t height, size_t width, unsigned flags, float *vectors, vlm_error *error)
{
    vlm_status status = need(model, VLM_PART_VISION, error);
    if (status != VLM_OK)
        return status;
    size_t size = model->info.embedding_size;
    pthread_mutex_lock(&model->lock);
    for (size_t i = 0; i < n && status == VLM_OK; i += PICTURES_AT_ONCE) {
        size_t now = n - i < PICTURES_AT_ONCE ? n - i : PICTURES_AT_ONCE;
        status = embed_batch(model, pixels + i * 3 * height * width, now, height, width, false, flags, vectors + i * size, error);
    }
    pthread_mutex_unlock(&model->lock);
    return status;
}

/* Pixels of images[0..n) whose sizes are equal to the first one's; *used says how many those are. */
static vlm_status gather_pixels(vlm_model *model, const vlm_image *const *images, size_t n, float **pixels, size_t *used, size_t *height, size_t *width, vlm_error *error)
{
    *pixels = NULL;
    *used = 0;
    vlm_status status = vlm_pixels_size(height, width, &model->pixels, images[0], error);
    if (status != VLM_OK)
        return status;
    size_t count = 3 * *height * *width, h = *height, w = *width;
    while (*used < n && *used < PICTURES_AT_ONCE) {
        status = vlm_pixels_size(&h, &w, &model->pixels, images[*used], error);
        if (status != VLM_OK)
            return status;
        if (h != *height || w != *width)
            break;
        ++*used;
    }
    float *out = vlm_alloc(*used * count, sizeof *out);
    if (!out)
        return vlm_fail_memory(error, *used * count * sizeof *out, "pixels");
    for (size_t i = 0; i < *used && status == VLM_OK; i++)
        status = vlm_pixels(out + i * count, &model->pixels, images[i], model->threads, error);
    if (status == VLM_OK)
        *pixels = out;
    else
        free(out);
    return status;
}

static vlm_status run_images(vlm_model *model, const vlm_image *const *images, size_t n, bool classify, unsigned flags, float *out, size_t out_size, vlm_error *error)
{
    vlm_status status = need(model, VLM_PART_VISION | VLM_PART_PIXELS, error);
    pthread_mutex_lock(&model->lock);
    for (size_t i = 0, used; i < n && status == VLM_OK; i += used) {
        float *pixels;
        size_t height, width;
        status = gather_pixels(model, images + i, n - i, &pixels, &used, &height, &width, error);
        if (status == VLM_OK)
            status = embed_batch(model, pixels, used, height, width, classify, flags, out + i * out_size, error);
        free(pixels);
    }
    pthread_mutex_unlock(&model->lock);
    return status;
}

vlm_status vlm_embed_images(vlm_model *model, const vlm_image *const *images, size_t n, unsigned flags, float *vectors, vlm_error *error)
{
    return run_images(model, images, n, false, flags, vectors, model->info.embedding_size, error);
}

vlm_status vlm_classify_images(vlm_model *model, const vlm_image *const *images, size_t n, float *logits, vlm_error *error)
{
    if (!model->info.n_labels)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: no classifier head; give labels to compare with", model->info.name);
    return run_images(model, images, n, true, VLM_EMBED_RAW, logits, model->info.n_labels, error);
}

/* ---- texts --------------------------------------------------------------------------------------------- */

vlm_status vlm_tokenize(const vlm_model *model, const char *text, size_t length, vlm_tokens *tokens, vlm_error *error)
{
    *tokens = (vlm_tokens){0};
    vlm_ids ids = {0};
    vlm_status status = need(model, VLM_PART_TOKENIZER, error);
    if (status == VLM_OK)
        status = vlm_tokenizer_encode(model->tokenizer, text, length, true, &ids, error);
    if (status == VLM_OK) {
        tokens->ids = vlm_alloc(ids.count, sizeof *tokens->ids);
        if (!tokens->ids)
            status = vlm_fail_memory(error, ids.count * sizeof *tokens->ids, "token ids");
        for (size_t i = 0; tokens->ids && i < ids.count; i++)
            tokens->ids[i] = (int32_t)ids.data[i];
        tokens->n = tokens->ids ? ids.count : 0;
    }
    vlm_ids_free(&ids);
    return status;
}

void vlm_tokens_free(vlm_tokens *tokens)
{
    free(tokens->ids);
    *tokens = (vlm_tokens){0};
}

const char *vlm_token_text(const vlm_model *model, int32_t id)
{
    return model->tokenizer && id >= 0 ? vlm_tokenizer_token(model->tokenizer, (uint32_t)id, NULL) : NULL;
}

typedef struct text_batch {
    const vlm_text_tower *tower;
    const int32_t *ids;
    vlm_spans spans;
} text_batch;

static vlm_tensor *forward_texts(vlm_context *context, const void *argument)
{
    const text_batch *batch = argument;
    return vlm_text_forward(context, batch->tower, batch->ids, batch->spans);
}

/* How many tokens of a text must be computed: in a causal tower none after the pooled one. */
static size_t computed_length(const vlm_text_tower *tower, const int32_t *ids, size_t length)
{
    size_t found = 0;
    if (!tower->body.causal || (tower->pooling != VLM_POOL_END_ID && tower->pooling != VLM_POOL_LARGEST_ID))
        return length;
    for (size_t i = 1; i < length; i++)
        if (tower->pooling == VLM_POOL_LARGEST_ID ? ids[i] > ids[found] : ids[i] == tower->end_id && ids[found] != tower->end_id)
            found = i;
    return found + 1;
}

/* Where the tower was trained on padding, texts are filled up to its length. */
static int32_t padding_id(const vlm_model *model)
{
    const vlm_text_tower *tower = model->network->text;
    int64_t id = model->tokenizer && strcmp(model->layout, "openclip") != 0 ? vlm_tokenizer_special(model->tokenizer, VLM_TOKEN_PAD) : -1;
    return id >= 0 ? (int32_t)id : tower->pad_id;
}

/* Lay out the rows that a batch computes: cut after the pooled token, or padded. The lock is held. */
static vlm_status embed_token_batch(vlm_model *model, const int32_t *ids, const size_t *starts, size_t n, unsigned flags, float *vectors, vlm_error *error)
{
    const vlm_text_tower *tower = model->network->text;
    size_t most = starts[n] - starts[0], padded;
    if (tower->pad_to_length && vlm_multiply(n, tower->context_length, &padded) && padded > most)
        most = padded;
    int32_t *rows = vlm_alloc(most, sizeof *rows);
    size_t *row_starts = vlm_alloc(n + 1, sizeof *row_starts), at = 0;
    vlm_status status = rows && row_starts ? VLM_OK : vlm_fail_memory(error, most * sizeof *rows, "a batch of texts");
    for (size_t i = 0; status == VLM_OK && i < n; i++) {
        size_t length = starts[i + 1] - starts[i], kept = computed_length(tower, ids + starts[i], length);
        row_starts[i] = at;
        memcpy(rows + at, ids + starts[i], kept * sizeof *rows);
        at += kept;
        for (; tower->pad_to_length && kept < tower->context_length; kept++)
            rows[at++] = padding_id(model);
    }
    if (status == VLM_OK) {
        row_starts[n] = at;
        text_batch batch = {tower, rows, {n, row_starts}};
        status = run(model, forward_texts, &batch, vectors, flags, error);
    }
    free(rows);
    free(row_starts);
    return status;
}

vlm_status vlm_embed_tokens(vlm_model *model, const int32_t *ids, const size_t *starts, size_t n, unsigned flags, float *vectors, vlm_error *error)
{
    vlm_status status = need(model, VLM_PART_TEXT, error);
    for (size_t i = 0; i < n && status == VLM_OK; i++) {
        size_t length = starts[i + 1] - starts[i], most = model->network->text->context_length;
        if (starts[i + 1] <= starts[i] || length > most)
            status = vlm_fail(error, VLM_ERR_ARGUMENT, "text %zu has %zu tokens; 1 to %zu are wanted", i, starts[i + 1] <= starts[i] ? (size_t)0 : length, most);
    }
    for (size_t i = status == VLM_OK && n ? starts[0] : 0; status == VLM_OK && n && i < starts[n]; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= model->network->text->vocabulary)
            status = vlm_fail(error, VLM_ERR_MISMATCH, "token id %ld: the model knows %zu; do tokenizer and weights belong together?", (long)ids[i], model->network->text->vocabulary);
    if (status != VLM_OK)
        return status;
    pthread_mutex_lock(&model->lock);
    for (size_t i = 0; i < n && status == VLM_OK; i += TEXTS_AT_ONCE) {
        size_t now = n - i < TEXTS_AT_ONCE ? n - i : TEXTS_AT_ONCE;
        status = embed_token_batch(model, ids, starts + i, now, flags, vectors + i * model->info.embedding_size, error);
    }
    pthread_mutex_unlock(&model->lock);
    return status;
}

/* Append a text's ids to `all`, cut to the model's length with the end token kept. */
static vlm_status append_text(const vlm_model *model, const char *text, size_t length, vlm_ids *all, bool *cut, vlm_error *error)
{
    vlm_ids ids = {0};
    vlm_status status = vlm_tokenizer_encode(model->tokenizer, text, length, true, &ids, error);
    size_t most = model->info.context_length, n = ids.count;
    *cut = most && n > most;
    if (*cut)
        n = most;
    if (status == VLM_OK && n == 0)
        status = vlm_fail(error, VLM_ERR_ARGUMENT, "the text \"%.40s\" has no tokens, and no vector", text);
    for (size_t i = 0; i < n && status == VLM_OK; i++)
        if (!vlm_ids_push(all, *cut && i + 1 == n ? ids.data[ids.count - 1] : ids.data[i]))
            status = vlm_fail_memory(error, all->count * sizeof *all->data, "token ids");
    vlm_ids_free(&ids);
    return status;
}

vlm_status vlm_embed_texts(vlm_model *model, const char *const *texts, const size_t *lengths, size_t n, unsigned flags, float *vectors, bool *cut, vlm_error *error)
{
    vlm_status status = need(model, VLM_PART_TEXT | VLM_PART_TOKENIZER, error);
    vlm_ids all = {0};
    size_t *starts = vlm_alloc(n + 1, sizeof *starts);
    if (!starts)
        status = vlm_fail_memory(error, (n + 1) * sizeof *starts, "a batch of texts");
    for (size_t i = 0; i < n && status == VLM_OK; i++) {
        bool was_cut;
        starts[i] = all.count;
        status = append_text(model, texts[i], lengths ? lengths[i] : strlen(texts[i]), &all, &was_cut, error);
        if (cut)
            cut[i] = was_cut;
    }
    if (status == VLM_OK && n) {
        starts[n] = all.count;
        status = vlm_embed_tokens(model, (const int32_t *)all.data, starts, n, flags, vectors, error);
    }
    free(starts);
    vlm_ids_free(&all);
    return status;
}
