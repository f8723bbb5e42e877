/* Words from words, and words about pictures: what include/vlm/language.h promises.
 *   picture -> pixels -> features (vit.c) -> queries (qformer.c): kept as a vlm_encoded
 *   queries -> rows of the language model, before the prompt's ids -> generate.c
 * Matches Blip2ForConditionalGeneration and InstructBlipForConditionalGeneration's generate.
 * Traps: the visual rows stand before the begin token of the prompt; without words the prompt is the begin token
 * alone; the newer layout of the hub writes a token for each visual row, and penalties see those. */
#include "pipeline/generate.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "pipeline/encoded.h"
#include "pipeline/model.h"

static vlm_status need_language(const vlm_model *model, bool pictures, vlm_error *error)
{
    const vlm_network *network = model->network;
    if (!network || !network->language)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: the language model is needed and was not opened or is not there", model->info.name);
    if (!model->tokenizer)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: the tokenizer is needed and was not opened or is not there", model->info.name);
    if (pictures && !network->bridge)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: a language model without eyes; one of the BLIP-2 family is wanted", model->info.name);
    return VLM_OK;
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

typedef struct picture {
    const vlm_network *network;
    const float *pixels;
    size_t height, width;
} picture;

/* What is kept of a picture: the Q-Former's output, or the features where the Q-Former waits for the question. */
static vlm_tensor *forward_picture(vlm_context *context, const void *argument)
{
    const picture *p = argument;
    vlm_spans spans, queries;
    vlm_tensor *x = vlm_vision_features(context, p->network->vision, p->pixels, 1, p->height, p->width, &spans);
    if (p->network->bridge->instructed)
        return x;
    return vlm_qformer_forward(context, p->network->bridge->qformer, x, spans, NULL, (vlm_spans){0}, &queries);
}

static vlm_status encode_image(vlm_model *model, const vlm_image *image, vlm_encoded **encoded, vlm_error *error)
{
    float *pixels = NULL;
    size_t shape[3];
    vlm_status status = vlm_image_pixels(model, image, &pixels, shape, error);
    if (status != VLM_OK)
        return status;
    picture p = {model->network, pixels, shape[1], shape[2]};
    vlm_tensor *x = vlm_run_forward(&model->context, forward_picture, &p, error);
    free(pixels);
    return x ? vlm_encoded_create(encoded, model, vlm_tensor_floats(x), x->shape[0], x->shape[1], error) : model->context.error.status;
}

vlm_status vlm_encode_images(vlm_model *model, const vlm_image *const *images, size_t n, vlm_encoded **encoded, vlm_error *error)
{
    vlm_status status = VLM_OK;
    memset(encoded, 0, n * sizeof *encoded);
    if (!model->network || !model->network->bridge || !model->network->vision)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: the vision tower of a BLIP-2 is needed and was not opened or is not there", model->info.name);
    pthread_mutex_lock(&model->lock);
    for (size_t i = 0; i < n && status == VLM_OK; i++)
        status = encode_image(model, images[i], &encoded[i], error);
    pthread_mutex_unlock(&model->lock);
    for (size_t i = 0; i < n && status != VLM_OK; i++) {
        vlm_encoded_free(encoded[i]);
        encoded[i] = NULL;
    }
    return status;
}

/* ---- a picture's rows ----------------------------------------------------------------------------------- */

typedef struct projection {
    const vlm_network *network;
    const vlm_encoded *encoded;
    const vlm_ids *instruction; /* NULL: none */
} projection;

static vlm_tensor *copy_rows(vlm_context *context, const vlm_encoded *encoded)
{
    vlm_tensor *x = vlm_context_matrix(context, encoded->n_rows, encoded->width);
    if (x && !vlm_context_idle(context))
        memcpy(x->data, encoded->rows, encoded->n_rows * encoded->width * sizeof(float));
    return x;
}

static size_t *span_of(vlm_context *context, size_t n)
{
    size_t *starts = vlm_arena_alloc_zero(&context->headers, 2, sizeof *starts);
    if (!starts)
        return vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: a picture");
    starts[1] = n;
    return starts;
}

/* Queries that read the instruction, without the instruction's own rows. */
static vlm_tensor *read_instruction(vlm_context *context, const vlm_bridge *bridge, vlm_tensor *x, const vlm_ids *instruction)
{
    vlm_spans features = {1, span_of(context, x ? x->shape[0] : 0)}, text = {1, span_of(context, instruction->count)}, joined;
    size_t *index = vlm_arena_alloc(&context->headers, bridge->qformer->n_queries, sizeof *index);
    if (!index)
        return vlm_context_fail(context, VLM_ERR_MEMORY, "out of memory: a picture");
    for (size_t i = 0; i < bridge->qformer->n_queries; i++)
        index[i] = i;
    x = vlm_qformer_forward(context, bridge->qformer, x, features, (const int32_t *)instruction->data, text, &joined);
    return vlm_op_gather(context, x, index, bridge->qformer->n_queries);
}

static vlm_tensor *forward_projection(vlm_context *context, const void *argument)
{
    const projection *p = argument;
    const vlm_bridge *bridge = p->network->bridge;
    vlm_tensor *x = copy_rows(context, p->encoded);
    if (p->instruction)
        x = read_instruction(context, bridge, x, p->instruction);
    return vlm_op_linear(context, x, &bridge->language_projection, VLM_ACT_NONE, NULL);
}

/* rows [n_queries, embedding] of a picture, for this prompt; the lock is held. */
static vlm_status project(vlm_model *model, const vlm_encoded *encoded, const char *prompt, float *rows, vlm_error *error)
{
    vlm_ids instruction = {0};
    vlm_status status = VLM_OK;
    const vlm_bridge *bridge = model->network->bridge;
    if (bridge->instructed)
        status = vlm_tokenizer_encode(model->instruction_tokenizer, prompt ? prompt : "", prompt ? strlen(prompt) : 0, true, &instruction, error);
    if (status == VLM_OK && bridge->qformer->positions && instruction.count > bridge->qformer->positions->shape[0])
        status = vlm_fail(error, VLM_ERR_LIMIT, "the instruction has %zu tokens; the Q-Former reads at most %zu", instruction.count, bridge->qformer->positions->shape[0]);
    if (status == VLM_OK) {
        projection p = {model->network, encoded, bridge->instructed ? &instruction : NULL};
        vlm_tensor *x = vlm_run_forward(&model->context, forward_projection, &p, error);
        status = x ? VLM_OK : model->context.error.status;
        if (x)
            memcpy(rows, x->data, vlm_tensor_count(x) * sizeof *rows);
    }
    vlm_ids_free(&instruction);
    return status;
}

/* ---- prompts ------------------------------------------------------------------------------------------- */

/* What a call reads: all ids in one block, all visual rows in another. */
typedef struct prompt_list {
    vlm_prompt *prompts; /* [n] */
    vlm_ids ids;
    float *visual;
} prompt_list;

static void free_prompts(prompt_list *list)
{
    free(list->prompts);
    vlm_ids_free(&list->ids);
    free(list->visual);
}

/* Append a prompt's ids; no words, or words without a token: the begin token, where there is one. */
static vlm_status add_words(const vlm_model *model, prompt_list *list, size_t i, const char *words, size_t length, vlm_error *error)
{
    size_t before = list->ids.count;
    vlm_status status = words ? vlm_tokenizer_encode(model->tokenizer, words, length, true, &list->ids, error) : VLM_OK;
    if (status == VLM_OK && list->ids.count == before && model->language.begin >= 0 && !vlm_ids_push(&list->ids, (uint32_t)model->language.begin))
        status = vlm_fail_memory(error, sizeof *list->ids.data, "a prompt");
    list->prompts[i] = (vlm_prompt){.visual_id = -1, .n_ids = list->ids.count - before};
    return status;
}

static vlm_status check_ids(const vlm_model *model, const vlm_ids *ids, vlm_error *error)
{
    for (size_t i = 0; i < ids->count; i++)
        if (ids->data[i] >= model->network->language->vocabulary)
            return vlm_fail(error, VLM_ERR_MISMATCH, "%s: the tokenizer gives token %u, the model knows %zu; do they belong together?", model->info.name, (unsigned)ids->data[i],
                            model->network->language->vocabulary);
    return VLM_OK;
}

static vlm_status make_prompts(const vlm_model *model, prompt_list *list, const char *const *words, const size_t *lengths, size_t n, vlm_error *error)
{
    vlm_status status = VLM_OK;
    *list = (prompt_list){.prompts = vlm_alloc_zero(n + 1, sizeof *list->prompts)};
    if (!list->prompts)
        return vlm_fail_memory(error, n * sizeof *list->prompts, "prompts");
    for (size_t i = 0; i < n && status == VLM_OK; i++)
        status = add_words(model, list, i, words[i], words[i] ? (lengths ? lengths[i] : strlen(words[i])) : 0, error);
    for (size_t i = 0, at = 0; i < n; at += list->prompts[i++].n_ids)
        list->prompts[i].ids = (const int32_t *)list->ids.data + (list->ids.data ? at : 0);
    return status == VLM_OK ? check_ids(model, &list->ids, error) : status;
}

static vlm_status write_prompts(vlm_model *model, const prompt_list *list, size_t n, const vlm_generation *settings, vlm_stream_function *stream, void *user, vlm_answer *answers, vlm_error *error)
{
    bool exact = strcmp(model->info.dtype, "f32") == 0;
    vlm_writer_setup setup = {.language = model->network->language, .tokenizer = model->tokenizer, .context = &model->context, .generation = settings,
                              .ends = {model->language.ends, model->language.n_ends}, .cache_type = exact ? VLM_F32 : VLM_F16, .stream = stream, .user = user};
    return vlm_write_texts(&setup, list->prompts, n, answers, error);
}

vlm_status vlm_generate(vlm_model *model, const char *const *prompts, const size_t *lengths, size_t n, const vlm_generation *settings, vlm_stream_function *stream, void *user,
                        vlm_answer *answers, vlm_error *error)
{
    prompt_list list = {0};
    memset(answers, 0, n * sizeof *answers);
    vlm_status status = need_language(model, false, error);
    if (status == VLM_OK)
        status = make_prompts(model, &list, prompts, lengths, n, error);
    if (status == VLM_OK) {
        pthread_mutex_lock(&model->lock);
        status = write_prompts(model, &list, n, settings, stream, user, answers, error);
        pthread_mutex_unlock(&model->lock);
    }
    free_prompts(&list);
    return status;
}

/* ---- about pictures ------------------------------------------------------------------------------------- */

char *vlm_question_prompt(const vlm_model *model, const char *question)
{
    vlm_text text = {0};
    bool bare = model->network && model->network->bridge && model->network->bridge->instructed;
    vlm_text_puts(&text, bare ? "" : "Question: ");
    vlm_text_puts(&text, question);
    vlm_text_puts(&text, bare ? "" : " Answer:");
    if (!text.failed)
        return text.data;
    vlm_text_free(&text);
    return NULL;
}

/* Each prompt's visual rows, into list->visual; the lock is held. */
static vlm_status add_pictures(vlm_model *model, prompt_list *list, const vlm_encoded *const *pictures, const char *const *words, size_t n, vlm_error *error)
{
    const vlm_network *network = model->network;
    size_t n_queries = network->bridge->qformer->n_queries, size = n_queries * network->language->embedding;
    vlm_status status = VLM_OK;
    list->visual = vlm_alloc(n * size, sizeof *list->visual);
    if (!list->visual)
        return vlm_fail_memory(error, n * size * sizeof *list->visual, "pictures");
    for (size_t i = 0; i < n && status == VLM_OK; i++) {
        status = vlm_encoded_check(pictures[i], model, error);
        if (status == VLM_OK)
            status = project(model, pictures[i], words[i], list->visual + i * size, error);
        list->prompts[i].visual = list->visual + i * size;
        list->prompts[i].n_visual = n_queries;
        list->prompts[i].visual_id = network->bridge->image_id;
    }
    return status;
}

vlm_status vlm_ask(vlm_model *model, const vlm_encoded *const *pictures, const char *const *prompts, size_t n, const vlm_generation *settings, vlm_stream_function *stream, void *user,
                   vlm_answer *answers, vlm_error *error)
{
    prompt_list list = {0};
    memset(answers, 0, n * sizeof *answers);
    vlm_status status = need_language(model, true, error);
    if (status == VLM_OK)
        status = make_prompts(model, &list, prompts, NULL, n, error);
    if (status == VLM_OK) {
        pthread_mutex_lock(&model->lock);
        status = add_pictures(model, &list, pictures, prompts, n, error);
        if (status == VLM_OK)
            status = write_prompts(model, &list, n, settings, stream, user, answers, error);
        pthread_mutex_unlock(&model->lock);
    }
    free_prompts(&list);
    return status;
}
