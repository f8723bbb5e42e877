/* vlm train: CLIP or ViT from pictures, by a config. Ctrl-C stops after the step with a checkpoint. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "cli/cli.h"
#include "plots/plots.h"
#include "vlm/train.h"

typedef struct train_options {
    vlm_common common;
    const char *data, *config, *output, *init, *dump;
    bool resume;
    size_t steps, batch, dump_steps;
    const char *seed;
    double max_seconds;
} train_options;

static const vlm_option options[] = {
    {"data", 0, VLM_OPTION_TEXT, offsetof(train_options, data), "D", "A folder of pictures with captions beside them (a.jpg, a.txt) or in folders by class, or a .csv or .tsv table.", 0, 0, NULL},
    {"config", 0, VLM_OPTION_TEXT, offsetof(train_options, config), "C", "The JSON file that says what is trained and how; docs/training.md lists its keys.", 0, 0, NULL},
    {"output", 'o', VLM_OPTION_TEXT, offsetof(train_options, output), "OUT", "The folder of the result: a model that -m takes, the state to resume from, the log and its curve.", 0, 0, NULL},
    {"resume", 0, VLM_OPTION_FLAG, offsetof(train_options, resume), NULL, "Go on from the checkpoint in OUT; from the beginning when there is none.", 0, 0, NULL},
    {"init", 0, VLM_OPTION_TEXT, offsetof(train_options, init), "MODEL", "Begin from this model's weights instead of random ones.", 0, 0, NULL},
    {"steps", 0, VLM_OPTION_COUNT, offsetof(train_options, steps), "N", "Steps of the whole run, instead of the config's.", 1, 0, NULL},
    {"batch", 0, VLM_OPTION_COUNT, offsetof(train_options, batch), "B", "Samples of a step, instead of the config's.", 1, 1048576, NULL},
    {"seed", 0, VLM_OPTION_TEXT, offsetof(train_options, seed), "S", "Of everything random, instead of the config's.", 0, 0, NULL},
    {"max-seconds", 0, VLM_OPTION_NUMBER, offsetof(train_options, max_seconds), "T", "Stop with a checkpoint after so many seconds; --resume goes on.", 0, 0, NULL},
    {"dump-gradients", 0, VLM_OPTION_TEXT, offsetof(train_options, dump), "FILE", "Write batch, loss and gradients of the first steps as safetensors.", 0, 0, NULL},
    {"dump-steps", 0, VLM_OPTION_COUNT, offsetof(train_options, dump_steps), "N", "How many steps to dump; without it 1.", 1, 1000, NULL},
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

static volatile sig_atomic_t stopped;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

/* What the callback remembers between steps. */
typedef struct session {
    const train_options *options;
    vlm_train_progress last;
    double shown; /* when a line was printed last */
} session;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void draw_curve(const session *s, const vlm_train_progress *progress)
{
    vlm_error error = {0};
    char *path = vlm_join_path(s->options->output, "curve.png");
    if (path && vlm_plot_training(path, "Training", progress->log, &error) != VLM_OK)
        vlm_say("the curve was not drawn: %s", error.message);
    free(path);
}

static bool print_progress(const vlm_train_progress *progress)
{
    vlm_text line = {0};
    vlm_put_open(&line, '{');
    vlm_put_key(&line, "step");
    vlm_put_count(&line, progress->step);
    vlm_put_key(&line, "steps");
    vlm_put_count(&line, progress->steps);
    vlm_put_key(&line, "loss");
    vlm_put_float(&line, (float)progress->loss);
    vlm_put_key(&line, "rate");
    vlm_put_float(&line, (float)progress->rate);
    vlm_put_key(&line, "gradient_norm");
    vlm_put_float(&line, (float)progress->gradient_norm);
    vlm_put_key(&line, "samples_per_second");
    vlm_put_float(&line, (float)progress->samples_per_second);
    vlm_put_close(&line, '}');
    return vlm_print_line(&line) && vlm_flush_output();
}

static bool on_step(void *user, const vlm_train_progress *progress)
{
    session *s = user;
    double time = now();
    s->last = *progress;
    if (progress->saved) {
        draw_curve(s, progress);
        vlm_say("step %zu of %zu is saved", progress->step, progress->steps);
    } else if (time - s->shown > 10 || progress->step == progress->steps) {
        vlm_say("step %zu of %zu, loss %.4f, gradient %.3g, rate %.3g, %.0f samples a second", progress->step, progress->steps, progress->loss,
                progress->gradient_norm, progress->rate, progress->samples_per_second);
        s->shown = time;
    } else {
        vlm_progress("step", progress->step, progress->steps);
    }
    bool told = !s->options->common.json || progress->saved || print_progress(progress);
    return told && !stopped;
}

/* strtoull takes signs and spaces; a seed is digits. */
static bool read_seed(const char *text, uint64_t *seed)
{
    char *end;
    if (strspn(text, "0123456789") != strlen(text) || !*text || strlen(text) > 10)
        return false;
    *seed = strtoull(text, &end, 10);
    return *seed <= INT32_MAX;
}

static int check(const train_options *o, const char **what, vlm_train_options *train)
{
    const vlm_list *inputs = &o->common.inputs;
    *what = inputs->n ? inputs->items[0].value : "";
    if (inputs->n != 1 || (strcmp(*what, "clip") != 0 && strcmp(*what, "vit") != 0))
        return vlm_say_usage("clip or vit must be named: vlm train clip --data D --config C -o OUT");
    if (!o->data || !o->config || !o->output)
        return vlm_say_usage("%s is missing", !o->data ? "--data" : !o->config ? "--config" : "-o");
    *train = (vlm_train_options){.data = o->data, .config = o->config, .output = o->output, .resume = o->resume, .init = o->init ? o->init : o->common.model,
                                 .n_threads = o->common.n_threads, .steps = o->steps, .batch = o->batch, .has_seed = o->seed != NULL,
                                 .max_seconds = o->max_seconds, .dump = o->dump, .dump_steps = o->dump_steps};
    if (o->seed && !read_seed(o->seed, &train->seed))
        return vlm_say_usage("--seed %s: a number from 0 to 2147483647 is wanted", o->seed);
    return VLM_EXIT_OK;
}

static int run_train(const vlm_verb *verb, const void *argument)
{
    (void)verb;
    const train_options *o = argument;
    const char *what;
    vlm_train_options train;
    int usage = check(o, &what, &train);
    if (usage != VLM_EXIT_OK)
        return usage;
    struct sigaction action = {.sa_handler = stop, .sa_flags = SA_RESTART | SA_RESETHAND}; /* a second one ends at once */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    session s = {.options = o};
    vlm_error error = {0};
    vlm_status status = strcmp(what, "clip") == 0 ? vlm_train_clip(&train, on_step, &s, &error) : vlm_train_vit(&train, on_step, &s, &error);
    if (status != VLM_OK)
        return vlm_say_error(&error);
    if (s.last.step < s.last.steps)
        vlm_say("stopped at step %zu of %zu; --resume goes on from there", s.last.step, s.last.steps);
    return VLM_EXIT_OK;
}

const vlm_verb vlm_verb_train = {
    .name = "train",
    .summary = "train CLIP on pictures with captions, or a ViT on pictures with labels",
    .usage = "clip --data D --config C -o OUT [--resume]\nvit --data D --config C -o OUT [--resume]",
    .description = "OUT becomes a model in the transformers layout that every verb takes by -m, with log.jsonl, the curve of the loss and the state of "
                   "the run beside it. An interrupted run (Ctrl-C, --max-seconds) ends with a checkpoint; --resume goes on from it, and the result is the same, "
                   "bit for bit, as that of an uninterrupted run.",
    .examples = "vlm train clip --data photos --config clip.json -o my-clip\nvlm train clip --data captions.csv --config clip.json -o my-clip --resume\n"
                "vlm train vit --data flowers --config vit.json -o my-vit --max-seconds 3600",
    .options = options,
    .size = sizeof(train_options),
    .run = run_train,
};
