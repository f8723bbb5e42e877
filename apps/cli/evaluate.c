/* Measuring a classifier on a folder with a folder of pictures a class: accuracy, top-5, confusion. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/classifier.h"

enum { TOP = 5, WIDEST_TABLE = 16, WIDEST_HEAD = 12, WORST_SHOWN = 20 };

int vlm_list_classes(vlm_texts *classes, const char *folder)
{
    char **names = NULL;
    size_t n = 0;
    vlm_error error = {0};
    vlm_list list = {0};
    bool good = true;
    if (vlm_list_folder(&names, &n, folder, &error) != VLM_OK)
        return vlm_say_error(&error);
    for (size_t i = 0; good && i < n; i++) {
        char *path = vlm_join_path(folder, names[i]);
        good = path && vlm_grow(&list.items, &list.capacity, list.n + 1, sizeof *list.items);
        if (good && vlm_is_folder(path))
            list.items[list.n++] = (vlm_list_item){NULL, names[i]};
        free(path);
    }
    int status = good ? vlm_gather_texts(classes, &list, false) : vlm_say_memory();
    if (status == VLM_EXIT_OK && classes->n == 0) {
        vlm_say("%s: there is no folder in it; one a class is wanted, with its pictures", folder);
        status = VLM_EXIT_FAILED;
    }
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
    free(list.items);
    return status;
}

typedef struct evaluation {
    vlm_classifier *classifier;
    bool json;
    size_t n_shown;      /* labels of the matrix: the classes in the folder, then what else was ever predicted */
    size_t *shown;       /* [n_labels] index of a label in the matrix, or SIZE_MAX */
    size_t *labels;      /* [n_labels] the label at an index of the matrix */
    uint64_t *counts;    /* [n_classes, n_labels] by index of the matrix: was, taken for */
    size_t row;          /* the class at hand */
    size_t truth;        /* its label */
    uint64_t n_pictures, n_failed, n_right, n_top;
} evaluation;

static bool count_picture(void *user, const vlm_result *result)
{
    evaluation *e = user;
    const vlm_classifier *c = e->classifier;
    if (!result->values) {
        vlm_report_bad_input(result->input, result->error, e->json);
        e->n_failed++;
        return true;
    }
    vlm_classifier_rank(c, result->values);
    size_t best = c->order[0];
    if (e->shown[best] == SIZE_MAX) {
        e->shown[best] = e->n_shown;
        e->labels[e->n_shown++] = best;
    }
    e->counts[e->row * c->n_labels + e->shown[best]]++;
    e->n_pictures++;
    e->n_right += best == e->truth;
    for (size_t i = 0; i < TOP && i < c->n_labels; i++)
        e->n_top += c->order[i] == e->truth;
    return true;
}

/* Give each class its label and its row. */
static int match_classes(evaluation *e, const vlm_texts *classes, const char *folder)
{
    const vlm_classifier *c = e->classifier;
    for (size_t i = 0; i < c->n_labels; i++)
        e->shown[i] = SIZE_MAX;
    for (size_t k = 0; k < classes->n; k++) {
        size_t label = 0;
        while (label < c->n_labels && strcmp(vlm_classifier_label(c, label), classes->items[k]) != 0)
            label++;
        if (label == c->n_labels || e->shown[label] != SIZE_MAX) {
            vlm_say("%s/%s: there is no label \"%s\" among the %zu; a class's folder is named as its label", folder,
                    classes->items[k], classes->items[k], c->n_labels);
            return VLM_EXIT_FAILED;
        }
        e->shown[label] = k;
        e->labels[k] = label;
    }
    e->n_shown = classes->n;
    return VLM_EXIT_OK;
}

static int run_classes(evaluation *e, vlm_model *model, const vlm_texts *classes, const char *folder)
{
    int status = VLM_EXIT_OK;
    for (size_t k = 0; k < classes->n; k++) {
        char *path = vlm_join_path(folder, classes->items[k]);
        const vlm_list list = {&(vlm_list_item){NULL, path}, 1, 0};
        vlm_inputs pictures = {0};
        e->row = k;
        e->truth = e->labels[k];
        int one = path ? vlm_expand_inputs(&pictures, &list) : vlm_say_memory();
        if (one == VLM_EXIT_OK)
            one = vlm_run_pictures(model, &pictures, vlm_classifier_flags(e->classifier), count_picture, e);
        vlm_free_inputs(&pictures);
        free(path);
        status = one != VLM_EXIT_OK ? one : status;
    }
    return status;
}

/* ---- printing ------------------------------------------------------------------------------------------------- */

static const char *shown_label(const evaluation *e, size_t i)
{
    return vlm_classifier_label(e->classifier, e->labels[i]);
}

/* The matrix is square, with empty rows for labels that no class has. */
static uint64_t count_at(const evaluation *e, size_t n_classes, size_t row, size_t column)
{
    return row < n_classes ? e->counts[row * e->classifier->n_labels + column] : 0;
}

static double share(uint64_t part, uint64_t all)
{
    return all ? (double)part / (double)all : 0;
}

static bool print_json(const evaluation *e, size_t n_classes)
{
    vlm_text line = {0};
    vlm_put_open(&line, '{');
    vlm_put_key(&line, "pictures");
    vlm_put_count(&line, e->n_pictures);
    vlm_put_key(&line, "failed");
    vlm_put_count(&line, e->n_failed);
    vlm_put_key(&line, "accuracy");
    vlm_put_float(&line, (float)share(e->n_right, e->n_pictures));
    vlm_put_key(&line, "top5");
    vlm_put_float(&line, (float)share(e->n_top, e->n_pictures));
    vlm_put_key(&line, "labels");
    vlm_put_open(&line, '[');
    for (size_t i = 0; i < e->n_shown; i++)
        vlm_put_string(&line, shown_label(e, i));
    vlm_put_close(&line, ']');
    vlm_put_key(&line, "confusion");
    vlm_put_open(&line, '[');
    for (size_t i = 0; i < e->n_shown; i++) {
        vlm_put_open(&line, '[');
        for (size_t j = 0; j < e->n_shown; j++)
            vlm_put_count(&line, count_at(e, n_classes, i, j));
        vlm_put_close(&line, ']');
    }
    vlm_put_close(&line, ']');
    vlm_put_close(&line, '}');
    return vlm_print_line(&line);
}

static bool print_matrix(const evaluation *e, size_t n_classes)
{
    vlm_table table = {.n_columns = e->n_shown + 1, .align = "lr"};
    vlm_table_cell(&table, "was \\ taken for", strlen("was \\ taken for"));
    for (size_t j = 0; j < e->n_shown; j++)
        vlm_table_clipped(&table, shown_label(e, j), strlen(shown_label(e, j)), WIDEST_HEAD);
    for (size_t i = 0; i < n_classes; i++) {
        vlm_table_cell(&table, shown_label(e, i), strlen(shown_label(e, i)));
        for (size_t j = 0; j < e->n_shown; j++) {
            uint64_t count = count_at(e, n_classes, i, j);
            if (count)
                vlm_table_float(&table, "%.0f", (double)count);
            else
                vlm_table_cell(&table, ".", 1);
        }
    }
    return vlm_table_print(&table);
}

/* Of a matrix that no terminal holds, the mistakes made most often. */
static bool print_worst(const evaluation *e, size_t n_classes)
{
    struct mistake {
        uint64_t count;
        size_t was, taken;
    } worst[WORST_SHOWN] = {{0, 0, 0}};
    for (size_t i = 0; i < n_classes; i++)
        for (size_t j = 0; j < e->n_shown; j++) {
            struct mistake m = {i == j ? 0 : count_at(e, n_classes, i, j), i, j};
            for (size_t k = 0; k < WORST_SHOWN && m.count; k++)
                if (m.count > worst[k].count) {
                    struct mistake held = worst[k];
                    worst[k] = m;
                    m = held;
                }
        }
    vlm_table table = {.n_columns = 3, .align = "rll"};
    vlm_table_cell(&table, "times", strlen("times"));
    vlm_table_cell(&table, "was", strlen("was"));
    vlm_table_cell(&table, "taken for", strlen("taken for"));
    for (size_t k = 0; k < WORST_SHOWN && worst[k].count; k++) {
        vlm_table_float(&table, "%.0f", (double)worst[k].count);
        vlm_table_cell(&table, shown_label(e, worst[k].was), strlen(shown_label(e, worst[k].was)));
        vlm_table_cell(&table, shown_label(e, worst[k].taken), strlen(shown_label(e, worst[k].taken)));
    }
    return vlm_table_print(&table);
}

static bool print_plain(const evaluation *e, size_t n_classes)
{
    vlm_text line = {0};
    vlm_text_printf(&line, "pictures  %llu", (unsigned long long)e->n_pictures);
    if (e->n_failed)
        vlm_text_printf(&line, " (%llu more failed)", (unsigned long long)e->n_failed);
    vlm_text_printf(&line, "\naccuracy  %.2f %%\ntop-5     %.2f %%\n", 100 * share(e->n_right, e->n_pictures),
                    100 * share(e->n_top, e->n_pictures));
    return vlm_print_line(&line) && (e->n_shown <= WIDEST_TABLE ? print_matrix(e, n_classes) : print_worst(e, n_classes));
}

static int draw(const evaluation *e, size_t n_classes, const char *path)
{
    const char **names = vlm_alloc(e->n_shown, sizeof *names);
    uint64_t *counts = vlm_alloc(e->n_shown * e->n_shown, sizeof *counts);
    vlm_error error = {0};
    int status = VLM_EXIT_OK;
    for (size_t i = 0; names && counts && i < e->n_shown; i++) {
        names[i] = shown_label(e, i);
        for (size_t j = 0; j < e->n_shown; j++)
            counts[i * e->n_shown + j] = count_at(e, n_classes, i, j);
    }
    if (!names || !counts)
        status = vlm_say_memory();
    else if (vlm_plot_confusion(path, names, e->n_shown, counts, &error) != VLM_OK)
        status = vlm_say_error(&error);
    free(names);
    free(counts);
    return status;
}

static int finish(const evaluation *e, size_t n_classes, const char *folder, const char *output)
{
    if (e->n_pictures == 0) {
        vlm_say("%s: no picture could be classified", folder);
        return VLM_EXIT_FAILED;
    }
    if (!(e->json ? print_json(e, n_classes) : print_plain(e, n_classes)))
        return VLM_EXIT_FAILED;
    return output ? draw(e, n_classes, output) : VLM_EXIT_OK;
}

int vlm_evaluate(vlm_classifier *classifier, vlm_model *model, const vlm_texts *classes, const char *folder, bool json,
                 const char *output)
{
    size_t n = classifier->n_labels, cells = 0;
    evaluation e = {.classifier = classifier, .json = json};
    e.shown = vlm_alloc(n, sizeof *e.shown);
    e.labels = vlm_alloc(n, sizeof *e.labels);
    e.counts = vlm_multiply(classes->n, n, &cells) ? vlm_alloc_zero(cells, sizeof *e.counts) : NULL;
    int status = e.shown && e.labels && e.counts ? match_classes(&e, classes, folder) : vlm_say_memory();
    if (status == VLM_EXIT_OK) {
        int bad = run_classes(&e, model, classes, folder);
        status = finish(&e, classes->n, folder, output);
        status = status != VLM_EXIT_OK ? status : bad;
    }
    free(e.shown);
    free(e.labels);
    free(e.counts);
    return status;
}
