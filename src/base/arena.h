/* An arena: blocks that live together and are freed together.
 * Two uses: a model's small objects (grows in chunks, freed at close), and a forward pass's activations
 * (sized once by a measuring pass, then rewound and reused). Not safe for two threads at once. */
#ifndef VLM_BASE_ARENA_H
#define VLM_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

typedef struct vlm_arena_chunk vlm_arena_chunk;

typedef struct vlm_arena {
    vlm_arena_chunk *chunks; /* newest first */
    size_t used;             /* bytes handed out since the last rewind to the start, padding included */
    size_t peak;             /* the largest `used` ever */
} vlm_arena;

typedef struct vlm_arena_mark {
    vlm_arena_chunk *chunk;
    size_t offset, used;
} vlm_arena_mark;

/* Start empty: `vlm_arena a = {0};` is enough. Reserve makes one chunk that holds `bytes` more. */
bool vlm_arena_reserve(vlm_arena *arena, size_t bytes);
/* count * size bytes at a multiple of VLM_ALIGNMENT, not cleared; NULL when out of memory. */
void *vlm_arena_alloc(vlm_arena *arena, size_t count, size_t size);
void *vlm_arena_alloc_zero(vlm_arena *arena, size_t count, size_t size);
char *vlm_arena_copy_text(vlm_arena *arena, const char *text, size_t length);
/* Everything allocated after a mark becomes free again when rewound to it. */
vlm_arena_mark vlm_arena_get_mark(const vlm_arena *arena);
void vlm_arena_rewind(vlm_arena *arena, vlm_arena_mark mark);
void vlm_arena_free(vlm_arena *arena);

#endif
