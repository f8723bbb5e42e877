/* vlm generate: words to more words. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/writing.h"

typedef struct generate_options {
    vlm_common common;
    vlm_writing_options writing;
} generate_options;

static const vlm_option options[] = {
    VLM_WRITING_ROWS(generate_options),
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

/* All of stdin, without the newline that ends its last line. */
static int read_prompt(vlm_text *prompt)
{
    char block[65536];
    size_t n;
    errno = 0;
    while ((n = fread(block, 1, sizeof block, stdin)) > 0)
        vlm_text_append(prompt, block, n);
    if (ferror(stdin)) {
        vlm_say("stdin: cannot read: %s", strerror(errno));
        return VLM_EXIT_FAILED;
    }
    vlm_text_append(prompt, "", 0);
    if (prompt->failed)
        return vlm_say_memory();
    if (prompt->length && prompt->data[prompt->length - 1] == '\n')
        prompt->data[--prompt->length] = 0;
    return VLM_EXIT_OK;
}

/* On a terminal the text appears as it grows. */
static bool show(void *user, size_t index, const char *text, size_t length)
{
    (void)user;
    (void)index;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c >= ' ' && c != 127) || c == '\n' || c == '\t')
            putchar(c);
    }
    return vlm_flush_output();
}

static int generate(const generate_options *o, vlm_model *model, const vlm_generation *generation)
{
    const char *input = o->common.inputs.items[0].value, *prompt = input;
    vlm_text standard = {0};
    vlm_answer answer = {0};
    vlm_error error = {0};
    size_t length = strlen(prompt);
    int status = VLM_EXIT_OK;
    bool live = !o->common.json && generation->n_best == 1 && isatty(STDOUT_FILENO);
    if (strcmp(prompt, "-") == 0) {
        status = read_prompt(&standard);
        prompt = standard.data;
        length = standard.length;
    }
    if (status == VLM_EXIT_OK && vlm_generate(model, &prompt, &length, 1, generation, live ? show : NULL, NULL, &answer, &error) != VLM_OK) {
        vlm_report_bad_input(input, error.message, o->common.json);
        status = VLM_EXIT_FAILED;
    }
    vlm_writing_form form = vlm_writing_form_of(&o->common, &o->writing);
    if (status == VLM_EXIT_OK && live)
        status = putchar('\n') == '\n' ? VLM_EXIT_OK : VLM_EXIT_FAILED;
    else if (status == VLM_EXIT_OK)
        status = vlm_print_answer(&form, input, strlen(input), false, &answer) ? VLM_EXIT_OK : VLM_EXIT_FAILED;
    vlm_answer_free(&answer);
    vlm_text_free(&standard);
    return status;
}

static int run_generate(const vlm_verb *verb, const void *parsed)
{
    const generate_options *o = parsed;
    vlm_generation generation;
    const char **stops;
    vlm_model *model = NULL;
    (void)verb;
    if (o->common.inputs.n != 1)
        return vlm_say_usage("one prompt is wanted (-: stdin); put it in quotes");
    int status = vlm_read_writing(&generation, &stops, &o->writing);
    if (status == VLM_EXIT_OK)
        status = vlm_open_model(&model, &o->common, VLM_PART_LANGUAGE | VLM_PART_TOKENIZER);
    if (status == VLM_EXIT_OK)
        status = generate(o, model, &generation);
    vlm_model_close(model);
    free(stops);
    return status;
}

const vlm_verb vlm_verb_generate = {
    "generate", "words to more words, by a language model",
    "PROMPT\n-",
    "Prints what the model writes after the prompt; - reads the prompt from stdin, without the newline at its end. With --json "
    "{\"input\":..., \"text\":..., \"tokens\":[...]}: the new text without special tokens, and the new ids; with --beams also \"score\", "
    "and with --n-best \"alternatives\":[...], best first.\n\n"
    "Greedy unless --temperature, --top-k, --top-p or --min-p is given. -m names an OPT, Llama, Mistral, GPT-2 or T5.",
    "vlm generate -m facebook/opt-125m \"The cat sat on\"\necho \"translate English to German: The cat sat.\" | vlm generate -m google/flan-t5-small -",
    options, sizeof(generate_options), run_generate};
