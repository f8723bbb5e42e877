/* Scores of labels for a picture's vector, and their probabilities.
 * Zero-shot as in CLIP (Radford et al. 2021, section 3.1.4): the mean of a label's unit text vectors over the
 * templates, made unit, against the picture's; softmax of the cosines times exp(logit scale). */
#include "cli/classifier.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static int allocate(vlm_classifier *c, const vlm_model *model, size_t n_labels, size_t size)
{
    c->model = model;
    c->n_labels = n_labels;
    c->size = size;
    c->probabilities = vlm_alloc_zero(n_labels, sizeof *c->probabilities);
    c->scores = vlm_alloc_zero(n_labels, sizeof *c->scores);
    c->order = vlm_alloc_zero(n_labels, 2 * sizeof *c->order); /* and the sort's scratch */
    return c->probabilities && c->scores && c->order ? VLM_EXIT_OK : vlm_say_memory();
}

int vlm_classifier_use_head(vlm_classifier *c, const vlm_model *model)
{
    size_t n_labels = vlm_model_get_info(model)->n_labels;
    return allocate(c, model, n_labels, n_labels);
}

void vlm_classifier_free(vlm_classifier *c)
{
    free(c->texts);
    free(c->probabilities);
    free(c->scores);
    free(c->order);
    *c = (vlm_classifier){0};
}

const char *vlm_classifier_label(const vlm_classifier *c, size_t i)
{
    const char *label = c->labels ? c->labels->items[i] : vlm_model_label(c->model, i);
    return label ? label : "";
}

unsigned vlm_classifier_flags(const vlm_classifier *c)
{
    return c->texts ? 0 : VLM_RUN_CLASSIFY;
}

/* ---- the texts of the labels --------------------------------------------------------------------------------- */

static void put_template(vlm_text *out, const char *template, const char *label)
{
    for (const char *slot; (slot = strstr(template, "{}")); template = slot + 2) {
        vlm_text_append(out, template, (size_t)(slot - template));
        vlm_text_puts(out, label);
    }
    vlm_text_puts(out, template);
}

/* Every label in every template: label i's texts are i * n_templates and on. */
static bool fill_templates(vlm_texts *texts, vlm_text *bytes, vlm_list *list, const vlm_texts *labels, const vlm_list *templates)
{
    size_t per_label = templates->n ? templates->n : 1, n = 0;
    if (!vlm_multiply(labels->n, per_label, &n))
        return false;
    list->items = vlm_alloc_zero(n, sizeof *list->items);
    size_t *starts = vlm_alloc(n, sizeof *starts);
    for (size_t i = 0; list->items && starts && i < n; i++) {
        starts[i] = bytes->length;
        put_template(bytes, templates->n ? templates->items[i % per_label].value : "{}", labels->items[i / per_label]);
        vlm_text_append(bytes, "", 1);
    }
    bool good = list->items && starts && !bytes->failed;
    for (size_t i = 0; good && i < n; i++)
        list->items[i].value = bytes->data + starts[i];
    list->n = n;
    free(starts);
    return good && vlm_gather_texts(texts, list, false) == VLM_EXIT_OK;
}

typedef struct text_sum {
    vlm_classifier *classifier;
    size_t per_label;
    double *sum; /* [size] of the label at hand */
} text_sum;

static void store_unit(float *out, const double *sum, size_t n)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += sum[i] * sum[i];
    double scale = squares > 0 ? 1 / sqrt(squares) : 0;
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(sum[i] * scale);
}

static bool add_text_vector(void *user, const vlm_result *result)
{
    text_sum *s = user;
    vlm_classifier *c = s->classifier;
    if (!result->values) {
        vlm_say("the label's text \"%s\": %s", result->input, result->error);
        return false;
    }
    size_t label = result->index / s->per_label, nth = result->index % s->per_label;
    float *row = c->texts + label * c->size;
    if (s->per_label == 1) {
        memcpy(row, result->values, c->size * sizeof *row);
        return true;
    }
    for (size_t i = 0; i < c->size; i++)
        s->sum[i] = (nth ? s->sum[i] : 0) + (double)result->values[i];
    if (nth + 1 == s->per_label)
        store_unit(row, s->sum, c->size);
    return true;
}

int vlm_classifier_use_texts(vlm_classifier *c, vlm_model *model, const vlm_texts *labels, const vlm_list *templates)
{
    size_t size = vlm_model_get_info(model)->embedding_size;
    vlm_texts texts = {0};
    vlm_text bytes = {0};
    vlm_list list = {0};
    text_sum s = {c, templates->n ? templates->n : 1, NULL};
    int status = allocate(c, model, labels->n, size);
    c->labels = labels;
    if (status == VLM_EXIT_OK) {
        size_t n = 0;
        c->texts = vlm_multiply(labels->n, size, &n) ? vlm_alloc(n + 1, sizeof *c->texts) : NULL;
        s.sum = vlm_alloc(size + 1, sizeof *s.sum);
        if (!c->texts || !s.sum || !fill_templates(&texts, &bytes, &list, labels, templates))
            status = vlm_say_memory();
    }
    if (status == VLM_EXIT_OK)
        status = vlm_run_texts(model, &texts, 0, add_text_vector, &s);
    free(s.sum);
    free(list.items);
    vlm_text_free(&bytes);
    vlm_free_texts(&texts);
    return status;
}

/* ---- a picture's labels ---------------------------------------------------------------------------------------- */

static void softmax(double *out, const double *logits, size_t n)
{
    double max = logits[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        max = fmax(max, logits[i]);
    for (size_t i = 0; i < n; i++)
        sum += out[i] = exp(logits[i] - max);
    for (size_t i = 0; i < n; i++)
        out[i] /= sum;
}

/* Merge sort of order by falling score: stable, and free of global state. */
static void sort_order(size_t *order, size_t *scratch, const double *scores, size_t n)
{
    if (n < 2)
        return;
    size_t half = n / 2, i = 0, j = half;
    sort_order(order, scratch, scores, half);
    sort_order(order + half, scratch, scores, n - half);
    memcpy(scratch, order, n * sizeof *order);
    for (size_t k = 0; k < n; k++)
        order[k] = j == n || (i < half && scores[scratch[i]] >= scores[scratch[j]]) ? scratch[i++] : scratch[j++];
}

void vlm_classifier_rank(const vlm_classifier *c, const float *values)
{
    const vlm_model_info *info = vlm_model_get_info(c->model);
    bool sigmoid = c->texts && strcmp(info->family, "siglip") == 0;
    for (size_t i = 0; i < c->n_labels; i++) {
        double score = c->texts ? (double)info->logit_scale * vlm_cosine(values, c->texts + i * c->size, c->size) : (double)values[i];
        c->scores[i] = sigmoid ? score + (double)info->logit_bias : score;
        c->order[i] = i;
    }
    sort_order(c->order, c->order + c->n_labels, c->scores, c->n_labels);
    if (!sigmoid)
        softmax(c->probabilities, c->scores, c->n_labels);
    for (size_t i = 0; sigmoid && i < c->n_labels; i++)
        c->probabilities[i] = 1 / (1 + exp(-c->scores[i]));
}
