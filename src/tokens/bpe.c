/* Byte-pair encoding: a word's characters, merged pair by pair, the best rank first, the leftmost first among
 * equals. Matches tokenizers 0.23 (models/bpe).
 * Short words are merged by scanning for the best pair, long ones with a heap: a word of a megabyte costs
 * n log n. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "tokens/engine.h"

enum { SCAN_LIMIT = 48 }; /* symbols; above, the heap is quicker */

static const uint64_t EMPTY = UINT64_MAX;

static size_t pair_slot(uint64_t pair, size_t mask)
{
    uint64_t h = pair * 0x9e3779b97f4a7c15u;
    return (size_t)(h ^ h >> 32) & mask;
}

static const vlm_merge *find_merge(const vlm_token_model *model, uint32_t left, uint32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    for (size_t at = pair_slot(pair, model->merges_mask);; at = (at + 1) & model->merges_mask) {
        if (model->merges[at].pair == pair)
            return &model->merges[at];
        if (model->merges[at].pair == EMPTY)
            return NULL;
    }
}

bool vlm_bpe_reserve(vlm_token_model *model, size_t n_merges)
{
    size_t slots = 16;
    while (slots < n_merges * 2 && slots < (size_t)1 << 40)
        slots *= 2;
    if (model->merges && slots <= model->merges_mask + 1)
        return true;
    vlm_merge *table = vlm_alloc(slots, sizeof *table);
    if (!table)
        return false;
    memset(table, 0xff, slots * sizeof *table);
    for (size_t i = 0; model->merges && i <= model->merges_mask; i++) {
        if (model->merges[i].pair == EMPTY)
            continue;
        size_t at = pair_slot(model->merges[i].pair, slots - 1);
        while (table[at].pair != EMPTY)
            at = (at + 1) & (slots - 1);
        table[at] = model->merges[i];
    }
    free(model->merges);
    model->merges = table;
    model->merges_mask = slots - 1;
    return true;
}

/* The id of left + right. Merges usually stand in the order of their tokens: the one behind the last merge's is
 * tried first, which saves a look-up. */
static int64_t joined_id(const vlm_token_model *model, const char *left, size_t left_length, const char *right, size_t right_length)
{
    size_t length;
    const char *next = vlm_vocabulary_token(&model->vocabulary, model->last_merged + 1, &length);
    if (next && length == left_length + right_length && memcmp(next, left, left_length) == 0 && memcmp(next + left_length, right, right_length) == 0)
        return (int64_t)model->last_merged + 1;
    return vlm_vocabulary_find2(&model->vocabulary, left, left_length, right, right_length);
}

/* A pair that comes twice keeps the later rank, as in the reference. */
vlm_status vlm_bpe_add_merge(vlm_token_model *model, const char *left, size_t left_length, const char *right, size_t right_length, const char *where, vlm_error *error)
{
    int64_t left_id = vlm_vocabulary_find(&model->vocabulary, left, left_length);
    int64_t right_id = vlm_vocabulary_find(&model->vocabulary, right, right_length);
    size_t skip = model->prefix_length;
    int64_t id = right_length >= skip ? joined_id(model, left, left_length, right + skip, right_length - skip) : VLM_NO_ID;
    if (left_id < 0 || right_id < 0 || id < 0)
        return vlm_fail(error, VLM_ERR_MISMATCH, "%s: merge %zu, \"%.*s\" with \"%.*s\": not in the vocabulary; are these merges of this vocabulary?", where, model->n_merges, (int)(left_length < 100 ? left_length : 100), left, (int)(right_length < 100 ? right_length : 100), right);
    if ((model->n_merges + 1) * 2 > model->merges_mask + 1 && !vlm_bpe_reserve(model, (model->n_merges + 1) * 2))
        return vlm_fail_memory(error, model->n_merges * sizeof(vlm_merge), where);
    uint64_t pair = (uint64_t)left_id << 32 | (uint32_t)right_id;
    size_t at = pair_slot(pair, model->merges_mask);
    while (model->merges[at].pair != EMPTY && model->merges[at].pair != pair)
        at = (at + 1) & model->merges_mask;
    model->last_merged = (uint32_t)id;
    model->merges[at] = (vlm_merge){pair, (uint32_t)model->n_merges++, (uint32_t)id};
    return VLM_OK;
}

/* The id of a word's character with the affixes of its place. */
static int64_t character_id(const vlm_token_model *model, const char *character, size_t length, bool first, bool last)
{
    size_t prefix = first ? 0 : model->prefix_length, suffix = last ? model->suffix_length : 0;
    if (!suffix)
        return vlm_vocabulary_find2(&model->vocabulary, model->prefix, prefix, character, length);
    if (!prefix)
        return vlm_vocabulary_find2(&model->vocabulary, character, length, model->suffix, suffix);
    char whole[2 * VLM_TOKEN_LIMIT + 8];
    memcpy(whole, model->prefix, prefix);
    memcpy(whole + prefix, character, length);
    return vlm_vocabulary_find2(&model->vocabulary, whole, prefix + length, model->suffix, suffix);
}

vlm_status vlm_bpe_prepare(vlm_token_model *model, const char *where, vlm_error *error)
{
    if (!vlm_bpe_reserve(model, 8))
        return vlm_fail_memory(error, 16 * sizeof *model->merges, where);
    for (unsigned c = 0; c < VLM_CHARACTER_TABLE; c++) {
        char utf8[2] = {(char)(c < 0x80 ? c : 0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
        for (int inner = 0; inner < 2; inner++)
            for (int last = 0; last < 2; last++)
                model->character_ids[inner][last][c] = (int32_t)character_id(model, utf8, c < 0x80 ? 1 : 2, !inner, last);
    }
    return VLM_OK;
}

/* --- a word ------------------------------------------------------------------------------------------- */

typedef struct symbol {
    uint32_t id;
    int32_t previous, next; /* -1: none */
    bool gone;
} symbol;

typedef struct candidate {
    uint32_t rank, id;
    int32_t at;
} candidate;

/* The symbols of a word, and the count of them. At most one a byte, and one a byte of the suffix. */
static vlm_status split_word(const vlm_token_model *model, vlm_work *work, const char *word, size_t length, symbol *symbols, size_t *count)
{
    size_t n = 0;
    int64_t pending = VLM_NO_ID; /* an unknown token that may still grow */
    for (size_t i = 0; i < length;) {
        unsigned c;
        size_t size = vlm_utf8_decode(&c, word + i, length - i);
        bool first = i == 0, last = i + size == length;
        int64_t id = c < VLM_CHARACTER_TABLE ? model->character_ids[!first][last][c] : character_id(model, word + i, size, first, last);
        if (id >= 0) {
            if (pending >= 0)
                symbols[n++].id = (uint32_t)pending;
            pending = VLM_NO_ID;
            symbols[n++].id = (uint32_t)id;
            i += size;
            continue;
        }
        bool bytes = model->byte_fallback;
        for (size_t j = 0; bytes && j < size; j++)
            bytes = model->byte_ids[(unsigned char)word[i + j]] >= 0;
        for (size_t j = 0; bytes && !first && j < model->prefix_length; j++)
            bytes = model->byte_ids[(unsigned char)model->prefix[j]] >= 0;
        for (size_t j = 0; bytes && last && j < model->suffix_length; j++)
            bytes = model->byte_ids[(unsigned char)model->suffix[j]] >= 0;
        /* Trap: bytes do not flush a pending unknown token; it comes behind them, as in the reference. */
        if (bytes) {
            for (size_t j = 0; !first && j < model->prefix_length; j++)
                symbols[n++].id = (uint32_t)model->byte_ids[(unsigned char)model->prefix[j]];
            for (size_t j = 0; j < size; j++)
                symbols[n++].id = (uint32_t)model->byte_ids[(unsigned char)word[i + j]];
            for (size_t j = 0; last && j < model->suffix_length; j++)
                symbols[n++].id = (uint32_t)model->byte_ids[(unsigned char)model->suffix[j]];
        } else if (model->unk) {
            if (model->unk_id < 0)
                return vlm_fail(work->error, VLM_ERR_FORMAT, "the text has a character that the vocabulary lacks, and its unknown token \"%.60s\" is not in it", model->unk);
            if (pending >= 0 && !model->fuse_unk)
                symbols[n++].id = (uint32_t)pending;
            pending = model->unk_id;
        }
        i += size;
    }
    if (pending >= 0)
        symbols[n++].id = (uint32_t)pending;
    *count = n;
    return VLM_OK;
}

/* n <= SCAN_LIMIT: keep each neighbour's merge beside it, take the best, close the gap. */
static size_t merge_short(const vlm_token_model *model, symbol *symbols, size_t n)
{
    const vlm_merge *merges[SCAN_LIMIT];
    for (size_t i = 0; i + 1 < n; i++)
        merges[i] = find_merge(model, symbols[i].id, symbols[i + 1].id);
    while (n > 1) {
        size_t best = SIZE_MAX;
        for (size_t i = 0; i + 1 < n; i++)
            if (merges[i] && (best == SIZE_MAX || merges[i]->rank < merges[best]->rank))
                best = i;
        if (best == SIZE_MAX)
            break;
        symbols[best].id = merges[best]->id;
        n--;
        memmove(symbols + best + 1, symbols + best + 2, (n - best - 1) * sizeof *symbols);
        if (best + 1 < n)
            memmove(merges + best, merges + best + 1, (n - best - 1) * sizeof *merges);
        if (best + 1 < n)
            merges[best] = find_merge(model, symbols[best].id, symbols[best + 1].id);
        if (best > 0)
            merges[best - 1] = find_merge(model, symbols[best - 1].id, symbols[best].id);
    }
    return n;
}

static bool before(candidate a, candidate b)
{
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void heap_push(candidate *heap, size_t *count, candidate item)
{
    size_t i = (*count)++;
    for (; i > 0 && before(item, heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = item;
}

static candidate heap_pop(candidate *heap, size_t *count)
{
    candidate top = heap[0], item = heap[--*count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < *count; i = child) {
        if (child + 1 < *count && before(heap[child + 1], heap[child]))
            child++;
        if (!before(heap[child], item))
            break;
        heap[i] = heap[child];
    }
    heap[i] = item;
    return top;
}

static void offer(const vlm_token_model *model, const symbol *symbols, int32_t at, candidate *heap, size_t *count)
{
    if (at < 0 || symbols[at].next < 0)
        return;
    const vlm_merge *merge = find_merge(model, symbols[at].id, symbols[symbols[at].next].id);
    if (merge)
        heap_push(heap, count, (candidate){merge->rank, merge->id, at});
}

/* Each merge offers two new pairs and uses one up: at most 3n candidates ever. */
static size_t merge_long(const vlm_token_model *model, symbol *symbols, size_t n, candidate *heap)
{
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < n; i++) {
        symbols[i].previous = (int32_t)i - 1;
        symbols[i].next = i + 1 < n ? (int32_t)i + 1 : -1;
        symbols[i].gone = false;
    }
    for (size_t i = 0; i < n; i++)
        offer(model, symbols, (int32_t)i, heap, &count);
    while (count) {
        candidate top = heap_pop(heap, &count);
        symbol *left = &symbols[top.at];
        if (left->gone || left->next < 0)
            continue;
        symbol *right = &symbols[left->next];
        const vlm_merge *merge = find_merge(model, left->id, right->id);
        if (!merge || merge->id != top.id) /* out of date */
            continue;
        left->id = top.id;
        left->next = right->next;
        right->gone = true;
        if (right->next >= 0)
            symbols[right->next].previous = top.at;
        offer(model, symbols, left->previous, heap, &count);
        offer(model, symbols, top.at, heap, &count);
    }
    for (size_t i = 0; i < n; i++)
        if (!symbols[i].gone)
            symbols[kept++] = symbols[i];
    return kept;
}

vlm_status vlm_bpe_encode(const vlm_token_model *model, vlm_work *work, const char *word, size_t length, vlm_ids *ids)
{
    if (model->ignore_merges) {
        int64_t id = vlm_vocabulary_find(&model->vocabulary, word, length);
        if (id >= 0)
            return vlm_ids_push(ids, (uint32_t)id) ? VLM_OK : vlm_work_memory(work);
    }
    for (size_t i = 0; model->whole && model->whole[i]; i++)
        if (strlen(model->whole[i]) == length && memcmp(model->whole[i], word, length) == 0) {
            int64_t id = vlm_vocabulary_find(&model->vocabulary, word, length);
            return id < 0 || vlm_ids_push(ids, (uint32_t)id) ? VLM_OK : vlm_work_memory(work);
        }
    if (length > INT32_MAX / 8)
        return vlm_fail(work->error, VLM_ERR_LIMIT, "a word of %zu bytes; at most %d are taken", length, INT32_MAX / 8);
    size_t characters = 0;
    for (size_t i = 0; i < length; i++)
        characters += ((unsigned char)word[i] & 0xc0) != 0x80;
    size_t most = length + (model->byte_fallback ? characters * model->prefix_length + model->suffix_length : 0) + 1;
    size_t bytes;
    if (most > INT32_MAX / 4 || !vlm_multiply(most, sizeof(symbol) + 3 * sizeof(candidate), &bytes))
        return vlm_fail(work->error, VLM_ERR_LIMIT, "a word of %zu bytes is too long", length);
    if (most <= SCAN_LIMIT)
        bytes = most * sizeof(symbol);
    symbol *symbols = vlm_work_model(work, bytes);
    if (!symbols)
        return vlm_work_memory(work);
    size_t n = 0;
    vlm_status status = split_word(model, work, word, length, symbols, &n);
    if (status != VLM_OK)
        return status;
    if (n <= SCAN_LIMIT)
        n = merge_short(model, symbols, n);
    else
        n = merge_long(model, symbols, n, (candidate *)(void *)(symbols + most));
    for (size_t i = 0; i < n; i++)
        if (!vlm_ids_push(ids, symbols[i].id))
            return vlm_work_memory(work);
    return VLM_OK;
}
