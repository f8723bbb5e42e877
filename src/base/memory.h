/* Allocation. Sizes are checked for overflow here, so that no caller multiplies two numbers that a file gave. */
#ifndef VLM_BASE_MEMORY_H
#define VLM_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

enum { VLM_ALIGNMENT = 64 }; /* a cache line, and the widest vector */

/* count * size bytes, not cleared; NULL when out of memory or when the product overflows. Free with free(). */
void *vlm_alloc(size_t count, size_t size);
/* The same, cleared. */
void *vlm_alloc_zero(size_t count, size_t size);
/* Grow or shrink; the old block stays valid when NULL is returned. */
void *vlm_resize(void *block, size_t count, size_t size);
/* As vlm_alloc, at a multiple of VLM_ALIGNMENT and padded to one. Free with free().
 * Blocks of 4 MiB and more ask the kernel for huge pages (reading weights is bound by memory). */
void *vlm_alloc_aligned(size_t count, size_t size);
char *vlm_copy_text(const char *text, size_t length);

/* *product = a * b; false when that does not fit. */
static inline bool vlm_multiply(size_t a, size_t b, size_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

/* One growing array: the usual doubling. Returns false when memory is out; the array is unchanged then.
 * `items` points at the array's pointer. */
bool vlm_grow(void *items, size_t *capacity, size_t wanted, size_t item_size);

#endif
