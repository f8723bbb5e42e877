/* A growing text buffer. The first failed allocation is remembered and everything after does nothing, so
 * that a page of appends is checked once at its end. */
#ifndef VLM_BASE_TEXT_H
#define VLM_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct vlm_text {
    char *data; /* NUL-terminated when not NULL; free() */
    size_t length, capacity;
    bool failed;
} vlm_text;

void vlm_text_append(vlm_text *text, const void *bytes, size_t length);
void vlm_text_puts(vlm_text *text, const char *string);
void vlm_text_printf(vlm_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One Unicode code point as UTF-8. */
void vlm_text_put_utf8(vlm_text *text, unsigned code_point);
void vlm_text_free(vlm_text *text);

/* Read one code point of s[0..n), n > 0, into *code_point and return its length 1..4. Overlong forms,
 * surrogates, values past U+10FFFF, stray and missing bytes: U+FFFD and the length of the maximal
 * ill-formed part (Unicode 15, section 3.9), as Python's errors="replace" does. */
size_t vlm_utf8_decode(unsigned *code_point, const char *s, size_t n);
bool vlm_utf8_valid(const char *s, size_t n);

#endif
