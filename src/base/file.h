/* Files: mapping what we read, and writing so that no half file is ever seen. */
#ifndef VLM_BASE_FILE_H
#define VLM_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vlm/error.h"

/* A file's bytes, mapped read-only (or borrowed from memory: the embedded model). Never copied. */
typedef struct vlm_mapping {
    const unsigned char *data; /* NULL when size is 0 */
    size_t size;
    bool mapped; /* false: borrowed, nothing to release */
} vlm_mapping;

/* Map a regular file. Errors name the path: missing, a folder, no permission. */
vlm_status vlm_map_file(vlm_mapping *mapping, const char *path, vlm_error *error);
void vlm_unmap(vlm_mapping *mapping);

bool vlm_file_exists(const char *path);
bool vlm_is_folder(const char *path);
/* Does the folder hold something of this name? Allocates nothing, so that "no" never means "out of memory". */
bool vlm_folder_has(const char *folder, const char *name);
/* folder + "/" + name in fresh memory (free()); name alone when folder is "" ; NULL when out of memory. */
char *vlm_join_path(const char *folder, const char *name);

/* A file that appears whole or not at all: written beside its target as a hidden temporary file, synced
 * and renamed at commit. Writes to `stream` with stdio; the error state is checked at commit. */
typedef struct vlm_writer {
    FILE *stream;
    char *path, *temporary;
} vlm_writer;

vlm_status vlm_writer_open(vlm_writer *writer, const char *path, vlm_error *error);
/* Flush, sync, close, rename, sync the folder. On failure (disk full) the temporary is removed. */
vlm_status vlm_writer_commit(vlm_writer *writer, vlm_error *error);
/* Drop what was written. Safe after commit and on a zeroed writer. */
void vlm_writer_abort(vlm_writer *writer);

/* The whole of bytes into path, by the same way. */
vlm_status vlm_write_file(const char *path, const void *bytes, size_t size, vlm_error *error);

/* The names in a folder in byte order, those beginning with a dot left out. Free each and the array. */
vlm_status vlm_list_folder(char ***names, size_t *count, const char *path, vlm_error *error);

#endif
