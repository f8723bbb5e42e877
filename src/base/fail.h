/* Filling a vlm_error: the one place where messages are made. */
#ifndef VLM_BASE_FAIL_H
#define VLM_BASE_FAIL_H

#include <stddef.h>

#include "vlm/error.h"

/* Write status and the formatted sentence into error (NULL allowed) and return status, so that a
 * function can end with `return vlm_fail(error, VLM_ERR_FORMAT, "...", ...)`. */
vlm_status vlm_fail(vlm_error *error, vlm_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Put "prefix: " before a message that a callee wrote (a file's name before what is wrong inside it).
 * Returns the status that error holds. */
vlm_status vlm_fail_prefix(vlm_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The usual sentence for an allocation of `bytes` that failed while `doing` ("reading car.png"). */
vlm_status vlm_fail_memory(vlm_error *error, size_t bytes, const char *doing);

#endif
