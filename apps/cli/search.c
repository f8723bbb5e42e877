/* vlm search: the pictures of a folder by how near they are to words or to another picture. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"

typedef struct search_options {
    vlm_common common;
    size_t top;
} search_options;

static const vlm_option options[] = {
    {"top", 0, VLM_OPTION_COUNT, offsetof(search_options, top), "K", "Print the K best; without it 10, and all with --json.", 1, 0, NULL},
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

enum { TOP_FOR_PEOPLE = 10 };

typedef struct hit {
    const char *input; /* borrowed from the inputs */
    size_t index;
    double score;
} hit;

typedef struct search {
    const search_options *options;
    size_t size;
    float *query; /* [size]; NULL until it is known */
    hit *hits;
    size_t n_hits;
} search;

static bool take_query(void *user, const vlm_result *result)
{
    search *s = user;
    if (result->values)
        memcpy(s->query, result->values, s->size * sizeof *s->query);
    else
        vlm_report_bad_input(result->input, result->error, s->options->common.json);
    return true;
}

static bool take_picture(void *user, const vlm_result *result)
{
    search *s = user;
    if (result->values)
        s->hits[s->n_hits++] = (hit){result->input, result->index, vlm_cosine(s->query, result->values, s->size)};
    else
        vlm_report_bad_input(result->input, result->error, s->options->common.json);
    return true;
}

/* Best first; equal scores in the order of the inputs. */
static int compare_hits(const void *a, const void *b)
{
    const hit *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool print_hits(const search *s)
{
    bool json = s->options->common.json;
    size_t top = s->options->top ? s->options->top : json ? s->n_hits : TOP_FOR_PEOPLE;
    vlm_table table = {.n_columns = 2, .align = "rl"};
    for (size_t i = 0; i < s->n_hits && i < top; i++) {
        const hit *h = &s->hits[i];
        if (!json) {
            vlm_table_float(&table, "%.4f", h->score);
            vlm_table_cell(&table, h->input, strlen(h->input));
            continue;
        }
        vlm_text line = {0};
        vlm_put_open(&line, '{');
        vlm_put_key(&line, "input");
        vlm_put_string(&line, h->input);
        vlm_put_key(&line, "score");
        vlm_put_float(&line, (float)h->score);
        vlm_put_close(&line, '}');
        if (!vlm_print_line(&line))
            return false;
    }
    return json || vlm_table_print(&table);
}

static int embed_query(search *s, vlm_model *model, const char *query, bool is_picture)
{
    const vlm_list list = {&(vlm_list_item){NULL, query}, 1, 1};
    vlm_inputs pictures = {0};
    vlm_texts texts = {0};
    int status = is_picture ? vlm_expand_inputs(&pictures, &list) : vlm_gather_texts(&texts, &list, false);
    if (status == VLM_EXIT_OK)
        status = is_picture ? vlm_run_pictures(model, &pictures, 0, take_query, s) : vlm_run_texts(model, &texts, 0, take_query, s);
    vlm_free_inputs(&pictures);
    vlm_free_texts(&texts);
    return status;
}

static int search_all(search *s, vlm_model *model, const char *query, bool is_picture, const vlm_inputs *pictures)
{
    s->size = vlm_model_get_info(model)->embedding_size;
    s->query = vlm_alloc(s->size + 1, sizeof *s->query);
    s->hits = vlm_alloc(pictures->n + 1, sizeof *s->hits);
    int status = s->query && s->hits ? embed_query(s, model, query, is_picture) : vlm_say_memory();
    if (status == VLM_EXIT_OK) {
        status = vlm_run_pictures(model, pictures, 0, take_picture, s);
        qsort(s->hits, s->n_hits, sizeof *s->hits, compare_hits);
        if (!print_hits(s))
            status = VLM_EXIT_FAILED;
    }
    free(s->query);
    free(s->hits);
    return status;
}

static int run_search(const vlm_verb *verb, const void *parsed)
{
    const search_options *o = parsed;
    vlm_inputs pictures = {0};
    vlm_model *model = NULL;
    (void)verb;
    if (o->common.inputs.n < 2)
        return vlm_say_usage("a query and a folder are wanted: words or a picture, then where to search");
    const char *query = o->common.inputs.items[0].value;
    bool is_picture = vlm_file_exists(query) && !vlm_is_folder(query);
    const vlm_list folders = {o->common.inputs.items + 1, o->common.inputs.n - 1, 0};
    int status = vlm_expand_inputs(&pictures, &folders);
    if (status == VLM_EXIT_OK)
        status = vlm_open_model(&model, &o->common,
                                VLM_PART_VISION | VLM_PART_PIXELS | (is_picture ? 0u : VLM_PART_TEXT | VLM_PART_TOKENIZER));
    if (status == VLM_EXIT_OK)
        status = search_all(&(search){.options = o}, model, query, is_picture, &pictures);
    vlm_model_close(model);
    vlm_free_inputs(&pictures);
    return status;
}

const vlm_verb vlm_verb_search = {
    "search", "the pictures of a folder nearest to words or to a picture",
    "[--top K] \"words\"|IMAGE FOLDER...",
    "The query is a picture when a file of that name exists, else words. Every picture of the folders (or given "
    "by name) is embedded and ranked by its cosine with the query, best first; with --json "
    "{\"input\":..., \"score\":...} a picture.",
    "vlm search \"a red car\" photos/\nvlm search cat.png photos/ --top 3 --json",
    options, sizeof(search_options), run_search};
