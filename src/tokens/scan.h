/* Walking over JSON text without building a tree: vocabularies are megabytes of it, and part of every start. */
#ifndef VLM_TOKENS_SCAN_H
#define VLM_TOKENS_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "vlm/error.h"

typedef struct vlm_scan {
    const char *at, *end, *begin;
    const char *where; /* what errors call the text */
    vlm_error *error;
    vlm_text string;   /* the last string read that needed unescaping */
} vlm_scan;

void vlm_scan_open(vlm_scan *scan, const char *text, size_t length, const char *where, vlm_error *error);
void vlm_scan_close(vlm_scan *scan);
vlm_status vlm_scan_fail(vlm_scan *scan, const char *wanted);
/* Skip white space; the next character, or 0 at the end. */
char vlm_scan_peek(vlm_scan *scan);
/* Skip white space and this character; false, and nothing skipped but space, when another comes. */
bool vlm_scan_take(vlm_scan *scan, char c);
/* A string; valid until the next one is read. It is checked to be UTF-8 and may hold NULs. */
vlm_status vlm_scan_string(vlm_scan *scan, const char **string, size_t *length);
/* An integer of 0 to 2^32 - 1. */
vlm_status vlm_scan_id(vlm_scan *scan, unsigned *id);
/* A number, converted by the same steps as the reference's JSON reader, so that scores are equal bit for bit. */
vlm_status vlm_scan_number(vlm_scan *scan, double *number);
/* Any value, by its brackets and quotes alone. */
vlm_status vlm_scan_skip(vlm_scan *scan);

/* Write a string's inside as JSON wants it: quotes, backslashes and control characters escaped. */
void vlm_text_put_json(vlm_text *out, const char *string, size_t length);

#endif
