/* Patterns of a tokenizer.json: literal strings, and regular expressions written for Oniguruma, run by PCRE2.
 * A pattern is shared by all threads; a matcher is one call's scratch. */
#ifndef VLM_TOKENS_REGEX_H
#define VLM_TOKENS_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "vlm/error.h"

typedef struct vlm_pattern vlm_pattern;

typedef struct vlm_found {
    size_t start, end;
} vlm_found;

/* Start with {0}. */
typedef struct vlm_matcher {
    void *match_data, *context; /* PCRE2's */
    vlm_found *found;           /* of the last vlm_pattern_find_all */
    size_t n_found, capacity;
    vlm_text stand_in;
} vlm_matcher;

/* `where` is what errors call the pattern. */
vlm_status vlm_pattern_regex(vlm_pattern **pattern, const char *regex, size_t length, const char *where, vlm_error *error);
vlm_status vlm_pattern_literal(vlm_pattern **pattern, const char *literal, size_t length, const char *where, vlm_error *error);
/* The text's characters are as new as OpenCLIP's regular expressions know them, not the other reference's. */
void vlm_pattern_set_newest(vlm_pattern *pattern);
void vlm_pattern_free(vlm_pattern *pattern);

/* All matches in text[0, length), left to right, into matcher->found. Text must be UTF-8. An empty match
 * right behind another match does not count. VLM_ERR_LIMIT when the pattern backtracks without end. */
vlm_status vlm_pattern_find_all(const vlm_pattern *pattern, vlm_matcher *matcher, const char *text, size_t length, vlm_error *error);
void vlm_matcher_free(vlm_matcher *matcher);

/* An Oniguruma expression (Ruby syntax, UTF-8) as a PCRE2 one; exposed for its test. */
vlm_status vlm_regex_translate(vlm_text *out, const char *regex, size_t length, const char *where, vlm_error *error);

#endif
