/* vlm classify: pictures to labels, by a classifier's head or by the nearness of the labels' texts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/classifier.h"
#include "cli/cli.h"

typedef struct classify_options {
    vlm_common common;
    vlm_list templates;
    const char *labels, *labels_file, *eval, *output;
    size_t top;
} classify_options;

#define FIELD(name) offsetof(classify_options, name)

static const vlm_option options[] = {
    {"labels", 0, VLM_OPTION_TEXT, FIELD(labels), "A,B,C", "The labels, between commas.", 0, 0, NULL},
    {"labels-file", 0, VLM_OPTION_TEXT, FIELD(labels_file), "F", "A file with one label a line (-: stdin).", 0, 0, NULL},
    {"template", 0, VLM_OPTION_LIST, FIELD(templates), "T", "The text of a label, {} standing for it, such as \"a photo of a {}\"; may be given often.", 0, 0, NULL},
    {"top", 0, VLM_OPTION_COUNT, FIELD(top), "K", "Print the K likeliest; without it 10, and all with --json.", 1, 0, NULL},
    {"eval", 0, VLM_OPTION_TEXT, FIELD(eval), "DIR", "Measure on a folder with one folder of pictures a class, named as its label.", 0, 0, NULL},
    {"output", 'o', VLM_OPTION_TEXT, FIELD(output), "FILE", "With --eval: draw the confusion matrix, .png or .svg.", 0, 0, NULL},
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

enum { TOP_FOR_PEOPLE = 10 };

/* ---- results, a picture each ----------------------------------------------------------------------------- */

typedef struct printer {
    const classify_options *options;
    const vlm_classifier *classifier;
} printer;

static bool print_json(const vlm_classifier *c, const char *input, size_t top)
{
    vlm_text line = {0};
    vlm_put_open(&line, '{');
    vlm_put_key(&line, "input");
    vlm_put_string(&line, input);
    vlm_put_key(&line, "labels");
    vlm_put_open(&line, '[');
    for (size_t i = 0; i < top; i++) {
        vlm_put_open(&line, '{');
        vlm_put_key(&line, "label");
        vlm_put_string(&line, vlm_classifier_label(c, c->order[i]));
        vlm_put_key(&line, "probability");
        vlm_put_float(&line, (float)c->probabilities[c->order[i]]);
        vlm_put_close(&line, '}');
    }
    vlm_put_close(&line, ']');
    vlm_put_close(&line, '}');
    return vlm_print_line(&line);
}

static bool print_plain(const vlm_classifier *c, const char *input, size_t top)
{
    vlm_text line = {0};
    vlm_table table = {.n_columns = 2, .align = "rl"};
    vlm_put_plain(&line, input, strlen(input));
    bool good = vlm_print_line(&line);
    for (size_t i = 0; i < top; i++) {
        const char *label = vlm_classifier_label(c, c->order[i]);
        vlm_table_float(&table, "  %.2f %%", 100 * c->probabilities[c->order[i]]);
        vlm_table_cell(&table, label, strlen(label));
    }
    return vlm_table_print(&table) && good;
}

static bool print_result(void *user, const vlm_result *result)
{
    const printer *p = user;
    const vlm_classifier *c = p->classifier;
    bool json = p->options->common.json;
    size_t top = p->options->top ? p->options->top : json ? c->n_labels : TOP_FOR_PEOPLE;
    if (!result->values) {
        vlm_report_bad_input(result->input, result->error, json);
        return true;
    }
    vlm_classifier_rank(c, result->values);
    if (top > c->n_labels)
        top = c->n_labels;
    return json ? print_json(c, result->input, top) : print_plain(c, result->input, top);
}

static int classify_pictures(const classify_options *o, vlm_model *model, const vlm_classifier *c)
{
    vlm_inputs pictures = {0};
    printer p = {o, c};
    int status = vlm_expand_inputs(&pictures, &o->common.inputs);
    if (status == VLM_EXIT_OK)
        status = vlm_run_pictures(model, &pictures, vlm_classifier_flags(c), print_result, &p);
    vlm_free_inputs(&pictures);
    return status;
}

/* ---- the verb --------------------------------------------------------------------------------------------- */

static int check_usage(const classify_options *o)
{
    if (o->labels && o->labels_file)
        return vlm_say_usage("--labels and --labels-file exclude each other");
    if (o->eval && o->common.inputs.n)
        return vlm_say_usage("'%s': --eval takes its pictures from %s alone", o->common.inputs.items[0].value, o->eval);
    if (!o->eval && o->common.inputs.n == 0)
        return vlm_say_usage("nothing to classify: give pictures or folders");
    if (o->output && !o->eval)
        return vlm_say_usage("-o draws the confusion matrix of --eval, which was not given");
    if (o->output && !vlm_plot_can_write(o->output))
        return vlm_say_usage("-o %s: the name must end in .png or .svg", o->output);
    for (size_t i = 0; i < o->templates.n; i++)
        if (!strstr(o->templates.items[i].value, "{}"))
            return vlm_say_usage("--template \"%s\": {} is wanted where the label goes", o->templates.items[i].value);
    return VLM_EXIT_OK;
}

static int read_labels(vlm_texts *labels, const classify_options *o)
{
    int status = VLM_EXIT_OK;
    if (o->labels)
        status = vlm_split_words(labels, o->labels);
    else if (o->labels_file)
        status = vlm_read_words(labels, o->labels_file);
    if (status == VLM_EXIT_OK && (o->labels || o->labels_file) && labels->n == 0)
        return vlm_say_usage("%s: there is no label in it", o->labels ? "--labels" : o->labels_file);
    return status;
}

/* The head when there is one and no labels were given, else the texts of the labels. */
static int open_classifier(vlm_classifier *c, vlm_model **model, const classify_options *o, const vlm_texts *labels,
                           const vlm_texts *classes)
{
    unsigned pictures = VLM_PART_VISION | VLM_PART_PIXELS, words = VLM_PART_TEXT | VLM_PART_TOKENIZER;
    int status = vlm_open_model(model, &o->common, labels->n ? pictures | words : classes->n ? 0 : pictures);
    if (status != VLM_EXIT_OK)
        return status;
    const vlm_model_info *info = vlm_model_get_info(*model);
    if (labels->n == 0 && info->n_labels)
        return vlm_classifier_use_head(c, *model);
    if (labels->n == 0 && classes->n == 0)
        return vlm_say_usage("this model has no classifier of its own; give --labels or --labels-file");
    return vlm_classifier_use_texts(c, *model, labels->n ? labels : classes, &o->templates);
}

static int run_classify(const vlm_verb *verb, const void *parsed)
{
    const classify_options *o = parsed;
    vlm_texts labels = {0}, classes = {0};
    vlm_model *model = NULL;
    vlm_classifier classifier = {0};
    (void)verb;
    int status = check_usage(o);
    if (status == VLM_EXIT_OK)
        status = read_labels(&labels, o);
    if (status == VLM_EXIT_OK && o->eval)
        status = vlm_list_classes(&classes, o->eval);
    if (status == VLM_EXIT_OK)
        status = open_classifier(&classifier, &model, o, &labels, &classes);
    if (status == VLM_EXIT_OK)
        status = o->eval ? vlm_evaluate(&classifier, model, &classes, o->eval, o->common.json, o->output)
                         : classify_pictures(o, model, &classifier);
    vlm_classifier_free(&classifier);
    vlm_model_close(model);
    vlm_free_texts(&classes);
    vlm_free_texts(&labels);
    return status;
}

const vlm_verb vlm_verb_classify = {
    "classify", "which labels fit a picture, and how well",
    "[--labels A,B,C | --labels-file F] [--template T]... [--top K] IMAGE|FOLDER...\n"
    "[--labels A,B,C | --labels-file F] [--template T]... --eval DIR [-o FILE.png|.svg]",
    "Prints the labels of each picture, likeliest first; with --json {\"input\":..., \"labels\":[{\"label\":..., "
    "\"probability\":...}]}. The probabilities are the softmax of the cosines of picture and label, times the "
    "model's logit scale (SigLIP: the sigmoid of each, with its bias). Without --template the label itself is the "
    "text; of several templates the mean of the unit vectors is taken, made unit again. A ViT classifier has "
    "labels of its own and needs none.\n\n"
    "--eval prints the accuracy, how often the right label is among the first five, and the confusion matrix (rows: "
    "what it was, columns: what it was taken for); without --labels the folders' names are the labels. With --json "
    "one object: pictures, failed, accuracy, top5, labels, confusion.",
    "vlm classify --labels \"a cat,a dog,a car\" photo.jpg\n"
    "vlm classify --labels cat,dog --template \"a photo of a {}\" --template \"a drawing of a {}\" photos/ --json\n"
    "vlm classify --eval animals/ --template \"a photo of a {}\" -o confusion.png",
    options, sizeof(classify_options), run_classify};
