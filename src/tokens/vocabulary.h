/* A vocabulary: token strings to ids and back. Each token is a record (id, length, bytes, NUL) in one block; an
 * open-addressing table leads from a string to its record, an array from an id. A look-up touches one slot and
 * one record: opening CLIP's vocabulary makes 150,000 of them, and memory is all that they cost. */
#ifndef VLM_TOKENS_VOCABULARY_H
#define VLM_TOKENS_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vlm/error.h"

enum { VLM_VOCABULARY_LIMIT = 1 << 24 }; /* ids below this; real vocabularies end at about 2^18 */

typedef struct vlm_vocabulary_slot {
    uint32_t hash, record; /* record: its place in the block; 0: empty */
} vlm_vocabulary_slot;

typedef struct vlm_vocabulary {
    unsigned char *records;
    size_t used, capacity;
    vlm_vocabulary_slot *slots;
    size_t mask;
    uint32_t *by_id; /* record; 0: no token */
    size_t size, by_id_capacity; /* size: largest id + 1 */
    size_t n_tokens;  /* as added */
    size_t n_strings; /* different ones */
} vlm_vocabulary;

/* Room for so many tokens with so many bytes in all. */
bool vlm_vocabulary_reserve(vlm_vocabulary *vocabulary, size_t n_tokens, size_t n_bytes);
/* A string that is there already gets the new id (as a JSON object's last value wins); an id that has a
 * string already keeps the later one. VLM_ERR_LIMIT for an id past the limit, VLM_ERR_MEMORY. */
vlm_status vlm_vocabulary_add(vlm_vocabulary *vocabulary, const char *token, size_t length, uint32_t id);
int64_t vlm_vocabulary_find(const vlm_vocabulary *vocabulary, const char *token, size_t length); /* -1: none */
/* Find the concatenation of two strings; NULL counts as empty. */
int64_t vlm_vocabulary_find2(const vlm_vocabulary *vocabulary, const char *a, size_t a_length, const char *b, size_t b_length);
/* Borrowed, NUL-terminated; NULL: none. */
const char *vlm_vocabulary_token(const vlm_vocabulary *vocabulary, uint32_t id, size_t *length);
void vlm_vocabulary_free(vlm_vocabulary *vocabulary);

#endif
