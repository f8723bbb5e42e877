/* Zip archives of stored members, as torch.save writes them, for tests of the reader. */
#ifndef TESTS_MAKE_ZIP_H
#define TESTS_MAKE_ZIP_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

typedef struct archive {
    vlm_text bytes, directory;
    unsigned count;
} archive;

/* A little-endian number; bytes beyond the eighth are zeros. */
static inline void put_number(vlm_text *text, uint64_t number, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        vlm_text_append(text, &(char){i < 8 ? (char)(number >> (8 * i)) : 0}, 1);
}

static inline void add_member(archive *zip, const char *name, const void *data, size_t size)
{
    size_t offset = zip->bytes.length, length = strlen(name);
    vlm_text_append(&zip->bytes, "PK\3\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18);
    put_number(&zip->bytes, size, 4);
    put_number(&zip->bytes, size, 4);
    put_number(&zip->bytes, length, 2);
    put_number(&zip->bytes, 0, 2);
    vlm_text_append(&zip->bytes, name, length);
    vlm_text_append(&zip->bytes, data, size);
    vlm_text_append(&zip->directory, "PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    put_number(&zip->directory, size, 4);
    put_number(&zip->directory, size, 4);
    put_number(&zip->directory, length, 2);
    put_number(&zip->directory, 0, 12);
    put_number(&zip->directory, offset, 4);
    vlm_text_append(&zip->directory, name, length);
    zip->count++;
}

/* The directory and the end record; zip->bytes is the archive then. */
static inline void end_archive(archive *zip)
{
    size_t offset = zip->bytes.length;
    vlm_text_append(&zip->bytes, zip->directory.data, zip->directory.length);
    vlm_text_append(&zip->bytes, "PK\5\6\0\0\0\0", 8);
    put_number(&zip->bytes, zip->count, 2);
    put_number(&zip->bytes, zip->count, 2);
    put_number(&zip->bytes, zip->directory.length, 4);
    put_number(&zip->bytes, offset, 4);
    put_number(&zip->bytes, 0, 2);
    vlm_text_free(&zip->directory);
}

#endif
