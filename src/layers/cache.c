/* The key/value cache: one block for keys, one for values; rows of a slot follow each other in a layer. */
#define _GNU_SOURCE
#include "layers/cache.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"

size_t vlm_kv_cache_bytes(vlm_dtype type, size_t n_layers, size_t n_slots, size_t capacity, size_t width)
{
    size_t rows, bytes;
    if (!vlm_multiply(n_layers, n_slots, &rows) || !vlm_multiply(rows, capacity, &rows) || !vlm_multiply(rows, width, &bytes) ||
        !vlm_multiply(bytes, 2 * vlm_dtype_size(type), &bytes))
        return SIZE_MAX;
    return bytes;
}

vlm_status vlm_kv_cache_create(vlm_kv_cache *cache, vlm_dtype type, size_t n_layers, size_t n_slots, size_t capacity, size_t width, vlm_error *error)
{
    size_t bytes = vlm_kv_cache_bytes(type, n_layers, n_slots, capacity, width);
    *cache = (vlm_kv_cache){.type = type, .n_layers = n_layers, .n_slots = n_slots, .capacity = capacity, .width = width};
    if (bytes == SIZE_MAX)
        return vlm_fail(error, VLM_ERR_LIMIT, "a key/value cache of %zu layers, %zu sequences, %zu tokens of %zu numbers is beyond memory", n_layers, n_slots, capacity, width);
    cache->lengths = vlm_alloc_zero(n_slots, sizeof *cache->lengths);
    cache->keys = vlm_alloc_aligned(bytes / 2, 1);
    cache->values = vlm_alloc_aligned(bytes / 2, 1);
    if (cache->lengths && cache->keys && cache->values)
        return VLM_OK;
    vlm_kv_cache_free(cache);
    return vlm_fail_memory(error, bytes, "the key/value cache; fewer tokens or sequences at once need less");
}

void vlm_kv_cache_free(vlm_kv_cache *cache)
{
    free(cache->lengths);
    free(cache->keys);
    free(cache->values);
    *cache = (vlm_kv_cache){0};
}

static size_t offset(const vlm_kv_cache *cache, size_t layer, size_t slot, size_t position)
{
    return ((layer * cache->n_slots + slot) * cache->capacity + position) * cache->width * vlm_dtype_size(cache->type);
}

void *vlm_kv_cache_key(const vlm_kv_cache *cache, size_t layer, size_t slot, size_t position)
{
    return cache->keys + offset(cache, layer, slot, position);
}

void *vlm_kv_cache_value(const vlm_kv_cache *cache, size_t layer, size_t slot, size_t position)
{
    return cache->values + offset(cache, layer, slot, position);
}

void vlm_kv_cache_copy(vlm_kv_cache *cache, size_t to, size_t from, size_t first, size_t last)
{
    size_t bytes = (last - first) * cache->width * vlm_dtype_size(cache->type);
    for (size_t layer = 0; to != from && layer < cache->n_layers; layer++) {
        memcpy(vlm_kv_cache_key(cache, layer, to, first), vlm_kv_cache_key(cache, layer, from, first), bytes);
        memcpy(vlm_kv_cache_value(cache, layer, to, first), vlm_kv_cache_value(cache, layer, from, first), bytes);
    }
}
