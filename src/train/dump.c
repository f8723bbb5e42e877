/* Dumps of training steps: copies, since the next step overwrites what they show. */
#include "train/dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/memory.h"
#include "formats/safetensors.h"
#include "train/save.h"

/* Room for an entry's values; the entry is listed under "step.<i>.<name>". NULL: out of memory. */
static void *add(vlm_dump *dump, const char *name, vlm_dtype type, size_t n_dims, const size_t *shape)
{
    vlm_entry entry = {.type = type, .n_dims = n_dims, .n = 1};
    size_t length = strlen(name) + 40;
    char *full = vlm_arena_alloc(&dump->values, length, 1);
    for (size_t i = 0; i < n_dims; i++)
        entry.n *= entry.shape[i] = shape[i];
    entry.bytes = entry.n * vlm_dtype_size(type);
    void *values = vlm_arena_alloc(&dump->values, entry.bytes, 1);
    if (!full || !values || !vlm_grow(&dump->entries, &dump->capacity, dump->n + 1, sizeof entry))
        return NULL;
    snprintf(full, length, "step.%zu.%s", dump->n_steps, name);
    entry.name = full;
    entry.data = values;
    dump->entries[dump->n++] = entry;
    return values;
}

static bool add_copy(vlm_dump *dump, const char *name, vlm_dtype type, size_t n_dims, const size_t *shape, const void *data)
{
    void *values = add(dump, name, type, n_dims, shape);
    if (values)
        memcpy(values, data, dump->entries[dump->n - 1].bytes);
    return values != NULL;
}

static bool add_texts(vlm_dump *dump, const vlm_batch *batch)
{
    size_t longest = 0;
    for (size_t i = 0; i < batch->n_texts; i++)
        if (batch->starts[i + 1] - batch->starts[i] > longest)
            longest = batch->starts[i + 1] - batch->starts[i];
    int32_t *ids = add(dump, "ids", VLM_I32, 2, (size_t[]){batch->n_texts, longest});
    for (size_t i = 0; ids && i < batch->n_texts; i++)
        for (size_t j = 0; j < longest; j++) {
            size_t at = batch->starts[i] + j;
            ids[i * longest + j] = at < batch->starts[i + 1] ? batch->ids[at] : -1;
        }
    return ids && add_copy(dump, "groups", VLM_I32, 1, &batch->n_texts, batch->groups);
}

static bool add_gradients(vlm_dump *dump, const vlm_network *network)
{
    bool fine = true;
    for (size_t i = 0; i < network->n_parameters_listed && fine; i++)
        for (size_t part = 0; part < network->parameters[i].n_parts && fine; part++) {
            char name[600];
            vlm_entry entry = vlm_parameter_entry(&network->parameters[i], part, network->parameters[i].tensor->grad);
            snprintf(name, sizeof name, "gradient.%s", entry.name);
            fine = add_copy(dump, name, VLM_F32, entry.n_dims, entry.shape, entry.data);
        }
    return fine;
}

vlm_status vlm_dump_step(vlm_dump *dump, const vlm_network *network, const vlm_batch *batch, size_t height, size_t width, double loss, vlm_error *error)
{
    float value = (float)loss;
    bool fine = add_copy(dump, "loss", VLM_F32, 0, NULL, &value) && add_copy(dump, "pixels", VLM_F32, 4, (size_t[]){batch->n, 3, height, width}, batch->pixels) &&
                add_copy(dump, "labels", VLM_I32, 1, &batch->n, batch->labels) && (!batch->n_texts || add_texts(dump, batch)) && add_gradients(dump, network);
    dump->n_steps++;
    return fine ? VLM_OK : vlm_fail_memory(error, 0, "a dump of gradients");
}

vlm_status vlm_dump_write(const vlm_dump *dump, const char *path, vlm_error *error)
{
    static const char *const metadata[][2] = {{"format", "pt"}};
    return vlm_safetensors_write(path, dump->entries, dump->n, metadata, 1, error);
}

void vlm_dump_free(vlm_dump *dump)
{
    free(dump->entries);
    vlm_arena_free(&dump->values);
    *dump = (vlm_dump){0};
}
