/* Zip archives in memory: the directory, and where each member's bytes stand.
 * libzip reads a member by copying it; a checkpoint's tensors are to be used where they lie in the mapping,
 * and libzip does not tell where that is. */
#ifndef VLM_FORMATS_ZIP_H
#define VLM_FORMATS_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "vlm/error.h"

typedef struct vlm_zip_member {
    const char *name; /* name_length bytes, not terminated, inside the archive */
    size_t name_length;
    const unsigned char *bytes; /* as stored */
    size_t stored_size, size;   /* bytes as stored and after inflating */
    uint32_t crc;
    bool deflated;
    const unsigned char *inflated; /* kept by vlm_zip_read */
} vlm_zip_member;

typedef struct vlm_zip {
    vlm_zip_member *members; /* in byte order of their names, which differ */
    size_t count;
    const char *file; /* what errors call it; borrowed */
    size_t budget;    /* bytes that may still be inflated: a bomb is refused, not unpacked */
} vlm_zip;

bool vlm_zip_detect(const void *bytes, size_t size);
/* Read the directory and check it: members inside the file, stored or deflated, not encrypted. The bytes are
 * borrowed until close. */
vlm_status vlm_zip_open(vlm_zip *zip, const void *bytes, size_t size, const char *file, vlm_error *error);
void vlm_zip_close(vlm_zip *zip);
vlm_zip_member *vlm_zip_find(const vlm_zip *zip, const char *name, size_t length);
/* The member's size bytes: in place when stored, inflated into the arena (once) when not. */
vlm_status vlm_zip_read(const unsigned char **data, vlm_zip *zip, vlm_zip_member *member, vlm_arena *arena, vlm_error *error);

#endif
