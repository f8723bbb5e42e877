/* Checkpoints: which file a folder means, what format a file is in, and one sorted table of tensors.
 * Matches the choices of transformers' from_pretrained and of open_clip, safetensors before pickles.
 * Trap: an index names its shards, and a name with a slash in it leads out of the folder. A hub cache's
 * files are themselves links to elsewhere, so it is the name that is judged, not where it points. */
#include "formats/checkpoint.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "formats/json.h"
#include "formats/pickle.h"
#include "formats/safetensors.h"

struct vlm_checkpoint {
    vlm_entry_list list; /* sorted by name when open */
    vlm_mapping *files;
    size_t n_files, files_capacity;
    size_t bytes;
    char *path;
};

static const char *const default_names[] = {
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "open_clip_model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.bin.index.json",
};
enum { N_DEFAULT_NAMES = sizeof default_names / sizeof *default_names };

/* --- lists --------------------------------------------------------------------------------------------- */

bool vlm_entry_list_add(vlm_entry_list *list, const vlm_entry *entry, const char *name, size_t length)
{
    char *copy = vlm_arena_copy_text(&list->arena, name, length);
    if (!copy || !vlm_grow(&list->items, &list->capacity, list->count + 1, sizeof *list->items))
        return false;
    list->items[list->count] = *entry;
    list->items[list->count++].name = copy;
    return true;
}

void vlm_entry_list_free(vlm_entry_list *list)
{
    free(list->items);
    free(list->metadata);
    vlm_arena_free(&list->arena);
    *list = (vlm_entry_list){0};
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const vlm_entry *)a)->name, ((const vlm_entry *)b)->name);
}

/* Sort by name, refuse a name that stands twice, count the bytes. */
static vlm_status finish(vlm_checkpoint *checkpoint, vlm_error *error)
{
    vlm_entry_list *list = &checkpoint->list;
    if (list->count)
        qsort(list->items, list->count, sizeof *list->items, compare_entries);
    for (size_t i = 0; i < list->count; i++) {
        if (i && compare_entries(&list->items[i - 1], &list->items[i]) == 0)
            return vlm_fail(error, VLM_ERR_FORMAT, "%s: two tensors are named %s", checkpoint->path, list->items[i].name);
        checkpoint->bytes += list->items[i].bytes;
    }
    return VLM_OK;
}

/* --- files --------------------------------------------------------------------------------------------- */

static bool begins_with(const void *bytes, size_t size, const char *text)
{
    return size >= strlen(text) && memcmp(bytes, text, strlen(text)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* What people have in place of a checkpoint, and what to do about it. */
static vlm_status refuse_content(const void *bytes, size_t size, const char *name, vlm_error *error)
{
    if (!size)
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: the file is empty", name);
    if (begins_with(bytes, size, "version https://git-lfs"))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: a Git LFS pointer, not the file itself; run `git lfs pull` beside it", name);
    if (begins_with(bytes, size, "<!") || begins_with(bytes, size, "<html"))
        return vlm_fail(error, VLM_ERR_FORMAT, "%s: a web page, not a checkpoint; did a download fail?", name);
    if (begins_with(bytes, size, "GGUF"))
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: a GGUF file; safetensors or PyTorch's .bin is wanted", name);
    return vlm_fail(error, VLM_ERR_FORMAT, "%s: neither a safetensors file nor one that torch.save wrote", name);
}

static vlm_status read_bytes(vlm_entry_list *list, const void *bytes, size_t size, const char *name, vlm_error *error)
{
    if (vlm_pickle_detect(bytes, size))
        return vlm_pickle_read(list, bytes, size, name, error);
    if (vlm_safetensors_detect(bytes, size))
        return vlm_safetensors_read(list, bytes, size, name, error);
    return refuse_content(bytes, size, name, error);
}

/* Map a file, keep the mapping, and add its tensors to the list. */
static vlm_status read_file(vlm_checkpoint *checkpoint, const char *path, vlm_error *error)
{
    if (!vlm_grow(&checkpoint->files, &checkpoint->files_capacity, checkpoint->n_files + 1, sizeof *checkpoint->files))
        return vlm_fail_memory(error, sizeof *checkpoint->files, path);
    vlm_mapping *file = &checkpoint->files[checkpoint->n_files];
    vlm_status status = vlm_map_file(file, path, error);
    if (status != VLM_OK)
        return status;
    checkpoint->n_files++;
    return read_bytes(&checkpoint->list, file->data, file->size, path, error);
}

/* --- shards -------------------------------------------------------------------------------------------- */

static bool is_plain_name(const char *name)
{
    return *name && !strchr(name, '/') && !strchr(name, '\\') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Drop the entries from `first` on that the index expects in another shard than this one. */
static void keep_own_entries(vlm_entry_list *list, size_t first, const json_t *weight_map, const char *shard)
{
    size_t kept = first;
    for (size_t i = first; i < list->count; i++) {
        const char *owner = json_string_value(json_object_get(weight_map, list->items[i].name));
        if (!owner || strcmp(owner, shard) == 0)
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

static vlm_status read_shard(vlm_checkpoint *checkpoint, const char *folder, const char *name, const json_t *weight_map, vlm_error *error)
{
    char *path = vlm_join_path(folder, name);
    if (!path)
        return vlm_fail_memory(error, strlen(name), name);
    size_t first = checkpoint->list.count;
    vlm_status status = read_file(checkpoint, path, error);
    if (status == VLM_OK)
        keep_own_entries(&checkpoint->list, first, weight_map, name);
    free(path);
    return status;
}

/* Open each shard once, in the order in which the index names them. */
static vlm_status read_shards(vlm_checkpoint *checkpoint, const char *folder, json_t *weight_map, vlm_error *error)
{
    vlm_status status = VLM_OK;
    const char *tensor, **shards = NULL;
    json_t *value;
    size_t n = 0, capacity = 0;
    json_object_foreach(weight_map, tensor, value) {
        const char *shard = json_string_value(value);
        if (!shard || !is_plain_name(shard)) {
            status = vlm_fail(error, VLM_ERR_FORMAT, "%s: tensor %s is said to be in \"%s\"; a shard is named by a plain file name, "
                              "and lies beside its index", checkpoint->path, tensor, shard ? shard : "(not a string)");
            break;
        }
        size_t i = n;
        while (i > 0 && strcmp(shards[i - 1], shard) != 0)
            i--;
        if (i > 0)
            continue;
        if (!vlm_grow(&shards, &capacity, n + 1, sizeof *shards)) {
            status = vlm_fail_memory(error, n * sizeof *shards, checkpoint->path);
            break;
        }
        shards[n++] = shard;
        status = read_shard(checkpoint, folder, shard, weight_map, error);
        if (status != VLM_OK)
            break;
    }
    free(shards);
    return status;
}

static vlm_status read_index(vlm_checkpoint *checkpoint, const char *folder, vlm_error *error)
{
    json_t *index, *value;
    const char *tensor;
    vlm_status status = vlm_json_read(&index, checkpoint->path, error);
    if (status != VLM_OK)
        return status;
    json_t *weight_map = json_object_get(index, "weight_map");
    if (!json_is_object(weight_map) || !json_object_size(weight_map))
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: no \"weight_map\" of tensors to shards in it", checkpoint->path);
    if (status == VLM_OK)
        status = read_shards(checkpoint, folder, weight_map, error);
    if (status == VLM_OK)
        status = finish(checkpoint, error);
    if (status == VLM_OK)
        json_object_foreach(weight_map, tensor, value)
            if (!vlm_checkpoint_find(checkpoint, tensor)) {
                status = vlm_fail(error, VLM_ERR_MISMATCH, "%s: tensor %s is not in its shard %s", checkpoint->path, tensor,
                                  json_string_value(value));
                break;
            }
    json_decref(index);
    return status;
}

/* --- the interface ------------------------------------------------------------------------------------- */

static vlm_status create(vlm_checkpoint **checkpoint, const char *path, vlm_error *error)
{
    *checkpoint = vlm_alloc_zero(1, sizeof **checkpoint);
    char *copy = *checkpoint ? vlm_copy_text(path, strlen(path)) : NULL;
    if (!copy) {
        free(*checkpoint);
        *checkpoint = NULL;
        return vlm_fail_memory(error, sizeof **checkpoint, path);
    }
    (*checkpoint)->path = copy;
    return VLM_OK;
}

/* One file, or an index and the shards in its folder. */
static vlm_status open_file(vlm_checkpoint **checkpoint, const char *path, vlm_error *error)
{
    vlm_status status = create(checkpoint, path, error);
    if (status != VLM_OK)
        return status;
    if (ends_with(path, ".index.json")) {
        const char *slash = strrchr(path, '/');
        char *folder = slash ? vlm_copy_text(path, (size_t)(slash - path) + 1) : vlm_copy_text("", 0);
        status = folder ? read_index(*checkpoint, folder, error) : vlm_fail_memory(error, strlen(path), path);
        free(folder);
    } else {
        status = read_file(*checkpoint, path, error);
        if (status == VLM_OK)
            status = finish(*checkpoint, error);
    }
    if (status != VLM_OK) {
        vlm_checkpoint_close(*checkpoint);
        *checkpoint = NULL;
    }
    return status;
}

vlm_status vlm_checkpoint_open_named(vlm_checkpoint **checkpoint, const char *folder, const char *const *names,
                                     size_t n_names, vlm_error *error)
{
    *checkpoint = NULL;
    for (size_t i = 0; i < n_names; i++) {
        if (!vlm_folder_has(folder, names[i]))
            continue;
        char *path = vlm_join_path(folder, names[i]);
        if (!path)
            return vlm_fail_memory(error, strlen(folder), folder);
        vlm_status status = open_file(checkpoint, path, error);
        free(path);
        return status;
    }
    vlm_text looked = {0};
    for (size_t i = 0; i < n_names; i++)
        vlm_text_printf(&looked, "%s%s", i ? ", " : "", names[i]);
    vlm_status status = vlm_is_folder(folder)
                            ? vlm_fail(error, VLM_ERR_IO, "%s: no checkpoint in this folder; looked for %s", folder, looked.data ? looked.data : "")
                            : vlm_fail(error, VLM_ERR_IO, "%s: no such folder", folder);
    vlm_text_free(&looked);
    return status;
}

vlm_status vlm_checkpoint_open(vlm_checkpoint **checkpoint, const char *path, vlm_error *error)
{
    *checkpoint = NULL;
    if (vlm_is_folder(path))
        return vlm_checkpoint_open_named(checkpoint, path, default_names, N_DEFAULT_NAMES, error);
    return open_file(checkpoint, path, error);
}

vlm_status vlm_checkpoint_open_memory(vlm_checkpoint **checkpoint, const void *bytes, size_t size, const char *name,
                                      vlm_error *error)
{
    vlm_status status = create(checkpoint, name, error);
    if (status != VLM_OK)
        return status;
    status = read_bytes(&(*checkpoint)->list, bytes, size, name, error);
    if (status == VLM_OK)
        status = finish(*checkpoint, error);
    if (status != VLM_OK) {
        vlm_checkpoint_close(*checkpoint);
        *checkpoint = NULL;
    }
    return status;
}

void vlm_checkpoint_close(vlm_checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    for (size_t i = 0; i < checkpoint->n_files; i++)
        vlm_unmap(&checkpoint->files[i]);
    free(checkpoint->files);
    free(checkpoint->path);
    vlm_entry_list_free(&checkpoint->list);
    free(checkpoint);
}

bool vlm_checkpoint_exists(const char *folder)
{
    bool found = false;
    for (size_t i = 0; i < N_DEFAULT_NAMES && !found; i++)
        found = vlm_folder_has(folder, default_names[i]);
    return found;
}

const vlm_entry *vlm_checkpoint_find(const vlm_checkpoint *checkpoint, const char *name)
{
    const vlm_entry key = {.name = name};
    const vlm_entry_list *list = &checkpoint->list;
    return list->count ? bsearch(&key, list->items, list->count, sizeof *list->items, compare_entries) : NULL;
}

vlm_status vlm_checkpoint_get(const vlm_entry **entry, const vlm_checkpoint *checkpoint, const char *name, vlm_error *error)
{
    *entry = vlm_checkpoint_find(checkpoint, name);
    if (!*entry)
        return vlm_fail(error, VLM_ERR_MISMATCH, "%s: there is no tensor %s in it; is this the checkpoint for this config?",
                        checkpoint->path, name);
    if ((*entry)->type == VLM_DTYPES)
        return vlm_fail(error, VLM_ERR_UNSUPPORTED, "%s: tensor %s is of type %s, which is not computed with; float32, float16 "
                        "or bfloat16 is wanted", checkpoint->path, name, (*entry)->type_name);
    return VLM_OK;
}

size_t vlm_checkpoint_count(const vlm_checkpoint *checkpoint)
{
    return checkpoint->list.count;
}

const vlm_entry *vlm_checkpoint_at(const vlm_checkpoint *checkpoint, size_t i)
{
    return i < checkpoint->list.count ? &checkpoint->list.items[i] : NULL;
}

size_t vlm_checkpoint_bytes(const vlm_checkpoint *checkpoint)
{
    return checkpoint->bytes;
}

const char *vlm_checkpoint_path(const vlm_checkpoint *checkpoint)
{
    return checkpoint->path;
}

const char *vlm_checkpoint_metadata(const vlm_checkpoint *checkpoint, const char *key)
{
    for (size_t i = 0; i + 1 < checkpoint->list.n_metadata; i += 2)
        if (strcmp(checkpoint->list.metadata[i], key) == 0)
            return checkpoint->list.metadata[i + 1];
    return NULL;
}
