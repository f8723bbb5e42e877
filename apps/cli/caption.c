/* vlm caption: pictures to sentences. */
#include <stdlib.h>

#include "cli/writing.h"

typedef struct caption_options {
    vlm_common common; /* --encoded joins its inputs, so that pictures keep their order */
    vlm_writing_options writing;
    const char *prompt;
} caption_options;

static const vlm_option options[] = {
    {"prompt", 0, VLM_OPTION_TEXT, offsetof(caption_options, prompt), "P", "Words that the caption continues.", 0, 0, NULL},
    {"encoded", 0, VLM_OPTION_LIST, offsetof(caption_options, common.inputs), "FILE", "Pictures kept by vlm encode, in place of a picture.", 0, 0, NULL},
    VLM_WRITING_ROWS(caption_options),
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

static int run_caption(const vlm_verb *verb, const void *parsed)
{
    const caption_options *o = parsed;
    vlm_generation generation;
    const char **stops;
    vlm_model *model = NULL;
    (void)verb;
    if (o->common.inputs.n == 0)
        return vlm_say_usage("nothing to describe: give pictures, folders or --encoded");
    int status = vlm_read_writing(&generation, &stops, &o->writing);
    if (status == VLM_EXIT_OK)
        status = vlm_open_model(&model, &o->common, VLM_PART_LANGUAGE | VLM_PART_TOKENIZER | (vlm_has_pictures(&o->common.inputs) ? VLM_PART_VISION | VLM_PART_PIXELS : 0));
    if (status == VLM_EXIT_OK) {
        vlm_writing_form form = vlm_writing_form_of(&o->common, &o->writing);
        status = vlm_write_about(model, &o->common.inputs, o->prompt, &generation, &form);
    }
    vlm_model_close(model);
    free(stops);
    return status;
}

const vlm_verb vlm_verb_caption = {
    "caption", "pictures to sentences",
    "[--prompt P] [--encoded FILE] IMAGE|FOLDER...",
    "Prints what the model says about each picture: the sentence alone for one, with the picture's name and a tab before it for "
    "several. With --json {\"input\":..., \"text\":..., \"tokens\":[...]}, with --beams also \"score\", and with --n-best "
    "\"alternatives\":[...], best first.\n\n"
    "Greedy unless --temperature, --top-k, --top-p or --min-p is given. -m names a model of the BLIP-2 family.",
    "vlm caption -m Salesforce/blip2-opt-2.7b car.png\nvlm caption -m Salesforce/blip2-opt-2.7b --prompt \"a photo of\" --beams 5 photos/",
    options, sizeof(caption_options), run_caption};
