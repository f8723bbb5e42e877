/* What the verbs that generate text share: options to settings, pictures in batches, results as lines. */
#include "cli/writing.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { PICTURES_AT_ONCE = 8 };

/* ---- options -------------------------------------------------------------------------------------------- */

static int read_number(float *value, const char *name, const char *text)
{
    char *end = NULL;
    double number = text ? strtod(text, &end) : 0;
    if (!text)
        return VLM_EXIT_OK;
    if (end == text || *end || !isfinite(number))
        return vlm_say_usage("--%s: '%s' is not a number", name, text);
    *value = (float)number;
    return VLM_EXIT_OK;
}

int vlm_read_writing(vlm_generation *g, const char ***stops, const vlm_writing_options *o)
{
    *stops = NULL;
    *g = vlm_generation_defaults();
    g->max_new_tokens = o->max_new_tokens ? o->max_new_tokens : g->max_new_tokens;
    g->min_new_tokens = o->min_length;
    g->n_beams = o->beams ? o->beams : 1;
    g->n_best = o->n_best ? o->n_best : 1;
    g->no_repeat_ngram = o->no_repeat_ngram;
    g->top_k = o->top_k;
    g->seed = o->seed;
    g->sample = o->temperature || o->top_k || o->top_p || o->min_p;
    if (o->early_stopping)
        g->early_stopping = strcmp(o->early_stopping, "true") == 0 ? VLM_EARLY_STOPPING_TRUE : strcmp(o->early_stopping, "never") == 0 ? VLM_EARLY_STOPPING_NEVER : VLM_EARLY_STOPPING_FALSE;
    const struct {
        float *value;
        const char *name, *text;
    } numbers[] = {{&g->length_penalty, "length-penalty", o->length_penalty}, {&g->repetition_penalty, "repetition-penalty", o->repetition_penalty},
                   {&g->temperature, "temperature", o->temperature}, {&g->top_p, "top-p", o->top_p}, {&g->min_p, "min-p", o->min_p}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        int status = read_number(numbers[i].value, numbers[i].name, numbers[i].text);
        if (status != VLM_EXIT_OK)
            return status;
    }
    vlm_error error = {0};
    if (vlm_generation_check(g, &error) != VLM_OK)
        return vlm_say_usage("%s", error.message);
    *stops = vlm_alloc(o->stop.n + 1, sizeof **stops);
    if (!*stops)
        return vlm_say_memory();
    for (size_t i = 0; i < o->stop.n; i++)
        (*stops)[i] = o->stop.items[i].value;
    g->stop = *stops;
    g->n_stop = o->stop.n;
    return VLM_EXIT_OK;
}

/* ---- results -------------------------------------------------------------------------------------------- */

vlm_writing_form vlm_writing_form_of(const vlm_common *common, const vlm_writing_options *options)
{
    return (vlm_writing_form){.json = common->json, .beams = options->beams > 1, .alternatives = options->n_best > 0};
}

static void put_written(vlm_text *line, const vlm_written *written, bool score)
{
    vlm_put_key(line, "text");
    vlm_put_bytes(line, written->text, written->length);
    vlm_put_key(line, "tokens");
    vlm_put_open(line, '[');
    for (size_t i = 0; i < written->n_ids; i++)
        vlm_put_count(line, (uint64_t)written->ids[i]);
    vlm_put_close(line, ']');
    if (score) {
        vlm_put_key(line, "score");
        vlm_put_float(line, written->score);
    }
}

static void put_json(vlm_text *line, const vlm_writing_form *form, const char *input, size_t input_length, const vlm_answer *answer)
{
    vlm_put_open(line, '{');
    vlm_put_key(line, "input");
    vlm_put_bytes(line, input, input_length);
    if (form->question) {
        vlm_put_key(line, "question");
        vlm_put_string(line, form->question);
    }
    put_written(line, &answer->texts[0], form->beams);
    if (form->alternatives) {
        vlm_put_key(line, "alternatives");
        vlm_put_open(line, '[');
        for (size_t i = 0; i < answer->n; i++) {
            vlm_put_open(line, '{');
            put_written(line, &answer->texts[i], form->beams);
            vlm_put_close(line, '}');
        }
        vlm_put_close(line, ']');
    }
    vlm_put_close(line, '}');
}

/* For people: what the model wrote, without the control characters that a terminal would obey. */
static void put_text(vlm_text *line, const vlm_written *written)
{
    for (size_t i = 0; i < written->length; i++) {
        unsigned char c = (unsigned char)written->text[i];
        if ((c >= ' ' && c != 127) || c == '\n' || c == '\t')
            vlm_text_append(line, &c, 1);
    }
}

bool vlm_print_answer(const vlm_writing_form *form, const char *input, size_t input_length, bool named, const vlm_answer *answer)
{
    vlm_text line = {0};
    size_t n = form->alternatives ? answer->n : 1;
    if (form->json)
        put_json(&line, form, input, input_length, answer);
    for (size_t i = 0; i < n && !form->json; i++) {
        if (i)
            vlm_text_puts(&line, "\n");
        if (named) {
            vlm_put_plain(&line, input, input_length);
            vlm_text_puts(&line, "\t");
        }
        if (form->alternatives && form->beams)
            vlm_text_printf(&line, "%.4f\t", (double)answer->texts[i].score);
        put_text(&line, &answer->texts[i]);
    }
    return vlm_print_line(&line);
}

/* ---- pictures ------------------------------------------------------------------------------------------- */

static bool is_encoded(const vlm_list_item *item)
{
    return item->option && strcmp(item->option->name, "encoded") == 0;
}

bool vlm_has_pictures(const vlm_list *pictures)
{
    for (size_t i = 0; i < pictures->n; i++)
        if (!is_encoded(&pictures->items[i]))
            return true;
    return false;
}

/* What waits to be written about. */
typedef struct batch {
    vlm_model *model;
    const char *prompt;
    const vlm_generation *generation;
    const vlm_writing_form *form;
    bool named;
    vlm_encoded *pictures[PICTURES_AT_ONCE];
    char *names[PICTURES_AT_ONCE];
    size_t n;
    int status;
} batch;

static void report(batch *b, const char *name, const vlm_error *error)
{
    vlm_report_bad_input(name, *error->message ? error->message : vlm_status_name(error->status), b->form->json);
    b->status = VLM_EXIT_FAILED;
}

/* Pictures first .. first + n - 1 together. When they fail, each is tried alone, so that only the one to blame does.
 * False: time to stop. */
static bool write_some(batch *b, size_t first, size_t n)
{
    vlm_answer answers[PICTURES_AT_ONCE];
    const char *prompts[PICTURES_AT_ONCE] = {NULL};
    vlm_error error = {0};
    bool going = true;
    for (size_t i = 0; i < n; i++)
        prompts[i] = b->prompt;
    if (vlm_ask(b->model, (const vlm_encoded *const *)b->pictures + first, prompts, n, b->generation, NULL, NULL, answers, &error) != VLM_OK) {
        for (size_t i = 0; i < n && n > 1 && going; i++)
            going = write_some(b, first + i, 1);
        if (n == 1)
            report(b, b->names[first], &error);
        return going;
    }
    for (size_t i = 0; i < n; i++) {
        going = going && vlm_print_answer(b->form, b->names[first + i], strlen(b->names[first + i]), b->named, &answers[i]);
        vlm_answer_free(&answers[i]);
    }
    return going && vlm_flush_output();
}

static bool write_batch(batch *b)
{
    bool going = b->n == 0 || write_some(b, 0, b->n);
    for (size_t i = 0; i < b->n; i++) {
        vlm_encoded_free(b->pictures[i]);
        free(b->names[i]);
    }
    b->n = 0;
    return going;
}

/* Takes the picture. */
static bool add_picture(batch *b, vlm_encoded *picture, const char *name)
{
    char *copy = vlm_copy_text(name, strlen(name));
    if (!copy) {
        vlm_encoded_free(picture);
        b->status = vlm_say_memory();
        return false;
    }
    b->pictures[b->n] = picture;
    b->names[b->n++] = copy;
    return b->n < PICTURES_AT_ONCE || write_batch(b);
}

static bool add_image(batch *b, const vlm_input *input)
{
    vlm_error error = {0};
    vlm_image *image = NULL;
    vlm_encoded *picture = NULL;
    if (input->error)
        snprintf(error.message, sizeof error.message, "%s", input->error);
    else if (vlm_image_open(&image, input->name, NULL, &error) == VLM_OK)
        vlm_encode_images(b->model, (const vlm_image *const *)&image, 1, &picture, &error);
    vlm_image_free(image);
    if (picture)
        return add_picture(b, picture, input->name);
    bool going = write_batch(b); /* results keep the order of the inputs */
    report(b, input->name, &error);
    return going;
}

/* One picture of a file has the file's name; of several each has its own behind it, as in a folder. */
static bool add_encoded(batch *b, const char *path)
{
    vlm_encoded **pictures = NULL;
    size_t n = 0;
    vlm_error error = {0};
    bool going = true;
    if (vlm_encoded_open(&pictures, &n, b->model, path, &error) != VLM_OK) {
        going = write_batch(b);
        report(b, path, &error);
        return going;
    }
    b->named = b->named || n > 1;
    for (size_t i = 0; i < n; i++) {
        vlm_text name = {0};
        vlm_text_puts(&name, path);
        if (n > 1)
            vlm_text_printf(&name, "/%s", vlm_encoded_name(pictures[i]));
        if (going && name.failed)
            b->status = vlm_say_memory();
        going = going && !name.failed;
        if (going)
            going = add_picture(b, pictures[i], name.data);
        else
            vlm_encoded_free(pictures[i]);
        vlm_text_free(&name);
    }
    free(pictures);
    return going;
}

int vlm_write_about(vlm_model *model, const vlm_list *list, const char *prompt, const vlm_generation *generation, const vlm_writing_form *form)
{
    batch b = {.model = model, .prompt = prompt, .generation = generation, .form = form, .named = list->n > 1};
    bool going = true;
    for (size_t i = 0; i < list->n && going; i++) {
        vlm_inputs inputs = {0};
        if (is_encoded(&list->items[i])) {
            going = add_encoded(&b, list->items[i].value);
            continue;
        }
        int status = vlm_expand_inputs(&inputs, &(vlm_list){&list->items[i], 1, 1});
        b.status = status != VLM_EXIT_OK ? status : b.status;
        b.named = b.named || inputs.n != 1;
        for (size_t j = 0; j < inputs.n && going; j++) {
            going = add_image(&b, &inputs.items[j]);
            vlm_progress("pictures", j + 1, inputs.n);
        }
        vlm_free_inputs(&inputs);
    }
    if (going)
        going = write_batch(&b);
    for (size_t i = 0; i < b.n; i++) {
        vlm_encoded_free(b.pictures[i]);
        free(b.names[i]);
    }
    vlm_progress_end();
    return going ? b.status : VLM_EXIT_FAILED;
}
