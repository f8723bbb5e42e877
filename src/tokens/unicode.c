/* Properties of characters and the normal forms: see unicode.h.
 * Normalization is written here on utf8proc's decompositions and compositions, since its own reordering of
 * marks takes quadratic time, and since some characters are too new for the reference (not_normalized). */
#include "tokens/unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/memory.h"

typedef struct vlm_range {
    uint32_t first, last;
} vlm_range;

typedef struct vlm_range_value {
    uint32_t first, last, value;
} vlm_range_value;

#include "tokens/unicode_tables.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool in_ranges(const vlm_range *ranges, size_t count, uint32_t c)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && c >= ranges[low].first;
}

static uint32_t range_value(const vlm_range_value *ranges, size_t count, uint32_t c)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && c >= ranges[low].first ? ranges[low].value : 0;
}

bool vlm_is_white_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool vlm_is_numeric(uint32_t c)
{
    return c < 0x80 ? c >= '0' && c <= '9' : in_ranges(numeric, COUNT(numeric), c);
}

bool vlm_is_punctuation(uint32_t c)
{
    if (c < 0x80)
        return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    return in_ranges(punctuation, COUNT(punctuation), c);
}

bool vlm_is_word(uint32_t c)
{
    return in_ranges(word, COUNT(word), c);
}

bool vlm_is_nonspacing(uint32_t c)
{
    return c >= 0x300 && in_ranges(nonspacing, COUNT(nonspacing), c);
}

bool vlm_is_combining(uint32_t c)
{
    return c >= 0x300 && in_ranges(combining, COUNT(combining), c);
}

bool vlm_is_bert_control(uint32_t c)
{
    if (c < 0x7f)
        return c < 32 && c != '\t' && c != '\n' && c != '\r';
    return in_ranges(bert_control, COUNT(bert_control), c);
}

bool vlm_is_chinese(uint32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b73f) ||
           (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

unsigned vlm_script(uint32_t c)
{
    return range_value(scripts, COUNT(scripts), c);
}

size_t vlm_lowercase(uint32_t out[2], uint32_t c)
{
    if (c < 0x80) {
        out[0] = c >= 'A' && c <= 'Z' ? c + 32 : c;
        return 1;
    }
    if (c == 0x130) { /* capital I with dot above: the only form of two */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    for (size_t i = 0; c >= lowercase[0][0] && i < COUNT(lowercase); i++)
        if (lowercase[i][0] == c) {
            out[0] = lowercase[i][1];
            return 1;
        }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    return 1;
}

bool vlm_is_cased(uint32_t c)
{
    return in_ranges(cased, COUNT(cased), c);
}

bool vlm_is_case_ignorable(uint32_t c)
{
    return in_ranges(case_ignorable, COUNT(case_ignorable), c);
}

/* --- normal forms ------------------------------------------------------------------------------------ */

typedef struct characters {
    int32_t *data;
    size_t count, capacity;
    bool dated;
} characters;

static bool is_left_alone(const characters *text, int32_t c)
{
    return text->dated && in_ranges(not_normalized, COUNT(not_normalized), (uint32_t)c);
}

static int combining_class(const characters *text, int32_t c)
{
    if (c < 0x300 || is_left_alone(text, c))
        return 0;
    return utf8proc_get_property(c)->combining_class;
}

/* Append the full decomposition of c. */
static bool decompose(characters *out, uint32_t c, bool compatible)
{
    enum { LONGEST = 32 }; /* U+FDFA gives 18 */
    if (!vlm_grow(&out->data, &out->capacity, out->count + LONGEST, sizeof *out->data))
        return false;
    if (c < 0x80 || is_left_alone(out, (int32_t)c)) {
        out->data[out->count++] = (int32_t)c;
        return true;
    }
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, out->data + out->count, LONGEST, UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0), &boundary);
    if (n < 1 || n > LONGEST) { /* unassigned: as it is */
        out->data[out->count] = (int32_t)c;
        n = 1;
    }
    out->count += (size_t)n;
    return true;
}

/* Put each run of marks into the order of their classes, stably: insertion for the usual few, counting for a
 * hostile many. */
static bool reorder(characters *text)
{
    int32_t *copy = NULL;
    bool ok = true;
    for (size_t i = 0; i < text->count && ok;) {
        if (combining_class(text, text->data[i]) == 0) {
            i++;
            continue;
        }
        size_t end = i;
        while (end < text->count && combining_class(text, text->data[end]) != 0)
            end++;
        if (end - i <= 16) {
            for (size_t j = i + 1; j < end; j++) {
                int32_t c = text->data[j];
                size_t k = j;
                for (; k > i && combining_class(text, text->data[k - 1]) > combining_class(text, c); k--)
                    text->data[k] = text->data[k - 1];
                text->data[k] = c;
            }
        } else {
            size_t starts[257] = {0};
            int32_t *grown = vlm_resize(copy, end - i, sizeof *copy);
            ok = grown != NULL;
            if (ok) {
                copy = grown;
                for (size_t j = i; j < end; j++)
                    starts[combining_class(text, text->data[j]) + 1]++;
                for (size_t k = 1; k < 257; k++)
                    starts[k] += starts[k - 1];
                for (size_t j = i; j < end; j++)
                    copy[starts[combining_class(text, text->data[j])]++] = text->data[j];
                memcpy(text->data + i, copy, (end - i) * sizeof *copy);
            }
        }
        i = end;
    }
    free(copy);
    return ok;
}

/* Compose between the characters that the reference does not know, which nothing composes with. */
static void compose_all(characters *text)
{
    size_t out = 0;
    for (size_t i = 0; i < text->count;) {
        size_t end = i;
        while (end < text->count && !is_left_alone(text, text->data[end]))
            end++;
        if (end > i) {
            utf8proc_ssize_t n = utf8proc_normalize_utf32(text->data + i, (utf8proc_ssize_t)(end - i), UTF8PROC_STABLE | UTF8PROC_COMPOSE);
            size_t kept = n > 0 && (size_t)n <= end - i ? (size_t)n : end - i;
            memmove(text->data + out, text->data + i, kept * sizeof *text->data);
            out += kept;
        }
        if (end < text->count)
            text->data[out++] = text->data[end++];
        i = end;
    }
    text->count = out;
}

void vlm_unicode_normalize(vlm_text *out, const char *text, size_t length, bool compose, bool compatible, bool dated)
{
    characters all = {.dated = dated};
    bool ok = true;
    for (size_t i = 0; i < length && ok;) {
        unsigned c;
        i += vlm_utf8_decode(&c, text + i, length - i);
        ok = decompose(&all, c, compatible);
    }
    if (ok)
        ok = reorder(&all);
    if (ok && compose)
        compose_all(&all);
    for (size_t i = 0; i < all.count && ok; i++)
        vlm_text_put_utf8(out, (unsigned)all.data[i]);
    if (!ok)
        out->failed = true;
    free(all.data);
}

size_t vlm_grapheme_end(const char *text, size_t length, size_t at)
{
    utf8proc_int32_t state = 0;
    unsigned before, c;
    at += vlm_utf8_decode(&before, text + at, length - at);
    while (at < length) {
        size_t n = vlm_utf8_decode(&c, text + at, length - at);
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)before, (utf8proc_int32_t)c, &state))
            break;
        before = c;
        at += n;
    }
    return at;
}

bool vlm_unicode_stand_in(vlm_text *out, const char *text, size_t length, bool newest)
{
    bool found = false;
    size_t copied = 0;
    unsigned char lead = newest ? 0xd5 : 0xe0; /* of the first character in the tables */
    for (size_t i = 0; i < length;) {
        if ((unsigned char)text[i] < lead) {
            i++;
            continue;
        }
        unsigned c;
        size_t n = vlm_utf8_decode(&c, text + i, length - i);
        uint32_t instead = range_value(stand_ins, COUNT(stand_ins), c);
        if (!instead && newest)
            instead = range_value(newest_stand_ins, COUNT(newest_stand_ins), c);
        if (instead) {
            vlm_text_append(out, text + copied, i - copied);
            vlm_text_put_utf8(out, instead);
            copied = i + n;
            found = true;
        }
        i += n;
    }
    if (found)
        vlm_text_append(out, text + copied, length - copied);
    return found;
}
