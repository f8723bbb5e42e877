/* Normalizers: text -> text, in the order of the file. Sequences are flattened.
 * Matches tokenizers 0.23 (normalizers/); the whole text goes through one step after the other.
 * Trap: "first" of Metaspace depends on which bytes came from the original's first character (vlm_span), so
 * each step maps `head` as well. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "tokens/engine.h"
#include "tokens/unicode.h"

/* GPT-2's 256 visible stand-ins for bytes. */
uint32_t vlm_byte_character(unsigned char byte)
{
    if ((byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae)
        return byte;
    if (byte <= 32)
        return 256u + byte;
    if (byte <= 0xa0)
        return 256u + 33u + (byte - 0x7fu);
    return 256u + 67u;
}

int vlm_character_byte(uint32_t c)
{
    if (c < 256)
        return vlm_byte_character((unsigned char)c) == c ? (int)c : -1;
    if (c <= 256 + 32)
        return (int)(c - 256);
    if (c < 256 + 67)
        return (int)(c - 256 - 33 + 0x7f);
    return c == 256 + 67 ? 0xad : -1;
}

void vlm_append_bytes_visible(vlm_text *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        vlm_text_put_utf8(out, vlm_byte_character((unsigned char)text[i]));
}

/* --- the steps: in[0, n) to out, *head from in's to out's --------------------------------------------- */

/* Steps that go character by character. */
typedef void character_step(vlm_text *out, uint32_t c, const char *bytes, size_t length, const vlm_normalizer *normalizer);

static void by_character(vlm_text *out, const char *in, size_t n, size_t *head, character_step *step, const vlm_normalizer *normalizer)
{
    size_t new_head = SIZE_MAX;
    for (size_t i = 0; i < n;) {
        unsigned c;
        if (i >= *head && new_head == SIZE_MAX)
            new_head = out->length;
        size_t length = vlm_utf8_decode(&c, in + i, n - i);
        step(out, c, in + i, length, normalizer);
        i += length;
    }
    *head = new_head == SIZE_MAX ? out->length : new_head;
}

static void lowercase_step(vlm_text *out, uint32_t c, const char *bytes, size_t length, const vlm_normalizer *normalizer)
{
    (void)normalizer;
    uint32_t lower[2];
    size_t n = vlm_lowercase(lower, c);
    if (n == 1 && lower[0] == c) {
        vlm_text_append(out, bytes, length);
        return;
    }
    for (size_t i = 0; i < n; i++)
        vlm_text_put_utf8(out, lower[i]);
}

static void strip_accents_step(vlm_text *out, uint32_t c, const char *bytes, size_t length, const vlm_normalizer *normalizer)
{
    (void)normalizer;
    if (!vlm_is_combining(c))
        vlm_text_append(out, bytes, length);
}

static void strip_nonspacing_step(vlm_text *out, uint32_t c, const char *bytes, size_t length, const vlm_normalizer *normalizer)
{
    (void)normalizer;
    if (!vlm_is_nonspacing(c))
        vlm_text_append(out, bytes, length);
}

static void bert_step(vlm_text *out, uint32_t c, const char *bytes, size_t length, const vlm_normalizer *normalizer)
{
    if (normalizer->clean_text && vlm_is_bert_control(c))
        return;
    if (normalizer->clean_text && vlm_is_white_space(c))
        vlm_text_puts(out, " ");
    else if (normalizer->chinese && vlm_is_chinese(c)) {
        vlm_text_puts(out, " ");
        vlm_text_append(out, bytes, length);
        vlm_text_puts(out, " ");
    } else {
        vlm_text_append(out, bytes, length);
    }
}

static void nmt_step(vlm_text *out, uint32_t c, const char *bytes, size_t length, const vlm_normalizer *normalizer)
{
    (void)normalizer;
    if ((c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f || c == 0x9f)
        return;
    if (c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 || (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd)
        vlm_text_puts(out, " ");
    else
        vlm_text_append(out, bytes, length);
}

static void byte_level_step(vlm_text *out, uint32_t c, const char *bytes, size_t length, const vlm_normalizer *normalizer)
{
    (void)c;
    (void)normalizer;
    vlm_append_bytes_visible(out, bytes, length);
}

static bool is_ascii(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] >= 0x80)
            return false;
    return true;
}

static void normal_form(vlm_text *out, const char *in, size_t n, size_t *head, bool compose, bool compatible)
{
    if (is_ascii(in, n)) {
        vlm_text_append(out, in, n);
        return;
    }
    vlm_text first = {0};
    vlm_unicode_normalize(&first, in, *head, compose, compatible, true);
    vlm_unicode_normalize(out, in, n, compose, compatible, true);
    if (first.failed)
        out->failed = true;
    *head = first.length < out->length ? first.length : out->length;
    vlm_text_free(&first);
}

static void strip(vlm_text *out, const char *in, size_t n, size_t *head, bool left, bool right)
{
    size_t from = 0, to = n, end = 0;
    unsigned c;
    bool leading = true;
    for (size_t i = 0; i < n;) {
        size_t length = vlm_utf8_decode(&c, in + i, n - i);
        bool space = vlm_is_white_space(c);
        i += length;
        if (leading && left && space)
            from = i;
        if (!space) {
            leading = false;
            end = i;
        }
    }
    if (right)
        to = end > from ? end : from;
    vlm_text_append(out, in + from, to - from);
    *head = *head > from ? *head - from : 0;
    if (*head > to - from)
        *head = to - from;
}

static vlm_status replace(const vlm_normalizer *normalizer, vlm_work *work, size_t *head)
{
    const char *in = work->text.data ? work->text.data : "";
    size_t n = work->text.length, at = 0, new_head = SIZE_MAX;
    if (n == 0)
        return VLM_OK;
    vlm_status status = vlm_pattern_find_all(normalizer->pattern, &work->matcher, in, n, work->error);
    if (status != VLM_OK)
        return status;
    for (size_t i = 0; i < work->matcher.n_found; i++) {
        vlm_found found = work->matcher.found[i];
        if (new_head == SIZE_MAX && found.start >= *head)
            new_head = work->other.length + (*head - at);
        vlm_text_append(&work->other, in + at, found.start - at);
        vlm_text_append(&work->other, normalizer->content, normalizer->content_length);
        if (new_head == SIZE_MAX && found.end >= *head)
            new_head = work->other.length;
        at = found.end;
    }
    if (new_head == SIZE_MAX)
        new_head = work->other.length + (*head - at);
    vlm_text_append(&work->other, in + at, n - at);
    *head = new_head;
    return VLM_OK;
}

/* SentencePiece's character map: the value of the first key in the double array that begins part; -1: none. */
static int64_t first_key(const vlm_normalizer *normalizer, const char *part, size_t length)
{
    const uint32_t *units = normalizer->units;
    size_t at = 0;
    if (normalizer->n_units == 0)
        return -1;
    uint32_t unit = units[0];
    at ^= (unit >> 10) << ((unit & 1u << 9) >> 6);
    for (size_t i = 0; i < length && part[i]; i++) {
        unsigned char c = (unsigned char)part[i];
        at ^= c;
        if (at >= normalizer->n_units)
            return -1;
        unit = units[at];
        if ((unit & (1u << 31 | 0xff)) != c)
            return -1;
        at ^= (unit >> 10) << ((unit & 1u << 9) >> 6);
        if (unit >> 8 & 1)
            return at < normalizer->n_units ? (int64_t)(units[at] & 0x7fffffff) : -1;
    }
    return -1;
}

/* Replace all of part by what the character map has for its beginning; false: nothing. */
static bool map_part(vlm_text *out, const vlm_normalizer *normalizer, const char *part, size_t length)
{
    int64_t key = first_key(normalizer, part, length);
    if (key < 0 || (size_t)key >= normalizer->strings_length)
        return false;
    const char *string = normalizer->strings + key;
    vlm_text_append(out, string, strnlen(string, normalizer->strings_length - (size_t)key));
    return true;
}

static void precompiled(vlm_text *out, const char *in, size_t n, size_t *head, const vlm_normalizer *normalizer)
{
    size_t new_head = SIZE_MAX;
    for (size_t i = 0; i < n;) {
        size_t end = vlm_grapheme_end(in, n, i);
        if (end - i < 6 && map_part(out, normalizer, in + i, end - i)) {
            i = end;
        }
        while (i < end) {
            unsigned c;
            size_t length = vlm_utf8_decode(&c, in + i, n - i);
            if (!map_part(out, normalizer, in + i, length))
                vlm_text_append(out, in + i, length);
            i += length;
            if (i >= *head && new_head == SIZE_MAX)
                new_head = out->length;
        }
        if (i >= *head && new_head == SIZE_MAX)
            new_head = out->length;
    }
    *head = new_head == SIZE_MAX ? out->length : new_head;
}

static vlm_status bert(const vlm_normalizer *normalizer, vlm_work *work, size_t *head)
{
    by_character(&work->other, work->text.data, work->text.length, head, bert_step, normalizer);
    if (normalizer->strip_accents) {
        vlm_work_swap_text(work);
        normal_form(&work->other, work->text.data ? work->text.data : "", work->text.length, head, false, false);
        vlm_work_swap_text(work);
        by_character(&work->other, work->text.data, work->text.length, head, strip_nonspacing_step, normalizer);
    }
    if (normalizer->lowercase) {
        vlm_work_swap_text(work);
        by_character(&work->other, work->text.data, work->text.length, head, lowercase_step, normalizer);
    }
    return VLM_OK;
}

static vlm_status normalize_one(const vlm_normalizer *normalizer, vlm_work *work, size_t *head)
{
    vlm_text *out = &work->other;
    const char *in = work->text.data ? work->text.data : "";
    size_t n = work->text.length;
    switch (normalizer->kind) {
    case VLM_NORMALIZE_NFC: normal_form(out, in, n, head, true, false); break;
    case VLM_NORMALIZE_NFD: normal_form(out, in, n, head, false, false); break;
    case VLM_NORMALIZE_NFKC: normal_form(out, in, n, head, true, true); break;
    case VLM_NORMALIZE_NFKD: normal_form(out, in, n, head, false, true); break;
    case VLM_NORMALIZE_LOWERCASE: by_character(out, in, n, head, lowercase_step, normalizer); break;
    case VLM_NORMALIZE_STRIP: strip(out, in, n, head, normalizer->strip_left, normalizer->strip_right); break;
    case VLM_NORMALIZE_STRIP_ACCENTS: by_character(out, in, n, head, strip_accents_step, normalizer); break;
    case VLM_NORMALIZE_REPLACE: return replace(normalizer, work, head);
    case VLM_NORMALIZE_PREPEND:
        if (n)
            vlm_text_append(out, normalizer->content, normalizer->content_length);
        vlm_text_append(out, in, n);
        if (*head)
            *head += normalizer->content_length;
        break;
    case VLM_NORMALIZE_APPEND:
        vlm_text_append(out, in, n);
        if (n)
            vlm_text_append(out, normalizer->content, normalizer->content_length);
        break;
    case VLM_NORMALIZE_BERT: return bert(normalizer, work, head);
    case VLM_NORMALIZE_PRECOMPILED: precompiled(out, in, n, head, normalizer); break;
    case VLM_NORMALIZE_NMT: by_character(out, in, n, head, nmt_step, normalizer); break;
    case VLM_NORMALIZE_BYTE_LEVEL: by_character(out, in, n, head, byte_level_step, normalizer); break;
    }
    return VLM_OK;
}

vlm_status vlm_normalize(const vlm_normalizers *list, vlm_work *work, size_t *head)
{
    for (size_t i = 0; i < list->count && work->text.length; i++) {
        vlm_status status = normalize_one(&list->items[i], work, head);
        if (status != VLM_OK)
            return status;
        vlm_work_swap_text(work);
        if (work->text.failed || work->other.failed)
            return vlm_work_memory(work);
    }
    return VLM_OK;
}

/* --- reading them ------------------------------------------------------------------------------------- */

static vlm_status load_content(vlm_normalizer *normalizer, const json_t *json, const char *key, const char *where, vlm_error *error)
{
    const json_t *value = json_object_get(json, key);
    if (!json_is_string(value))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: a normalizer without its \"%s\"", where, key);
    normalizer->content_length = json_string_length(value);
    normalizer->content = vlm_copy_text(json_string_value(value), normalizer->content_length);
    return normalizer->content ? VLM_OK : vlm_fail_memory(error, normalizer->content_length, where);
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

static vlm_status decode_base64(vlm_text *out, const char *s, size_t n, const char *where, vlm_error *error)
{
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < n && s[i] != '='; i++) {
        int value = base64_value(s[i]);
        if (value < 0)
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: precompiled_charsmap: byte %zu is not base64", where, i);
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            char byte = (char)(bits >> count & 0xff);
            vlm_text_append(out, &byte, 1);
        }
    }
    return out->failed ? vlm_fail_memory(error, n, where) : VLM_OK;
}

/* precompiled_charsmap: the array's size in bytes, the array (both little-endian), then the strings. */
static vlm_status load_precompiled(vlm_normalizer *normalizer, const json_t *json, const char *where, vlm_error *error)
{
    const json_t *value = json_object_get(json, "precompiled_charsmap");
    if (!value || json_is_null(value))
        return VLM_OK;
    if (!json_is_string(value))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: precompiled_charsmap is not a string", where);
    vlm_text map = {0};
    vlm_status status = decode_base64(&map, json_string_value(value), json_string_length(value), where, error);
    const unsigned char *b = (const unsigned char *)map.data;
    size_t size = 0;
    if (status == VLM_OK && map.length >= 4)
        size = b[0] | b[1] << 8 | b[2] << 16 | (size_t)b[3] << 24;
    if (status == VLM_OK && (map.length < 4 || size > map.length - 4 || size % 4))
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: precompiled_charsmap: %zu bytes that announce an array of %zu", where, map.length, size);
    if (status == VLM_OK) {
        normalizer->n_units = size / 4;
        normalizer->strings_length = map.length - 4 - size;
        normalizer->units = vlm_alloc(normalizer->n_units + 1, sizeof *normalizer->units);
        normalizer->strings = vlm_copy_text(map.data + 4 + size, normalizer->strings_length);
        if (!normalizer->units || !normalizer->strings)
            status = vlm_fail_memory(error, map.length, where);
    }
    for (size_t i = 0; status == VLM_OK && i < normalizer->n_units; i++) {
        const unsigned char *u = b + 4 + 4 * i;
        normalizer->units[i] = (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
    }
    if (status == VLM_OK && !vlm_utf8_valid(normalizer->strings, normalizer->strings_length))
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: precompiled_charsmap: its strings are not UTF-8", where);
    vlm_text_free(&map);
    return status;
}

vlm_status vlm_pattern_load(vlm_pattern **out, const json_t *json, const char *where, vlm_error *error)
{
    const json_t *pattern = json_object_get(json, "pattern");
    const json_t *string = json_object_get(pattern, "String"), *regex = json_object_get(pattern, "Regex");
    if (json_is_string(string))
        return vlm_pattern_literal(out, json_string_value(string), json_string_length(string), where, error);
    if (json_is_string(regex))
        return vlm_pattern_regex(out, json_string_value(regex), json_string_length(regex), where, error);
    return vlm_fail(error, VLM_ERR_FORMAT, "%s: a pattern that is neither {\"String\": ...} nor {\"Regex\": ...}", where);
}

static bool flag(const json_t *json, const char *key, bool fallback)
{
    const json_t *value = json_object_get(json, key);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

static vlm_status load_one(vlm_normalizer *normalizer, const char *type, const json_t *json, const char *where, vlm_error *error)
{
    static const struct {
        const char *name;
        vlm_normalizer_kind kind;
    } kinds[] = {{"NFC", VLM_NORMALIZE_NFC}, {"NFD", VLM_NORMALIZE_NFD}, {"NFKC", VLM_NORMALIZE_NFKC}, {"NFKD", VLM_NORMALIZE_NFKD}, {"Lowercase", VLM_NORMALIZE_LOWERCASE}, {"Strip", VLM_NORMALIZE_STRIP}, {"StripAccents", VLM_NORMALIZE_STRIP_ACCENTS}, {"Replace", VLM_NORMALIZE_REPLACE}, {"Prepend", VLM_NORMALIZE_PREPEND}, {"Append", VLM_NORMALIZE_APPEND}, {"BertNormalizer", VLM_NORMALIZE_BERT}, {"Precompiled", VLM_NORMALIZE_PRECOMPILED}, {"Nmt", VLM_NORMALIZE_NMT}, {"ByteLevel", VLM_NORMALIZE_BYTE_LEVEL}};
    size_t i = 0;
    while (i < sizeof kinds / sizeof *kinds && strcmp(type, kinds[i].name) != 0)
        i++;
    if (i == sizeof kinds / sizeof *kinds)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: unknown normalizer \"%.60s\"", where, type);
    normalizer->kind = kinds[i].kind;
    normalizer->strip_left = flag(json, "strip_left", true);
    normalizer->strip_right = flag(json, "strip_right", true);
    normalizer->clean_text = flag(json, "clean_text", true);
    normalizer->chinese = flag(json, "handle_chinese_chars", true);
    normalizer->lowercase = flag(json, "lowercase", true);
    normalizer->strip_accents = flag(json, "strip_accents", normalizer->lowercase);
    if (normalizer->kind == VLM_NORMALIZE_PREPEND)
        return load_content(normalizer, json, "prepend", where, error);
    if (normalizer->kind == VLM_NORMALIZE_APPEND)
        return load_content(normalizer, json, "append", where, error);
    if (normalizer->kind == VLM_NORMALIZE_PRECOMPILED)
        return load_precompiled(normalizer, json, where, error);
    if (normalizer->kind != VLM_NORMALIZE_REPLACE)
        return VLM_OK;
    vlm_status status = load_content(normalizer, json, "content", where, error);
    return status == VLM_OK ? vlm_pattern_load(&normalizer->pattern, json, where, error) : status;
}

static vlm_status load(vlm_normalizers *list, const json_t *json, const char *where, vlm_error *error, int depth)
{
    if (!json || json_is_null(json))
        return VLM_OK;
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: a normalizer without a type", where);
    if (strcmp(type, "Sequence") == 0) {
        const json_t *items = json_object_get(json, "normalizers");
        if (!json_is_array(items) || depth > 16)
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: a normalizer sequence without its list, or nested too deep", where);
        for (size_t i = 0; i < json_array_size(items); i++) {
            vlm_status status = load(list, json_array_get(items, i), where, error, depth + 1);
            if (status != VLM_OK)
                return status;
        }
        return VLM_OK;
    }
    if (!vlm_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items))
        return vlm_fail_memory(error, sizeof *list->items, where);
    list->items[list->count] = (vlm_normalizer){0};
    return load_one(&list->items[list->count++], type, json, where, error);
}

vlm_status vlm_normalizers_load(vlm_normalizers *list, const json_t *json, const char *where, vlm_error *error)
{
    return load(list, json, where, error, 0);
}

void vlm_normalizers_free(vlm_normalizers *list)
{
    for (size_t i = 0; i < list->count; i++) {
        vlm_pattern_free(list->items[i].pattern);
        free(list->items[i].content);
        free(list->items[i].units);
        free(list->items[i].strings);
    }
    free(list->items);
    *list = (vlm_normalizers){0};
}
