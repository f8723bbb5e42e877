/* Pre-tokenizers: a text -> the pieces that tokens never cross. Each step cuts every piece further; ByteLevel
 * and Metaspace also rewrite the text. Sequences are flattened.
 * Matches tokenizers 0.23 (pre_tokenizers/, NormalizedString::split). */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "tokens/engine.h"
#include "tokens/unicode.h"

static const char gpt2_regex[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* --- scratch ------------------------------------------------------------------------------------------ */

void vlm_work_free(vlm_work *work)
{
    vlm_text_free(&work->text);
    vlm_text_free(&work->other);
    free(work->spans);
    free(work->other_spans);
    free(work->matches);
    free(work->model);
    vlm_matcher_free(&work->matcher);
}

vlm_status vlm_work_memory(vlm_work *work)
{
    return vlm_fail_memory(work->error, work->text.length, "tokenizing a text");
}

bool vlm_work_push_span(vlm_work *work, vlm_span span)
{
    if (span.length == 0)
        return true;
    if (!vlm_grow(&work->other_spans, &work->other_capacity, work->n_other + 1, sizeof *work->other_spans))
        return false;
    work->other_spans[work->n_other++] = span;
    return true;
}

bool vlm_work_push_match(vlm_work *work, size_t start, size_t end, bool is_match)
{
    if (!vlm_grow(&work->matches, &work->matches_capacity, work->n_matches + 1, sizeof *work->matches))
        return false;
    work->matches[work->n_matches++] = (vlm_match){start, end, is_match};
    return true;
}

void vlm_work_swap_text(vlm_work *work)
{
    vlm_text text = work->text;
    work->text = work->other;
    work->other = text;
    work->other.length = 0;
}

void vlm_work_swap_spans(vlm_work *work)
{
    vlm_span *spans = work->spans;
    size_t capacity = work->spans_capacity;
    work->spans = work->other_spans;
    work->spans_capacity = work->other_capacity;
    work->n_spans = work->n_other;
    work->other_spans = spans;
    work->other_capacity = capacity;
    work->n_other = 0;
}

void *vlm_work_model(vlm_work *work, size_t bytes)
{
    return vlm_grow(&work->model, &work->model_capacity, bytes ? bytes : 1, 1) ? work->model : NULL;
}

/* --- cutting ------------------------------------------------------------------------------------------ */

/* work->matches cover the piece [0, n): fold them by the behaviour into spans of work->other_spans. */
static bool fold(vlm_work *work, vlm_span piece, vlm_split_behavior behavior)
{
    const vlm_match *m = work->matches;
    size_t n = work->n_matches;
    for (size_t i = 0; i < n;) {
        size_t start = m[i].start, end = m[i].end;
        bool keep = true;
        size_t next = i + 1;
        switch (behavior) {
        case VLM_SPLIT_REMOVED:
            keep = !m[i].is_match;
            break;
        case VLM_SPLIT_ISOLATED:
            break;
        case VLM_SPLIT_CONTIGUOUS:
            for (; next < n && m[next].is_match == m[i].is_match; next++)
                end = m[next].end;
            break;
        case VLM_SPLIT_MERGED_WITH_PREVIOUS: /* text takes the one match behind it */
            if (!m[i].is_match && next < n && m[next].is_match)
                end = m[next++].end;
            break;
        case VLM_SPLIT_MERGED_WITH_NEXT: /* a match takes the text behind it */
            if (m[i].is_match && next < n && !m[next].is_match)
                end = m[next++].end;
            break;
        }
        vlm_span span = {piece.start + start, end - start, 0, piece.first && (start == 0 || start < piece.head)};
        if (span.first)
            span.head = piece.head > start ? (piece.head - start < span.length ? piece.head - start : span.length) : 0;
        if (keep && !vlm_work_push_span(work, span))
            return false;
        i = next;
    }
    return true;
}

static bool matches_of_found(vlm_work *work, size_t n, bool invert)
{
    size_t at = 0;
    work->n_matches = 0;
    for (size_t i = 0; i < work->matcher.n_found; i++) {
        vlm_found found = work->matcher.found[i];
        if (found.start > at && !vlm_work_push_match(work, at, found.start, invert))
            return false;
        if (!vlm_work_push_match(work, found.start, found.end, !invert))
            return false;
        at = found.end;
    }
    return at == n || vlm_work_push_match(work, at, n, invert);
}

static vlm_status split_by_pattern(vlm_work *work, const vlm_pattern *pattern, bool invert, vlm_split_behavior behavior)
{
    for (size_t i = 0; i < work->n_spans; i++) {
        vlm_span piece = work->spans[i];
        vlm_status status = vlm_pattern_find_all(pattern, &work->matcher, work->text.data + piece.start, piece.length, work->error);
        if (status != VLM_OK)
            return status;
        if (!matches_of_found(work, piece.length, invert) || !fold(work, piece, behavior))
            return vlm_work_memory(work);
    }
    vlm_work_swap_spans(work);
    return VLM_OK;
}

static bool is_member(const vlm_pretokenizer *p, uint32_t c)
{
    return p->is_member ? p->is_member(c) : c == p->delimiter;
}

static vlm_status split_by_class(vlm_work *work, const vlm_pretokenizer *p)
{
    for (size_t i = 0; i < work->n_spans; i++) {
        vlm_span piece = work->spans[i];
        const char *text = work->text.data + piece.start;
        size_t from = 0;
        bool ok = true;
        work->n_matches = 0;
        for (size_t at = 0; at < piece.length && ok;) {
            unsigned c;
            size_t n = vlm_utf8_decode(&c, text + at, piece.length - at);
            if (is_member(p, c)) {
                if (at > from)
                    ok = vlm_work_push_match(work, from, at, false);
                ok = ok && vlm_work_push_match(work, at, at + n, true);
                from = at + n;
            }
            at += n;
        }
        if (ok && from < piece.length)
            ok = vlm_work_push_match(work, from, piece.length, false);
        if (!ok || !fold(work, piece, p->behavior))
            return vlm_work_memory(work);
    }
    vlm_work_swap_spans(work);
    return VLM_OK;
}

/* Cut where the script changes; characters of any script stay with what is before them. */
static vlm_status split_by_script(vlm_work *work)
{
    for (size_t i = 0; i < work->n_spans; i++) {
        vlm_span piece = work->spans[i];
        unsigned last = 0;
        bool started = false, ok = true;
        size_t from = 0;
        work->n_matches = 0;
        for (size_t at = 0; at < piece.length && ok;) {
            unsigned c;
            size_t n = vlm_utf8_decode(&c, work->text.data + piece.start + at, piece.length - at);
            unsigned script = vlm_script(c);
            if (script && (!started || script != last)) {
                /* The reference keeps no piece for what comes before the first script. */
                if (started && at > from)
                    ok = vlm_work_push_match(work, from, at, false);
                from = at;
                started = true;
            }
            if (script)
                last = script;
            at += n;
        }
        if (ok && started)
            ok = vlm_work_push_match(work, from, piece.length, false);
        if (!ok || !fold(work, piece, VLM_SPLIT_ISOLATED))
            return vlm_work_memory(work);
    }
    vlm_work_swap_spans(work);
    return VLM_OK;
}

static vlm_status split_by_length(vlm_work *work, size_t length)
{
    for (size_t i = 0; i < work->n_spans; i++) {
        vlm_span piece = work->spans[i];
        size_t from = 0, count = 0;
        bool ok = true;
        work->n_matches = 0;
        for (size_t at = 0; at < piece.length && ok;) {
            unsigned c;
            at += vlm_utf8_decode(&c, work->text.data + piece.start + at, piece.length - at);
            if (++count == length || at == piece.length) {
                ok = vlm_work_push_match(work, from, at, false);
                from = at;
                count = 0;
            }
        }
        if (!ok || !fold(work, piece, VLM_SPLIT_ISOLATED))
            return vlm_work_memory(work);
    }
    vlm_work_swap_spans(work);
    return VLM_OK;
}

/* --- rewriting ---------------------------------------------------------------------------------------- */

/* Copy a piece to work->other by `write` and push its span with the head carried over. */
static bool rewrite(vlm_work *work, vlm_span piece, const char *prefix, size_t prefix_length, const vlm_pretokenizer *p,
                    void (*write)(vlm_text *out, const char *text, size_t length, const vlm_pretokenizer *p))
{
    vlm_span span = {work->other.length, 0, 0, piece.first};
    const char *text = work->text.data + piece.start;
    vlm_text_append(&work->other, prefix, prefix_length);
    write(&work->other, text, piece.head, p);
    if (piece.head)
        span.head = work->other.length - span.start;
    write(&work->other, text + piece.head, piece.length - piece.head, p);
    span.length = work->other.length - span.start;
    return !work->other.failed && vlm_work_push_span(work, span);
}

static void write_plain(vlm_text *out, const char *text, size_t length, const vlm_pretokenizer *p)
{
    (void)p;
    vlm_text_append(out, text, length);
}

static void write_bytes(vlm_text *out, const char *text, size_t length, const vlm_pretokenizer *p)
{
    (void)p;
    vlm_append_bytes_visible(out, text, length);
}

static void write_marks(vlm_text *out, const char *text, size_t length, const vlm_pretokenizer *p)
{
    for (const char *end = text + length; text < end;) {
        const char *space = memchr(text, ' ', (size_t)(end - text));
        const char *stop = space ? space : end;
        vlm_text_append(out, text, (size_t)(stop - text));
        if (space)
            vlm_text_append(out, p->mark, p->mark_length);
        text = space ? stop + 1 : stop;
    }
}

static void finish_rewrite(vlm_work *work)
{
    vlm_work_swap_text(work);
    vlm_work_swap_spans(work);
}

static vlm_status byte_level(vlm_work *work, const vlm_pretokenizer *p)
{
    if (p->prefix_space) {
        for (size_t i = 0; i < work->n_spans; i++) {
            bool has = work->text.data[work->spans[i].start] == ' ';
            if (!rewrite(work, work->spans[i], " ", has ? 0 : 1, p, write_plain))
                return vlm_work_memory(work);
        }
        finish_rewrite(work);
    }
    if (p->pattern) {
        vlm_status status = split_by_pattern(work, p->pattern, false, VLM_SPLIT_ISOLATED);
        if (status != VLM_OK)
            return status;
    }
    for (size_t i = 0; i < work->n_spans; i++)
        if (!rewrite(work, work->spans[i], "", 0, p, write_bytes))
            return vlm_work_memory(work);
    finish_rewrite(work);
    return VLM_OK;
}

static bool starts_with_mark(const vlm_work *work, vlm_span piece, const vlm_pretokenizer *p)
{
    const char *text = work->text.data + piece.start;
    return *text == ' ' || (piece.length >= p->mark_length && memcmp(text, p->mark, p->mark_length) == 0);
}

static vlm_status metaspace(vlm_work *work, const vlm_pretokenizer *p)
{
    for (size_t i = 0; i < work->n_spans; i++) {
        vlm_span piece = work->spans[i];
        bool prefix = p->prepend == VLM_PREPEND_ALWAYS || (p->prepend == VLM_PREPEND_FIRST && piece.first);
        if (prefix && starts_with_mark(work, piece, p))
            prefix = false;
        if (!rewrite(work, piece, p->mark, prefix ? p->mark_length : 0, p, write_marks))
            return vlm_work_memory(work);
    }
    finish_rewrite(work);
    return p->split ? split_by_class(work, p) : VLM_OK;
}

vlm_status vlm_pretokenize(const vlm_pretokenizers *list, vlm_work *work)
{
    vlm_status status = VLM_OK;
    for (size_t i = 0; i < list->count && work->n_spans && status == VLM_OK; i++) {
        const vlm_pretokenizer *p = &list->items[i];
        switch (p->kind) {
        case VLM_PRETOKENIZE_SPLIT: status = split_by_pattern(work, p->pattern, p->invert, p->behavior); break;
        case VLM_PRETOKENIZE_CLASS: status = split_by_class(work, p); break;
        case VLM_PRETOKENIZE_BYTES: status = byte_level(work, p); break;
        case VLM_PRETOKENIZE_METASPACE: status = metaspace(work, p); break;
        case VLM_PRETOKENIZE_SCRIPTS: status = split_by_script(work); break;
        case VLM_PRETOKENIZE_LENGTH: status = split_by_length(work, p->length); break;
        }
    }
    return status;
}

/* --- reading them ------------------------------------------------------------------------------------- */

static vlm_status load_behavior(vlm_split_behavior *behavior, const json_t *json, const char *fallback, const char *where, vlm_error *error)
{
    static const char *const names[][2] = {{"Removed", "removed"}, {"Isolated", "isolated"}, {"MergedWithPrevious", "merged_with_previous"}, {"MergedWithNext", "merged_with_next"}, {"Contiguous", "contiguous"}};
    const json_t *value = json_object_get(json, "behavior");
    const char *name = value ? json_string_value(value) : fallback;
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i][0]) == 0 || strcmp(name, names[i][1]) == 0) {
            *behavior = (vlm_split_behavior)i;
            return VLM_OK;
        }
    return vlm_fail(error, VLM_ERR_FORMAT, "%s: a split without a known behavior", where);
}

static vlm_status load_character(uint32_t *out, const json_t *json, const char *key, const char *where, vlm_error *error)
{
    const json_t *value = json_object_get(json, key);
    unsigned c = 0;
    size_t n = json_string_length(value);
    if (!json_is_string(value) || n == 0 || vlm_utf8_decode(&c, json_string_value(value), n) != n)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: \"%s\" is not one character", where, key);
    *out = c;
    return VLM_OK;
}

vlm_status vlm_metaspace_load(uint32_t *mark, vlm_prepend *prepend, const json_t *json, const char *where, vlm_error *error)
{
    const char *scheme = json_string_value(json_object_get(json, "prepend_scheme"));
    const json_t *prefix = json_object_get(json, "add_prefix_space");
    *prepend = VLM_PREPEND_ALWAYS;
    if (scheme && strcmp(scheme, "first") == 0)
        *prepend = VLM_PREPEND_FIRST;
    else if ((scheme && strcmp(scheme, "never") == 0) || (!scheme && json_is_false(prefix)))
        *prepend = VLM_PREPEND_NEVER;
    else if (scheme && strcmp(scheme, "always") != 0)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: unknown prepend_scheme \"%.40s\"", where, scheme);
    /* The reference refuses the other contradiction as well as this one. */
    if (json_is_false(prefix) && *prepend != VLM_PREPEND_NEVER)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: add_prefix_space false contradicts prepend_scheme \"%.40s\"", where, scheme);
    return load_character(mark, json, "replacement", where, error);
}

static vlm_status load_metaspace(vlm_pretokenizer *p, const json_t *json, const char *where, vlm_error *error)
{
    p->kind = VLM_PRETOKENIZE_METASPACE;
    p->behavior = VLM_SPLIT_MERGED_WITH_NEXT;
    p->split = !json_is_false(json_object_get(json, "split"));
    vlm_status status = vlm_metaspace_load(&p->delimiter, &p->prepend, json, where, error);
    vlm_text mark = {0};
    if (status == VLM_OK) {
        vlm_text_put_utf8(&mark, p->delimiter);
        if (mark.failed)
            status = vlm_fail_memory(error, 4, where);
        else
            memcpy(p->mark, mark.data, p->mark_length = mark.length);
    }
    vlm_text_free(&mark);
    return status;
}

static vlm_status load_class(vlm_pretokenizer *p, bool (*members)(uint32_t), vlm_split_behavior behavior)
{
    p->kind = VLM_PRETOKENIZE_CLASS;
    p->is_member = members;
    p->behavior = behavior;
    return VLM_OK;
}

static vlm_status load_one(vlm_pretokenizer *p, const char *type, const json_t *json, const char *where, vlm_error *error)
{
    if (strcmp(type, "ByteLevel") == 0) {
        p->kind = VLM_PRETOKENIZE_BYTES;
        p->prefix_space = !json_is_false(json_object_get(json, "add_prefix_space"));
        if (json_is_false(json_object_get(json, "use_regex")))
            return VLM_OK;
        return vlm_pattern_regex(&p->pattern, gpt2_regex, sizeof gpt2_regex - 1, where, error);
    }
    if (strcmp(type, "Split") == 0) {
        p->kind = VLM_PRETOKENIZE_SPLIT;
        p->invert = json_is_true(json_object_get(json, "invert"));
        vlm_status status = load_behavior(&p->behavior, json, NULL, where, error);
        return status == VLM_OK ? vlm_pattern_load(&p->pattern, json, where, error) : status;
    }
    if (strcmp(type, "Metaspace") == 0)
        return load_metaspace(p, json, where, error);
    if (strcmp(type, "WhitespaceSplit") == 0)
        return load_class(p, vlm_is_white_space, VLM_SPLIT_REMOVED);
    if (strcmp(type, "Digits") == 0)
        return load_class(p, vlm_is_numeric, json_is_true(json_object_get(json, "individual_digits")) ? VLM_SPLIT_ISOLATED : VLM_SPLIT_CONTIGUOUS);
    if (strcmp(type, "Punctuation") == 0) {
        load_class(p, vlm_is_punctuation, VLM_SPLIT_ISOLATED);
        return load_behavior(&p->behavior, json, "Isolated", where, error);
    }
    if (strcmp(type, "CharDelimiterSplit") == 0 || strcmp(type, "Delimiter") == 0) {
        load_class(p, NULL, VLM_SPLIT_REMOVED);
        return load_character(&p->delimiter, json, "delimiter", where, error);
    }
    if (strcmp(type, "UnicodeScripts") == 0) {
        p->kind = VLM_PRETOKENIZE_SCRIPTS;
        return VLM_OK;
    }
    if (strcmp(type, "FixedLength") == 0) {
        const json_t *length = json_object_get(json, "length");
        p->kind = VLM_PRETOKENIZE_LENGTH;
        p->length = json_is_integer(length) && json_integer_value(length) > 0 ? (size_t)json_integer_value(length) : 5;
        return VLM_OK;
    }
    return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: unknown pre-tokenizer \"%.60s\"", where, type);
}

/* \w+|[^\w\s]+ as two classes: white space goes, then runs of word characters stand apart. */
static const char *const composites[][3] = {
    {"BertPreTokenizer", "WhitespaceSplit", "Punctuation"},
    {"Whitespace", "WhitespaceSplit", "Words"},
};

static vlm_status push(vlm_pretokenizers *list, const char *type, const json_t *json, const char *where, vlm_error *error)
{
    if (!vlm_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items))
        return vlm_fail_memory(error, sizeof *list->items, where);
    vlm_pretokenizer *p = &list->items[list->count++];
    *p = (vlm_pretokenizer){0};
    if (strcmp(type, "Words") == 0)
        return load_class(p, vlm_is_word, VLM_SPLIT_CONTIGUOUS);
    return load_one(p, type, json, where, error);
}

static vlm_status load(vlm_pretokenizers *list, const json_t *json, const char *where, vlm_error *error, int depth)
{
    if (!json || json_is_null(json))
        return VLM_OK;
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: a pre-tokenizer without a type", where);
    if (strcmp(type, "Sequence") == 0) {
        const json_t *items = json_object_get(json, "pretokenizers");
        if (!json_is_array(items) || depth > 16)
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: a pre-tokenizer sequence without its list, or nested too deep", where);
        vlm_status status = VLM_OK;
        for (size_t i = 0; i < json_array_size(items) && status == VLM_OK; i++)
            status = load(list, json_array_get(items, i), where, error, depth + 1);
        return status;
    }
    for (size_t i = 0; i < sizeof composites / sizeof *composites; i++)
        if (strcmp(type, composites[i][0]) == 0) {
            vlm_status status = push(list, composites[i][1], json, where, error);
            return status == VLM_OK ? push(list, composites[i][2], NULL, where, error) : status;
        }
    return push(list, type, json, where, error);
}

vlm_status vlm_pretokenizers_load(vlm_pretokenizers *list, const json_t *json, const char *where, vlm_error *error)
{
    return load(list, json, where, error, 0);
}

void vlm_pretokenizers_free(vlm_pretokenizers *list)
{
    for (size_t i = 0; i < list->count; i++)
        vlm_pattern_free(list->items[i].pattern);
    free(list->items);
    *list = (vlm_pretokenizers){0};
}
