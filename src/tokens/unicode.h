/* Properties of characters as the reference's libraries know them. Those are of different ages: the tables
 * (unicode_tables.h, written by tools/unicode_tables.py from the reference itself) hold what utf8proc and
 * PCRE2 would answer differently. */
#ifndef VLM_TOKENS_UNICODE_H
#define VLM_TOKENS_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

bool vlm_is_white_space(uint32_t c);  /* White_Space */
bool vlm_is_numeric(uint32_t c);      /* general category N */
bool vlm_is_punctuation(uint32_t c);  /* P of the reference's age, and ASCII's symbols */
bool vlm_is_word(uint32_t c);         /* \w of Unicode: alphabetic, mark, decimal digit, connector, joiner */
bool vlm_is_nonspacing(uint32_t c);   /* Mn of the reference's age */
bool vlm_is_combining(uint32_t c);    /* M of the reference's age */
bool vlm_is_bert_control(uint32_t c); /* C but for tab, newline and return; U+0000 and U+FFFD too */
bool vlm_is_chinese(uint32_t c);      /* BERT's blocks of CJK ideographs */
/* A number for the script as SentencePiece groups them; 0: any. Hiragana and katakana count as Han. */
unsigned vlm_script(uint32_t c);
/* The lower-case form, 1 to 2 code points, their count returned; no context (no final sigma). */
size_t vlm_lowercase(uint32_t out[2], uint32_t c);

bool vlm_is_cased(uint32_t c);          /* decide a final sigma: cased and not ignorable */
bool vlm_is_case_ignorable(uint32_t c);

/* Normalize text to NFC, NFD, NFKC or NFKD, appended to out. Time is linear, whatever the marks.
 * dated: leave alone the characters that are too new for the reference's normalizers; Python's are not. */
void vlm_unicode_normalize(vlm_text *out, const char *text, size_t length, bool compose, bool compatible, bool dated);
/* End of the extended grapheme cluster that begins at text[at]; at < length. */
size_t vlm_grapheme_end(const char *text, size_t length, size_t at);

/* Write text to out with each character that PCRE2 is too old for replaced by one of the same category and
 * length in UTF-8. False, and nothing written, when there is none. newest: of those too that only OpenCLIP's
 * regular expressions know. */
bool vlm_unicode_stand_in(vlm_text *out, const char *text, size_t length, bool newest);

#endif
