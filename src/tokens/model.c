/* Models: reading them, WordPiece and WordLevel. BPE is bpe.c, Unigram unigram.c.
 * Vocabularies and merges are read straight from their text, without a JSON tree. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "tokens/engine.h"
#include "tokens/scan.h"

static vlm_status add_token(vlm_token_model *model, const char *token, size_t length, uint32_t id, const char *where, vlm_error *error)
{
    if (length > VLM_TOKEN_LIMIT)
        return vlm_fail(error, VLM_ERR_LIMIT, "%s: token %u has %zu bytes; at most %d are taken", where, id, length, VLM_TOKEN_LIMIT);
    vlm_status status = vlm_vocabulary_add(&model->vocabulary, token, length, id);
    if (status == VLM_ERR_LIMIT)
        return vlm_fail(error, status, "%s: token number %u; at most %d are taken", where, id, VLM_VOCABULARY_LIMIT);
    if (status == VLM_ERR_MEMORY)
        return vlm_fail_memory(error, length, where);
    if (length > model->max_token)
        model->max_token = length;
    return VLM_OK;
}

/* {"token": id, ...} */
static vlm_status read_map(vlm_token_model *model, vlm_scan *scan)
{
    vlm_status status = VLM_OK;
    if (!vlm_scan_take(scan, '{'))
        return vlm_scan_fail(scan, "an object of tokens and their numbers");
    for (bool first = true; status == VLM_OK && !vlm_scan_take(scan, '}'); first = false) {
        const char *token;
        size_t length;
        unsigned id;
        if (!first && !vlm_scan_take(scan, ','))
            return vlm_scan_fail(scan, "a comma");
        status = vlm_scan_string(scan, &token, &length);
        if (status == VLM_OK && !vlm_scan_take(scan, ':'))
            return vlm_scan_fail(scan, "a colon");
        if (status == VLM_OK)
            status = vlm_scan_id(scan, &id);
        if (status == VLM_OK)
            status = add_token(model, token, length, id, scan->where, scan->error);
    }
    return status;
}

/* [["token", score], ...] */
static vlm_status read_scores(vlm_token_model *model, vlm_scan *scan)
{
    vlm_status status = VLM_OK;
    size_t capacity = 0;
    uint32_t id = 0;
    if (!vlm_scan_take(scan, '['))
        return vlm_scan_fail(scan, "a list of tokens and their scores");
    for (; status == VLM_OK && !vlm_scan_take(scan, ']'); id++) {
        const char *token;
        size_t length;
        if (id && !vlm_scan_take(scan, ','))
            return vlm_scan_fail(scan, "a comma");
        if (!vlm_scan_take(scan, '['))
            return vlm_scan_fail(scan, "a pair of token and score");
        if (!vlm_grow(&model->scores, &capacity, (size_t)id + 1, sizeof *model->scores))
            return vlm_fail_memory(scan->error, capacity, scan->where);
        status = vlm_scan_string(scan, &token, &length);
        if (status == VLM_OK)
            status = add_token(model, token, length, id, scan->where, scan->error);
        if (status == VLM_OK && !vlm_scan_take(scan, ','))
            return vlm_scan_fail(scan, "a comma");
        if (status == VLM_OK)
            status = vlm_scan_number(scan, &model->scores[id]);
        if (status == VLM_OK && !vlm_scan_take(scan, ']'))
            return vlm_scan_fail(scan, "the end of a pair");
    }
    return status;
}

/* ["a b", ...] or [["a", "b"], ...] */
static vlm_status read_merges(vlm_token_model *model, vlm_scan *scan)
{
    vlm_status status = VLM_OK;
    vlm_text left = {0};
    if (!vlm_scan_take(scan, '['))
        return vlm_scan_fail(scan, "a list of merges");
    for (bool first = true; status == VLM_OK && !vlm_scan_take(scan, ']'); first = false) {
        const char *token;
        size_t length;
        if (!first && !vlm_scan_take(scan, ',')) {
            status = vlm_scan_fail(scan, "a comma");
        } else if (vlm_scan_take(scan, '[')) {
            status = vlm_scan_string(scan, &token, &length);
            left.length = 0;
            if (status == VLM_OK)
                vlm_text_append(&left, token, length);
            if (status == VLM_OK && left.failed)
                status = vlm_fail_memory(scan->error, length, scan->where);
            if (status == VLM_OK && !vlm_scan_take(scan, ','))
                status = vlm_scan_fail(scan, "a comma");
            if (status == VLM_OK)
                status = vlm_scan_string(scan, &token, &length);
            if (status == VLM_OK)
                status = vlm_bpe_add_merge(model, left.data, left.length, token, length, scan->where, scan->error);
            if (status == VLM_OK && !vlm_scan_take(scan, ']'))
                status = vlm_scan_fail(scan, "the end of a merge");
        } else {
            status = vlm_scan_string(scan, &token, &length);
            const char *space = status == VLM_OK ? memchr(token, ' ', length) : NULL;
            if (status == VLM_OK && (!space || memchr(space + 1, ' ', length - (size_t)(space + 1 - token))))
                status = vlm_scan_fail(scan, "two tokens with a space between in the merge before");
            if (status == VLM_OK)
                status = vlm_bpe_add_merge(model, token, (size_t)(space - token), space + 1, length - (size_t)(space + 1 - token), scan->where, scan->error);
        }
    }
    vlm_text_free(&left);
    return status;
}

/* merges.txt: a line for each, "#version" lines aside. */
static vlm_status read_merges_text(vlm_token_model *model, vlm_bytes text, const char *where, vlm_error *error)
{
    const char *at = text.data, *end = text.data + text.length;
    vlm_status status = VLM_OK;
    for (size_t line = 1; at < end && status == VLM_OK; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *next = stop ? stop + 1 : end;
        if (!stop)
            stop = end;
        if (stop > at && stop[-1] == '\r')
            stop--;
        const char *space = memchr(at, ' ', (size_t)(stop - at));
        if (stop - at >= 8 && memcmp(at, "#version", 8) == 0) {
            at = next;
            continue;
        }
        if (!space || memchr(space + 1, ' ', (size_t)(stop - space - 1)))
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: merges.txt line %zu: two tokens with a space between are wanted", where, line);
        status = vlm_bpe_add_merge(model, at, (size_t)(space - at), space + 1, (size_t)(stop - space - 1), where, error);
        at = next;
    }
    return status;
}

static vlm_status copy_option(char **out, size_t *length, const json_t *options, const char *key, const char *where, vlm_error *error)
{
    const json_t *value = json_object_get(options, key);
    if (!value || json_is_null(value))
        return VLM_OK;
    if (!json_is_string(value) || json_string_length(value) > VLM_TOKEN_LIMIT)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: model: \"%s\" is not a string of at most %d bytes", where, key, VLM_TOKEN_LIMIT);
    *length = json_string_length(value);
    *out = vlm_copy_text(json_string_value(value), *length);
    return *out ? VLM_OK : vlm_fail_memory(error, *length, where);
}

static vlm_status read_kind(vlm_token_model *model, const json_t *options, char vocab_begin, bool has_merges, const char *where, vlm_error *error)
{
    static const char *const names[] = {"BPE", "WordPiece", "WordLevel", "Unigram"};
    const char *type = json_string_value(json_object_get(options, "type"));
    /* Files older than "type": by what they hold. */
    if (!type)
        type = vocab_begin == '[' ? "Unigram" : has_merges ? "BPE" : json_object_get(options, "continuing_subword_prefix") ? "WordPiece" : "WordLevel";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(type, names[i]) == 0) {
            model->kind = (vlm_model_kind)i;
            return VLM_OK;
        }
    return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: unknown tokenizer model \"%.60s\"", where, type);
}

static vlm_status read_options(vlm_token_model *model, const json_t *options, const char *where, vlm_error *error)
{
    const json_t *dropout = json_object_get(options, "dropout"), *length = json_object_get(options, "max_input_chars_per_word");
    if (json_is_number(dropout) && json_number_value(dropout) > 0)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: BPE with dropout gives other ids each time; null is wanted", where);
    if (json_is_number(json_object_get(options, "alpha")))
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: Unigram that samples (alpha) gives other ids each time", where);
    model->fuse_unk = json_is_true(json_object_get(options, "fuse_unk"));
    model->byte_fallback = json_is_true(json_object_get(options, "byte_fallback"));
    model->ignore_merges = json_is_true(json_object_get(options, "ignore_merges"));
    model->max_word = json_is_integer(length) && json_integer_value(length) >= 0 ? (size_t)json_integer_value(length) : 100;
    vlm_status status = copy_option(&model->unk, &model->unk_length, options, "unk_token", where, error);
    if (status == VLM_OK)
        status = copy_option(&model->prefix, &model->prefix_length, options, "continuing_subword_prefix", where, error);
    if (status == VLM_OK)
        status = copy_option(&model->suffix, &model->suffix_length, options, "end_of_word_suffix", where, error);
    if (status == VLM_OK && !model->prefix && model->kind == VLM_MODEL_WORDPIECE) {
        model->prefix = vlm_copy_text("##", 2);
        model->prefix_length = 2;
        if (!model->prefix)
            status = vlm_fail_memory(error, 2, where);
    }
    return status;
}

static void find_byte_tokens(vlm_token_model *model)
{
    static const char digits[] = "0123456789ABCDEF";
    for (unsigned b = 0; b < 256; b++) {
        char name[6] = {'<', '0', 'x', digits[b >> 4], digits[b & 15], '>'};
        model->byte_ids[b] = vlm_vocabulary_find(&model->vocabulary, name, sizeof name);
    }
}

static vlm_status finish(vlm_token_model *model, const json_t *options, const char *where, vlm_error *error)
{
    const json_t *unk_id = json_object_get(options, "unk_id");
    model->unk_id = model->unk ? vlm_vocabulary_find(&model->vocabulary, model->unk, model->unk_length) : VLM_NO_ID;
    find_byte_tokens(model);
    if (model->kind != VLM_MODEL_UNIGRAM)
        return VLM_OK;
    model->unk_id = json_is_integer(unk_id) ? json_integer_value(unk_id) : VLM_NO_ID;
    if (json_is_integer(unk_id) && (model->unk_id < 0 || (size_t)model->unk_id >= model->vocabulary.size))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: unk_id %lld in a vocabulary of %zu tokens", where, (long long)model->unk_id, model->vocabulary.size);
    return vlm_unigram_prepare(model, where, error);
}

vlm_status vlm_model_load(vlm_token_model *model, const json_t *options, vlm_bytes vocab, vlm_bytes merges, vlm_merges_form form, const char *where, vlm_error *error)
{
    vlm_scan scan;
    vlm_scan_open(&scan, vocab.data, vocab.length, where, error);
    vlm_status status = read_kind(model, options, vlm_scan_peek(&scan), merges.data != NULL, where, error);
    if (status == VLM_OK)
        status = read_options(model, options, where, error);
    /* About 8 bytes a token in the text of BPE vocabularies, at least 4. */
    if (status == VLM_OK && !vlm_vocabulary_reserve(&model->vocabulary, vocab.length / 16, vocab.length))
        status = vlm_fail_memory(error, vocab.length, where);
    if (status == VLM_OK)
        status = model->kind == VLM_MODEL_UNIGRAM ? read_scores(model, &scan) : read_map(model, &scan);
    if (status == VLM_OK && vlm_scan_peek(&scan))
        status = vlm_scan_fail(&scan, "the end of the vocabulary");
    vlm_scan_close(&scan);
    if (status == VLM_OK && model->vocabulary.size == 0)
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: the vocabulary is empty", where);
    if (status == VLM_OK && model->kind == VLM_MODEL_BPE) {
        status = vlm_bpe_prepare(model, where, error);
        if (status == VLM_OK && !vlm_bpe_reserve(model, merges.length / (form == VLM_MERGES_JSON ? 24 : 12)))
            status = vlm_fail_memory(error, merges.length, where);
        if (status == VLM_OK && merges.data && form == VLM_MERGES_JSON) {
            vlm_scan_open(&scan, merges.data, merges.length, where, error);
            status = read_merges(model, &scan);
            vlm_scan_close(&scan);
        } else if (status == VLM_OK && merges.data) {
            status = read_merges_text(model, merges, where, error);
        }
    }
    return status == VLM_OK ? finish(model, options, where, error) : status;
}

void vlm_model_free(vlm_token_model *model)
{
    vlm_vocabulary_free(&model->vocabulary);
    free(model->unk);
    free(model->prefix);
    free(model->suffix);
    free(model->merges);
    free(model->scores);
    free(model->sorted);
}

/* --- WordPiece and WordLevel --------------------------------------------------------------------------- */

static vlm_status push_unknown(const vlm_token_model *model, vlm_work *work, vlm_ids *ids)
{
    if (model->unk_id < 0)
        return vlm_fail(work->error, VLM_ERR_FORMAT, "the text has a word that the vocabulary lacks, and its unknown token \"%.60s\" is not in it", model->unk ? model->unk : "");
    return vlm_ids_push(ids, (uint32_t)model->unk_id) ? VLM_OK : vlm_work_memory(work);
}

/* Longest match first, from the left; a word with a gap is one unknown token.
 * A candidate longer than the longest token cannot be in the vocabulary and is not looked up. */
vlm_status vlm_wordpiece_encode(const vlm_token_model *model, vlm_work *work, const char *piece, size_t length, vlm_ids *ids)
{
    size_t before = ids->count, characters = 0;
    for (size_t i = 0; i < length && characters <= model->max_word; i++)
        characters += ((unsigned char)piece[i] & 0xc0) != 0x80;
    if (characters > model->max_word)
        return push_unknown(model, work, ids);
    for (size_t start = 0; start < length;) {
        size_t end = length - start > model->max_token ? start + model->max_token : length;
        int64_t id = VLM_NO_ID;
        for (; end > start; end--) {
            if (end < length && ((unsigned char)piece[end] & 0xc0) == 0x80)
                continue;
            id = vlm_vocabulary_find2(&model->vocabulary, model->prefix, start ? model->prefix_length : 0, piece + start, end - start);
            if (id >= 0)
                break;
        }
        if (id < 0) {
            ids->count = before;
            return push_unknown(model, work, ids);
        }
        if (!vlm_ids_push(ids, (uint32_t)id))
            return vlm_work_memory(work);
        start = end;
    }
    return VLM_OK;
}

vlm_status vlm_wordlevel_encode(const vlm_token_model *model, vlm_work *work, const char *piece, size_t length, vlm_ids *ids)
{
    int64_t id = vlm_vocabulary_find(&model->vocabulary, piece, length);
    if (id < 0)
        return push_unknown(model, work, ids);
    return vlm_ids_push(ids, (uint32_t)id) ? VLM_OK : vlm_work_memory(work);
}

vlm_status vlm_model_encode(const vlm_token_model *model, vlm_work *work, const char *piece, size_t length, vlm_ids *ids)
{
    switch (model->kind) {
    case VLM_MODEL_BPE: return vlm_bpe_encode(model, work, piece, length, ids);
    case VLM_MODEL_WORDPIECE: return vlm_wordpiece_encode(model, work, piece, length, ids);
    case VLM_MODEL_WORDLEVEL: return vlm_wordlevel_encode(model, work, piece, length, ids);
    case VLM_MODEL_UNIGRAM: return vlm_unigram_encode(model, work, piece, length, ids);
    }
    return VLM_OK;
}
