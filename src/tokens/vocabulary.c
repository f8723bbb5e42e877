/* Token strings to ids and back: see vocabulary.h.
 * Must be quick to fill: opening CLIP's 49,408 tokens is part of every cold start. */
#include "tokens/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* FNV-1a: the result is the same for the same bytes, however they were cut into calls of hash_more. */
static const uint32_t HASH_START = 0x811c9dc5u, HASH_PRIME = 0x01000193u;

static uint32_t hash_more(uint32_t hash, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)s[i]) * HASH_PRIME;
    return hash;
}

/* FNV's low bits mix well enough, its high bits do not reach them: fold. */
static uint32_t hash_end(uint32_t hash)
{
    hash ^= hash >> 15;
    hash *= 0x2c1b3c6du;
    return hash ^ hash >> 13;
}

bool vlm_vocabulary_reserve(vlm_vocabulary *v, size_t n_tokens, size_t n_bytes)
{
    size_t slots = 16;
    while (slots < n_tokens * 2 && slots < (size_t)1 << 31)
        slots *= 2;
    if (!vlm_grow(&v->bytes, &v->bytes_capacity, n_bytes, 1) || !vlm_grow(&v->entries, &v->entries_capacity, n_tokens, sizeof *v->entries))
        return false;
    if (v->slots && slots <= v->mask + 1)
        return true;
    uint32_t *table = vlm_alloc_zero(slots, sizeof *table);
    if (!table)
        return false;
    for (size_t i = 0; v->slots && i <= v->mask; i++) {
        if (!v->slots[i])
            continue;
        size_t at = v->entries[v->slots[i] - 1].hash & (slots - 1);
        while (table[at])
            at = (at + 1) & (slots - 1);
        table[at] = v->slots[i];
    }
    free(v->slots);
    v->slots = table;
    v->mask = slots - 1;
    return true;
}

static bool grow_by_id(vlm_vocabulary *v, uint32_t id)
{
    size_t before = v->by_id_capacity;
    if (!vlm_grow(&v->by_id, &v->by_id_capacity, (size_t)id + 1, sizeof *v->by_id))
        return false;
    memset(v->by_id + before, 0, (v->by_id_capacity - before) * sizeof *v->by_id);
    if (id >= v->size)
        v->size = (size_t)id + 1;
    return true;
}

/* The slot that holds a + b, or the empty one where it would go. */
static size_t find_slot(const vlm_vocabulary *v, uint32_t hash, const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t at = hash & v->mask;
    while (v->slots[at]) {
        const vlm_vocabulary_entry *entry = &v->entries[v->slots[at] - 1];
        if (entry->hash == hash && entry->length == a_length + b_length) {
            const char *found = v->bytes + entry->offset;
            if (memcmp(found, a, a_length) == 0 && memcmp(found + a_length, b, b_length) == 0)
                break;
        }
        at = (at + 1) & v->mask;
    }
    return at;
}

vlm_status vlm_vocabulary_add(vlm_vocabulary *v, const char *token, size_t length, uint32_t id)
{
    if (id >= VLM_VOCABULARY_LIMIT || v->bytes_used + length >= UINT32_MAX || v->n_entries >= UINT32_MAX - 1)
        return VLM_ERR_LIMIT;
    if (!v->slots || (v->n_strings + 1) * 2 > v->mask + 1)
        if (!vlm_vocabulary_reserve(v, (v->n_strings + 8) * 2, v->bytes_used + length + 1))
            return VLM_ERR_MEMORY;
    if (!vlm_grow(&v->bytes, &v->bytes_capacity, v->bytes_used + length + 1, 1) || !vlm_grow(&v->entries, &v->entries_capacity, v->n_entries + 1, sizeof *v->entries) || !grow_by_id(v, id))
        return VLM_ERR_MEMORY;
    uint32_t hash = hash_end(hash_more(HASH_START, token, length));
    size_t slot = find_slot(v, hash, token, length, "", 0);
    v->entries[v->n_entries] = (vlm_vocabulary_entry){(uint32_t)v->bytes_used, (uint32_t)length, id, hash};
    memcpy(v->bytes + v->bytes_used, token, length);
    v->bytes[v->bytes_used + length] = 0;
    v->bytes_used += length + 1;
    v->n_entries++;
    if (!v->slots[slot])
        v->n_strings++;
    v->slots[slot] = (uint32_t)v->n_entries;
    v->by_id[id] = (uint32_t)v->n_entries;
    return VLM_OK;
}

int64_t vlm_vocabulary_find2(const vlm_vocabulary *v, const char *a, size_t a_length, const char *b, size_t b_length)
{
    if (!v->slots)
        return -1;
    uint32_t hash = hash_end(hash_more(hash_more(HASH_START, a, a_length), b, b_length));
    uint32_t entry = v->slots[find_slot(v, hash, a, a_length, b, b_length)];
    return entry ? (int64_t)v->entries[entry - 1].id : -1;
}

int64_t vlm_vocabulary_find(const vlm_vocabulary *v, const char *token, size_t length)
{
    return vlm_vocabulary_find2(v, token, length, "", 0);
}

const char *vlm_vocabulary_token(const vlm_vocabulary *v, uint32_t id, size_t *length)
{
    if (id >= v->size || !v->by_id[id])
        return NULL;
    const vlm_vocabulary_entry *entry = &v->entries[v->by_id[id] - 1];
    *length = entry->length;
    return v->bytes + entry->offset;
}

void vlm_vocabulary_free(vlm_vocabulary *v)
{
    free(v->bytes);
    free(v->entries);
    free(v->slots);
    free(v->by_id);
    *v = (vlm_vocabulary){0};
}
