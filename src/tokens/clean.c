/* OpenCLIP's cleaning of a text before its tokenizer sees it: ftfy's fix_text, HTML entities, white space,
 * lower case. text -> text.
 * Matches open_clip 3.3 (tokenizer.get_clean_fn) with ftfy 6.3 and Python's html and str, but for one step:
 * the repair of wrongly decoded text (ftfy's fix_encoding) is left out.
 * Trap: ftfy works line by line and repeats its steps until nothing changes, and the first "<" ends the
 * unescaping of entities for that line and all after it. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/fail.h"
#include "base/memory.h"
#include "tokens/engine.h"
#include "tokens/unicode.h"

typedef struct html_entity {
    const char *name, *text;
    unsigned flags; /* ENTITY_ */
} html_entity;

enum { ENTITY_BARE = 1, ENTITY_FULL = 2, ENTITY_CAPITALS = 4 };

#include "tokens/html_entities.h"

enum {
    LONGEST_SEGMENT = 1000000, /* ftfy's max_decode_length, in code points */
    MOST_ROUNDS = 100          /* of ftfy's steps on one segment: entities nested deeper are no text */
};

/* What Windows-1252 has for the bytes 0x80 to 0x9f; the undefined ones are themselves. */
static const uint16_t windows_1252[32] = {
    0x20ac, 0x81, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152, 0x8d, 0x17d, 0x8f,
    0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161, 0x203a, 0x153, 0x9d, 0x17e, 0x178,
};

/* Python's str.isspace. */
static bool is_space(uint32_t c)
{
    return vlm_is_white_space(c) || (c >= 0x1c && c <= 0x1f);
}

/* --- HTML entities ------------------------------------------------------------------------------------ */

static const html_entity *find_entity(const char *name, size_t length)
{
    size_t low = 0, high = sizeof entities / sizeof *entities;
    while (low < high) {
        size_t middle = (low + high) / 2;
        size_t n = strlen(entities[middle].name);
        int order = memcmp(entities[middle].name, name, n < length ? n : length);
        if (order == 0 && n == length)
            return &entities[middle];
        if (order < 0 || (order == 0 && n < length))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool is_invalid_point(uint32_t c)
{
    return (c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || (c >= 0x7f && c <= 0x9f) || (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;
}

/* A character reference's number, as html.unescape takes it. */
static void put_reference(vlm_text *out, uint32_t number)
{
    if (number == 0)
        vlm_text_put_utf8(out, 0xfffd);
    else if (number == 0xd)
        vlm_text_puts(out, "\r");
    else if (number >= 0x80 && number <= 0x9f)
        vlm_text_put_utf8(out, windows_1252[number - 0x80]);
    else if ((number >= 0xd800 && number <= 0xdfff) || number > 0x10ffff)
        vlm_text_put_utf8(out, 0xfffd);
    else if (!is_invalid_point(number))
        vlm_text_put_utf8(out, number);
}

static int digit_value(char c, bool hexadecimal)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (hexadecimal && c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return hexadecimal && c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "#123" or "#x1F" at s (behind the &): its length with a semicolon when there is one, 0 when it is none. */
static size_t read_reference(const char *s, size_t n, uint32_t *number, bool *closed)
{
    if (n < 2 || s[0] != '#')
        return 0;
    bool hexadecimal = s[1] == 'x' || s[1] == 'X';
    size_t i = hexadecimal ? 2 : 1, first = i;
    uint64_t value = 0;
    for (int digit; i < n && (digit = digit_value(s[i], hexadecimal)) >= 0; i++)
        if (value <= 0x10ffff)
            value = value * (hexadecimal ? 16 : 10) + (uint64_t)digit;
    if (i == first)
        return 0;
    *number = value > 0x10ffff ? 0x110000 : (uint32_t)value;
    *closed = i < n && s[i] == ';';
    return i + *closed;
}

/* Python's html.unescape: entities without semicolon too, and the longest name that begins a word. */
static void unescape_python(vlm_text *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        const char *amp = memchr(s + i, '&', n - i);
        size_t stop = amp ? (size_t)(amp - s) : n;
        vlm_text_append(out, s + i, stop - i);
        if (!amp)
            return;
        uint32_t number;
        bool closed;
        i = stop + 1;
        size_t length = read_reference(s + i, n - i, &number, &closed);
        if (length) {
            put_reference(out, number);
            i += length;
            continue;
        }
        /* Up to 32 characters that could be a name, then perhaps a semicolon. */
        size_t end = i, count = 0;
        while (end < n && count < 32 && !strchr("\t\n\f <&#;", s[end])) {
            unsigned c;
            end += vlm_utf8_decode(&c, s + end, n - end);
            count++;
        }
        const html_entity *entity = NULL;
        size_t name = end - i;
        if (name && end < n && s[end] == ';' && (entity = find_entity(s + i, name)) != NULL && entity->flags & ENTITY_FULL) {
            vlm_text_puts(out, entity->text);
            i = end + 1;
            continue;
        }
        for (entity = NULL; name >= 2; name--)
            if ((entity = find_entity(s + i, name)) != NULL && entity->flags & ENTITY_BARE)
                break;
            else
                entity = NULL;
        if (entity) {
            vlm_text_puts(out, entity->text);
            i += name;
        } else {
            vlm_text_puts(out, "&");
        }
    }
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* What "&name;" or "&#number;" of at most 24 characters, whose & is before s, means to ftfy. */
typedef enum meaning { NO_ENTITY, KEPT, AMPERSAND, REPLACED } meaning;

static meaning read_entity(vlm_text *out, const char *s, size_t n, size_t *length)
{
    bool numeric = n > 0 && s[0] == '#';
    size_t name = numeric, at = name;
    while (at < n && at - name <= 24 && is_alphanumeric(s[at]))
        at++;
    if (at == name || at - name > 24 || at >= n || s[at] != ';')
        return NO_ENTITY;
    const html_entity *entity = numeric ? NULL : find_entity(s + name, at - name);
    uint32_t number = 0;
    bool closed = false;
    *length = at + 1;
    if (entity && entity->flags & (ENTITY_FULL | ENTITY_CAPITALS)) {
        if (strcmp(entity->text, "&") == 0)
            return AMPERSAND;
        vlm_text_puts(out, entity->text);
        return REPLACED;
    }
    if (!numeric || !read_reference(s, at + 1, &number, &closed) || !closed || number == ';')
        return KEPT;
    if (number == '&')
        return AMPERSAND;
    put_reference(out, number);
    return REPLACED;
}

/* ftfy's unescape_html: entities with a semicolon, and some in capitals. An & that comes of one may begin the
 * next (&amp;amp;): ftfy finds that in its next round, which this saves. */
static void unescape_ftfy(vlm_text *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        const char *amp = memchr(s + i, '&', n - i);
        size_t stop = amp ? (size_t)(amp - s) : n, length = 0;
        vlm_text_append(out, s + i, stop - i);
        if (!amp)
            return;
        i = stop + 1;
        meaning found;
        while ((found = read_entity(out, s + i, n - i, &length)) == AMPERSAND)
            i += length;
        if (found != REPLACED)
            vlm_text_puts(out, "&");
        if (found == KEPT)
            vlm_text_append(out, s + i, length);
        if (found != NO_ENTITY)
            i += length;
    }
}

/* --- ftfy's steps, one character at a time ------------------------------------------------------------- */

static const char *latin_ligature(uint32_t c)
{
    static const struct {
        uint32_t c;
        const char *text;
    } table[] = {
        {0x132, "IJ"}, {0x133, "ij"}, {0x149, "\u02bcn"}, {0x1f1, "DZ"}, {0x1f2, "Dz"}, {0x1f3, "dz"}, {0x1c4, "D\u017d"}, {0x1c5, "D\u017e"},
        {0x1c6, "d\u017e"}, {0x1c7, "LJ"}, {0x1c8, "Lj"}, {0x1c9, "lj"}, {0x1ca, "NJ"}, {0x1cb, "Nj"}, {0x1cc, "nj"}, {0xfb00, "ff"},
        {0xfb01, "fi"}, {0xfb02, "fl"}, {0xfb03, "ffi"}, {0xfb04, "ffl"}, {0xfb05, "\u017ft"}, {0xfb06, "st"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].c == c)
            return table[i].text;
    return NULL;
}

/* Width, curly quotes: what comes of a character that the C1 and ligature steps have passed. */
static void put_narrow(vlm_text *out, uint32_t c)
{
    char utf8[4];
    if (c == 0x3000) {
        vlm_text_puts(out, " ");
    } else if (c >= 0xff01 && c < 0xfff0) {
        utf8[0] = (char)(0xe0 | c >> 12);
        utf8[1] = (char)(0x80 | (c >> 6 & 0x3f));
        utf8[2] = (char)(0x80 | (c & 0x3f));
        vlm_unicode_normalize(out, utf8, 3, true, true, false);
    } else if (c == 0x2bc || (c >= 0x2018 && c <= 0x201b)) {
        vlm_text_puts(out, "'");
    } else if (c >= 0x201c && c <= 0x201f) {
        vlm_text_puts(out, "\"");
    } else {
        vlm_text_put_utf8(out, c);
    }
}

static void narrow_all(vlm_text *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned c;
        if ((unsigned char)s[i] < 0x80) { /* the usual case */
            size_t from = i;
            while (i < n && (unsigned char)s[i] < 0x80)
                i++;
            vlm_text_append(out, s + from, i - from);
            continue;
        }
        i += vlm_utf8_decode(&c, s + i, n - i);
        if (c >= 0x80 && c <= 0x9f)
            c = windows_1252[c - 0x80];
        const char *ligature = latin_ligature(c);
        if (!ligature)
            put_narrow(out, c);
        for (size_t at = 0, size = ligature ? strlen(ligature) : 0; at < size;) {
            unsigned part;
            at += vlm_utf8_decode(&part, ligature + at, size - at);
            put_narrow(out, part);
        }
    }
}

/* Line breaks become \n, terminal escapes and control characters go. */
static void fix_breaks(vlm_text *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned c;
        size_t size = vlm_utf8_decode(&c, s + i, n - i);
        if (c == '\r' && i + 1 < n && s[i + 1] == '\n')
            size = 2;
        if (c == '\r' || c == 0x2028 || c == 0x2029 || c == 0x85)
            vlm_text_puts(out, "\n");
        else
            vlm_text_append(out, s + i, size);
        i += size;
    }
}

/* ESC [ digits and semicolons, a letter: its length; 0 when it is none. */
static size_t terminal_escape(const char *s, size_t n)
{
    size_t i = 2;
    if (n < 3 || s[0] != 0x1b || s[1] != '[')
        return 0;
    while (i < n) {
        unsigned c;
        size_t size = vlm_utf8_decode(&c, s + i, n - i);
        if (c != ';' && utf8proc_category((utf8proc_int32_t)c) != UTF8PROC_CATEGORY_ND)
            break;
        i += size;
    }
    return i < n && ((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z')) ? i + 1 : 0;
}

static bool is_removed(uint32_t c)
{
    return c <= 8 || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || (c >= 0x206a && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffc);
}

static void drop_controls(vlm_text *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned c;
        size_t escape = s[i] == 0x1b ? terminal_escape(s + i, n - i) : 0;
        if (escape) {
            i += escape;
            continue;
        }
        size_t size = vlm_utf8_decode(&c, s + i, n - i);
        if (!is_removed(c))
            vlm_text_append(out, s + i, size);
        i += size;
    }
}

static void swap_texts(vlm_text *a, vlm_text *b)
{
    vlm_text swap = *a;
    *a = *b;
    *b = swap;
    b->length = 0;
}

/* ftfy.fix_and_explain on one segment, appended to out. */
static vlm_status fix_segment(vlm_text *out, const char *s, size_t n, bool unescape, vlm_error *error)
{
    vlm_text before = {0}, now = {0}, next = {0};
    vlm_status status = VLM_OK;
    vlm_text_append(&now, s, n);
    for (int round = 0;; round++) {
        before.length = 0;
        vlm_text_append(&before, now.data, now.length);
        if (unescape) {
            unescape_ftfy(&next, now.data, now.length);
            swap_texts(&now, &next);
        }
        narrow_all(&next, now.data, now.length);
        swap_texts(&now, &next);
        fix_breaks(&next, now.data, now.length);
        swap_texts(&now, &next);
        drop_controls(&next, now.data, now.length);
        swap_texts(&now, &next);
        vlm_unicode_normalize(&next, now.data ? now.data : "", now.length, true, false, false);
        swap_texts(&now, &next);
        if (before.failed || now.failed || next.failed) {
            status = vlm_fail_memory(error, n, "cleaning a text");
            break;
        }
        if (now.length == before.length && (now.length == 0 || memcmp(now.data, before.data, now.length) == 0))
            break;
        if (round >= MOST_ROUNDS) {
            status = vlm_fail(error, VLM_ERR_LIMIT, "cleaning a text: HTML entities nested more than %d deep", MOST_ROUNDS);
            break;
        }
    }
    if (status == VLM_OK && now.length)
        vlm_text_append(out, now.data, now.length);
    vlm_text_free(&before);
    vlm_text_free(&now);
    vlm_text_free(&next);
    return status;
}

static bool is_plain(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)s[i] < 0x20 && s[i] != '\n' && s[i] != '\t' && s[i] != '\f') || (unsigned char)s[i] >= 0x7f || s[i] == '&')
            return false;
    return true;
}

/* ftfy.fix_text: by lines of at most a million characters. */
static vlm_status fix_text(vlm_text *out, const char *s, size_t n, vlm_error *error)
{
    bool unescape = true;
    vlm_status status = VLM_OK;
    for (size_t i = 0; i < n && status == VLM_OK;) {
        size_t end = i, count = 0;
        while (end < n && count < LONGEST_SEGMENT) {
            unsigned c;
            end += vlm_utf8_decode(&c, s + end, n - end);
            count++;
            if (c == '\n')
                break;
        }
        if (memchr(s + i, '<', end - i))
            unescape = false;
        if (is_plain(s + i, end - i))
            vlm_text_append(out, s + i, end - i);
        else
            status = fix_segment(out, s + i, end - i, unescape, error);
        i = end;
    }
    return status;
}

/* --- white space and case ------------------------------------------------------------------------------ */

/* " ".join(text.split()), which leaves nothing to strip. */
static void join_words(vlm_text *out, const char *s, size_t n)
{
    bool started = false, gap = false;
    for (size_t i = 0; i < n;) {
        unsigned c;
        size_t size = vlm_utf8_decode(&c, s + i, n - i);
        if (is_space(c)) {
            gap = true;
        } else {
            if (gap && started)
                vlm_text_puts(out, " ");
            vlm_text_append(out, s + i, size);
            started = true;
            gap = false;
        }
        i += size;
    }
}

/* Is the sigma at s[at, at + 2) the last letter of a word? A cased letter before it, none behind it, characters
 * without case in between do not count. */
static bool is_final_sigma(const char *s, size_t n, size_t at)
{
    unsigned c = 0;
    bool before = false;
    for (size_t i = at; i > 0;) {
        size_t start = i - 1;
        while (start > 0 && ((unsigned char)s[start] & 0xc0) == 0x80)
            start--;
        vlm_utf8_decode(&c, s + start, i - start);
        i = start;
        if (!vlm_is_case_ignorable(c)) {
            before = vlm_is_cased(c);
            break;
        }
    }
    if (!before)
        return false;
    for (size_t i = at + 2; i < n;) {
        i += vlm_utf8_decode(&c, s + i, n - i);
        if (!vlm_is_case_ignorable(c))
            return !vlm_is_cased(c);
    }
    return true;
}

/* Python's str.lower. */
static void lower(vlm_text *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned c;
        size_t size = vlm_utf8_decode(&c, s + i, n - i);
        if (c == 0x3a3)
            vlm_text_put_utf8(out, is_final_sigma(s, n, i) ? 0x3c2 : 0x3c3);
        else if (c == 0x130)
            vlm_text_puts(out, "i\u0307");
        else
            vlm_text_put_utf8(out, (unsigned)utf8proc_tolower((utf8proc_int32_t)c));
        i += size;
    }
}

/* Underscores are spaces, other ASCII punctuation goes. */
static void drop_punctuation(vlm_text *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '_')
            vlm_text_puts(out, " ");
        else if ((unsigned char)s[i] >= 0x80 || !vlm_is_punctuation((unsigned char)s[i]))
            vlm_text_append(out, s + i, 1);
    }
}

vlm_status vlm_openclip_clean(vlm_text *out, const char *text, size_t length, vlm_clean clean, vlm_error *error)
{
    vlm_text now = {0}, next = {0};
    vlm_status status = fix_text(&now, text, length, error);
    for (int twice = 0; twice < 2 && status == VLM_OK; twice++) {
        unescape_python(&next, now.data ? now.data : "", now.length);
        swap_texts(&now, &next);
    }
    if (status == VLM_OK && clean == VLM_CLEAN_CANONICALIZE) {
        drop_punctuation(&next, now.data ? now.data : "", now.length);
        swap_texts(&now, &next);
        lower(&next, now.data ? now.data : "", now.length);
        swap_texts(&now, &next);
    }
    if (status == VLM_OK) {
        join_words(&next, now.data ? now.data : "", now.length);
        swap_texts(&now, &next);
        if (clean == VLM_CLEAN_LOWER)
            lower(out, now.data ? now.data : "", now.length);
        else
            vlm_text_append(out, now.data ? now.data : "", now.length);
    }
    if (status == VLM_OK && (now.failed || next.failed || out->failed))
        status = vlm_fail_memory(error, length, "cleaning a text");
    vlm_text_free(&now);
    vlm_text_free(&next);
    return status;
}
