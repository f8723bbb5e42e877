/* Added tokens: strings that are cut out of a text before anything else happens to it, the raw text for those
 * that are not normalized, the normalized one for the others; the leftmost first, the longest of those.
 * Matches tokenizers 0.23 (tokenizer/added_vocabulary). */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "tokens/engine.h"
#include "tokens/unicode.h"

const vlm_added_token *vlm_added_by_content(const vlm_added *added, const char *content, size_t length)
{
    int64_t found = vlm_vocabulary_find(&added->index, content, length);
    return found < 0 ? NULL : &added->tokens[found];
}

const vlm_added_token *vlm_added_by_id(const vlm_added *added, uint32_t id)
{
    return id < added->end && added->by_id[id] ? &added->tokens[added->by_id[id] - 1] : NULL;
}

/* As the reference counts: behind the largest added id, but never below the model's number of tokens. */
static size_t next_id(const vlm_tokenizer *tokenizer)
{
    const vlm_vocabulary *vocabulary = &tokenizer->model.vocabulary;
    size_t size = tokenizer->model.kind == VLM_MODEL_UNIGRAM ? vocabulary->n_tokens : vocabulary->n_strings;
    return tokenizer->added.end > size ? tokenizer->added.end : size;
}

/* Room for one more token with this id. */
static bool grow(vlm_added *added, uint32_t id)
{
    size_t before = added->by_id_capacity;
    if (!vlm_grow(&added->tokens, &added->capacity, added->count + 1, sizeof *added->tokens) || !vlm_grow(&added->by_id, &added->by_id_capacity, (size_t)id + 1, sizeof *added->by_id))
        return false;
    memset(added->by_id + before, 0, (added->by_id_capacity - before) * sizeof *added->by_id);
    return true;
}

vlm_status vlm_added_add(vlm_tokenizer *tokenizer, const vlm_added_token *token, vlm_error *error)
{
    vlm_added *added = &tokenizer->added;
    if (token->length == 0)
        return VLM_OK;
    if (token->length > VLM_TOKEN_LIMIT)
        return vlm_fail(error, VLM_ERR_LIMIT, "an added token has %zu bytes; at most %d are taken", token->length, VLM_TOKEN_LIMIT);
    vlm_added_token *place = NULL;
    const vlm_added_token *old = vlm_added_by_content(added, token->content, token->length);
    if (old) {
        place = &added->tokens[old - added->tokens];
    } else {
        int64_t id = vlm_vocabulary_find(&tokenizer->model.vocabulary, token->content, token->length);
        if (id < 0)
            id = (int64_t)next_id(tokenizer);
        if (id >= VLM_VOCABULARY_LIMIT)
            return vlm_fail(error, VLM_ERR_LIMIT, "an added token would have the number %lld; at most %d are taken", (long long)id, VLM_VOCABULARY_LIMIT);
        char *content = vlm_copy_text(token->content, token->length);
        if (!content || !grow(added, (uint32_t)id) || vlm_vocabulary_add(&added->index, token->content, token->length, (uint32_t)added->count) != VLM_OK) {
            free(content);
            return vlm_fail_memory(error, token->length, "adding a token");
        }
        place = &added->tokens[added->count++];
        *place = (vlm_added_token){.id = (uint32_t)id, .content = content, .length = token->length};
        added->by_id[id] = (uint32_t)added->count;
        if ((size_t)id >= added->end)
            added->end = (size_t)id + 1;
    }
    place->single_word = token->single_word;
    place->lstrip = token->lstrip;
    place->rstrip = token->rstrip;
    place->normalized = token->normalized;
    place->special = place->special || token->special;
    return VLM_OK;
}

/* --- matching ----------------------------------------------------------------------------------------- */

static int32_t find_child(const vlm_trie *trie, int32_t parent, unsigned char byte)
{
    int32_t at = trie->nodes[parent].child;
    while (at >= 0 && trie->nodes[at].byte != byte)
        at = trie->nodes[at].sibling;
    return at;
}

static int32_t new_node(vlm_trie *trie, unsigned char byte)
{
    if (!vlm_grow(&trie->nodes, &trie->capacity, trie->count + 1, sizeof *trie->nodes))
        return -1;
    trie->nodes[trie->count] = (vlm_trie_node){-1, -1, -1, byte};
    return (int32_t)trie->count++;
}

static bool insert(vlm_trie *trie, const char *pattern, size_t length, int32_t token)
{
    const unsigned char *p = (const unsigned char *)pattern;
    if (trie->roots[p[0]] < 0)
        trie->roots[p[0]] = new_node(trie, p[0]);
    int32_t at = trie->roots[p[0]];
    for (size_t i = 1; i < length && at >= 0; i++) {
        int32_t child = find_child(trie, at, p[i]);
        if (child < 0 && (child = new_node(trie, p[i])) >= 0) {
            trie->nodes[child].sibling = trie->nodes[at].child;
            trie->nodes[at].child = child;
        }
        at = child;
    }
    if (at < 0)
        return false;
    trie->nodes[at].token = token;
    return true;
}

/* The longest token that begins at text[0]; its length, 0 when there is none. */
static size_t longest(const vlm_trie *trie, const char *text, size_t length, int32_t *token)
{
    size_t found = 0;
    int32_t at = trie->roots[(unsigned char)text[0]];
    for (size_t depth = 1; at >= 0; depth++) {
        if (trie->nodes[at].token >= 0) {
            found = depth;
            *token = trie->nodes[at].token;
        }
        if (depth >= length)
            break;
        at = find_child(trie, at, (unsigned char)text[depth]);
    }
    return found;
}

static size_t previous_character(const char *text, size_t at, unsigned *c)
{
    size_t start = at - 1;
    while (start > 0 && ((unsigned char)text[start] & 0xc0) == 0x80)
        start--;
    vlm_utf8_decode(c, text + start, at - start);
    return start;
}

static bool stands_alone(const char *text, size_t length, size_t start, size_t end)
{
    unsigned c;
    if (start > 0) {
        previous_character(text, start, &c);
        if (vlm_is_word(c))
            return false;
    }
    if (end < length) {
        vlm_utf8_decode(&c, text + end, length - end);
        if (vlm_is_word(c))
            return false;
    }
    return true;
}

bool vlm_added_find(const vlm_added *added, const vlm_trie *trie, const char *text, size_t length, size_t from, size_t taken, size_t *start, size_t *end, size_t *resume, const vlm_added_token **found)
{
    if (trie->count == 0)
        return false;
    for (size_t at = from; at < length;) {
        int32_t index = -1;
        size_t size = trie->roots[(unsigned char)text[at]] >= 0 ? longest(trie, text + at, length - at, &index) : 0;
        if (size == 0) {
            at++;
            continue;
        }
        const vlm_added_token *token = &added->tokens[index];
        *start = at;
        *end = *resume = at + size;
        at += size;
        if (token->single_word && !stands_alone(text, length, *start, *end))
            continue;
        unsigned c;
        while (token->lstrip && *start > taken) {
            size_t before = previous_character(text, *start, &c);
            if (!vlm_is_white_space(c))
                break;
            *start = before;
        }
        if (token->lstrip && *start < taken) /* a token before has taken these spaces */
            *start = taken;
        while (token->rstrip && *end < length) {
            size_t n = vlm_utf8_decode(&c, text + *end, length - *end);
            if (!vlm_is_white_space(c))
                break;
            *end += n;
        }
        *found = token;
        return true;
    }
    return false;
}

static vlm_status normalize_token(const vlm_tokenizer *tokenizer, vlm_added_token *token, vlm_work *work)
{
    if (token->normal != token->content)
        free(token->normal);
    token->normal = token->content;
    token->normal_length = token->length;
    if (!token->normalized || tokenizer->normalizers.count == 0)
        return VLM_OK;
    size_t head = 0;
    work->text.length = 0;
    vlm_text_append(&work->text, token->content, token->length);
    vlm_status status = vlm_normalize(&tokenizer->normalizers, work, &head);
    if (status != VLM_OK)
        return status;
    if (work->text.failed)
        return vlm_work_memory(work);
    if (work->text.length == token->length && memcmp(work->text.data, token->content, token->length) == 0)
        return VLM_OK;
    char *normal = vlm_copy_text(work->text.data ? work->text.data : "", work->text.length);
    if (!normal)
        return vlm_work_memory(work);
    token->normal = normal;
    token->normal_length = work->text.length;
    return VLM_OK;
}

vlm_status vlm_added_prepare(vlm_tokenizer *tokenizer, vlm_error *error)
{
    vlm_added *added = &tokenizer->added;
    vlm_work work = {.error = error};
    vlm_status status = VLM_OK;
    for (size_t i = 0; i < 256; i++)
        added->raw.roots[i] = added->normal.roots[i] = -1;
    added->raw.count = added->normal.count = 0;
    for (size_t i = 0; i < added->count && status == VLM_OK; i++) {
        vlm_added_token *token = &added->tokens[i];
        status = normalize_token(tokenizer, token, &work);
        if (status == VLM_OK && token->normal_length && !insert(token->normalized ? &added->normal : &added->raw, token->normal, token->normal_length, (int32_t)i))
            status = vlm_fail_memory(error, token->length, "adding a token");
    }
    vlm_work_free(&work);
    return status;
}

void vlm_added_free(vlm_added *added)
{
    for (size_t i = 0; i < added->count; i++) {
        if (added->tokens[i].normal != added->tokens[i].content)
            free(added->tokens[i].normal);
        free(added->tokens[i].content);
    }
    free(added->tokens);
    free(added->by_id);
    vlm_vocabulary_free(&added->index);
    free(added->raw.nodes);
    free(added->normal.nodes);
    *added = (vlm_added){0};
}
