/* Learning a CLIP-style byte-level BPE: texts with their counts -> tokenizer.json.
 * The text goes through the same normalizer and word pattern that the file will name; a word is its bytes, the
 * last one with </w>. Then, again and again, the most frequent pair of neighbours becomes a token (Sennrich et
 * al. 2016). Each pair knows the words it occurs in, and a heap knows the most frequent pair, so that a merge
 * costs what it changes. The same texts give the same file. */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "formats/json.h"
#include "tokens/engine.h"
#include "tokens/scan.h"

static const char normalizer_json[] =
    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"},{\"type\":\"Lowercase\"}]}";
static const char pretokenizer_json[] =
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"<\\\\|startoftext\\\\|>|<\\\\|endoftext\\\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+\"},"
    "\"behavior\":\"Removed\",\"invert\":true},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}]}";

enum { BYTE_TOKENS = 512, SPECIAL_TOKENS = 2 };

/* A word of the texts: its symbols (token ids) and how often it occurs. */
typedef struct word {
    uint32_t *symbols;
    size_t n_symbols;
    uint64_t count;
} word;

typedef struct pair {
    uint64_t key; /* left << 32 | right */
    uint64_t count;
    uint32_t *words; /* where it occurs, or did */
    size_t n_words, capacity;
} pair;

typedef struct ranked {
    uint64_t count, key;
    size_t pair;
} ranked;

typedef struct trainer {
    vlm_vocabulary words_seen; /* word -> index into words */
    word *words;
    size_t n_words, words_capacity;
    vlm_vocabulary tokens;
    pair *pairs;
    size_t n_pairs, pairs_capacity;
    size_t *slots; /* open addressing: pair index + 1 */
    size_t mask;
    ranked *heap;
    size_t n_heap, heap_capacity;
    vlm_text merges; /* as JSON, comma-separated */
    vlm_error *error;
} trainer;

static vlm_status no_memory(trainer *t)
{
    return vlm_fail_memory(t->error, t->n_pairs * sizeof(pair), "learning a vocabulary");
}

/* --- words ------------------------------------------------------------------------------------------- */

static vlm_status add_word(trainer *t, const char *text, size_t length, uint64_t count)
{
    int64_t found = vlm_vocabulary_find(&t->words_seen, text, length);
    if (found >= 0) {
        t->words[found].count += count;
        return VLM_OK;
    }
    vlm_status status = vlm_vocabulary_add(&t->words_seen, text, length, (uint32_t)t->n_words);
    if (status == VLM_ERR_LIMIT)
        return vlm_fail(t->error, status, "learning a vocabulary: more than %d different words", VLM_VOCABULARY_LIMIT);
    if (status != VLM_OK || !vlm_grow(&t->words, &t->words_capacity, t->n_words + 1, sizeof *t->words))
        return no_memory(t);
    word *w = &t->words[t->n_words++];
    *w = (word){vlm_alloc(length, sizeof *w->symbols), 0, count};
    if (!w->symbols)
        return no_memory(t);
    for (size_t i = 0; i < length;) {
        unsigned c;
        size_t size = vlm_utf8_decode(&c, text + i, length - i);
        const char *suffix = i + size == length ? "</w>" : "";
        w->symbols[w->n_symbols++] = (uint32_t)vlm_vocabulary_find2(&t->tokens, text + i, size, suffix, strlen(suffix));
        i += size;
    }
    return VLM_OK;
}

static vlm_status add_text(trainer *t, const vlm_normalizers *normalizers, const vlm_pretokenizers *pretokenizers, vlm_work *work, const vlm_bpe_text *text)
{
    size_t head = 0;
    work->text.length = work->other.length = 0;
    vlm_text_append_valid(&work->text, text->text, text->length);
    vlm_status status = work->text.failed ? no_memory(t) : vlm_normalize(normalizers, work, &head);
    if (status != VLM_OK || work->text.length == 0)
        return status;
    work->n_other = 0;
    if (!vlm_work_push_span(work, (vlm_span){0, work->text.length, 0, false}))
        return no_memory(t);
    vlm_work_swap_spans(work);
    status = vlm_pretokenize(pretokenizers, work);
    for (size_t i = 0; i < work->n_spans && status == VLM_OK; i++)
        status = add_word(t, work->text.data + work->spans[i].start, work->spans[i].length, text->count);
    return status;
}

static vlm_status add_texts(trainer *t, const vlm_bpe_text *texts, size_t n_texts)
{
    json_t *normalizer = NULL, *pretokenizer = NULL;
    vlm_normalizers normalizers = {0};
    vlm_pretokenizers pretokenizers = {0};
    vlm_work work = {.error = t->error};
    vlm_status status = vlm_json_parse(&normalizer, normalizer_json, sizeof normalizer_json - 1, "normalizer", t->error);
    if (status == VLM_OK)
        status = vlm_json_parse(&pretokenizer, pretokenizer_json, sizeof pretokenizer_json - 1, "pre_tokenizer", t->error);
    if (status == VLM_OK)
        status = vlm_normalizers_load(&normalizers, normalizer, "normalizer", t->error);
    if (status == VLM_OK)
        status = vlm_pretokenizers_load(&pretokenizers, pretokenizer, "pre_tokenizer", t->error);
    for (size_t i = 0; i < n_texts && status == VLM_OK; i++)
        if (texts[i].count)
            status = add_text(t, &normalizers, &pretokenizers, &work, &texts[i]);
    vlm_work_free(&work);
    vlm_pretokenizers_free(&pretokenizers);
    vlm_normalizers_free(&normalizers);
    json_decref(pretokenizer);
    json_decref(normalizer);
    return status;
}

/* The bytes in GPT-2's order, the visible ones first, alone and ending a word. */
static vlm_status add_bytes(trainer *t)
{
    uint32_t id = 0;
    for (int ending = 0; ending < 2; ending++)
        for (int invisible = 0; invisible < 2; invisible++)
            for (unsigned b = 0; b < 256; b++) {
                uint32_t c = vlm_byte_character((unsigned char)b);
                vlm_text token = {0};
                if ((c >= 256) != invisible)
                    continue;
                vlm_text_put_utf8(&token, c);
                vlm_text_puts(&token, ending ? "</w>" : "");
                bool ok = !token.failed && vlm_vocabulary_add(&t->tokens, token.data, token.length, id++) == VLM_OK;
                vlm_text_free(&token);
                if (!ok)
                    return no_memory(t);
            }
    return VLM_OK;
}

/* --- pairs -------------------------------------------------------------------------------------------- */

static size_t slot_of(const trainer *t, uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u;
    size_t at = (size_t)(h ^ h >> 32) & t->mask;
    while (t->slots[at] && t->pairs[t->slots[at] - 1].key != key)
        at = (at + 1) & t->mask;
    return at;
}

static bool grow_slots(trainer *t)
{
    size_t n = t->slots ? (t->mask + 1) * 2 : 1024;
    size_t *slots = vlm_alloc_zero(n, sizeof *slots);
    if (!slots)
        return false;
    free(t->slots);
    t->slots = slots;
    t->mask = n - 1;
    for (size_t i = 0; i < t->n_pairs; i++)
        t->slots[slot_of(t, t->pairs[i].key)] = i + 1;
    return true;
}

static pair *find_pair(trainer *t, uint32_t left, uint32_t right)
{
    uint64_t key = (uint64_t)left << 32 | right;
    if ((!t->slots || (t->n_pairs + 1) * 2 > t->mask + 1) && !grow_slots(t))
        return NULL;
    size_t slot = slot_of(t, key);
    if (t->slots[slot])
        return &t->pairs[t->slots[slot] - 1];
    if (!vlm_grow(&t->pairs, &t->pairs_capacity, t->n_pairs + 1, sizeof *t->pairs))
        return NULL;
    t->pairs[t->n_pairs] = (pair){.key = key};
    t->slots[slot] = t->n_pairs + 1;
    return &t->pairs[t->n_pairs++];
}

/* One more occurrence of a pair in a word; the word is noted once in a row. */
static bool count_pair(trainer *t, size_t index, uint32_t left, uint32_t right)
{
    pair *p = find_pair(t, left, right);
    if (!p)
        return false;
    p->count += t->words[index].count;
    if (p->n_words && p->words[p->n_words - 1] == index)
        return true;
    if (!vlm_grow(&p->words, &p->capacity, p->n_words + 1, sizeof *p->words))
        return false;
    p->words[p->n_words++] = (uint32_t)index;
    return true;
}

static bool better(ranked a, ranked b)
{
    return a.count != b.count ? a.count > b.count : a.key < b.key;
}

static bool heap_push(trainer *t, size_t pair_index)
{
    ranked item = {t->pairs[pair_index].count, t->pairs[pair_index].key, pair_index};
    if (!vlm_grow(&t->heap, &t->heap_capacity, t->n_heap + 1, sizeof *t->heap))
        return false;
    size_t i = t->n_heap++;
    for (; i > 0 && better(item, t->heap[(i - 1) / 2]); i = (i - 1) / 2)
        t->heap[i] = t->heap[(i - 1) / 2];
    t->heap[i] = item;
    return true;
}

static ranked heap_pop(trainer *t)
{
    ranked top = t->heap[0], item = t->heap[--t->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < t->n_heap; i = child) {
        if (child + 1 < t->n_heap && better(t->heap[child + 1], t->heap[child]))
            child++;
        if (!better(t->heap[child], item))
            break;
        t->heap[i] = t->heap[child];
    }
    t->heap[i] = item;
    return top;
}

/* --- merging ------------------------------------------------------------------------------------------ */

static bool uncount_pair(trainer *t, size_t index, uint32_t left, uint32_t right)
{
    pair *p = find_pair(t, left, right);
    if (p)
        p->count -= t->words[index].count;
    return p != NULL;
}

/* Replace left right by id in a word, from its start, each time with the pairs around it. */
static bool merge_word(trainer *t, size_t index, uint32_t left, uint32_t right, uint32_t id)
{
    word *w = &t->words[index];
    uint32_t *s = w->symbols;
    size_t n = 0;
    bool ok = true;
    for (size_t i = 0; i < w->n_symbols && ok;) {
        if (i + 1 >= w->n_symbols || s[i] != left || s[i + 1] != right) {
            s[n++] = s[i++];
            continue;
        }
        ok = uncount_pair(t, index, left, right);
        if (n > 0)
            ok = ok && uncount_pair(t, index, s[n - 1], left) && count_pair(t, index, s[n - 1], id);
        if (i + 2 < w->n_symbols)
            ok = ok && uncount_pair(t, index, right, s[i + 2]) && count_pair(t, index, id, s[i + 2]);
        s[n++] = id;
        i += 2;
    }
    if (ok)
        w->n_symbols = n;
    return ok;
}

static vlm_status note_merge(trainer *t, uint32_t left, uint32_t right, uint32_t *id)
{
    size_t a, b;
    const char *left_text = vlm_vocabulary_token(&t->tokens, left, &a), *right_text = vlm_vocabulary_token(&t->tokens, right, &b);
    vlm_text joined = {0};
    vlm_text_append(&joined, left_text, a);
    vlm_text_append(&joined, right_text, b);
    vlm_text_puts(&t->merges, t->merges.length ? ",[\"" : "[\"");
    vlm_text_put_json(&t->merges, left_text, a);
    vlm_text_puts(&t->merges, "\",\"");
    vlm_text_put_json(&t->merges, right_text, b);
    vlm_text_puts(&t->merges, "\"]");
    bool ok = !joined.failed && !t->merges.failed;
    /* Another pair may have made this string before: the same token. */
    int64_t known = ok ? vlm_vocabulary_find(&t->tokens, joined.data, joined.length) : -1;
    *id = known >= 0 ? (uint32_t)known : (uint32_t)t->tokens.size;
    if (ok && known < 0)
        ok = vlm_vocabulary_add(&t->tokens, joined.data, joined.length, *id) == VLM_OK;
    vlm_text_free(&joined);
    return ok ? VLM_OK : no_memory(t);
}

static vlm_status learn(trainer *t, size_t n_tokens, uint64_t min_count)
{
    for (size_t i = 0; i < t->n_words; i++)
        for (size_t j = 0; j + 1 < t->words[i].n_symbols; j++)
            if (!count_pair(t, i, t->words[i].symbols[j], t->words[i].symbols[j + 1]))
                return no_memory(t);
    for (size_t i = 0; i < t->n_pairs; i++)
        if (!heap_push(t, i))
            return no_memory(t);
    while (t->tokens.size < n_tokens && t->n_heap) {
        ranked top = heap_pop(t);
        pair *best = &t->pairs[top.pair];
        if (best->count != top.count) { /* out of date */
            if (best->count && best->count < top.count && !heap_push(t, top.pair))
                return no_memory(t);
            continue;
        }
        if (best->count == 0 || best->count < min_count)
            break;
        uint32_t left = (uint32_t)(best->key >> 32), right = (uint32_t)best->key, id;
        vlm_status status = note_merge(t, left, right, &id);
        if (status != VLM_OK)
            return status;
        uint32_t *words = best->words;
        size_t n_words = best->n_words, first_new = t->n_pairs;
        best->words = NULL;
        best->n_words = best->capacity = 0;
        bool ok = true;
        for (size_t i = 0; i < n_words && ok; i++)
            ok = merge_word(t, words[i], left, right, id);
        free(words);
        /* Pairs that are new, and old ones that a token known before made more frequent. */
        for (size_t i = first_new; i < t->n_pairs && ok; i++)
            ok = heap_push(t, i);
        for (size_t i = 0; id + 1 < t->tokens.size && i < first_new && ok; i++)
            if ((uint32_t)(t->pairs[i].key >> 32) == id || (uint32_t)t->pairs[i].key == id)
                ok = heap_push(t, i);
        if (!ok)
            return no_memory(t);
    }
    return VLM_OK;
}

static void write_file(vlm_text *out, const trainer *t)
{
    size_t start = t->tokens.size, end = start + 1;
    static const char special[] = "{\"id\":%zu,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}";
    vlm_text_puts(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    vlm_text_printf(out, special, start, "<|startoftext|>");
    vlm_text_puts(out, ",");
    vlm_text_printf(out, special, end, "<|endoftext|>");
    vlm_text_printf(out, "],\"normalizer\":%s,\"pre_tokenizer\":%s,", normalizer_json, pretokenizer_json);
    vlm_text_printf(out, "\"post_processor\":{\"type\":\"RobertaProcessing\",\"sep\":[\"<|endoftext|>\",%zu],\"cls\":[\"<|startoftext|>\",%zu],\"trim_offsets\":false,\"add_prefix_space\":false},", end, start);
    vlm_text_puts(out, "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},");
    vlm_text_puts(out, "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":\"<|endoftext|>\",\"continuing_subword_prefix\":\"\",\"end_of_word_suffix\":\"</w>\",\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,\"vocab\":{");
    for (uint32_t id = 0; id < t->tokens.size; id++) {
        size_t length;
        const char *token = vlm_vocabulary_token(&t->tokens, id, &length);
        vlm_text_puts(out, "\"");
        vlm_text_put_json(out, token, length);
        vlm_text_printf(out, "\":%u,", id);
    }
    vlm_text_printf(out, "\"<|startoftext|>\":%zu,\"<|endoftext|>\":%zu},\"merges\":[%s]}}\n", start, end, t->merges.data ? t->merges.data : "");
}

vlm_status vlm_bpe_train(vlm_text *json, const vlm_bpe_text *texts, size_t n_texts, size_t vocab_size, uint64_t min_count, vlm_error *error)
{
    trainer t = {.error = error};
    if (vocab_size < BYTE_TOKENS + SPECIAL_TOKENS || vocab_size > VLM_VOCABULARY_LIMIT)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "a vocabulary of %zu tokens; %d (the bytes and two special ones) to %d are possible", vocab_size, BYTE_TOKENS + SPECIAL_TOKENS, VLM_VOCABULARY_LIMIT);
    vlm_status status = add_bytes(&t);
    if (status == VLM_OK)
        status = add_texts(&t, texts, n_texts);
    if (status == VLM_OK)
        status = learn(&t, vocab_size - SPECIAL_TOKENS, min_count);
    if (status == VLM_OK) {
        write_file(json, &t);
        if (json->failed)
            status = no_memory(&t);
    }
    for (size_t i = 0; i < t.n_words; i++)
        free(t.words[i].symbols);
    for (size_t i = 0; i < t.n_pairs; i++)
        free(t.pairs[i].words);
    free(t.words);
    free(t.pairs);
    free(t.slots);
    free(t.heap);
    vlm_text_free(&t.merges);
    vlm_vocabulary_free(&t.words_seen);
    vlm_vocabulary_free(&t.tokens);
    return status;
}
