/* Allocation with checked sizes. */
#define _GNU_SOURCE
#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *vlm_alloc(size_t count, size_t size)
{
    size_t bytes;
    if (!vlm_multiply(count, size, &bytes))
        return NULL;
    return malloc(bytes ? bytes : 1);
}

void *vlm_alloc_zero(size_t count, size_t size)
{
    size_t bytes;
    if (!vlm_multiply(count, size, &bytes))
        return NULL;
    return calloc(bytes ? bytes : 1, 1);
}

void *vlm_resize(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (!vlm_multiply(count, size, &bytes))
        return NULL;
    return realloc(block, bytes ? bytes : 1);
}

void *vlm_alloc_aligned(size_t count, size_t size)
{
    size_t bytes, huge = (size_t)2 << 20;
    if (!vlm_multiply(count, size, &bytes) || bytes > SIZE_MAX - huge)
        return NULL;
    size_t alignment = bytes >= 2 * huge ? huge : VLM_ALIGNMENT;
    bytes = bytes ? (bytes + alignment - 1) / alignment * alignment : alignment;
    void *block = NULL;
    if (posix_memalign(&block, alignment, bytes) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (alignment == huge)
        madvise(block, bytes, MADV_HUGEPAGE); /* advice only: without it the block is as good, and slower */
#endif
    return block;
}

char *vlm_copy_text(const char *text, size_t length)
{
    char *copy = length < SIZE_MAX ? malloc(length + 1) : NULL;
    if (copy) {
        if (length) /* text may be NULL then: an empty file's mapping */
            memcpy(copy, text, length);
        copy[length] = 0;
    }
    return copy;
}

bool vlm_grow(void *items, size_t *capacity, size_t wanted, size_t item_size)
{
    if (wanted <= *capacity)
        return true;
    size_t larger = *capacity < 8 ? 8 : *capacity * 2;
    if (larger < wanted)
        larger = wanted;
    void *old;
    memcpy(&old, items, sizeof old);
    void *grown = vlm_resize(old, larger, item_size);
    if (!grown)
        return false;
    memcpy(items, &grown, sizeof grown);
    *capacity = larger;
    return true;
}
