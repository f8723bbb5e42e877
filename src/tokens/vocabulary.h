/* A vocabulary: token strings to ids and back. Strings lie one after the other in one block; the way in is
 * an open-addressing table, the way back an array. */
#ifndef VLM_TOKENS_VOCABULARY_H
#define VLM_TOKENS_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vlm/error.h"

enum { VLM_VOCABULARY_LIMIT = 1 << 24 }; /* ids below this; real vocabularies end at about 2^18 */

typedef struct vlm_vocabulary_entry {
    uint32_t offset, length, id, hash;
} vlm_vocabulary_entry;

typedef struct vlm_vocabulary {
    char *bytes;
    size_t bytes_used, bytes_capacity;
    vlm_vocabulary_entry *entries;
    size_t n_entries, entries_capacity;
    uint32_t *slots; /* entry index + 1; 0: empty */
    size_t mask, n_strings;
    uint32_t *by_id; /* entry index + 1; 0: no token */
    size_t size, by_id_capacity; /* size: largest id + 1 */
} vlm_vocabulary;

bool vlm_vocabulary_reserve(vlm_vocabulary *vocabulary, size_t n_tokens, size_t n_bytes);
/* A string that is there already gets the new id (as a JSON object's last value wins); an id that has a
 * string already keeps the later one. VLM_ERR_LIMIT for an id past the limit, VLM_ERR_MEMORY. */
vlm_status vlm_vocabulary_add(vlm_vocabulary *vocabulary, const char *token, size_t length, uint32_t id);
int64_t vlm_vocabulary_find(const vlm_vocabulary *vocabulary, const char *token, size_t length); /* -1: none */
/* Find the concatenation of two strings. */
int64_t vlm_vocabulary_find2(const vlm_vocabulary *vocabulary, const char *a, size_t a_length, const char *b, size_t b_length);
const char *vlm_vocabulary_token(const vlm_vocabulary *vocabulary, uint32_t id, size_t *length); /* NULL: none */
void vlm_vocabulary_free(vlm_vocabulary *vocabulary);

#endif
