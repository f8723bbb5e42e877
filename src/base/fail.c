/* Errors: a status and a sentence, made in one place. See include/vlm/error.h for what they promise. */
#include "base/fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const status_names[] = {
    [VLM_OK] = "ok",
    [VLM_ERR_ARGUMENT] = "bad argument",
    [VLM_ERR_IO] = "input or output failed",
    [VLM_ERR_FORMAT] = "bad format",
    [VLM_ERR_UNSUPPORTED] = "unsupported",
    [VLM_ERR_MISMATCH] = "mismatch",
    [VLM_ERR_LIMIT] = "limit exceeded",
    [VLM_ERR_MEMORY] = "out of memory",
    [VLM_ERR_CANCELLED] = "cancelled",
};

const char *vlm_status_name(vlm_status status)
{
    size_t i = (size_t)status;
    return i < sizeof status_names / sizeof *status_names ? status_names[i] : "unknown status";
}

/* A message may quote a hostile file: control characters (and with them terminal escapes and line
 * breaks) become '?', so that an error is always one printable line. A cut at the end of the buffer may
 * split a UTF-8 sequence: the stray bytes are dropped. */
static void make_printable(char *message)
{
    for (char *p = message; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    size_t length = strlen(message), start = length;
    while (start > 0 && length - start < 3 && ((unsigned char)message[start - 1] & 0xc0) == 0x80)
        start--;
    if (start > 0) {
        unsigned char lead = (unsigned char)message[start - 1];
        size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
        if (want > length - start + 1)
            message[start - 1] = 0;
    }
}

vlm_status vlm_fail(vlm_error *error, vlm_status status, const char *format, ...)
{
    if (!error)
        return status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    make_printable(error->message);
    error->status = status;
    return status;
}

vlm_status vlm_fail_prefix(vlm_error *error, const char *format, ...)
{
    if (!error)
        return VLM_ERR_ARGUMENT;
    char old[sizeof error->message];
    memcpy(old, error->message, sizeof old);
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    size_t room = n >= 0 && (size_t)n < sizeof error->message - 2 ? sizeof error->message - (size_t)n - 2 : 0;
    if (room) {
        memcpy(error->message + n, ": ", 2);
        memcpy(error->message + n + 2, old, room - 1);
        error->message[sizeof error->message - 1] = 0;
    }
    make_printable(error->message);
    return error->status;
}

vlm_status vlm_fail_memory(vlm_error *error, size_t bytes, const char *doing)
{
    return vlm_fail(error, VLM_ERR_MEMORY, "out of memory: %zu bytes wanted for %s", bytes, doing);
}
