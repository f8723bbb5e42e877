/* The command line of a verb, by its table of options: --name value, --name=value, -o value, -ovalue, in any
 * order with the other arguments; "--" ends the options, "-" alone is an argument.
 * A value may begin with a dash, since what follows an option that wants a value is its value. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/cli.h"

#define COMMON(field) offsetof(vlm_common, field)

static const vlm_option common_options[] = {
    {"model", 'm', VLM_OPTION_TEXT, COMMON(model), "MODEL",
     "A folder, a checkpoint file, or a hub name in the local cache; without it the embedded model.", 0, 0, NULL},
    {"arch", 0, VLM_OPTION_TEXT, COMMON(arch), "NAME", "OpenCLIP's name of the network in a bare checkpoint file, such as ViT-B-32.", 0, 0, NULL},
    {"dtype", 0, VLM_OPTION_TEXT, COMMON(dtype), "TYPE", "How the matrices are held: f32 (exact), f16, bf16 or q8.", 0, 0, "f32 f16 bf16 q8"},
    {"threads", 0, VLM_OPTION_COUNT, COMMON(n_threads), "N", "Threads to compute with; without it, as many as the process may run on.", 1, 1024, NULL},
    {"json", 0, VLM_OPTION_FLAG, COMMON(json), NULL, "One JSON object a line on stdout.", 0, 0, NULL},
    {"help", 'h', VLM_OPTION_FLAG, COMMON(help), NULL, "This page.", 0, 0, NULL},
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

/* Optimal string alignment distance: edits, and swaps of neighbours, that turn a into b. Words of up to 31 bytes. */
static size_t edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 32 };
    size_t n = strlen(a), m = strlen(b), d[LONGEST][LONGEST];
    if (n >= LONGEST || m >= LONGEST)
        return LONGEST;
    for (size_t i = 0; i <= n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

const char *vlm_nearest(const char *word, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    size_t length = strlen(word), limit = length / 3 + 1, best_distance = limit + 1;
    for (size_t i = 0; i < n; i++) {
        size_t distance = edit_distance(word, candidates[i]);
        if (length >= 3 && strncmp(word, candidates[i], length) == 0)
            distance = 1; /* the beginning of a name */
        if (distance < best_distance) {
            best = candidates[i];
            best_distance = distance;
        }
    }
    return best;
}

/* The option called name[0..length), or with the letter when length is 0. */
static const vlm_option *find_option(const vlm_verb *verb, const char *name, size_t length, char letter)
{
    const vlm_option *tables[] = {verb->options, common_options};
    for (size_t t = 0; t < 2; t++)
        for (const vlm_option *option = tables[t]; option && option->name; option++)
            if (length ? strlen(option->name) == length && memcmp(option->name, name, length) == 0 : option->letter == letter)
                return option;
    return NULL;
}

static int say_unknown_option(const vlm_verb *verb, const char *name, size_t length)
{
    const char *names[64];
    char word[64];
    size_t n = 0;
    const vlm_option *tables[] = {verb->options, common_options};
    for (size_t t = 0; t < 2; t++)
        for (const vlm_option *option = tables[t]; option && option->name && n < 64; option++)
            names[n++] = option->name;
    snprintf(word, sizeof word, "%.*s", (int)(length < 63 ? length : 63), name);
    const char *nearest = vlm_nearest(word, names, n);
    if (nearest)
        return vlm_say_usage("there is no option --%s; is --%s meant?", word, nearest);
    return vlm_say_usage("there is no option --%s", word);
}

static bool add_item(vlm_list *list, const vlm_option *option, const char *value)
{
    if (!vlm_grow(&list->items, &list->capacity, list->n + 1, sizeof *list->items))
        return false;
    list->items[list->n++] = (vlm_list_item){option, value};
    return true;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t length = strlen(value);
    for (const char *c = choices; *c;) {
        size_t n = strcspn(c, " ");
        if (n == length && memcmp(c, value, n) == 0)
            return true;
        c += n + (c[n] != 0);
    }
    return false;
}

static int set_count(size_t *field, const vlm_option *option, const char *value)
{
    char *end = NULL;
    errno = 0;
    bool digits = *value && strspn(value, "0123456789") == strlen(value);
    unsigned long long number = digits ? strtoull(value, &end, 10) : 0;
    size_t max = option->max ? option->max : SIZE_MAX;
    if (!digits || errno || number < option->min || number > max) {
        if (option->max)
            return vlm_say_usage("--%s: '%s' is not a whole number from %zu to %zu", option->name, value, option->min, option->max);
        return vlm_say_usage("--%s: '%s' is not a whole number of at least %zu", option->name, value, option->min);
    }
    *field = (size_t)number;
    return VLM_EXIT_OK;
}

static int set_option(const vlm_option *option, void *options, const char *value)
{
    void *field = (char *)options + option->offset;
    switch (option->kind) {
    case VLM_OPTION_FLAG:
        *(bool *)field = true;
        return VLM_EXIT_OK;
    case VLM_OPTION_TEXT:
        if (option->choices && !is_choice(option->choices, value))
            return vlm_say_usage("--%s: '%s' is not one of: %s", option->name, value, option->choices);
        *(const char **)field = value;
        return VLM_EXIT_OK;
    case VLM_OPTION_LIST:
        return add_item(field, option, value) ? VLM_EXIT_OK : vlm_say_memory();
    case VLM_OPTION_COUNT:
        return set_count(field, option, value);
    case VLM_OPTION_NUMBER: {
        char *end = NULL;
        double number = strtod(value, &end);
        if (end == value || *end || !isfinite(number) || number < 0)
            return vlm_say_usage("--%s: '%s' is not a number of at least 0", option->name, value);
        *(double *)field = number;
        return VLM_EXIT_OK;
    }
    }
    return VLM_EXIT_USAGE;
}

/* argv[i] is an option; *used becomes 1, or 2 when its value is the next argument. */
static int parse_option(const vlm_verb *verb, void *options, int argc, char **argv, int i, int *used)
{
    const char *word = argv[i], *value = NULL;
    const vlm_option *option;
    char shown[64];
    *used = 1;
    if (word[1] == '-') {
        size_t length = strcspn(word + 2, "=");
        option = length ? find_option(verb, word + 2, length, 0) : NULL;
        if (!option)
            return say_unknown_option(verb, word + 2, length);
        if (word[2 + length] == '=')
            value = word + 2 + length + 1;
        snprintf(shown, sizeof shown, "--%s", option->name);
    } else {
        option = find_option(verb, NULL, 0, word[1]);
        if (!option)
            return vlm_say_usage("there is no option %s; an argument that begins with a dash goes after --", word);
        if (word[2])
            value = word + 2;
        snprintf(shown, sizeof shown, "-%c", option->letter);
    }
    if (option->kind == VLM_OPTION_FLAG) {
        if (value)
            return vlm_say_usage("%s takes no value", shown);
    } else if (!value) {
        if (i + 1 >= argc)
            return vlm_say_usage("%s wants a value: %s", shown, option->argument);
        value = argv[i + 1];
        *used = 2;
    }
    return set_option(option, options, value);
}

int vlm_parse_options(const vlm_verb *verb, void *options, int argc, char **argv)
{
    vlm_common *common = options;
    bool ended = false;
    for (int i = 0, used; i < argc; i += used) {
        used = 1;
        if (!ended && strcmp(argv[i], "--") == 0) {
            ended = true;
        } else if (!ended && argv[i][0] == '-' && argv[i][1]) {
            int status = parse_option(verb, options, argc, argv, i, &used);
            if (status != VLM_EXIT_OK)
                return status;
            if (common->help)
                return VLM_EXIT_OK;
        } else if (!add_item(&common->inputs, NULL, argv[i])) {
            return vlm_say_memory();
        }
    }
    return VLM_EXIT_OK;
}

void vlm_free_options(const vlm_verb *verb, void *options)
{
    vlm_common *common = options;
    for (const vlm_option *option = verb->options; option && option->name; option++)
        if (option->kind == VLM_OPTION_LIST) {
            vlm_list *list = (vlm_list *)((char *)options + option->offset);
            free(list->items);
            *list = (vlm_list){0}; /* another option may share it */
        }
    free(common->inputs.items);
    common->inputs = (vlm_list){0};
}

/* ---- help pages -------------------------------------------------------------------------------------- */

/* Words of text, filled to 80 columns, each line indented; the cursor stands at `column`. */
static void print_filled(vlm_text *page, const char *text, size_t indent, size_t column)
{
    bool first = true;
    while (*text) {
        size_t word = strcspn(text, " \n");
        if (word) {
            size_t width = vlm_text_width(text, word);
            if (!first && column + 1 + width > 80) {
                vlm_text_printf(page, "\n%*s", (int)indent, "");
                column = indent;
                first = true;
            }
            vlm_text_printf(page, "%s%.*s", first ? "" : " ", (int)word, text);
            column += width + !first;
            first = false;
        }
        text += word;
        if (text[0] == '\n' && text[1] == '\n') { /* an empty line ends a paragraph */
            vlm_text_printf(page, "\n\n%*s", (int)indent, "");
            column = indent;
            first = true;
        }
        text += *text != 0;
    }
    vlm_text_puts(page, "\n");
}

static void print_lines(vlm_text *page, const char *prefix, const char *lines)
{
    while (*lines) {
        size_t length = strcspn(lines, "\n");
        vlm_text_printf(page, "%s%.*s\n", prefix, (int)length, lines);
        lines += length + (lines[length] != 0);
    }
}

static void print_options(vlm_text *page, const vlm_option *options)
{
    enum { INDENT = 22 };
    for (const vlm_option *option = options; option && option->name; option++) {
        char left[64];
        int n = snprintf(left, sizeof left, "  %c%c%s --%s %s", option->letter ? '-' : ' ', option->letter ? option->letter : ' ',
                         option->letter ? "," : " ", option->name, option->argument ? option->argument : "");
        vlm_text_printf(page, "%-*s", INDENT, left);
        if (n >= INDENT)
            vlm_text_printf(page, "\n%*s", INDENT, "");
        print_filled(page, option->help, INDENT, INDENT);
    }
}

void vlm_print_help(const vlm_verb *verb)
{
    char prefix[64];
    vlm_text page = {0};
    vlm_text_printf(&page, "vlm %s: ", verb->name);
    print_filled(&page, verb->summary, 0, strlen(verb->name) + 6);
    vlm_text_puts(&page, "\nUsage\n");
    snprintf(prefix, sizeof prefix, "  vlm %s ", verb->name);
    print_lines(&page, prefix, verb->usage);
    vlm_text_puts(&page, "\n");
    print_filled(&page, verb->description, 0, 0);
    if (verb->options && verb->options->name) {
        vlm_text_puts(&page, "\nOptions\n");
        print_options(&page, verb->options);
    }
    vlm_text_puts(&page, "\nOptions of every verb\n");
    print_options(&page, common_options);
    vlm_text_puts(&page, "      --              What follows is no option.\n\nExamples\n");
    print_lines(&page, "  ", verb->examples);
    vlm_text_puts(&page, "\nExit status: 0 when all is well, 1 when something failed, 2 for wrong usage.");
    vlm_print_line(&page);
}
