/* Token strings to ids and back: see vocabulary.h. */
#include "tokens/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

typedef struct record {
    uint32_t id, length; /* then the bytes and a NUL, to a multiple of 4 */
} record;

static const uint32_t HASH_START = 0x811c9dc5u, HASH_PRIME = 0x01000193u;

/* FNV-1a: the result is the same for the same bytes, however they were cut into calls of hash_more. */
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

static size_t record_size(size_t length)
{
    return (sizeof(record) + length + 1 + 3) & ~(size_t)3;
}

static bool grow_slots(vlm_vocabulary *v, size_t n)
{
    vlm_vocabulary_slot *slots = vlm_alloc_zero(n, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; v->slots && i <= v->mask; i++) {
        if (!v->slots[i].record)
            continue;
        size_t at = v->slots[i].hash & (n - 1);
        while (slots[at].record)
            at = (at + 1) & (n - 1);
        slots[at] = v->slots[i];
    }
    free(v->slots);
    v->slots = slots;
    v->mask = n - 1;
    return true;
}

bool vlm_vocabulary_reserve(vlm_vocabulary *v, size_t n_tokens, size_t n_bytes)
{
    size_t slots = 16;
    while (slots < n_tokens * 2 && slots < (size_t)1 << 31)
        slots *= 2;
    if (!vlm_grow(&v->records, &v->capacity, 4 + n_bytes + n_tokens * record_size(0), 1))
        return false;
    return (v->slots && slots <= v->mask + 1) || grow_slots(v, slots);
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
    for (; v->slots[at].record; at = (at + 1) & v->mask) {
        if (v->slots[at].hash != hash)
            continue;
        const unsigned char *found = v->records + v->slots[at].record;
        record head;
        memcpy(&head, found, sizeof head);
        found += sizeof head;
        if (head.length == a_length + b_length && memcmp(found, a, a_length) == 0 && memcmp(found + a_length, b, b_length) == 0)
            break;
    }
    return at;
}

vlm_status vlm_vocabulary_add(vlm_vocabulary *v, const char *token, size_t length, uint32_t id)
{
    if (v->used == 0)
        v->used = 4; /* place 0 means none */
    if (id >= VLM_VOCABULARY_LIMIT || length >= UINT32_MAX / 2 || v->used + record_size(length) >= UINT32_MAX)
        return VLM_ERR_LIMIT;
    if ((!v->slots || (v->n_strings + 1) * 2 > v->mask + 1) && !vlm_vocabulary_reserve(v, (v->n_strings + 8) * 2, 0))
        return VLM_ERR_MEMORY;
    if (!vlm_grow(&v->records, &v->capacity, v->used + record_size(length), 1) || !grow_by_id(v, id))
        return VLM_ERR_MEMORY;
    uint32_t hash = hash_end(hash_more(HASH_START, token, length));
    size_t slot = find_slot(v, hash, token, length, "", 0);
    record head = {id, (uint32_t)length};
    memcpy(v->records + v->used, &head, sizeof head);
    memcpy(v->records + v->used + sizeof head, token, length);
    v->records[v->used + sizeof head + length] = 0;
    if (!v->slots[slot].record)
        v->n_strings++;
    v->slots[slot] = (vlm_vocabulary_slot){hash, (uint32_t)v->used};
    v->by_id[id] = (uint32_t)v->used;
    v->used += record_size(length);
    v->n_tokens++;
    return VLM_OK;
}

int64_t vlm_vocabulary_find2(const vlm_vocabulary *v, const char *a, size_t a_length, const char *b, size_t b_length)
{
    if (!v->slots)
        return -1;
    a = a ? a : "";
    b = b ? b : "";
    uint32_t hash = hash_end(hash_more(hash_more(HASH_START, a, a_length), b, b_length));
    uint32_t place = v->slots[find_slot(v, hash, a, a_length, b, b_length)].record;
    record head = {0, 0};
    if (place)
        memcpy(&head, v->records + place, sizeof head);
    return place ? (int64_t)head.id : -1;
}

int64_t vlm_vocabulary_find(const vlm_vocabulary *v, const char *token, size_t length)
{
    return vlm_vocabulary_find2(v, token, length, "", 0);
}

const char *vlm_vocabulary_token(const vlm_vocabulary *v, uint32_t id, size_t *length)
{
    if (id >= v->size || !v->by_id[id])
        return NULL;
    record head;
    memcpy(&head, v->records + v->by_id[id], sizeof head);
    *length = head.length;
    return (const char *)v->records + v->by_id[id] + sizeof head;
}

void vlm_vocabulary_free(vlm_vocabulary *v)
{
    free(v->records);
    free(v->slots);
    free(v->by_id);
    *v = (vlm_vocabulary){0};
}
