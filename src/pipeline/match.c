/* Say how well texts fit a picture: a BLIP-2 made for retrieval.
 * pixels and texts -> itc [n], the largest cosine of a query's projection and the text's; itm [n], the probability
 * of "match" by a head on the queries that have read the text.
 * Matches Blip2ForImageTextRetrieval, and LAVIS's definition of both scores (Li et al. 2023, sec. 3.1).
 * Traps: for ITC queries and text do not see each other, and the text passes the Q-Former without a picture; for
 * ITM the logits are averaged over the queries before the softmax. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "pipeline/generate.h"
#include "pipeline/model.h"

enum { TEXT_TOKENS = 32 };

typedef struct pairing {
    const vlm_network *network;
    const float *pixels;   /* of the picture; NULL: features are there */
    size_t height, width;
    const float *features; /* [n_features, width of the vision tower] */
    size_t n_features;
    const int32_t *ids;    /* of one text */
    size_t n_ids;
} pairing;

static vlm_spans one_span(vlm_context *context, size_t n)
{
    size_t *starts = vlm_arena_alloc_zero(&context->headers, 2, sizeof *starts);
    if (!starts)
        vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: a pair of picture and text");
    else
        starts[1] = n;
    return (vlm_spans){1, starts};
}

static vlm_tensor *forward_features(vlm_context *context, const void *argument)
{
    const pairing *p = argument;
    vlm_spans spans;
    return vlm_vision_features(context, p->network->vision, p->pixels, 1, p->height, p->width, &spans);
}

static vlm_tensor *copy_features(vlm_context *context, const pairing *p)
{
    vlm_tensor *x = vlm_context_matrix(context, p->n_features, p->network->vision->width);
    if (x && !vlm_context_idle(context))
        memcpy(x->data, p->features, vlm_tensor_count(x) * sizeof(float));
    return x;
}

/* The queries in the shared space, of unit length. */
static vlm_tensor *forward_picture(vlm_context *context, const void *argument)
{
    const pairing *p = argument;
    const vlm_bridge *bridge = p->network->bridge;
    vlm_spans out;
    vlm_tensor *x = copy_features(context, p);
    x = vlm_qformer_forward(context, bridge->qformer, x, one_span(context, p->n_features), NULL, (vlm_spans){0}, &out);
    return vlm_op_unit(context, vlm_op_linear(context, x, &bridge->image_projection, VLM_ACT_NONE, NULL));
}

/* The text's first token there. */
static vlm_tensor *forward_text(vlm_context *context, const void *argument)
{
    static const size_t first = 0;
    const pairing *p = argument;
    const vlm_bridge *bridge = p->network->bridge;
    vlm_spans out;
    vlm_tensor *x = vlm_qformer_forward(context, bridge->qformer, NULL, (vlm_spans){0}, p->ids, one_span(context, p->n_ids), &out);
    x = vlm_op_gather(context, x, &first, 1);
    return vlm_op_unit(context, vlm_op_linear(context, x, &bridge->text_projection, VLM_ACT_NONE, NULL));
}

/* The two logits of every query that has read the text: [n_queries, 2]. */
static vlm_tensor *forward_matching(vlm_context *context, const void *argument)
{
    const pairing *p = argument;
    const vlm_bridge *bridge = p->network->bridge;
    size_t n = bridge->qformer->n_queries, *index = vlm_arena_alloc(&context->headers, n, sizeof *index);
    vlm_spans out;
    if (!index)
        return vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: a pair of picture and text");
    for (size_t i = 0; i < n; i++)
        index[i] = i;
    vlm_tensor *x = copy_features(context, p);
    x = vlm_qformer_forward(context, bridge->qformer, x, one_span(context, p->n_features), p->ids, one_span(context, p->n_ids), &out);
    return vlm_op_linear(context, vlm_op_gather(context, x, index, n), &bridge->matching, VLM_ACT_NONE, NULL);
}

static vlm_status run(vlm_model *model, vlm_forward_function *forward, const pairing *p, vlm_tensor **result, vlm_error *error)
{
    *result = vlm_run_forward(&model->context, forward, p, error);
    return *result ? VLM_OK : model->context.error.status;
}

static float *copy_values(const vlm_tensor *x)
{
    float *values = vlm_alloc(vlm_tensor_count(x), sizeof *values);
    if (values)
        memcpy(values, x->data, vlm_tensor_count(x) * sizeof *values);
    return values;
}

static float best_cosine(const float *queries, size_t n, const float *text, size_t size)
{
    float best = -1;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < size; j++)
            sum += (double)queries[i * size + j] * (double)text[j];
        best = i == 0 || (float)sum > best ? (float)sum : best;
    }
    return best;
}

static float match_probability(const float *logits, size_t n)
{
    double no = 0, yes = 0;
    for (size_t i = 0; i < n; i++) {
        no += (double)logits[2 * i] / (double)n;
        yes += (double)logits[2 * i + 1] / (double)n;
    }
    return (float)(1 / (1 + exp(no - yes)));
}

/* ids of a text, cut to what the model was trained on, the end token kept. */
static vlm_status read_text(const vlm_model *model, const char *text, vlm_ids *ids, bool *cut, vlm_error *error)
{
    const vlm_qformer *qformer = model->network->bridge->qformer;
    vlm_status status = vlm_tokenizer_encode(model->tokenizer, text, strlen(text), true, ids, error);
    if (status == VLM_OK && !ids->count)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "the text \"%.40s\" has no tokens, and no score", text);
    size_t most = qformer->positions->shape[0] < TEXT_TOKENS ? qformer->positions->shape[0] : TEXT_TOKENS;
    *cut = status == VLM_OK && ids->count > most;
    if (*cut) {
        ids->data[most - 1] = ids->data[ids->count - 1];
        ids->count = most;
    }
    return status;
}

static vlm_status match_text(vlm_model *model, pairing *p, const float *queries, const char *text, float *itc, float *itm, bool *cut, vlm_error *error)
{
    vlm_ids ids = {0};
    vlm_tensor *x;
    const vlm_bridge *bridge = model->network->bridge;
    vlm_status status = read_text(model, text, &ids, cut, error);
    p->ids = (const int32_t *)ids.data;
    p->n_ids = ids.count;
    if (status == VLM_OK)
        status = run(model, forward_text, p, &x, error);
    if (status == VLM_OK) {
        *itc = best_cosine(queries, bridge->qformer->n_queries, vlm_tensor_floats(x), vlm_tensor_columns(x));
        status = run(model, forward_matching, p, &x, error);
    }
    if (status == VLM_OK)
        *itm = match_probability(vlm_tensor_floats(x), bridge->qformer->n_queries);
    vlm_ids_free(&ids);
    return status;
}

/* The lock is held. */
static vlm_status match_pixels(vlm_model *model, pairing *p, const char *const *texts, size_t n, float *itc, float *itm, bool *cut, vlm_error *error)
{
    vlm_tensor *x;
    float *features = NULL, *queries = NULL;
    vlm_status status = run(model, forward_features, p, &x, error);
    if (status == VLM_OK) {
        p->n_features = x->shape[0];
        p->features = features = copy_values(x);
        status = features ? run(model, forward_picture, p, &x, error) : vlm_fail_memory(error, vlm_tensor_count(x) * sizeof(float), "a picture");
    }
    if (status == VLM_OK) {
        queries = copy_values(x);
        status = queries ? VLM_OK : vlm_fail_memory(error, vlm_tensor_count(x) * sizeof(float), "a picture");
    }
    for (size_t i = 0; i < n && status == VLM_OK; i++) {
        bool was_cut = false;
        status = match_text(model, p, queries, texts[i], &itc[i], &itm[i], &was_cut, error);
        if (cut)
            cut[i] = was_cut;
    }
    free(features);
    free(queries);
    return status;
}

vlm_status vlm_match(vlm_model *model, const vlm_image *image, const char *const *texts, size_t n, float *itc, float *itm, bool *cut, vlm_error *error)
{
    const vlm_network *network = model->network;
    float *pixels = NULL;
    size_t shape[3];
    if (!network || !network->bridge || !network->bridge->matching.weight || !network->bridge->qformer->tokens)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: not a model for matching; a BLIP-2 made for image-text retrieval is wanted", model->info.name);
    if (!network->vision || !model->tokenizer)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: the vision tower and the tokenizer are needed and were not opened or are not there", model->info.name);
    vlm_status status = vlm_image_pixels(model, image, &pixels, shape, error);
    if (status == VLM_OK) {
        pairing p = {.network = network, .pixels = pixels, .height = shape[1], .width = shape[2]};
        pthread_mutex_lock(&model->lock);
        status = match_pixels(model, &p, texts, n, itc, itm, cut, error);
        pthread_mutex_unlock(&model->lock);
    }
    free(pixels);
    return status;
}
