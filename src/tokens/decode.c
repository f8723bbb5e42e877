/* Decoders: tokens back to text. Each works on the list of token strings and gives another list, which is
 * joined at the end. Matches tokenizers 0.23 (decoders/). */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "tokens/engine.h"

/* A list of strings, one after the other in a text. */
typedef struct strings {
    vlm_text text;
    size_t *ends, count, capacity;
} strings;

static bool end_string(strings *list)
{
    if (list->text.failed || !vlm_grow(&list->ends, &list->capacity, list->count + 1, sizeof *list->ends))
        return false;
    list->ends[list->count++] = list->text.length;
    return true;
}

static void strings_free(strings *list)
{
    vlm_text_free(&list->text);
    free(list->ends);
}

static void replace_all(vlm_text *out, const char *s, size_t n, const char *what, size_t what_length, const char *with, size_t with_length)
{
    for (size_t i = 0; i < n;) {
        if (what_length && n - i >= what_length && memcmp(s + i, what, what_length) == 0) {
            vlm_text_append(out, with, with_length);
            i += what_length;
        } else {
            vlm_text_append(out, s + i++, 1);
        }
    }
}

/* The clean-up of spaces that WordPiece's decoder does, token by token. */
static bool clean_up(vlm_text *out, const char *s, size_t n)
{
    static const char *const rules[][2] = {{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    vlm_text now = {0}, next = {0};
    vlm_text_append(&now, s, n);
    for (size_t i = 0; i < sizeof rules / sizeof *rules && !now.failed; i++) {
        next.length = 0;
        replace_all(&next, now.data, now.length, rules[i][0], strlen(rules[i][0]), rules[i][1], strlen(rules[i][1]));
        vlm_text swap = now;
        now = next;
        next = swap;
    }
    bool ok = !now.failed && !next.failed;
    if (ok)
        vlm_text_append(out, now.data ? now.data : "", now.length);
    vlm_text_free(&now);
    vlm_text_free(&next);
    return ok;
}

void vlm_text_append_valid(vlm_text *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        unsigned c;
        size_t n = vlm_utf8_decode(&c, text + i, length - i);
        vlm_text_put_utf8(out, c);
        i += n;
    }
}

static void byte_level(vlm_text *bytes, const char *s, size_t n)
{
    size_t before = bytes->length;
    for (size_t i = 0; i < n;) {
        unsigned c;
        i += vlm_utf8_decode(&c, s + i, n - i);
        int byte = vlm_character_byte(c);
        if (byte < 0) { /* not byte-level: the token as it is */
            bytes->length = before;
            vlm_text_append(bytes, s, n);
            return;
        }
        char b = (char)byte;
        vlm_text_append(bytes, &b, 1);
    }
}

/* "<0x0A>" -> 10; -1: another token. */
static int byte_token(const char *s, size_t n)
{
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>')
        return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        char c = s[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* A run of byte tokens: its text when that is UTF-8, else U+FFFD for each byte. */
static bool flush_bytes(strings *out, vlm_text *run)
{
    if (run->length == 0)
        return !run->failed;
    bool ok = true;
    if (vlm_utf8_valid(run->data, run->length)) {
        vlm_text_append(&out->text, run->data, run->length);
        ok = end_string(out);
    } else {
        for (size_t i = 0; i < run->length && ok; i++) {
            vlm_text_put_utf8(&out->text, 0xfffd);
            ok = end_string(out);
        }
    }
    run->length = 0;
    return ok;
}

static void strip_ends(vlm_text *out, const vlm_decoder *decoder, const char *s, size_t n)
{
    size_t from = 0, to = n;
    unsigned c;
    for (size_t i = 0; i < decoder->start && from < n; i++) {
        size_t size = vlm_utf8_decode(&c, s + from, n - from);
        if (c != decoder->character)
            break;
        from += size;
    }
    for (size_t i = 0; i < decoder->stop && to > from; i++) {
        size_t at = to - 1;
        while (at > from && ((unsigned char)s[at] & 0xc0) == 0x80)
            at--;
        vlm_utf8_decode(&c, s + at, to - at);
        if (c != decoder->character)
            break;
        to = at;
    }
    vlm_text_append(out, s + from, to - from);
}

static vlm_status one_string(const vlm_decoder *decoder, vlm_text *out, const char *s, size_t n, bool first, bool last, vlm_matcher *matcher, vlm_error *error)
{
    vlm_text joined = {0};
    vlm_status status = VLM_OK;
    switch (decoder->kind) {
    case VLM_DECODE_WORDPIECE:
        if (!first && n >= decoder->content_length && memcmp(s, decoder->content, decoder->content_length) == 0) {
            vlm_text_append(&joined, s + decoder->content_length, n - decoder->content_length);
        } else {
            if (!first)
                vlm_text_puts(&joined, " ");
            vlm_text_append(&joined, s, n);
        }
        if (!decoder->cleanup)
            vlm_text_append(out, joined.data ? joined.data : "", joined.length);
        else if (!clean_up(out, joined.data ? joined.data : "", joined.length))
            out->failed = true;
        break;
    case VLM_DECODE_METASPACE:
        for (size_t i = 0; i < n;) {
            unsigned c;
            size_t size = vlm_utf8_decode(&c, s + i, n - i);
            if (c != decoder->character)
                vlm_text_append(out, s + i, size);
            else if (!first || !decoder->prepend)
                vlm_text_puts(out, " ");
            i += size;
        }
        break;
    case VLM_DECODE_BPE:
        replace_all(out, s, n, decoder->content, decoder->content_length, " ", last ? 0 : 1);
        break;
    case VLM_DECODE_REPLACE: {
        size_t at = 0;
        if (n == 0)
            break;
        status = vlm_pattern_find_all(decoder->pattern, matcher, s, n, error);
        for (size_t i = 0; status == VLM_OK && i < matcher->n_found; i++) {
            vlm_text_append(out, s + at, matcher->found[i].start - at);
            vlm_text_append(out, decoder->content, decoder->content_length);
            at = matcher->found[i].end;
        }
        vlm_text_append(out, s + at, n - at);
        break;
    }
    case VLM_DECODE_STRIP:
        strip_ends(out, decoder, s, n);
        break;
    default:
        vlm_text_append(out, s, n);
    }
    if (joined.failed)
        out->failed = true;
    vlm_text_free(&joined);
    return status;
}

static vlm_status decode_step(const vlm_decoder *decoder, strings *out, const strings *in, vlm_matcher *matcher, vlm_error *error)
{
    vlm_text run = {0};
    vlm_status status = VLM_OK;
    bool ok = true;
    size_t start = 0;
    for (size_t i = 0; i < in->count && ok && status == VLM_OK; i++) {
        const char *s = in->text.data ? in->text.data + start : "";
        size_t n = in->ends[i] - start;
        start = in->ends[i];
        if (decoder->kind == VLM_DECODE_BYTE_LEVEL) {
            byte_level(&run, s, n);
        } else if (decoder->kind == VLM_DECODE_FUSE) {
            vlm_text_append(&out->text, s, n);
        } else if (decoder->kind == VLM_DECODE_BYTE_FALLBACK) {
            int byte = byte_token(s, n);
            char b = (char)byte;
            if (byte >= 0) {
                vlm_text_append(&run, &b, 1);
            } else {
                ok = flush_bytes(out, &run);
                vlm_text_append(&out->text, s, n);
                ok = ok && end_string(out);
            }
        } else {
            status = one_string(decoder, &out->text, s, n, i == 0, i + 1 == in->count, matcher, error);
            ok = status != VLM_OK || end_string(out);
        }
    }
    if (decoder->kind == VLM_DECODE_BYTE_FALLBACK)
        ok = ok && flush_bytes(out, &run);
    if (decoder->kind == VLM_DECODE_BYTE_LEVEL)
        vlm_text_append_valid(&out->text, run.data ? run.data : "", run.length);
    if (decoder->kind == VLM_DECODE_BYTE_LEVEL || decoder->kind == VLM_DECODE_FUSE)
        ok = ok && end_string(out);
    if (status == VLM_OK && (!ok || run.failed || out->text.failed))
        status = vlm_fail_memory(error, in->text.length, "decoding tokens");
    vlm_text_free(&run);
    return status;
}

static vlm_status gather(const vlm_tokenizer *tokenizer, const uint32_t *ids, size_t count, bool skip_special, strings *out, vlm_error *error)
{
    for (size_t i = 0; i < count; i++) {
        size_t length;
        const char *token = vlm_tokenizer_token(tokenizer, ids[i], &length);
        if (!token)
            return vlm_fail(error, VLM_ERR_ARGUMENT, "no token has the number %u; the vocabulary ends at %zu", ids[i], vlm_tokenizer_size(tokenizer));
        if (skip_special && vlm_tokenizer_is_special(tokenizer, ids[i]))
            continue;
        vlm_text_append(&out->text, token, length);
        if (!end_string(out))
            return vlm_fail_memory(error, length, "decoding tokens");
    }
    return VLM_OK;
}

static void join(vlm_text *out, const strings *list, const char *between)
{
    size_t start = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (i)
            vlm_text_puts(out, between);
        if (list->ends[i] > start)
            vlm_text_append(out, list->text.data + start, list->ends[i] - start);
        start = list->ends[i];
    }
}

static bool is_space(char c)
{
    return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f);
}

/* CLIPTokenizer: the end-of-word mark is a space in what was decoded, and the whole is stripped (OpenCLIP
 * does not strip). */
static void finish_clip(vlm_text *out, const vlm_text *text, const char *suffix, bool strip)
{
    vlm_text spaced = {0};
    replace_all(&spaced, text->data ? text->data : "", text->length, suffix, strlen(suffix), " ", 1);
    size_t from = 0, to = spaced.length;
    while (strip && from < to && is_space(spaced.data[from]))
        from++;
    while (strip && to > from && is_space(spaced.data[to - 1]))
        to--;
    if (to > from)
        vlm_text_append(out, spaced.data + from, to - from);
    if (spaced.failed)
        out->failed = true;
    vlm_text_free(&spaced);
}

vlm_status vlm_tokenizer_decode(const vlm_tokenizer *tokenizer, const uint32_t *ids, size_t count, bool skip_special, vlm_text *text, vlm_error *error)
{
    strings now = {0}, next = {0};
    vlm_matcher matcher = {0};
    vlm_text joined = {0};
    vlm_status status = gather(tokenizer, ids, count, skip_special, &now, error);
    for (size_t i = 0; i < tokenizer->decoders.count && now.count && status == VLM_OK; i++) {
        next.count = next.text.length = 0;
        status = decode_step(&tokenizer->decoders.items[i], &next, &now, &matcher, error);
        strings swap = now;
        now = next;
        next = swap;
    }
    if (status == VLM_OK) {
        join(&joined, &now, tokenizer->decoders.present ? "" : " ");
        if (tokenizer->decode_suffix)
            finish_clip(text, &joined, tokenizer->decode_suffix, tokenizer->decode_strip);
        else
            vlm_text_append(text, joined.data ? joined.data : "", joined.length);
        if (joined.failed || text->failed)
            status = vlm_fail_memory(error, joined.length, "decoding tokens");
    }
    strings_free(&now);
    strings_free(&next);
    vlm_text_free(&joined);
    vlm_matcher_free(&matcher);
    return status;
}

/* --- reading them ------------------------------------------------------------------------------------- */

static vlm_status copy_string(vlm_decoder *decoder, const json_t *json, const char *key, const char *where, vlm_error *error)
{
    const json_t *value = json_object_get(json, key);
    if (!json_is_string(value))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: a decoder without its \"%s\"", where, key);
    decoder->content_length = json_string_length(value);
    decoder->content = vlm_copy_text(json_string_value(value), decoder->content_length);
    return decoder->content ? VLM_OK : vlm_fail_memory(error, decoder->content_length, where);
}

static vlm_status load_strip(vlm_decoder *decoder, const json_t *json, const char *where, vlm_error *error)
{
    const json_t *content = json_object_get(json, "content"), *start = json_object_get(json, "start"), *stop = json_object_get(json, "stop");
    unsigned c = 0;
    if (json_string_length(content))
        vlm_utf8_decode(&c, json_string_value(content), json_string_length(content));
    if (!json_string_length(content) || !json_is_integer(start) || !json_is_integer(stop) || json_integer_value(start) < 0 || json_integer_value(stop) < 0)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: a Strip decoder without content, start and stop", where);
    decoder->character = c;
    decoder->start = (size_t)json_integer_value(start);
    decoder->stop = (size_t)json_integer_value(stop);
    return VLM_OK;
}

static vlm_status load_one(vlm_decoder *decoder, const char *type, const json_t *json, const char *where, vlm_error *error)
{
    static const char *const names[] = {"ByteLevel", "WordPiece", "Metaspace", "BPEDecoder", "Replace", "Fuse", "ByteFallback", "Strip"};
    size_t kind = 0;
    while (kind < sizeof names / sizeof *names && strcmp(type, names[kind]) != 0)
        kind++;
    if (kind == sizeof names / sizeof *names)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: unknown decoder \"%.60s\"", where, type);
    decoder->kind = (vlm_decoder_kind)kind;
    vlm_prepend prepend;
    vlm_status status;
    switch (decoder->kind) {
    case VLM_DECODE_WORDPIECE:
        decoder->cleanup = !json_is_false(json_object_get(json, "cleanup"));
        return copy_string(decoder, json, "prefix", where, error);
    case VLM_DECODE_METASPACE:
        status = vlm_metaspace_load(&decoder->character, &prepend, json, where, error);
        decoder->prepend = status == VLM_OK && prepend != VLM_PREPEND_NEVER;
        return status;
    case VLM_DECODE_BPE:
        return copy_string(decoder, json, "suffix", where, error);
    case VLM_DECODE_REPLACE:
        status = copy_string(decoder, json, "content", where, error);
        return status == VLM_OK ? vlm_pattern_load(&decoder->pattern, json, where, error) : status;
    case VLM_DECODE_STRIP:
        return load_strip(decoder, json, where, error);
    default:
        return VLM_OK;
    }
}

static vlm_status load(vlm_decoders *list, const json_t *json, const char *where, vlm_error *error, int depth)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: a decoder without a type", where);
    if (strcmp(type, "Sequence") == 0) {
        const json_t *items = json_object_get(json, "decoders");
        vlm_status status = VLM_OK;
        if (!json_is_array(items) || depth > 16)
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: a decoder sequence without its list, or nested too deep", where);
        for (size_t i = 0; i < json_array_size(items) && status == VLM_OK; i++)
            status = load(list, json_array_get(items, i), where, error, depth + 1);
        return status;
    }
    if (!vlm_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items))
        return vlm_fail_memory(error, sizeof *list->items, where);
    list->items[list->count] = (vlm_decoder){0};
    return load_one(&list->items[list->count++], type, json, where, error);
}

vlm_status vlm_decoders_load(vlm_decoders *list, const json_t *json, const char *where, vlm_error *error)
{
    if (!json || json_is_null(json))
        return VLM_OK;
    list->present = true;
    return load(list, json, where, error, 0);
}

void vlm_decoders_free(vlm_decoders *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].content);
        vlm_pattern_free(list->items[i].pattern);
    }
    free(list->items);
    *list = (vlm_decoders){0};
}
