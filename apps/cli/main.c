/* vlm: pictures and words in one space, from the command line.
 * The table of verbs, and what is common to running any of them. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/cli.h"

/* ADD A VERB HERE: its file, its declaration in cli.h, its row. The order is that of `vlm help`. */
static const vlm_verb *const verbs[] = {
    &vlm_verb_embed,  &vlm_verb_similarity, &vlm_verb_classify, &vlm_verb_search, &vlm_verb_caption,
    &vlm_verb_ask,    &vlm_verb_chat,       &vlm_verb_generate, &vlm_verb_match,  &vlm_verb_encode,
    &vlm_verb_tokenize, &vlm_verb_pixels,   &vlm_verb_inspect,  &vlm_verb_bench,  &vlm_verb_verify,
    &vlm_verb_train,
};
enum { N_VERBS = sizeof verbs / sizeof *verbs };

static const vlm_verb *find_verb(const char *name)
{
    for (size_t i = 0; i < N_VERBS; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

static void print_overview(bool all)
{
    vlm_text page = {0};
    vlm_text_puts(&page, "vlm: pictures and words as vectors that can be compared, on the CPU\n\n");
    if (!all)
        vlm_text_puts(&page, "Begin with a picture of yours; a small model is inside the program:\n"
                             "  vlm classify --labels \"a cat,a dog,a car\" PICTURE.png\n"
                             "  vlm similarity --text \"a cat\" --text \"a red car\" PICTURE.png -o matrix.png\n"
                             "  vlm search \"a red car\" FOLDER\n"
                             "A larger model: add -m with its folder or its name in the hub's cache.\n\n");
    vlm_text_puts(&page, "Verbs\n");
    for (size_t i = 0; i < N_VERBS; i++)
        vlm_text_printf(&page, "  %-11s %s\n", verbs[i]->name, verbs[i]->summary);
    vlm_text_puts(&page, "\nvlm help VERB   all about a verb, with examples\nvlm --version   the version and the kernels in use");
    vlm_print_line(&page);
}

static void print_version(void)
{
    vlm_text line = {0};
    vlm_text_printf(&line, "vlm %s (%s)", vlm_version(), vlm_isa());
    vlm_print_line(&line);
}

static int unknown_verb(const char *word)
{
    const char *names[N_VERBS];
    for (size_t i = 0; i < N_VERBS; i++)
        names[i] = verbs[i]->name;
    const char *nearest = vlm_nearest(word, names, N_VERBS);
    if (word[0] == '-')
        return vlm_say_usage("'%s' stands before the verb; options go after it", word);
    if (nearest)
        return vlm_say_usage("there is no verb '%s'; is '%s' meant?", word, nearest);
    return vlm_say_usage("there is no verb '%s'", word);
}

static int run_verb(const vlm_verb *verb, int argc, char **argv)
{
    vlm_set_verb_name(verb->name);
    void *options = vlm_alloc_zero(1, verb->size);
    if (!options)
        return vlm_say_memory();
    int status = vlm_parse_options(verb, options, argc, argv);
    if (status == VLM_EXIT_OK && ((vlm_common *)options)->help)
        vlm_print_help(verb);
    else if (status == VLM_EXIT_OK)
        status = verb->run(verb, options);
    vlm_progress_end();
    vlm_free_options(verb, options);
    free(options);
    return status;
}

static int run(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (argc < 2) {
        print_overview(false);
        return VLM_EXIT_OK;
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "version") == 0) {
        print_version();
        return VLM_EXIT_OK;
    }
    bool help = strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
    if (help && argc < 3) {
        print_overview(true);
        return VLM_EXIT_OK;
    }
    const vlm_verb *verb = find_verb(help ? argv[2] : word);
    if (!verb)
        return unknown_verb(help ? argv[2] : word);
    if (help) {
        vlm_print_help(verb);
        return VLM_EXIT_OK;
    }
    return run_verb(verb, argc - 2, argv + 2);
}

/* A closed 0, 1 or 2 would be handed to the next file that is opened, and results would be printed into it.
 * Opened the wrong way round, so that using it stays the error that it was. */
static void hold_standard_files(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            _exit(VLM_EXIT_FAILED);
}

int main(int argc, char **argv)
{
    hold_standard_files();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, which is said and makes the status 1 */
    int status = run(argc, argv);
    return vlm_close_output() || status != VLM_EXIT_OK ? status : VLM_EXIT_FAILED;
}
