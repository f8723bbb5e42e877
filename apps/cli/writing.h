/* What the verbs that generate text share: their options, their pictures and the form of their results. */
#ifndef VLM_CLI_WRITING_H
#define VLM_CLI_WRITING_H

#include "cli/cli.h"
#include "vlm/language.h"

/* Part of a verb's struct. Numbers for which 0 is not "not given" are kept as text until vlm_read_writing. */
typedef struct vlm_writing_options {
    size_t max_new_tokens, min_length, beams, n_best, no_repeat_ngram, top_k, seed;
    const char *length_penalty, *early_stopping, *repetition_penalty, *temperature, *top_p, *min_p;
    vlm_list stop;
} vlm_writing_options;

#define VLM_WRITING_OPTION(type, field) offsetof(type, writing) + offsetof(vlm_writing_options, field)
/* Rows of an option table; `type` is the verb's struct, with a member `writing`. */
#define VLM_WRITING_ROWS(type)                                                                                                             \
    {"max-new-tokens", 0, VLM_OPTION_COUNT, VLM_WRITING_OPTION(type, max_new_tokens), "N", "Tokens to write at most; 20 when not given.", 1, 1 << 24, NULL}, \
    {"min-length", 0, VLM_OPTION_COUNT, VLM_WRITING_OPTION(type, min_length), "N", "New tokens to write at least.", 0, 1 << 24, NULL},          \
    {"beams", 0, VLM_OPTION_COUNT, VLM_WRITING_OPTION(type, beams), "N", "Search with N beams.", 1, 1024, NULL},                               \
    {"n-best", 0, VLM_OPTION_COUNT, VLM_WRITING_OPTION(type, n_best), "K", "Show the best K of the beams.", 1, 1024, NULL},                    \
    {"length-penalty", 0, VLM_OPTION_TEXT, VLM_WRITING_OPTION(type, length_penalty), "X", "A beam's score is divided by its length to this power; 1 when not given.", 0, 0, NULL}, \
    {"early-stopping", 0, VLM_OPTION_TEXT, VLM_WRITING_OPTION(type, early_stopping), "WHEN", "Stop as soon as there are enough beams (true), by a good guess (false), or when none can improve (never).", 0, 0, "true false never"}, \
    {"repetition-penalty", 0, VLM_OPTION_TEXT, VLM_WRITING_OPTION(type, repetition_penalty), "X", "Make tokens that have been less likely; 1: do not.", 0, 0, NULL}, \
    {"no-repeat-ngram", 0, VLM_OPTION_COUNT, VLM_WRITING_OPTION(type, no_repeat_ngram), "N", "Never write the same N tokens in a row twice.", 0, 1 << 24, NULL}, \
    {"temperature", 0, VLM_OPTION_TEXT, VLM_WRITING_OPTION(type, temperature), "X", "Draw tokens at random, bolder above 1.", 0, 0, NULL},     \
    {"top-k", 0, VLM_OPTION_COUNT, VLM_WRITING_OPTION(type, top_k), "K", "Draw among the likeliest K tokens.", 1, 0, NULL},                    \
    {"top-p", 0, VLM_OPTION_TEXT, VLM_WRITING_OPTION(type, top_p), "P", "Draw among the likeliest tokens that have this probability together.", 0, 0, NULL}, \
    {"min-p", 0, VLM_OPTION_TEXT, VLM_WRITING_OPTION(type, min_p), "P", "Draw among tokens at least this share as likely as the likeliest.", 0, 0, NULL}, \
    {"seed", 0, VLM_OPTION_COUNT, VLM_WRITING_OPTION(type, seed), "N", "The same seed draws the same text.", 0, 0, NULL},                       \
    {"stop", 0, VLM_OPTION_LIST, VLM_WRITING_OPTION(type, stop), "TEXT", "End before this text; may be given often.", 0, 0, NULL}

/* The settings that the options mean, checked. *stops is theirs and is to be freed after use. Returns an exit status. */
int vlm_read_writing(vlm_generation *generation, const char ***stops, const vlm_writing_options *options);

/* One result: its JSON line, or its text for people, after the name where there is one. */
typedef struct vlm_writing_form {
    bool json, beams, alternatives;
    const char *question; /* NULL: no "question" */
} vlm_writing_form;
vlm_writing_form vlm_writing_form_of(const vlm_common *common, const vlm_writing_options *options);
bool vlm_print_answer(const vlm_writing_form *form, const char *input, size_t input_length, bool named, const vlm_answer *answer);

/* Whether one of the pictures must be seen, so that the vision model is needed. */
bool vlm_has_pictures(const vlm_list *pictures);
/* Write about each picture of the list (a folder means its pictures, --encoded a file of `vlm encode`), in batches.
 * prompt NULL: none. Returns an exit status. */
int vlm_write_about(vlm_model *model, const vlm_list *pictures, const char *prompt, const vlm_generation *generation, const vlm_writing_form *form);

#endif
