/* vlm embed: pictures and texts to vectors, as lines and as a NumPy matrix. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "formats/npy.h"

typedef struct embed_options {
    vlm_common common;
    vlm_list texts; /* --text and --file in their order */
    const char *npy;
    bool raw;
} embed_options;

static const vlm_option options[] = {
    {"text", 0, VLM_OPTION_LIST, offsetof(embed_options, texts), "T", "A text; may be given often.", 0, 0, NULL},
    {"file", 0, VLM_OPTION_LIST, offsetof(embed_options, texts), "WORDS", "A file with one text a line (-: stdin); an empty line is an empty text.", 0, 0, NULL},
    {"raw", 0, VLM_OPTION_FLAG, offsetof(embed_options, raw), NULL, "The vectors as the model gives them; else they are scaled to unit length.", 0, 0, NULL},
    {"npy", 0, VLM_OPTION_TEXT, offsetof(embed_options, npy), "FILE", "Also write the matrix, float32 [inputs, size], for NumPy.", 0, 0, NULL},
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

typedef struct embedding {
    const embed_options *options;
    size_t size;
    vlm_npy_writer npy;
    size_t n_rows, n_failed;
    bool npy_failed;
} embedding;

static bool print_vector(const embedding *e, const vlm_result *result)
{
    vlm_text line = {0};
    if (e->options->common.json) {
        vlm_put_open(&line, '{');
        vlm_put_key(&line, "input");
        vlm_put_bytes(&line, result->input, result->input_length);
        vlm_put_key(&line, "kind");
        vlm_put_string(&line, result->image ? "image" : "text");
        vlm_put_key(&line, "vector");
        vlm_put_open(&line, '[');
        for (size_t i = 0; i < e->size; i++)
            vlm_put_float(&line, result->values[i]);
        vlm_put_close(&line, ']');
        vlm_put_close(&line, '}');
    } else {
        vlm_put_plain(&line, result->input, result->input_length);
        for (size_t i = 0; i < e->size; i++) {
            vlm_text_puts(&line, i ? " " : "\t");
            vlm_put_digits(&line, result->values[i]);
        }
    }
    return vlm_print_line(&line);
}

static bool take_vector(void *user, const vlm_result *result)
{
    embedding *e = user;
    vlm_error error = {0};
    if (!result->values) {
        e->n_failed++;
        vlm_report_bad_input(result->input, result->error, e->options->common.json);
        return true;
    }
    e->n_rows++;
    if (e->options->npy && vlm_npy_write(&e->npy, result->values, e->size, &error) != VLM_OK) {
        vlm_say_error(&error);
        e->npy_failed = true;
        return false;
    }
    return (e->options->npy && !e->options->common.json) || print_vector(e, result);
}

/* The file appears only when something is in it, or when nothing was asked to be. */
static int close_npy(embedding *e)
{
    vlm_error error = {0};
    if (e->n_rows == 0 && e->n_failed) {
        vlm_say("%s: not written, since no input succeeded", e->options->npy);
        return VLM_EXIT_FAILED;
    }
    if (vlm_npy_close(&e->npy, &error) != VLM_OK)
        return vlm_say_error(&error);
    if (e->n_failed)
        vlm_say("%s: %zu rows, for the inputs that succeeded; %zu failed and have none", e->options->npy, e->n_rows, e->n_failed);
    return VLM_EXIT_OK;
}

static int embed_all(embedding *e, vlm_model *model, const vlm_texts *texts, const vlm_inputs *pictures)
{
    const embed_options *o = e->options;
    unsigned flags = o->raw ? VLM_RUN_RAW : 0;
    vlm_error error = {0};
    e->size = vlm_model_get_info(model)->embedding_size;
    if (o->npy && vlm_npy_open(&e->npy, o->npy, (size_t[]){0, e->size}, 2, 1, &error) != VLM_OK)
        return vlm_say_error(&error);
    int text_status = vlm_run_texts(model, texts, flags, take_vector, e);
    bool going = !e->npy_failed && vlm_flush_output();
    int picture_status = going ? vlm_run_pictures(model, pictures, flags, take_vector, e) : VLM_EXIT_FAILED;
    going = !e->npy_failed && vlm_flush_output();
    int npy_status = o->npy && going ? close_npy(e) : VLM_EXIT_OK;
    vlm_npy_abort(&e->npy);
    return going && text_status == VLM_EXIT_OK && picture_status == VLM_EXIT_OK ? npy_status : VLM_EXIT_FAILED;
}

static int run_embed(const vlm_verb *verb, const void *parsed)
{
    const embed_options *o = parsed;
    vlm_texts texts = {0};
    vlm_inputs pictures = {0};
    vlm_model *model = NULL;
    (void)verb;
    if (o->texts.n == 0 && o->common.inputs.n == 0)
        return vlm_say_usage("nothing to embed: give pictures, folders, --text or --file");
    unsigned parts = (o->texts.n ? VLM_PART_TEXT | VLM_PART_TOKENIZER : 0) |
                     (o->common.inputs.n ? VLM_PART_VISION | VLM_PART_PIXELS : 0);
    int gathered = vlm_gather_texts(&texts, &o->texts, o->common.json);
    int status = vlm_expand_inputs(&pictures, &o->common.inputs);
    if (status == VLM_EXIT_OK)
        status = vlm_open_model(&model, &o->common, parts);
    if (status == VLM_EXIT_OK) {
        embedding e = {.options = o, .n_failed = gathered != VLM_EXIT_OK};
        status = embed_all(&e, model, &texts, &pictures);
    }
    vlm_model_close(model);
    vlm_free_inputs(&pictures);
    vlm_free_texts(&texts);
    return status != VLM_EXIT_OK ? status : gathered;
}

const vlm_verb vlm_verb_embed = {
    "embed", "pictures and texts to vectors",
    "[--text T]... [--file WORDS] [--raw] [--npy FILE] IMAGE|FOLDER...",
    "Prints a line for each input: first the texts of --text and --file in the order given, then the pictures. "
    "A folder means its pictures in byte order of their names. The name, a tab and the numbers; with --json "
    "{\"input\":..., \"kind\":\"image\"|\"text\", \"vector\":[...]}. With --npy the matrix goes to the file, a row an "
    "input in the same order, and lines are printed only with --json; an input that failed has no row.\n\n"
    "A text beyond the model's length is cut, its end token kept, and a warning says so. A ViT without a text "
    "tower gives its class token after the last norm.",
    "vlm embed --text \"a red car\" --json\nvlm embed --text cat --text dog --npy words.npy\nvlm embed --npy photos.npy photos/",
    options, sizeof(embed_options), run_embed};
