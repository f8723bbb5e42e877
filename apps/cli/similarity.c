/* vlm similarity: the cosines of pictures and texts, as a table and as a picture. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "plots/plots.h"

typedef struct similarity_options {
    vlm_common common;
    vlm_list texts;
    const char *output;
} similarity_options;

static const vlm_option options[] = {
    {"text", 0, VLM_OPTION_LIST, offsetof(similarity_options, texts), "T", "A text; may be given often.", 0, 0, NULL},
    {"file", 0, VLM_OPTION_LIST, offsetof(similarity_options, texts), "WORDS", "A file with one text a line (-: stdin).", 0, 0, NULL},
    {"output", 'o', VLM_OPTION_TEXT, offsetof(similarity_options, output), "FILE", "Draw the matrix, .png or .svg.", 0, 0, NULL},
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

/* What has succeeded so far: vectors, names, and thumbnails when a picture is to be drawn. */
typedef struct side {
    bool json, draw;
    size_t size, n;
    float *vectors;      /* [n, size] */
    const char **names;  /* [n], borrowed from the inputs */
    vlm_plot_image *thumbnails; /* [n], for pictures */
} side;

static bool open_side(side *s, size_t n, size_t size, const similarity_options *o)
{
    size_t values = 0;
    *s = (side){.json = o->common.json, .draw = o->output != NULL, .size = size};
    s->vectors = vlm_multiply(n, size, &values) ? vlm_alloc(values + 1, sizeof *s->vectors) : NULL;
    s->names = vlm_alloc(n + 1, sizeof *s->names);
    s->thumbnails = vlm_alloc_zero(n + 1, sizeof *s->thumbnails);
    return s->vectors && s->names && s->thumbnails;
}

static void close_side(side *s)
{
    for (size_t i = 0; s->thumbnails && i < s->n; i++)
        free((void *)s->thumbnails[i].rgb);
    free(s->thumbnails);
    free(s->names);
    free(s->vectors);
}

static bool take_vector(void *user, const vlm_result *result)
{
    side *s = user;
    if (!result->values) {
        vlm_report_bad_input(result->input, result->error, s->json);
        return true;
    }
    if (result->image && s->draw) {
        vlm_plot_image *thumbnail = &s->thumbnails[s->n];
        uint8_t *rgb = NULL;
        vlm_error error = {0};
        if (vlm_image_thumbnail(result->image, VLM_PLOT_THUMBNAIL, VLM_PLOT_THUMBNAIL, &rgb, &thumbnail->width, &thumbnail->height, &error) != VLM_OK)
            vlm_say_error(&error); /* the matrix is worth drawing without it */
        thumbnail->rgb = rgb;
    }
    memcpy(s->vectors + s->n * s->size, result->values, s->size * sizeof *s->vectors);
    s->names[s->n++] = result->input;
    return true;
}

/* ---- results ------------------------------------------------------------------------------------------------- */

static void put_names(vlm_text *line, const char *key, const side *s)
{
    vlm_put_key(line, key);
    vlm_put_open(line, '[');
    for (size_t i = 0; i < s->n; i++)
        vlm_put_string(line, s->names[i]);
    vlm_put_close(line, ']');
}

static bool print_json(const side *images, const side *texts, const float *cosine)
{
    vlm_text line = {0};
    vlm_put_open(&line, '{');
    put_names(&line, "images", images);
    put_names(&line, "texts", texts);
    vlm_put_key(&line, "cosine");
    vlm_put_open(&line, '[');
    for (size_t i = 0; i < images->n; i++) {
        vlm_put_open(&line, '[');
        for (size_t j = 0; j < texts->n; j++)
            vlm_put_float(&line, cosine[i * texts->n + j]);
        vlm_put_close(&line, ']');
    }
    vlm_put_close(&line, ']');
    vlm_put_close(&line, '}');
    return vlm_print_line(&line);
}

enum { WIDEST_TEXT = 48, WIDEST_NAME = 20 }; /* columns of a terminal */

/* Rows are texts and columns pictures as in the drawing. */
static bool print_plain(const side *images, const side *texts, const float *cosine)
{
    vlm_table table = {.n_columns = images->n + 1, .align = "lr"};
    vlm_table_cell(&table, "", 0);
    for (size_t i = 0; i < images->n; i++) {
        const char *slash = strrchr(images->names[i], '/'), *name = slash && slash[1] ? slash + 1 : images->names[i];
        vlm_table_clipped(&table, name, strlen(name), WIDEST_NAME);
    }
    for (size_t j = 0; j < texts->n; j++) {
        vlm_table_clipped(&table, texts->names[j], strlen(texts->names[j]), WIDEST_TEXT);
        for (size_t i = 0; i < images->n; i++)
            vlm_table_float(&table, "%.4f", (double)cosine[i * texts->n + j]);
    }
    return vlm_table_print(&table);
}

static int report(const similarity_options *o, const side *images, const side *texts)
{
    if (images->n == 0 || texts->n == 0) {
        vlm_say("no %s left to compare", images->n ? "text is" : "picture is");
        return VLM_EXIT_FAILED;
    }
    size_t cells = 0;
    float *cosine = vlm_multiply(images->n, texts->n, &cells) ? vlm_alloc(cells, sizeof *cosine) : NULL;
    if (!cosine)
        return vlm_say_memory();
    for (size_t i = 0; i < images->n; i++)
        for (size_t j = 0; j < texts->n; j++)
            cosine[i * texts->n + j] = (float)vlm_cosine(images->vectors + i * images->size, texts->vectors + j * texts->size, texts->size);
    int status = VLM_EXIT_OK;
    vlm_error error = {0};
    if (!(o->common.json ? print_json(images, texts, cosine) : print_plain(images, texts, cosine)))
        status = VLM_EXIT_FAILED;
    else if (o->output && vlm_plot_similarity(o->output, images->thumbnails, images->n, texts->names, texts->n, cosine, &error) != VLM_OK)
        status = vlm_say_error(&error);
    free(cosine);
    return status;
}

static int compare_all(const similarity_options *o, vlm_model *model, const vlm_texts *texts, const vlm_inputs *pictures)
{
    size_t size = vlm_model_get_info(model)->embedding_size;
    side images = {0}, words = {0};
    bool memory = open_side(&images, pictures->n, size, o) && open_side(&words, texts->n, size, o);
    int status = memory ? vlm_run_texts(model, texts, 0, take_vector, &words) : vlm_say_memory();
    if (memory) {
        int picture_status = vlm_run_pictures(model, pictures, 0, take_vector, &images);
        int report_status = vlm_flush_output() ? report(o, &images, &words) : VLM_EXIT_FAILED;
        status = status != VLM_EXIT_OK ? status : picture_status != VLM_EXIT_OK ? picture_status : report_status;
    }
    close_side(&images);
    close_side(&words);
    return status;
}

static int run_similarity(const vlm_verb *verb, const void *parsed)
{
    const similarity_options *o = parsed;
    vlm_texts texts = {0};
    vlm_inputs pictures = {0};
    vlm_model *model = NULL;
    (void)verb;
    if (o->texts.n == 0)
        return vlm_say_usage("nothing to compare the pictures with: give --text");
    if (o->common.inputs.n == 0)
        return vlm_say_usage("nothing to compare the texts with: give pictures or folders");
    if (o->output && !vlm_plot_can_write(o->output))
        return vlm_say_usage("-o %s: the name must end in .png or .svg", o->output);
    int gathered = vlm_gather_texts(&texts, &o->texts, o->common.json);
    int status = vlm_expand_inputs(&pictures, &o->common.inputs);
    if (status == VLM_EXIT_OK)
        status = vlm_open_model(&model, &o->common, VLM_PART_VISION | VLM_PART_PIXELS | VLM_PART_TEXT | VLM_PART_TOKENIZER);
    if (status == VLM_EXIT_OK)
        status = compare_all(o, model, &texts, &pictures);
    vlm_model_close(model);
    vlm_free_inputs(&pictures);
    vlm_free_texts(&texts);
    return status != VLM_EXIT_OK ? status : gathered;
}

const vlm_verb vlm_verb_similarity = {
    "similarity", "how near pictures and texts are, as a table and a picture",
    "--text T... [--file WORDS] IMAGE|FOLDER... [-o FILE.png|.svg]",
    "Prints the matrix of cosines between every picture and every text: a table with a row a text and a column a "
    "picture, or with --json one object {\"images\":[...], \"texts\":[...], \"cosine\":[[...]]} whose rows are images. -o "
    "draws it: the pictures above, the texts left, the values in coloured cells.",
    "vlm similarity --text \"a cat\" --text \"a red car\" cat.png car.png -o matrix.png\n"
    "vlm similarity --text \"a dog on a beach\" photos/ --json",
    options, sizeof(similarity_options), run_similarity};
