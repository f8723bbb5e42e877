/* vlm match: how well texts fit pictures, by a BLIP-2 made for retrieval. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "vlm/language.h"

typedef struct match_options {
    vlm_common common;
    vlm_list texts;
} match_options;

static const vlm_option options[] = {
    {"text", 0, VLM_OPTION_LIST, offsetof(match_options, texts), "T", "A text; may be given often.", 0, 0, NULL},
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

typedef struct scores {
    const char **texts; /* [n] */
    float *itc, *itm;
    bool *cut, warned;
    size_t n;
} scores;

static bool print_pair(const match_options *o, const char *input, const char *text, float itc, float itm)
{
    vlm_text line = {0};
    if (o->common.json) {
        vlm_put_open(&line, '{');
        vlm_put_key(&line, "input");
        vlm_put_string(&line, input);
        vlm_put_key(&line, "text");
        vlm_put_string(&line, text);
        vlm_put_key(&line, "itc");
        vlm_put_float(&line, itc);
        vlm_put_key(&line, "itm");
        vlm_put_float(&line, itm);
        vlm_put_close(&line, '}');
    } else {
        vlm_put_plain(&line, input, strlen(input));
        vlm_text_puts(&line, "\t");
        vlm_put_plain(&line, text, strlen(text));
        vlm_text_printf(&line, "\t%.4f\t%.4f", (double)itc, (double)itm);
    }
    return vlm_print_line(&line);
}

static void warn_cut(scores *s)
{
    for (size_t i = 0; i < s->n && !s->warned; i++)
        if (s->cut[i])
            vlm_say("\"%.45s%s\" is longer than the 32 tokens that the model compares; the rest was cut", s->texts[i], strlen(s->texts[i]) > 45 ? "..." : "");
    s->warned = true;
}

/* False: time to stop. */
static bool match_one(const match_options *o, vlm_model *model, scores *s, const vlm_input *input, int *status)
{
    vlm_image *image = NULL;
    vlm_error error = {0};
    bool good = false, going = true;
    if (input->error)
        snprintf(error.message, sizeof error.message, "%s", input->error);
    else if (vlm_image_open(&image, input->name, NULL, &error) == VLM_OK)
        good = vlm_match(model, image, s->texts, s->n, s->itc, s->itm, s->cut, &error) == VLM_OK;
    vlm_image_free(image);
    if (!good) {
        vlm_report_bad_input(input->name, error.message, o->common.json);
        *status = VLM_EXIT_FAILED;
        return true;
    }
    warn_cut(s);
    for (size_t i = 0; i < s->n && going; i++)
        going = print_pair(o, input->name, s->texts[i], s->itc[i], s->itm[i]);
    return going && vlm_flush_output();
}

static int match_all(const match_options *o, vlm_model *model, const vlm_inputs *inputs)
{
    scores s = {.n = o->texts.n, .texts = vlm_alloc(o->texts.n, sizeof *s.texts), .itc = vlm_alloc(o->texts.n, sizeof *s.itc), .itm = vlm_alloc(o->texts.n, sizeof *s.itm),
                .cut = vlm_alloc_zero(o->texts.n, sizeof *s.cut)};
    bool going = s.texts && s.itc && s.itm && s.cut;
    int status = going ? VLM_EXIT_OK : vlm_say_memory();
    for (size_t i = 0; i < s.n && going; i++)
        s.texts[i] = o->texts.items[i].value;
    for (size_t i = 0; i < inputs->n && going; i++) {
        going = match_one(o, model, &s, &inputs->items[i], &status);
        vlm_progress("pictures", i + 1, inputs->n);
    }
    vlm_progress_end();
    free(s.texts);
    free(s.itc);
    free(s.itm);
    free(s.cut);
    return going ? status : VLM_EXIT_FAILED;
}

static int run_match(const vlm_verb *verb, const void *parsed)
{
    const match_options *o = parsed;
    vlm_inputs inputs = {0};
    vlm_model *model = NULL;
    (void)verb;
    if (o->texts.n == 0)
        return vlm_say_usage("nothing to match with: give --text");
    if (o->common.inputs.n == 0)
        return vlm_say_usage("nothing to match: give pictures or folders");
    int status = vlm_expand_inputs(&inputs, &o->common.inputs);
    if (status == VLM_EXIT_OK)
        status = vlm_open_model(&model, &o->common, VLM_PART_VISION | VLM_PART_PIXELS | VLM_PART_TOKENIZER);
    if (status == VLM_EXIT_OK)
        status = match_all(o, model, &inputs);
    vlm_model_close(model);
    vlm_free_inputs(&inputs);
    return status;
}

const vlm_verb vlm_verb_match = {
    "match", "how well texts fit pictures, by BLIP-2's two scores",
    "--text T... IMAGE|FOLDER...",
    "Prints a line for each pair of picture and text: the cosine of the best query and the text (ITC), and the probability that they "
    "belong together (ITM). With --json {\"input\":..., \"text\":..., \"itc\":..., \"itm\":...}. A text is cut to 32 tokens, its end token "
    "kept, and a warning says so. -m names a BLIP-2 made for retrieval.",
    "vlm match -m Salesforce/blip2-itm-vit-g --text \"a red car\" --text \"a puppy\" car.png",
    options, sizeof(match_options), run_match};
