/* vlm ask: a picture and a question to an answer. */
#include <stdlib.h>

#include "cli/writing.h"

typedef struct ask_options {
    vlm_common common; /* --encoded joins its inputs */
    vlm_writing_options writing;
    bool raw_prompt;
} ask_options;

static const vlm_option options[] = {
    {"raw-prompt", 0, VLM_OPTION_FLAG, offsetof(ask_options, raw_prompt), NULL, "Give the question to the model as it is, without its family's template.", 0, 0, NULL},
    {"encoded", 0, VLM_OPTION_LIST, offsetof(ask_options, common.inputs), "FILE", "Pictures kept by vlm encode, in place of a picture.", 0, 0, NULL},
    VLM_WRITING_ROWS(ask_options),
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

static int ask(const ask_options *o, vlm_model *model, const vlm_list *pictures, const char *question, const vlm_generation *generation)
{
    char *prompt = o->raw_prompt ? NULL : vlm_question_prompt(model, question);
    if (!prompt && !o->raw_prompt)
        return vlm_say_memory();
    vlm_writing_form form = vlm_writing_form_of(&o->common, &o->writing);
    form.question = question;
    int status = vlm_write_about(model, pictures, o->raw_prompt ? question : prompt, generation, &form);
    free(prompt);
    return status;
}

static int run_ask(const vlm_verb *verb, const void *parsed)
{
    const ask_options *o = parsed;
    vlm_generation generation;
    const char **stops;
    vlm_model *model = NULL;
    (void)verb;
    vlm_list pictures = o->common.inputs;
    if (pictures.n < 2)
        return vlm_say_usage("a picture (or --encoded FILE) and a question are wanted");
    if (pictures.items[pictures.n - 1].option)
        return vlm_say_usage("the question comes last");
    const char *question = pictures.items[--pictures.n].value;
    int status = vlm_read_writing(&generation, &stops, &o->writing);
    if (status == VLM_EXIT_OK)
        status = vlm_open_model(&model, &o->common, VLM_PART_LANGUAGE | VLM_PART_TOKENIZER | (vlm_has_pictures(&pictures) ? VLM_PART_VISION | VLM_PART_PIXELS : 0));
    if (status == VLM_EXIT_OK)
        status = ask(o, model, &pictures, question, &generation);
    vlm_model_close(model);
    free(stops);
    return status;
}

const vlm_verb vlm_verb_ask = {
    "ask", "a picture and a question to an answer",
    "[--raw-prompt] IMAGE QUESTION\n[--raw-prompt] --encoded FILE QUESTION",
    "Prints the answer. The question is put into the model's own template: \"Question: ... Answer:\" for BLIP-2; InstructBLIP reads "
    "the bare question. With --json {\"input\":..., \"question\":..., \"text\":..., \"tokens\":[...]}, with --beams also \"score\", and with "
    "--n-best \"alternatives\":[...], best first. Several pictures may stand before the question.\n\n"
    "Greedy unless --temperature, --top-k, --top-p or --min-p is given. -m names a model of the BLIP-2 family.",
    "vlm ask -m Salesforce/blip2-opt-2.7b car.png \"what colour is the car?\"\nvlm ask -m Salesforce/blip2-flan-t5-xl --max-new-tokens 50 car.png \"why is this funny?\"",
    options, sizeof(ask_options), run_ask};
