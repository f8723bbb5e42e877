/* Unigram: the cut of a piece with the best sum of token scores (Viterbi over byte positions).
 * Matches tokenizers 0.23 (models/unigram, encode_optimized): runs of unknown characters are one token, or
 * bytes with byte_fallback.
 * Tokens are found by walking a sorted list byte by byte, each byte narrowing the range. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "tokens/engine.h"

typedef struct sort_key {
    uint64_t prefix; /* the first eight bytes, most significant first, zeros behind the end */
    const unsigned char *token;
    uint32_t length, id;
} sort_key;

static uint64_t prefix_of(const char *token, size_t length)
{
    uint64_t prefix = 0;
    for (size_t i = 0; i < 8; i++)
        prefix = prefix << 8 | (i < length ? (unsigned char)token[i] : 0);
    return prefix;
}

/* Equal strings: the later id first counts, and is kept (the reference's map keeps the last). */
static int compare_keys(const void *a, const void *b)
{
    const sort_key *x = a, *y = b;
    if (x->prefix != y->prefix)
        return x->prefix < y->prefix ? -1 : 1;
    size_t n = x->length < y->length ? x->length : y->length;
    int order = memcmp(x->token, y->token, n);
    if (order)
        return order;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return x->id < y->id ? 1 : x->id > y->id ? -1 : 0;
}

vlm_status vlm_unigram_prepare(vlm_token_model *model, const char *where, vlm_error *error)
{
    size_t n = model->vocabulary.size, count = 0;
    sort_key *keys = vlm_alloc(n, sizeof *keys);
    model->sorted = vlm_alloc(n, sizeof *model->sorted);
    if (!keys || !model->sorted) {
        free(keys);
        return vlm_fail_memory(error, n * sizeof *keys, where);
    }
    double lowest = 0;
    for (size_t id = 0; id < n; id++) {
        if (id == 0 || model->scores[id] < lowest)
            lowest = model->scores[id];
        size_t length;
        const char *token = vlm_vocabulary_token(&model->vocabulary, (uint32_t)id, &length);
        if (token && length)
            keys[count++] = (sort_key){prefix_of(token, length), (const unsigned char *)token, (uint32_t)length, (uint32_t)id};
    }
    model->unk_score = lowest - 10.0; /* kUnkPenalty */
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < count; i++) {
        bool same = i > 0 && keys[i].length == keys[i - 1].length && memcmp(keys[i].token, keys[i - 1].token, keys[i].length) == 0;
        if (!same)
            model->sorted[model->n_sorted++] = keys[i].id;
    }
    free(keys);
    size_t at = 0;
    for (unsigned b = 0; b <= 256; b++) {
        for (; at < model->n_sorted; at++) {
            size_t length;
            const char *token = vlm_vocabulary_token(&model->vocabulary, model->sorted[at], &length);
            if ((unsigned char)token[0] >= b)
                break;
        }
        model->first_byte[b] = (uint32_t)at;
    }
    return VLM_OK;
}

/* The byte of the i-th sorted token at this depth; -1 when it ends before. */
static int byte_at(const vlm_token_model *model, size_t i, size_t depth, const char **token, size_t *length)
{
    *token = vlm_vocabulary_token(&model->vocabulary, model->sorted[i], length);
    return depth < *length ? (unsigned char)(*token)[depth] : -1;
}

/* First of [low, high) whose byte at depth is at least b. */
static size_t narrow(const vlm_token_model *model, size_t low, size_t high, size_t depth, int b)
{
    const char *token;
    size_t length;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (byte_at(model, middle, depth, &token, &length) < b)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

typedef struct node {
    double score;
    uint32_t id;
    uint32_t start; /* UINT32_MAX: not reached */
} node;

static void relax(node *target, double score, uint32_t id, size_t start)
{
    if (target->start == UINT32_MAX || score > target->score)
        *target = (node){score, id, (uint32_t)start};
}

/* All tokens that begin at text[at]; true when one is exactly the character there. */
static bool relax_tokens(const vlm_token_model *model, const char *text, size_t length, size_t at, size_t character, node *nodes)
{
    unsigned char first = (unsigned char)text[at];
    size_t low = model->first_byte[first], high = model->first_byte[first + 1];
    bool single = false;
    for (size_t depth = 1; low < high; depth++) {
        const char *token;
        size_t token_length;
        if (byte_at(model, low, depth, &token, &token_length) < 0) {
            relax(&nodes[at + depth], model->scores[model->sorted[low]] + nodes[at].score, model->sorted[low], at);
            if (depth == character)
                single = true;
            low++;
        }
        if (at + depth >= length)
            break;
        int b = (unsigned char)text[at + depth];
        low = narrow(model, low, high, depth, b);
        high = narrow(model, low, high, depth, b + 1);
    }
    return single;
}

static bool push_token(const vlm_token_model *model, const char *text, size_t length, vlm_ids *ids)
{
    int64_t id = vlm_vocabulary_find(&model->vocabulary, text, length);
    if (id >= 0)
        return vlm_ids_push(ids, (uint32_t)id);
    bool bytes = model->byte_fallback;
    for (size_t i = 0; bytes && i < length; i++)
        bytes = model->byte_ids[(unsigned char)text[i]] >= 0;
    if (!bytes)
        return vlm_ids_push(ids, (uint32_t)model->unk_id);
    for (size_t i = 0; i < length; i++)
        if (!vlm_ids_push(ids, (uint32_t)model->byte_ids[(unsigned char)text[i]]))
            return false;
    return true;
}

vlm_status vlm_unigram_encode(const vlm_token_model *model, vlm_work *work, const char *text, size_t length, vlm_ids *ids)
{
    size_t bytes;
    if (length >= UINT32_MAX - 1 || !vlm_multiply(length + 1, sizeof(node) + sizeof(uint32_t), &bytes))
        return vlm_fail(work->error, VLM_ERR_LIMIT, "a piece of %zu bytes is too long", length);
    node *nodes = vlm_work_model(work, bytes);
    if (!nodes)
        return vlm_work_memory(work);
    uint32_t *ends = (uint32_t *)(void *)(nodes + length + 1);
    for (size_t i = 0; i <= length; i++)
        nodes[i] = (node){0, 0, UINT32_MAX};
    for (size_t at = 0; at < length;) {
        unsigned c;
        size_t character = vlm_utf8_decode(&c, text + at, length - at);
        if (!relax_tokens(model, text, length, at, character, nodes)) {
            if (model->unk_id < 0)
                return vlm_fail(work->error, VLM_ERR_FORMAT, "the text has a character that the vocabulary lacks, and the vocabulary has no unknown token");
            relax(&nodes[at + character], model->unk_score + nodes[at].score, (uint32_t)model->unk_id, at);
        }
        at += character;
    }
    /* Back from the end; neighbouring unknown tokens become one. */
    size_t n = 0;
    bool was_unknown = false;
    for (size_t end = length; end > 0; end = nodes[end].start) {
        bool unknown = (int64_t)nodes[end].id == model->unk_id;
        if (!(unknown && was_unknown))
            ends[n++] = (uint32_t)end;
        was_unknown = unknown;
    }
    size_t start = 0;
    while (n > 0) {
        size_t end = ends[--n];
        if (!push_token(model, text + start, end - start, ids))
            return vlm_work_memory(work);
        start = end;
    }
    return VLM_OK;
}
