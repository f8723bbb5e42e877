/* What goes to stderr: errors, warnings, and progress when a person watches. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

static const char *verb_name = ""; /* set once, before anything is said */
static bool progress_shown;

void vlm_set_verb_name(const char *name)
{
    verb_name = name;
}

/* The sentence in one write, its control characters made visible: it may quote a file's name or content. */
static void say(const char *hint, const char *format, va_list arguments)
{
    char sentence[2048];
    vsnprintf(sentence, sizeof sentence, format, arguments);
    vlm_text line = {0};
    vlm_text_printf(&line, *verb_name ? "vlm %s: " : "vlm: ", verb_name);
    vlm_put_plain(&line, sentence, strlen(sentence));
    vlm_text_puts(&line, "\n");
    vlm_text_puts(&line, hint);
    vlm_progress_end();
    fputs(line.failed || !line.data ? "vlm: out of memory\n" : line.data, stderr);
    vlm_text_free(&line);
}

void vlm_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("", format, arguments);
    va_end(arguments);
}

int vlm_say_error(const vlm_error *error)
{
    vlm_say("%s", *error->message ? error->message : vlm_status_name(error->status));
    return VLM_EXIT_FAILED;
}

int vlm_say_usage(const char *format, ...)
{
    char hint[128];
    va_list arguments;
    snprintf(hint, sizeof hint, *verb_name ? "Try: vlm %s --help\n" : "Try: vlm help\n", verb_name);
    va_start(arguments, format);
    say(hint, format, arguments);
    va_end(arguments);
    return VLM_EXIT_USAGE;
}

int vlm_say_memory(void)
{
    vlm_say("out of memory");
    return VLM_EXIT_FAILED;
}

void vlm_progress(const char *what, uint64_t done, uint64_t total)
{
    static int watched = -1;
    static struct timespec last;
    struct timespec now;
    if (watched < 0)
        watched = isatty(STDERR_FILENO);
    clock_gettime(CLOCK_MONOTONIC, &now);
    double elapsed = (double)(now.tv_sec - last.tv_sec) + 1e-9 * (double)(now.tv_nsec - last.tv_nsec);
    if (!watched || (elapsed < 0.1 && done != total))
        return;
    last = now;
    progress_shown = true;
    if (total)
        fprintf(stderr, "\r\033[K%s: %llu/%llu", what, (unsigned long long)done, (unsigned long long)total);
    else
        fprintf(stderr, "\r\033[K%s: %llu", what, (unsigned long long)done);
    fflush(stderr);
}

void vlm_progress_end(void)
{
    if (progress_shown)
        fputs("\r\033[K", stderr);
    progress_shown = false;
}
