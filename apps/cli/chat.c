/* vlm chat: a conversation about a picture, one question a line.
 * The prompt is the conversation so far in the template of "Hands-On Large Language Models", chapter 9: "Question: ...
 * Answer: ...." a turn, and a last question that is open. A reply ends where the model begins the next question. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/writing.h"

enum { REPLY_TOKENS = 100 }; /* the chapter's */

typedef struct chat_options {
    vlm_common common;
    vlm_writing_options writing;
} chat_options;

static const vlm_option options[] = {
    {"encoded", 0, VLM_OPTION_LIST, offsetof(chat_options, common.inputs), "FILE", "A picture kept by vlm encode, in place of a picture.", 0, 0, NULL},
    VLM_WRITING_ROWS(chat_options),
    {NULL, 0, VLM_OPTION_FLAG, 0, NULL, NULL, 0, 0, NULL}};

typedef struct conversation {
    vlm_model *model;
    vlm_encoded *picture;
    const vlm_generation *generation;
    vlm_text history; /* "Question: ... Answer: ...." a turn */
    bool json, terminal;
} conversation;

static bool see_image(conversation *c, const char *path)
{
    vlm_image *image = NULL;
    vlm_encoded *picture = NULL;
    vlm_error error = {0};
    if (vlm_image_open(&image, path, NULL, &error) == VLM_OK)
        vlm_encode_images(c->model, (const vlm_image *const *)&image, 1, &picture, &error);
    vlm_image_free(image);
    if (!picture) {
        vlm_say_error(&error);
        return false;
    }
    vlm_encoded_free(c->picture);
    c->picture = picture;
    c->history.length = 0;
    return true;
}

/* The first picture of a file of `vlm encode`. */
static bool see_encoded(conversation *c, const char *path)
{
    vlm_encoded **pictures = NULL;
    size_t n = 0;
    vlm_error error = {0};
    if (vlm_encoded_open(&pictures, &n, c->model, path, &error) != VLM_OK) {
        vlm_say_error(&error);
        return false;
    }
    if (n > 1)
        vlm_say("%s holds %zu pictures; this is about the first, %s", path, n, vlm_encoded_name(pictures[0]));
    for (size_t i = 1; i < n; i++)
        vlm_encoded_free(pictures[i]);
    c->picture = pictures[0];
    free(pictures);
    return true;
}

/* Without the white space around it, the four separators of ASCII among it, as Python's strip counts them. */
static vlm_text trimmed(const vlm_written *written)
{
    const char *space = " \t\r\n\v\f\x1c\x1d\x1e\x1f";
    size_t from = strspn(written->text, space), to = written->length;
    while (to > from && strchr(space, written->text[to - 1]))
        to--;
    vlm_text text = {0};
    vlm_text_append(&text, written->text + from, to - from);
    return text;
}

static bool print_reply(const conversation *c, const char *question, const vlm_text *reply)
{
    vlm_text line = {0};
    if (c->json) {
        vlm_put_open(&line, '{');
        vlm_put_key(&line, "question");
        vlm_put_string(&line, question);
        vlm_put_key(&line, "text");
        vlm_put_bytes(&line, reply->data, reply->length);
        vlm_put_close(&line, '}');
    } else {
        vlm_put_plain(&line, reply->data, reply->length); /* one line out */
    }
    return vlm_print_line(&line) && vlm_flush_output();
}

/* One question. A failure is said, and the conversation goes on without this turn. Returns an exit status; *going
 * becomes false when stdout has failed. */
static int reply(conversation *c, const char *question, bool *going)
{
    vlm_text prompt = {0};
    vlm_answer answer = {0};
    vlm_error error = {0};
    vlm_text_append(&prompt, c->history.data ? c->history.data : "", c->history.length);
    vlm_text_printf(&prompt, " Question: %s Answer:", question);
    if (prompt.failed) {
        vlm_text_free(&prompt);
        return vlm_say_memory();
    }
    vlm_status asked = vlm_ask(c->model, (const vlm_encoded *const *)&c->picture, (const char *const *)&prompt.data, 1, c->generation, NULL, NULL, &answer, &error);
    vlm_text_free(&prompt);
    if (asked != VLM_OK) {
        vlm_report_bad_input(question, error.message, c->json);
        return VLM_EXIT_FAILED;
    }
    vlm_text text = trimmed(&answer.texts[0]);
    *going = !text.failed && print_reply(c, question, &text);
    vlm_text_printf(&c->history, "%sQuestion: %s Answer: %s.", c->history.length ? " " : "", question, text.data ? text.data : "");
    vlm_text_free(&text);
    vlm_answer_free(&answer);
    return *going && !c->history.failed ? VLM_EXIT_OK : VLM_EXIT_FAILED;
}

/* /image PATH, /reset, /save FILE; true when the line was one of them. */
static bool obey(conversation *c, const char *line)
{
    vlm_error error = {0};
    if (strcmp(line, "/reset") == 0)
        c->history.length = 0;
    else if (strncmp(line, "/image ", 7) == 0)
        see_image(c, line + 7);
    else if (strncmp(line, "/save ", 6) == 0) {
        if (vlm_write_file(line + 6, c->history.data ? c->history.data : "", c->history.length, &error) != VLM_OK)
            vlm_say_error(&error);
    } else {
        return false;
    }
    return true;
}

static int converse(conversation *c)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    int status = VLM_EXIT_OK;
    bool going = true;
    if (c->terminal)
        fputs("A question a line; /image PATH, /reset, /save FILE; Ctrl-D ends.\n", stderr);
    while (going) {
        if (c->terminal)
            fputs("> ", stderr);
        errno = 0;
        if ((n = getline(&line, &capacity, stdin)) < 0)
            break;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            line[--n] = 0;
        if (n == 0 || obey(c, line))
            continue;
        int one = reply(c, line, &going);
        status = one == VLM_EXIT_OK ? status : one;
    }
    if (ferror(stdin) || (errno && !feof(stdin))) {
        vlm_say("stdin: cannot read: %s", strerror(errno));
        status = VLM_EXIT_FAILED;
    }
    free(line);
    return status;
}

/* The options' stop strings, and where the model begins to ask itself. */
static const char **add_question(vlm_generation *generation)
{
    const char **stops = vlm_alloc(generation->n_stop + 1, sizeof *stops);
    if (!stops)
        return NULL;
    for (size_t i = 0; i < generation->n_stop; i++)
        stops[i] = generation->stop[i];
    stops[generation->n_stop++] = "Question";
    generation->stop = stops;
    return stops;
}

static int chat(const chat_options *o, vlm_generation *generation, bool encoded)
{
    const char **stops = add_question(generation), *path = o->common.inputs.items[0].value;
    conversation c = {.generation = generation, .json = o->common.json, .terminal = isatty(STDIN_FILENO)};
    if (!stops)
        return vlm_say_memory();
    unsigned eyes = encoded && !c.terminal ? 0 : VLM_PART_VISION | VLM_PART_PIXELS; /* /image may come */
    int status = vlm_open_model(&c.model, &o->common, VLM_PART_LANGUAGE | VLM_PART_TOKENIZER | eyes);
    if (status == VLM_EXIT_OK)
        status = (encoded ? see_encoded(&c, path) : see_image(&c, path)) ? converse(&c) : VLM_EXIT_FAILED;
    vlm_encoded_free(c.picture);
    vlm_text_free(&c.history);
    vlm_model_close(c.model);
    free(stops);
    return status;
}

static int run_chat(const vlm_verb *verb, const void *parsed)
{
    const chat_options *o = parsed;
    vlm_generation generation;
    const char **stops;
    (void)verb;
    if (o->common.inputs.n != 1)
        return vlm_say_usage("one picture (or --encoded FILE) is wanted; questions are read from stdin");
    int status = vlm_read_writing(&generation, &stops, &o->writing);
    if (status == VLM_EXIT_OK) {
        generation.max_new_tokens = o->writing.max_new_tokens ? generation.max_new_tokens : REPLY_TOKENS;
        status = chat(o, &generation, o->common.inputs.items[0].option != NULL);
    }
    free(stops);
    return status;
}

const vlm_verb vlm_verb_chat = {
    "chat", "a conversation about a picture",
    "IMAGE\n--encoded FILE",
    "Reads a question a line and prints a reply a line; the model sees the conversation so far. A reply ends where the model begins "
    "the next question; 100 tokens at most when --max-new-tokens is not given. With --json {\"question\":..., \"text\":...}. Lines "
    "that are no questions: /image PATH looks at another picture, /reset forgets the conversation, /save FILE keeps it.",
    "echo \"what is in the picture?\" | vlm chat -m Salesforce/blip2-opt-2.7b car.png",
    options, sizeof(chat_options), run_chat};
