/* A tokenizer as a whole: built from its parts, and the way of a text through them (engine.h).
 * text -> [OpenCLIP's cleaning] -> added tokens -> normalizer -> added tokens -> pre-tokenizer -> model ->
 * template. Matches tokenizers 0.23 (tokenizer/mod). */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "formats/json.h"
#include "tokens/engine.h"
#include "tokens/scan.h"

bool vlm_ids_push(vlm_ids *ids, uint32_t id)
{
    if (!vlm_grow(&ids->data, &ids->capacity, ids->count + 1, sizeof *ids->data))
        return false;
    ids->data[ids->count++] = id;
    return true;
}

void vlm_ids_free(vlm_ids *ids)
{
    free(ids->data);
    *ids = (vlm_ids){0};
}

/* --- encode ------------------------------------------------------------------------------------------- */

/* work->spans: pieces without added tokens, of work->text. */
static vlm_status encode_pieces(const vlm_tokenizer *tokenizer, vlm_work *work, vlm_ids *ids)
{
    vlm_status status = vlm_pretokenize(&tokenizer->pretokenizers, work);
    for (size_t i = 0; i < work->n_spans && status == VLM_OK; i++)
        status = vlm_model_encode(&tokenizer->model, work, work->text.data + work->spans[i].start, work->spans[i].length, ids);
    return status;
}

/* A stretch of normalized text without added tokens. head: its leading bytes from the original's first
 * character; 0 when it begins elsewhere. */
static vlm_status encode_stretch(const vlm_tokenizer *tokenizer, vlm_work *work, const char *text, size_t length, bool first, size_t head, vlm_ids *ids)
{
    if (length == 0)
        return VLM_OK;
    work->text.length = work->other.length = 0;
    vlm_text_append(&work->text, text, length);
    work->n_other = 0;
    if (work->text.failed || !vlm_work_push_span(work, (vlm_span){0, length, head < length ? head : length, first}))
        return vlm_work_memory(work);
    vlm_work_swap_spans(work);
    return encode_pieces(tokenizer, work, ids);
}

/* A stretch of the cleaned text between added tokens that are not normalized. */
static vlm_status encode_raw(const vlm_tokenizer *tokenizer, vlm_work *work, vlm_text *normal, const char *text, size_t length, bool first, vlm_ids *ids)
{
    unsigned c;
    size_t head = first && length ? vlm_utf8_decode(&c, text, length) : 0;
    if (length == 0)
        return VLM_OK;
    work->text.length = work->other.length = 0;
    vlm_text_append(&work->text, text, length);
    if (work->text.failed)
        return vlm_work_memory(work);
    vlm_status status = vlm_normalize(&tokenizer->normalizers, work, &head);
    if (status != VLM_OK)
        return status;
    normal->length = 0;
    vlm_text_append(normal, work->text.data, work->text.length);
    if (normal->failed)
        return vlm_work_memory(work);
    size_t at = 0, start, end, resume;
    const vlm_added_token *token;
    for (size_t from = 0; status == VLM_OK && vlm_added_find(&tokenizer->added, &tokenizer->added.normal, normal->data, normal->length, from, at, &start, &end, &resume, &token); from = resume) {
        bool here = first && at < head;
        if (start > at)
            status = encode_stretch(tokenizer, work, normal->data + at, start - at, here, here ? head - at : 0, ids);
        if (status == VLM_OK && start < end && !vlm_ids_push(ids, token->id))
            status = vlm_work_memory(work);
        at = end;
    }
    bool here = first && at < head;
    if (status == VLM_OK && at < normal->length)
        status = encode_stretch(tokenizer, work, normal->data + at, normal->length - at, here, here ? head - at : 0, ids);
    return status;
}

static vlm_status encode_text(const vlm_tokenizer *tokenizer, const char *text, size_t length, vlm_ids *ids, vlm_error *error)
{
    vlm_work work = {.error = error};
    vlm_text normal = {0};
    vlm_status status = VLM_OK;
    size_t at = 0, start, end, resume;
    const vlm_added_token *token;
    for (size_t from = 0; status == VLM_OK && vlm_added_find(&tokenizer->added, &tokenizer->added.raw, text, length, from, at, &start, &end, &resume, &token); from = resume) {
        if (start > at)
            status = encode_raw(tokenizer, &work, &normal, text + at, start - at, at == 0, ids);
        if (status == VLM_OK && start < end && !vlm_ids_push(ids, token->id))
            status = vlm_work_memory(&work);
        at = end;
    }
    if (status == VLM_OK && at < length)
        status = encode_raw(tokenizer, &work, &normal, text + at, length - at, at == 0, ids);
    vlm_text_free(&normal);
    vlm_work_free(&work);
    return status;
}

static vlm_status apply_template(const vlm_template *template, const vlm_ids *text, bool add_special, vlm_ids *out, vlm_error *error)
{
    bool ok = true;
    for (size_t i = 0; i < template->count && ok; i++) {
        const vlm_template_piece *piece = &template->items[i];
        if (!piece->is_text && add_special)
            ok = vlm_ids_push(out, piece->id);
        for (size_t j = 0; piece->is_text && j < text->count && ok; j++)
            ok = vlm_ids_push(out, text->data[j]);
    }
    return ok ? VLM_OK : vlm_fail_memory(error, text->count * sizeof *text->data, "tokenizing a text");
}

vlm_status vlm_tokenizer_encode(const vlm_tokenizer *tokenizer, const char *text, size_t length, bool add_special, vlm_ids *ids, vlm_error *error)
{
    vlm_text valid = {0}, cleaned = {0};
    vlm_ids body = {0};
    size_t before = ids->count;
    vlm_status status = VLM_OK;
    if (!vlm_utf8_valid(text, length)) {
        vlm_text_append_valid(&valid, text, length);
        if (valid.failed)
            status = vlm_fail_memory(error, length, "tokenizing a text");
        text = valid.data;
        length = valid.length;
    }
    if (status == VLM_OK && tokenizer->clean != VLM_CLEAN_NONE) {
        status = vlm_openclip_clean(&cleaned, text, length, tokenizer->clean, error);
        text = cleaned.data ? cleaned.data : "";
        length = cleaned.length;
    }
    if (status == VLM_OK)
        status = encode_text(tokenizer, text, length, &body, error);
    if (status == VLM_OK && tokenizer->template.present)
        status = apply_template(&tokenizer->template, &body, add_special, ids, error);
    else
        for (size_t i = 0; i < body.count && status == VLM_OK; i++)
            if (!vlm_ids_push(ids, body.data[i]))
                status = vlm_fail_memory(error, body.count, "tokenizing a text");
    if (status != VLM_OK)
        ids->count = before;
    vlm_ids_free(&body);
    vlm_text_free(&valid);
    vlm_text_free(&cleaned);
    return status;
}

/* --- questions ---------------------------------------------------------------------------------------- */

const char *vlm_tokenizer_token(const vlm_tokenizer *tokenizer, uint32_t id, size_t *length)
{
    size_t ignored;
    const vlm_added_token *added = vlm_added_by_id(&tokenizer->added, id);
    if (!length)
        length = &ignored;
    if (!added)
        return vlm_vocabulary_token(&tokenizer->model.vocabulary, id, length);
    *length = added->normal_length;
    return added->normal;
}

int64_t vlm_tokenizer_id(const vlm_tokenizer *tokenizer, const char *token, size_t length)
{
    const vlm_added_token *added = vlm_added_by_content(&tokenizer->added, token, length);
    return added ? (int64_t)added->id : vlm_vocabulary_find(&tokenizer->model.vocabulary, token, length);
}

size_t vlm_tokenizer_size(const vlm_tokenizer *tokenizer)
{
    size_t size = tokenizer->model.vocabulary.size;
    return tokenizer->added.end > size ? tokenizer->added.end : size;
}

/* By the string, as the reference does: an id whose string is a special token's content. */
bool vlm_tokenizer_is_special(const vlm_tokenizer *tokenizer, uint32_t id)
{
    size_t length;
    const char *token = vlm_tokenizer_token(tokenizer, id, &length);
    const vlm_added_token *added = token ? vlm_added_by_content(&tokenizer->added, token, length) : NULL;
    return added && added->special;
}

int64_t vlm_tokenizer_special(const vlm_tokenizer *tokenizer, vlm_special which)
{
    return which < VLM_TOKEN_SPECIALS ? tokenizer->special[which] : -1;
}

size_t vlm_tokenizer_max_length(const vlm_tokenizer *tokenizer)
{
    return tokenizer->max_length;
}

/* --- build and close ---------------------------------------------------------------------------------- */

void vlm_tokenizer_close(vlm_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    vlm_normalizers_free(&tokenizer->normalizers);
    vlm_pretokenizers_free(&tokenizer->pretokenizers);
    vlm_model_free(&tokenizer->model);
    vlm_added_free(&tokenizer->added);
    vlm_template_free(&tokenizer->template);
    vlm_decoders_free(&tokenizer->decoders);
    free(tokenizer);
}

static vlm_status load_added(vlm_tokenizer *tokenizer, const json_t *list, const char *where, vlm_error *error)
{
    vlm_status status = VLM_OK;
    for (size_t i = 0; i < json_array_size(list) && status == VLM_OK; i++) {
        const json_t *item = json_array_get(list, i), *content = json_object_get(item, "content");
        if (!json_is_string(content))
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: added token %zu has no content", where, i);
        bool special = json_is_true(json_object_get(item, "special"));
        const json_t *normalized = json_object_get(item, "normalized");
        vlm_added_token token = {
            .content = (char *)(uintptr_t)json_string_value(content), /* only read */
            .length = json_string_length(content),
            .single_word = json_is_true(json_object_get(item, "single_word")),
            .lstrip = json_is_true(json_object_get(item, "lstrip")),
            .rstrip = json_is_true(json_object_get(item, "rstrip")),
            .normalized = json_is_boolean(normalized) ? json_is_true(normalized) : !special,
            .special = special,
        };
        status = vlm_added_add(tokenizer, &token, error);
    }
    return status;
}

vlm_status vlm_tokenizer_build(vlm_tokenizer **out, const json_t *small, vlm_bytes vocab, vlm_bytes merges, vlm_merges_form form, const char *where, vlm_error *error)
{
    vlm_tokenizer *tokenizer = vlm_alloc_zero(1, sizeof *tokenizer);
    *out = NULL;
    if (!tokenizer)
        return vlm_fail_memory(error, sizeof *tokenizer, where);
    for (size_t i = 0; i < VLM_TOKEN_SPECIALS; i++)
        tokenizer->special[i] = -1;
    vlm_status status = VLM_OK;
    if (!vocab.data)
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: no \"model\" with a \"vocab\"; is this a tokenizer.json?", where);
    if (status == VLM_OK)
        status = vlm_normalizers_load(&tokenizer->normalizers, json_object_get(small, "normalizer"), where, error);
    if (status == VLM_OK)
        status = vlm_pretokenizers_load(&tokenizer->pretokenizers, json_object_get(small, "pre_tokenizer"), where, error);
    if (status == VLM_OK)
        status = vlm_model_load(&tokenizer->model, json_object_get(small, "model"), vocab, merges, form, where, error);
    if (status == VLM_OK)
        status = load_added(tokenizer, json_object_get(small, "added_tokens"), where, error);
    if (status == VLM_OK)
        status = vlm_template_load(&tokenizer->template, json_object_get(small, "post_processor"), where, error);
    if (status == VLM_OK)
        status = vlm_decoders_load(&tokenizer->decoders, json_object_get(small, "decoder"), where, error);
    if (status == VLM_OK)
        status = vlm_added_prepare(tokenizer, error);
    if (status == VLM_OK)
        *out = tokenizer;
    else
        vlm_tokenizer_close(tokenizer);
    return status;
}

/* Copy one "key": value of an object to out, with null instead of the value when `range` wants it. */
static vlm_status cut_value(vlm_scan *scan, vlm_text *out, vlm_bytes *range)
{
    vlm_scan_peek(scan);
    const char *from = scan->at;
    vlm_status status = vlm_scan_skip(scan);
    if (range) {
        *range = (vlm_bytes){from, (size_t)(scan->at - from)};
        vlm_text_puts(out, "null");
    } else {
        vlm_text_append(out, from, (size_t)(scan->at - from));
    }
    return status;
}

/* An object, copied to out but for the big values; depth 0 is the file, 1 its "model". */
static vlm_status cut_object(vlm_scan *scan, vlm_text *out, vlm_bytes *vocab, vlm_bytes *merges, int depth)
{
    if (!vlm_scan_take(scan, '{'))
        return vlm_scan_fail(scan, "an object");
    vlm_status status = VLM_OK;
    vlm_text_puts(out, "{");
    for (bool first = true; status == VLM_OK && !vlm_scan_take(scan, '}'); first = false) {
        if (!first && !vlm_scan_take(scan, ','))
            return vlm_scan_fail(scan, "a comma");
        if (!first)
            vlm_text_puts(out, ",");
        vlm_scan_peek(scan);
        const char *key = scan->at;
        status = vlm_scan_skip(scan);
        size_t length = (size_t)(scan->at - key);
        vlm_text_append(out, key, length);
        if (status == VLM_OK && !vlm_scan_take(scan, ':'))
            return vlm_scan_fail(scan, "a colon");
        vlm_text_puts(out, ":");
        if (status != VLM_OK)
            continue;
        bool is_vocab = depth == 1 && length == 7 && memcmp(key, "\"vocab\"", 7) == 0;
        bool is_merges = depth == 1 && length == 8 && memcmp(key, "\"merges\"", 8) == 0;
        if (depth == 0 && length == 7 && memcmp(key, "\"model\"", 7) == 0 && vlm_scan_peek(scan) == '{')
            status = cut_object(scan, out, vocab, merges, 1);
        else
            status = cut_value(scan, out, is_vocab ? vocab : is_merges ? merges : NULL);
    }
    vlm_text_puts(out, "}");
    return status;
}

vlm_status vlm_tokenizer_cut(json_t **small, vlm_bytes *vocab, vlm_bytes *merges, const char *text, size_t length, const char *where, vlm_error *error)
{
    vlm_scan scan;
    vlm_text rest = {0};
    *small = NULL;
    *vocab = *merges = (vlm_bytes){0};
    vlm_scan_open(&scan, text, length, where, error);
    vlm_status status = cut_object(&scan, &rest, vocab, merges, 0);
    if (status == VLM_OK && vlm_scan_peek(&scan))
        status = vlm_scan_fail(&scan, "the end of the file");
    if (status == VLM_OK && rest.failed)
        status = vlm_fail_memory(error, length, where);
    if (status == VLM_OK)
        status = vlm_json_parse(small, rest.data, rest.length, where, error);
    vlm_scan_close(&scan);
    vlm_text_free(&rest);
    return status;
}
