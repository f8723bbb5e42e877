/* safetensors: a JSON header that names tensors, and their bytes behind it. */
#ifndef VLM_FORMATS_SAFETENSORS_H
#define VLM_FORMATS_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/checkpoint.h"

/* Do the bytes begin as a safetensors file does? Says nothing about the rest. */
bool vlm_safetensors_detect(const void *bytes, size_t size);

/* Add every tensor of a file's bytes to the list. Entries point into the bytes; nothing is copied but
 * names. Demands all that the format's own library demands: offsets inside the file, no holes, no
 * overlaps, sizes equal to shape times type, and a name only once. */
vlm_status vlm_safetensors_read(vlm_entry_list *list, const void *bytes, size_t size, const char *name, vlm_error *error);

/* Write n entries (name, type, n_dims, shape and data are read; the rest is ignored) to path, which appears
 * whole or not at all. metadata: n_metadata pairs key, value, in the order to write them; {"format", "pt"}
 * is what transformers asks for. Larger types come first, then names in byte order, so that every tensor is
 * aligned for its type and the same entries make the same bytes, which are those that the format's own
 * library writes. */
vlm_status vlm_safetensors_write(const char *path, const vlm_entry *entries, size_t n, const char *const (*metadata)[2],
                                 size_t n_metadata, vlm_error *error);

#endif
