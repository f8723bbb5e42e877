/* The keys and values of the tokens that a language model has read, kept between passes. */
#ifndef VLM_LAYERS_CACHE_H
#define VLM_LAYERS_CACHE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/dtype.h"
#include "vlm/error.h"

/* n_slots sequences (beams, captions of a batch), each with room for `capacity` tokens in every layer. A row
 * is the keys (or values) of one token: n_kv_heads * head numbers of `type` (f32 or f16). */
typedef struct vlm_kv_cache {
    vlm_dtype type;
    size_t n_layers, n_slots, capacity, width;
    size_t *lengths; /* [n_slots]: tokens kept; the same in all layers once a pass is through */
    char *keys, *values; /* [n_layers, n_slots, capacity, width] */
} vlm_kv_cache;

/* Sizes are checked against overflow; the memory is taken from the system as it is first written. */
vlm_status vlm_kv_cache_create(vlm_kv_cache *cache, vlm_dtype type, size_t n_layers, size_t n_slots, size_t capacity, size_t width, vlm_error *error);
void vlm_kv_cache_free(vlm_kv_cache *cache);

/* Row `position` of a slot in a layer. */
void *vlm_kv_cache_key(const vlm_kv_cache *cache, size_t layer, size_t slot, size_t position);
void *vlm_kv_cache_value(const vlm_kv_cache *cache, size_t layer, size_t slot, size_t position);

/* Tokens first .. last - 1 of slot `from` to slot `to`, in all layers (prompt shared by beams, beams that
 * change places). Lengths are the caller's. */
void vlm_kv_cache_copy(vlm_kv_cache *cache, size_t to, size_t from, size_t first, size_t last);
/* Bytes that create would reserve; SIZE_MAX when that overflows. */
size_t vlm_kv_cache_bytes(vlm_dtype type, size_t n_layers, size_t n_slots, size_t capacity, size_t width);

#endif
