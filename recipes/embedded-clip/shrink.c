/* A trained model -> what the library carries: its weights as f16, its other files as they are.
 * shrink MODEL OUT [KEY=VALUE]...   the pairs (commit, command) go into the file's metadata */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "kernels/kernels.h"

enum { MAX_METADATA = 8 };

static _Noreturn void die(const char *message)
{
    fprintf(stderr, "shrink: %s\n", message);
    exit(1);
}

static void check(vlm_status status, const vlm_error *error)
{
    if (status)
        die(error->message);
}

static char *path_in(const char *folder, const char *name)
{
    char *path = vlm_join_path(folder, name);
    if (!path)
        die("out of memory");
    return path;
}

static void shrink_weights(const char *from, const char *to, const char *const (*metadata)[2], size_t n_metadata)
{
    vlm_error error = {0};
    vlm_checkpoint *checkpoint;
    char *in = path_in(from, "model.safetensors"), *out = path_in(to, "model.safetensors");
    check(vlm_checkpoint_open(&checkpoint, in, &error), &error);
    size_t n = vlm_checkpoint_count(checkpoint), kept = 0;
    vlm_entry *entries = vlm_alloc_zero(n, sizeof *entries);
    if (!entries)
        die("out of memory");
    for (size_t i = 0; i < n; i++) {
        const vlm_entry *entry = vlm_checkpoint_at(checkpoint, i);
        if (entry->type != VLM_F32) /* position ids: they are 0, 1, 2 ... */
            continue;
        uint16_t *half = vlm_alloc(entry->n, sizeof *half);
        float *values = vlm_alloc(entry->n, sizeof *values);
        if (!half || !values)
            die("out of memory");
        vlm_convert_to_f32(values, entry->data, entry->type, entry->n); /* the file's may be unaligned */
        vlm_kernels_get()->f32_to_f16(half, values, entry->n);
        free(values);
        entries[kept] = *entry;
        entries[kept].type = VLM_F16;
        entries[kept].bytes = 2 * entry->n;
        entries[kept++].data = half;
    }
    check(vlm_safetensors_write(out, entries, kept, metadata, n_metadata, &error), &error);
    for (size_t i = 0; i < kept; i++)
        free((void *)entries[i].data);
    free(entries);
    free(in);
    free(out);
    vlm_checkpoint_close(checkpoint);
}

/* config.json with "dtype" as the weights have it now. */
static void copy_config(const char *from, const char *to)
{
    vlm_error error = {0};
    json_t *config;
    char *in = path_in(from, "config.json"), *out = path_in(to, "config.json");
    check(vlm_json_read(&config, in, &error), &error);
    json_object_set_new(config, "dtype", json_string("float16"));
    char *text = json_dumps(config, JSON_INDENT(2) | JSON_SORT_KEYS);
    if (!text)
        die("out of memory");
    check(vlm_write_file(out, text, strlen(text), &error), &error);
    free(text);
    free(in);
    free(out);
    json_decref(config);
}

static void copy_file(const char *from, const char *to, const char *name)
{
    vlm_error error = {0};
    vlm_mapping file = {0};
    char *in = path_in(from, name), *out = path_in(to, name);
    check(vlm_map_file(&file, in, &error), &error);
    check(vlm_write_file(out, file.data, file.size, &error), &error);
    vlm_unmap(&file);
    free(in);
    free(out);
}

int main(int argc, char **argv)
{
    const char *metadata[MAX_METADATA][2] = {{"format", "pt"}};
    size_t n = 1;
    if (argc < 3) {
        fprintf(stderr, "usage: shrink MODEL OUT [KEY=VALUE]...\n");
        return 2;
    }
    for (int i = 3; i < argc && n < MAX_METADATA; i++) {
        char *value = strchr(argv[i], '=');
        if (!value)
            die("KEY=VALUE was expected");
        *value++ = 0;
        metadata[n][0] = argv[i];
        metadata[n++][1] = value;
    }
    shrink_weights(argv[1], argv[2], metadata, n);
    copy_config(argv[1], argv[2]);
    copy_file(argv[1], argv[2], "tokenizer.json");
    copy_file(argv[1], argv[2], "tokenizer_config.json");
    copy_file(argv[1], argv[2], "preprocessor_config.json");
    return 0;
}
