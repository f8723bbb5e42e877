/* vlm tokenize: texts to the ids that the model reads. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

typedef struct tokenize_options {
    vlm_common common; /* --file joins its inputs, so that texts keep their order */
    bool pretty;
} tokenize_options;

static const vlm_option options[] = {
    {"file", 0, VLM_OPTION_LIST, offsetof(tokenize_options, common.inputs), "F", "A file with one text a line (-: stdin); an empty line is an empty text.", 0, 0, NULL},
    {"pretty", 0, VLM_OPTION_FLAG, offsetof(tokenize_options, pretty), NULL, "Show the spaces that tokens carry as underscores (not in JSON).", 0, 0, NULL},
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

static bool print_json(const vlm_model *model, const char *text, size_t length, const vlm_tokens *tokens)
{
    vlm_text line = {0};
    vlm_put_open(&line, '{');
    vlm_put_key(&line, "text");
    vlm_put_bytes(&line, text, length);
    vlm_put_key(&line, "ids");
    vlm_put_open(&line, '[');
    for (size_t i = 0; i < tokens->n; i++)
        vlm_put_count(&line, (uint64_t)tokens->ids[i]);
    vlm_put_close(&line, ']');
    vlm_put_key(&line, "tokens");
    vlm_put_open(&line, '[');
    for (size_t i = 0; i < tokens->n; i++)
        vlm_put_string(&line, vlm_token_text(model, tokens->ids[i]));
    vlm_put_close(&line, ']');
    vlm_put_close(&line, '}');
    return vlm_print_line(&line);
}

/* Vocabularies write a space before a word as U+0120 (byte-level BPE) or U+2581 (SentencePiece). */
static void put_pretty(vlm_text *out, const char *token)
{
    static const char *const spaces[] = {"\xc4\xa0", "\xe2\x96\x81"};
    while (*token) {
        size_t n = strlen(spaces[0]), m = strlen(spaces[1]);
        size_t length = strncmp(token, spaces[0], n) == 0 ? n : strncmp(token, spaces[1], m) == 0 ? m : 0;
        vlm_text_append(out, length ? "_" : token, 1);
        token += length ? length : 1;
    }
}

/* The text, then a row a token: its id and how the vocabulary writes it. */
static bool print_plain(const vlm_model *model, const char *text, size_t length, const vlm_tokens *tokens, bool pretty)
{
    vlm_text line = {0};
    vlm_put_plain(&line, text, length);
    bool good = vlm_print_line(&line);
    vlm_table table = {.n_columns = 2, .align = "rl"};
    for (size_t i = 0; good && i < tokens->n; i++) {
        vlm_text cell = {0};
        const char *token = vlm_token_text(model, tokens->ids[i]);
        vlm_table_float(&table, "  %.0f", tokens->ids[i]);
        if (pretty)
            put_pretty(&cell, token ? token : "");
        else
            vlm_text_puts(&cell, token ? token : "");
        table.cells.failed |= cell.failed;
        vlm_table_cell(&table, cell.data ? cell.data : "", cell.length);
        vlm_text_free(&cell);
    }
    return vlm_table_print(&table) && good;
}

static int tokenize_all(const tokenize_options *o, const vlm_model *model, const vlm_texts *texts)
{
    int status = VLM_EXIT_OK;
    for (size_t i = 0; i < texts->n; i++) {
        vlm_tokens tokens = {0};
        vlm_error error = {0};
        bool good = true;
        if (vlm_tokenize(model, texts->items[i], texts->lengths[i], &tokens, &error) != VLM_OK) {
            vlm_report_bad_input(texts->items[i], error.message, o->common.json);
            status = VLM_EXIT_FAILED;
        } else if (o->common.json) {
            good = print_json(model, texts->items[i], texts->lengths[i], &tokens);
        } else {
            good = print_plain(model, texts->items[i], texts->lengths[i], &tokens, o->pretty);
        }
        vlm_tokens_free(&tokens);
        if (!good)
            return VLM_EXIT_FAILED;
    }
    return status;
}

static int run_tokenize(const vlm_verb *verb, const void *parsed)
{
    const tokenize_options *o = parsed;
    vlm_texts texts = {0};
    vlm_model *model = NULL;
    (void)verb;
    if (o->common.inputs.n == 0)
        return vlm_say_usage("nothing to tokenize: give texts or --file");
    int gathered = vlm_gather_texts(&texts, &o->common.inputs, o->common.json);
    int status = vlm_open_model(&model, &o->common, VLM_PART_TOKENIZER);
    if (status == VLM_EXIT_OK)
        status = tokenize_all(o, model, &texts);
    vlm_model_close(model);
    vlm_free_texts(&texts);
    return status != VLM_EXIT_OK ? status : gathered;
}

const vlm_verb vlm_verb_tokenize = {
    "tokenize", "texts to the token ids that the model reads",
    "[--file F] [--pretty] TEXT...",
    "Prints each text with its tokens: their ids and how the vocabulary writes them, with the special tokens "
    "that the tokenizer's template adds, neither cut nor padded; with --json "
    "{\"text\":..., \"ids\":[...], \"tokens\":[...]} a text. -m needs only a tokenizer's files.",
    "vlm tokenize \"a red car\"\nvlm tokenize --json -- \"--not an option\"",
    options, sizeof(tokenize_options), run_tokenize};
