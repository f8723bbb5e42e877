/* An arena in chunks. After a rewind to the start one chunk holds the peak, so that a loop of equal passes
 * allocates twice at most. */
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct vlm_arena_chunk {
    vlm_arena_chunk *older;
    size_t size, offset; /* bytes in data, bytes of it in use */
    unsigned char *data;
};

enum { SMALLEST_CHUNK = 64 << 10 };

bool vlm_arena_reserve(vlm_arena *arena, size_t bytes)
{
    if (arena->chunks && arena->chunks->size - arena->chunks->offset >= bytes)
        return true;
    if (!arena->chunks && bytes < arena->peak)
        bytes = arena->peak + arena->peak / 8; /* a loop of nearly equal passes: from the second on, one chunk holds all */
    if (bytes < SMALLEST_CHUNK)
        bytes = SMALLEST_CHUNK;
    vlm_arena_chunk *chunk = malloc(sizeof *chunk);
    unsigned char *data = chunk ? vlm_alloc_aligned(bytes, 1) : NULL;
    if (!data) {
        free(chunk);
        return false;
    }
    *chunk = (vlm_arena_chunk){.older = arena->chunks, .size = bytes, .data = data};
    arena->chunks = chunk;
    return true;
}

void *vlm_arena_alloc(vlm_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    if (!vlm_multiply(count, size, &bytes) || bytes > SIZE_MAX - VLM_ALIGNMENT)
        return NULL;
    bytes = (bytes + VLM_ALIGNMENT - 1) / VLM_ALIGNMENT * VLM_ALIGNMENT;
    if (!bytes)
        bytes = VLM_ALIGNMENT;
    if (!vlm_arena_reserve(arena, bytes))
        return NULL;
    vlm_arena_chunk *chunk = arena->chunks;
    void *block = chunk->data + chunk->offset;
    chunk->offset += bytes;
    arena->used += bytes;
    if (arena->used > arena->peak)
        arena->peak = arena->used;
    return block;
}

void *vlm_arena_alloc_zero(vlm_arena *arena, size_t count, size_t size)
{
    void *block = vlm_arena_alloc(arena, count, size);
    if (block)
        memset(block, 0, count * size);
    return block;
}

char *vlm_arena_copy_text(vlm_arena *arena, const char *text, size_t length)
{
    char *copy = length < SIZE_MAX ? vlm_arena_alloc(arena, length + 1, 1) : NULL;
    if (copy) {
        if (length)
            memcpy(copy, text, length);
        copy[length] = 0;
    }
    return copy;
}

vlm_arena_mark vlm_arena_get_mark(const vlm_arena *arena)
{
    return (vlm_arena_mark){arena->chunks, arena->chunks ? arena->chunks->offset : 0, arena->used};
}

static void free_chunk(vlm_arena_chunk *chunk)
{
    free(chunk->data);
    free(chunk);
}

void vlm_arena_rewind(vlm_arena *arena, vlm_arena_mark mark)
{
    while (arena->chunks && arena->chunks != mark.chunk && (mark.chunk || arena->chunks->older)) {
        vlm_arena_chunk *older = arena->chunks->older;
        free_chunk(arena->chunks);
        arena->chunks = older;
    }
    if (!mark.chunk && arena->chunks && arena->chunks->size < arena->peak) {
        free_chunk(arena->chunks); /* the next pass gets one chunk as large as the peak */
        arena->chunks = NULL;
    }
    if (arena->chunks)
        arena->chunks->offset = mark.chunk ? mark.offset : 0;
    arena->used = mark.used;
}

void vlm_arena_free(vlm_arena *arena)
{
    while (arena->chunks) {
        vlm_arena_chunk *older = arena->chunks->older;
        free_chunk(arena->chunks);
        arena->chunks = older;
    }
    *arena = (vlm_arena){0};
}
