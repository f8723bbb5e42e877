/* Checkpoints: named tensors in files, whatever the format, mapped and checked.
 * safetensors (one file, or shards with an index) and PyTorch's .bin, .pt, .pth. Everything a file says is
 * checked when it is opened; an entry that can be seen can be read. Safe for many readers at once. */
#ifndef VLM_FORMATS_CHECKPOINT_H
#define VLM_FORMATS_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/dtype.h"
#include "vlm/error.h"

enum { VLM_ENTRY_DIMS = 8 };

/* One tensor of a checkpoint. Borrowed: it lives as long as the checkpoint. */
typedef struct vlm_entry {
    const char *name;
    vlm_dtype type;     /* VLM_DTYPES: a type that we do not compute with (float8, complex ...); see type_name */
    size_t n_dims;      /* 0: a scalar */
    size_t shape[VLM_ENTRY_DIMS];
    size_t n;           /* elements: the product of shape, 1 for a scalar */
    const void *data;   /* n elements, contiguous, row-major, little-endian, maybe unaligned; never NULL */
    size_t bytes;       /* of data */
    const char *type_name; /* as the file calls it when type is VLM_DTYPES, else vlm_dtype_name(type) */
} vlm_entry;

typedef struct vlm_checkpoint vlm_checkpoint;

/* A folder, or one file whose format its content tells. In a folder the first of these that is there:
 * model.safetensors, model.safetensors.index.json, open_clip_model.safetensors (and its index),
 * pytorch_model.bin, pytorch_model.bin.index.json, open_clip_pytorch_model.bin (and its index). */
vlm_status vlm_checkpoint_open(vlm_checkpoint **checkpoint, const char *path, vlm_error *error);
/* The first of `names` that exists in the folder; a name that ends in .index.json is an index of shards. */
vlm_status vlm_checkpoint_open_named(vlm_checkpoint **checkpoint, const char *folder, const char *const *names,
                                     size_t n_names, vlm_error *error);
/* Bytes in memory, in any of the formats, borrowed until close. `name` is what errors call them. */
vlm_status vlm_checkpoint_open_memory(vlm_checkpoint **checkpoint, const void *bytes, size_t size, const char *name,
                                      vlm_error *error);
void vlm_checkpoint_close(vlm_checkpoint *checkpoint); /* NULL allowed */

/* Does the folder hold a file that vlm_checkpoint_open would open? */
bool vlm_checkpoint_exists(const char *folder);

/* NULL when there is no tensor of that name. Look at type before use: it may be VLM_DTYPES. */
const vlm_entry *vlm_checkpoint_find(const vlm_checkpoint *checkpoint, const char *name);
/* The same for a tensor that must be there and be of a type that we compute with; an error that says which
 * file lacks it (MISMATCH), or of which type it is (UNSUPPORTED). */
vlm_status vlm_checkpoint_get(const vlm_entry **entry, const vlm_checkpoint *checkpoint, const char *name, vlm_error *error);

/* All tensors, in byte order of their names. */
size_t vlm_checkpoint_count(const vlm_checkpoint *checkpoint);
const vlm_entry *vlm_checkpoint_at(const vlm_checkpoint *checkpoint, size_t i);
/* Bytes of all tensors. */
size_t vlm_checkpoint_bytes(const vlm_checkpoint *checkpoint);
/* The file (or index) that was opened, for messages. */
const char *vlm_checkpoint_path(const vlm_checkpoint *checkpoint);
/* A value of a safetensors file's __metadata__ (the first shard's that has the key); NULL: not there. */
const char *vlm_checkpoint_metadata(const vlm_checkpoint *checkpoint, const char *key);

/* --- for the readers of formats ----------------------------------------------------------------------- */

/* What a reader fills. Names and copied data live in the arena. */
typedef struct vlm_entry_list {
    vlm_entry *items;
    size_t count, capacity;
    const char **metadata; /* key, value, key, value ... */
    size_t n_metadata, metadata_capacity; /* strings, two a pair */
    vlm_arena arena;
} vlm_entry_list;

/* Append a copy of the entry, with its name copied (length bytes) into the arena. False: out of memory. */
bool vlm_entry_list_add(vlm_entry_list *list, const vlm_entry *entry, const char *name, size_t length);
void vlm_entry_list_free(vlm_entry_list *list);

#endif
