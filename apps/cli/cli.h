/* What the verbs of the program share: their description, options, inputs, output and messages.
 * One file per verb; a verb is a `const vlm_verb` and a row in main.c. main parses the command line by the
 * verb's option table into the verb's own struct, so a verb's function begins with its work.
 * Results go to stdout, everything else to stderr. Exit statuses: 0 all well, 1 something failed, 2 wrong usage. */
#ifndef VLM_CLI_H
#define VLM_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "vlm/vlm.h"

enum { VLM_EXIT_OK = 0, VLM_EXIT_FAILED = 1, VLM_EXIT_USAGE = 2 };

/* ---- options.c ------------------------------------------------------------------------------------- */

typedef enum vlm_option_kind {
    VLM_OPTION_FLAG,   /* bool */
    VLM_OPTION_TEXT,   /* const char *, NULL when not given; the last one given counts */
    VLM_OPTION_LIST,   /* vlm_list; may be given often, and several options may share one list, which keeps the order */
    VLM_OPTION_COUNT,  /* size_t within min..max, 0 when not given */
    VLM_OPTION_NUMBER  /* double, finite and not negative, 0 when not given */
} vlm_option_kind;

typedef struct vlm_option {
    const char *name;    /* without the dashes; NULL ends a table */
    char letter;         /* of the short form, or 0 */
    vlm_option_kind kind;
    size_t offset;       /* of its field in the verb's struct (offsetof) */
    const char *argument; /* what help calls the value; NULL for a flag */
    const char *help;    /* one sentence */
    size_t min, max;     /* of a count; max 0: no limit */
    const char *choices; /* of a text, "f32 f16": any other is wrong usage; NULL: anything */
} vlm_option;

typedef struct vlm_list_item {
    const vlm_option *option; /* NULL: an argument without an option */
    const char *value;
} vlm_list_item;

typedef struct vlm_list {
    vlm_list_item *items;
    size_t n, capacity;
} vlm_list;

/* The options of every verb; the first member of each verb's struct. */
typedef struct vlm_common {
    const char *model, *arch, *dtype;
    size_t n_threads;
    bool json, help;
    vlm_list inputs; /* the arguments that are no options, in order */
} vlm_common;

typedef struct vlm_verb vlm_verb;
struct vlm_verb {
    const char *name, *summary; /* for the list of verbs: one line */
    const char *usage;          /* what follows "vlm NAME" in its synopsis; one form a line */
    const char *description;    /* paragraphs of its help page */
    const char *examples;       /* commands that work, one a line */
    const vlm_option *options;  /* its own, beside the common ones */
    size_t size;                /* of its struct, which begins with a vlm_common and is zeroed before parsing */
    int (*run)(const vlm_verb *verb, const void *options); /* returns an exit status */
};

extern const vlm_verb vlm_verb_embed, vlm_verb_similarity, vlm_verb_classify, vlm_verb_search, vlm_verb_tokenize,
    vlm_verb_pixels, vlm_verb_inspect, vlm_verb_bench, vlm_verb_verify, vlm_verb_train,
    vlm_verb_generate, vlm_verb_caption, vlm_verb_ask, vlm_verb_encode, vlm_verb_match, vlm_verb_chat;

/* Fill the verb's struct from argv[0..argc). Returns an exit status; what is wrong has been said. */
int vlm_parse_options(const vlm_verb *verb, void *options, int argc, char **argv);
void vlm_free_options(const vlm_verb *verb, void *options);
/* The verb's help page on stdout. */
void vlm_print_help(const vlm_verb *verb);
/* Of the n candidates, the one that a typing error may have meant, or NULL. */
const char *vlm_nearest(const char *word, const char *const *candidates, size_t n);

/* ---- messages.c: stderr ------------------------------------------------------------------------------ */

/* "vlm VERB: sentence"; the progress line is cleared first. */
void vlm_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for a library error. Returns VLM_EXIT_FAILED. */
int vlm_say_error(const vlm_error *error);
/* The same for wrong usage, with a hint at the help page. Returns VLM_EXIT_USAGE. */
int vlm_say_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Out of memory in the program itself. Returns VLM_EXIT_FAILED. */
int vlm_say_memory(void);
void vlm_set_verb_name(const char *name);
/* "what: done/total" on one line that is rewritten, only when stderr is a terminal, at most ten times a second.
 * total 0: not known. vlm_progress_end clears it. */
void vlm_progress(const char *what, uint64_t done, uint64_t total);
void vlm_progress_end(void);

/* ---- output.c: stdout -------------------------------------------------------------------------------- */

/* JSON into a text buffer. Commas come by themselves; a string's bytes that are not UTF-8 become U+FFFD. */
void vlm_put_open(vlm_text *json, char bracket);  /* '{' or '[' */
void vlm_put_close(vlm_text *json, char bracket); /* '}' or ']' */
void vlm_put_key(vlm_text *json, const char *key);
void vlm_put_string(vlm_text *json, const char *string); /* NULL: null */
void vlm_put_bytes(vlm_text *json, const char *bytes, size_t length);
void vlm_put_count(vlm_text *json, uint64_t value);
/* The shortest decimal that reads back as the same float32; JSON has no NaN or infinity: null. */
void vlm_put_float(vlm_text *json, float value);
void vlm_put_bool(vlm_text *json, bool value);
/* The same digits without the JSON rules, for tables and lines. */
void vlm_put_digits(vlm_text *text, float value);
/* For people: control characters as \n, \t, \xNN; bytes that are not UTF-8 as U+FFFD. */
void vlm_put_plain(vlm_text *text, const char *bytes, size_t length);

/* Write the line and a newline to stdout and free it. False when memory or stdout failed, which has been said. */
bool vlm_print_line(vlm_text *line);
/* {"input":..., "error":...} on stdout when json, and the message on stderr always. */
void vlm_report_bad_input(const char *input, const char *message, bool json);
/* False when stdout has failed: time to stop. Flushes. */
bool vlm_flush_output(void);
/* The last call: a network file system may say only now that the disk was full. */
bool vlm_close_output(void);

/* Columns on a terminal of UTF-8 text. */
size_t vlm_text_width(const char *bytes, size_t length);
/* A table for people: cells are collected row by row and aligned when printed. */
typedef struct vlm_table {
    vlm_text cells;       /* each ends with a 0 byte */
    size_t n_columns, n_cells;
    const char *align;    /* 'l' or 'r' a column; the last one counts for those beyond */
} vlm_table;
void vlm_table_cell(vlm_table *table, const char *bytes, size_t length);
/* A cell of at most so many columns, its end an ellipsis where something was left out. */
void vlm_table_clipped(vlm_table *table, const char *bytes, size_t length, size_t width);
void vlm_table_float(vlm_table *table, const char *format, double value);
bool vlm_table_print(vlm_table *table); /* and free it; false as for vlm_print_line */

/* ---- inputs.c: texts and pictures from the command line ---------------------------------------------- */

typedef struct vlm_input {
    char *name;  /* as given, or folder/name; also the path */
    char *error; /* NULL, or why it cannot even be listed */
} vlm_input;

typedef struct vlm_inputs {
    vlm_input *items;
    size_t n, capacity;
} vlm_inputs;

/* A folder means its pictures in byte order of their names. Returns an exit status. */
int vlm_expand_inputs(vlm_inputs *inputs, const vlm_list *list);
void vlm_free_inputs(vlm_inputs *inputs);

typedef struct vlm_texts {
    vlm_text bytes;     /* all of them, each followed by a 0 byte */
    const char **items; /* [n] into bytes */
    size_t *lengths;    /* [n] */
    size_t n, capacity;
} vlm_texts;

/* The texts of a list: the value of an option named "file" is a file with one text a line ("-": stdin), any
 * other value is a text. An empty line is an empty text. A file that cannot be read is reported as a bad
 * input and makes the status VLM_EXIT_FAILED; the texts of the others are there. */
int vlm_gather_texts(vlm_texts *texts, const vlm_list *list, bool json);
/* The lines of one file without the white space around them, empty ones left out. */
int vlm_read_words(vlm_texts *words, const char *path);
/* Append the words between commas, likewise. Memory is said when out. */
int vlm_split_words(vlm_texts *words, const char *list);
void vlm_free_texts(vlm_texts *texts);

/* ---- run.c: models on many inputs --------------------------------------------------------------------- */

/* Open the model that the common options name. Returns an exit status; what is wrong has been said. */
int vlm_open_model(vlm_model **model, const vlm_common *common, unsigned parts);

enum { VLM_RUN_RAW = VLM_EMBED_RAW, VLM_RUN_CLASSIFY = 1 << 8 };

/* One input done: values is the vector [embedding_size] (or logits [n_labels]), NULL when it failed, which
 * error says then. image is NULL for a text and for a picture that could not be opened. Return false to stop. */
typedef struct vlm_result {
    size_t index; /* among the inputs of the call */
    const char *input;
    size_t input_length;
    const vlm_image *image;
    const float *values;
    const char *error;
} vlm_result;
typedef bool vlm_done_function(void *user, const vlm_result *result);
/* Every picture, in order; decoding runs ahead in a second thread. Returns VLM_EXIT_FAILED when any failed. */
int vlm_run_pictures(vlm_model *model, const vlm_inputs *inputs, unsigned flags, vlm_done_function *done, void *user);
/* Every text, in order; a text that was cut is warned about. */
int vlm_run_texts(vlm_model *model, const vlm_texts *texts, unsigned flags, vlm_done_function *done, void *user);

/* Cosine of unit vectors, summed in double. */
double vlm_cosine(const float *a, const float *b, size_t n);

/* True when path ends in .extension, whatever the case. */
bool vlm_has_extension(const char *path, const char *extension);

#endif
