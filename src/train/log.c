/* The log of a run, a JSON object a line. */
#define _GNU_SOURCE
#include "train/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"

struct vlm_train_log {
    char *path;
    FILE *stream;
};

/* Bytes of the lines up to `step`. */
static off_t length_until(FILE *stream, size_t step)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    off_t kept = 0;
    while ((length = getline(&line, &capacity, stream)) > 0 && line[length - 1] == '\n') {
        json_t *object = json_loadb(line, (size_t)length, 0, NULL);
        json_int_t at = json_integer_value(json_object_get(object, "step"));
        bool keep = json_is_integer(json_object_get(object, "step")) && at >= 0 && (size_t)at <= step;
        json_decref(object);
        if (!keep)
            break;
        kept += length;
    }
    free(line);
    return kept;
}

vlm_status vlm_train_log_open(vlm_train_log **out, const char *folder, size_t step, vlm_error *error)
{
    vlm_train_log *log = *out = vlm_alloc_zero(1, sizeof *log);
    if (!log)
        return vlm_fail_memory(error, sizeof *log, "the log");
    log->path = vlm_join_path(folder, "log.jsonl");
    vlm_status status = log->path ? VLM_OK : vlm_fail_memory(error, strlen(folder), "a path");
    if (status == VLM_OK && !(log->stream = fopen(log->path, "a+")))
        status = vlm_fail(error, VLM_ERR_IO, "%s: cannot open: %s", log->path, strerror(errno));
    if (status == VLM_OK && (fseeko(log->stream, 0, SEEK_SET) != 0 || ftruncate(fileno(log->stream), length_until(log->stream, step)) != 0 ||
                             fseeko(log->stream, 0, SEEK_END) != 0))
        status = vlm_fail(error, VLM_ERR_IO, "%s: cannot cut it back to step %zu: %s", log->path, step, strerror(errno));
    if (status != VLM_OK) {
        vlm_train_log_close(log);
        *out = NULL;
    }
    return status;
}

vlm_status vlm_train_log_step(vlm_train_log *log, size_t step, const vlm_step_result *result, double samples_per_second, vlm_error *error)
{
    int written = fprintf(log->stream, "{\"step\": %zu, \"loss\": %.9g, \"rate\": %.9g, \"gradient_norm\": %.9g, \"samples_per_second\": %.1f", step, result->loss,
                          result->rate, result->gradient_norm, samples_per_second);
    if (written > 0 && result->temperature > 0)
        written = fprintf(log->stream, ", \"temperature\": %.9g", result->temperature);
    if (written < 0 || fputs("}\n", log->stream) < 0)
        return vlm_fail(error, VLM_ERR_IO, "%s: cannot write: %s", log->path, strerror(errno));
    return VLM_OK;
}

vlm_status vlm_train_log_flush(vlm_train_log *log, vlm_error *error)
{
    return fflush(log->stream) == 0 ? VLM_OK : vlm_fail(error, VLM_ERR_IO, "%s: cannot write: %s", log->path, strerror(errno));
}

void vlm_train_log_close(vlm_train_log *log)
{
    if (!log)
        return;
    if (log->stream)
        fclose(log->stream);
    free(log->path);
    free(log);
}

const char *vlm_train_log_path(const vlm_train_log *log)
{
    return log->path;
}
