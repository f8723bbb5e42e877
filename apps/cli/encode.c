/* vlm encode: pictures to what the language model will see of them, kept in a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "vlm/language.h"

typedef struct encode_options {
    vlm_common common;
    const char *output;
} encode_options;

static const vlm_option options[] = {
    {"output", 'o', VLM_OPTION_TEXT, offsetof(encode_options, output), "FILE", "The file to write.", 0, 0, NULL},
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

static vlm_encoded *encode_one(vlm_model *model, const vlm_input *input, vlm_error *error)
{
    vlm_image *image = NULL;
    vlm_encoded *picture = NULL;
    if (input->error)
        snprintf(error->message, sizeof error->message, "%s", input->error);
    else if (vlm_image_open(&image, input->name, NULL, error) == VLM_OK)
        vlm_encode_images(model, (const vlm_image *const *)&image, 1, &picture, error);
    vlm_image_free(image);
    return picture;
}

static bool print_encoded(const encode_options *o, const char *name)
{
    vlm_text line = {0};
    if (!o->common.json)
        return true;
    vlm_put_open(&line, '{');
    vlm_put_key(&line, "input");
    vlm_put_string(&line, name);
    vlm_put_key(&line, "file");
    vlm_put_string(&line, o->output);
    vlm_put_close(&line, '}');
    return vlm_print_line(&line);
}

/* The file holds the pictures that succeeded; none: no file. */
static int encode_all(const encode_options *o, vlm_model *model, const vlm_inputs *inputs)
{
    vlm_encoded **pictures = vlm_alloc_zero(inputs->n + 1, sizeof *pictures);
    const char **names = vlm_alloc(inputs->n + 1, sizeof *names);
    size_t n = 0;
    int status = pictures && names ? VLM_EXIT_OK : vlm_say_memory();
    for (size_t i = 0; i < inputs->n && pictures && names; i++) {
        vlm_error error = {0};
        const char *slash = strrchr(inputs->items[i].name, '/');
        pictures[n] = encode_one(model, &inputs->items[i], &error);
        names[n] = slash ? slash + 1 : inputs->items[i].name;
        vlm_progress("pictures", i + 1, inputs->n);
        if (pictures[n]) {
            n++;
            continue;
        }
        vlm_report_bad_input(inputs->items[i].name, error.message, o->common.json);
        status = VLM_EXIT_FAILED;
    }
    vlm_progress_end();
    vlm_error error = {0};
    bool kept = false;
    if (n && vlm_encoded_save((const vlm_encoded *const *)pictures, names, n, o->output, &error) != VLM_OK)
        status = vlm_say_error(&error);
    else if (n)
        kept = true;
    for (size_t i = 0; i < n; i++) {
        if (kept && !print_encoded(o, names[i]))
            status = VLM_EXIT_FAILED;
        vlm_encoded_free(pictures[i]);
    }
    free(pictures);
    free(names);
    return status;
}

static int run_encode(const vlm_verb *verb, const void *parsed)
{
    const encode_options *o = parsed;
    vlm_inputs inputs = {0};
    vlm_model *model = NULL;
    (void)verb;
    if (o->common.inputs.n == 0)
        return vlm_say_usage("nothing to encode: give pictures or folders");
    if (!o->output)
        return vlm_say_usage("-o FILE is wanted");
    int status = vlm_expand_inputs(&inputs, &o->common.inputs);
    if (status == VLM_EXIT_OK)
        status = vlm_open_model(&model, &o->common, VLM_PART_LANGUAGE | VLM_PART_VISION | VLM_PART_PIXELS);
    if (status == VLM_EXIT_OK)
        status = encode_all(o, model, &inputs);
    vlm_model_close(model);
    vlm_free_inputs(&inputs);
    return status;
}

const vlm_verb vlm_verb_encode = {
    "encode", "pictures to what the language model sees of them, kept",
    "IMAGE|FOLDER... -o FILE",
    "Keeps the Q-Former's output for each picture (for InstructBLIP, whose Q-Former reads the question too, the vision features), "
    "so that caption, ask and chat take it with --encoded and do without the vision model. A file of another model is refused there.",
    "vlm encode -m Salesforce/blip2-opt-2.7b car.png -o car.safetensors\nvlm ask -m Salesforce/blip2-opt-2.7b --encoded car.safetensors \"what is it?\"",
    options, sizeof(encode_options), run_encode};
