/* What all datasets share: opening by kind, the shuffled order, the check of a config's keys. */
#include "train/data.h"

#include <string.h>
#include <strings.h>

#include "base/fail.h"
#include "base/file.h"
#include "formats/json.h"

static bool ends_with(const char *path, const char *extension)
{
    size_t n = strlen(path), m = strlen(extension);
    return n > m && strcasecmp(path + n - m, extension) == 0;
}

/* What the path itself says. */
static const char *guess_kind(const vlm_data_options *options)
{
    if (vlm_scenes_detect(options->path))
        return "scenes";
    if (vlm_is_folder(options->path))
        return options->labels ? "classes" : "folder";
    return ends_with(options->path, ".tsv") ? "tsv" : "csv";
}

vlm_status vlm_dataset_open(vlm_dataset **dataset, const vlm_data_options *options, vlm_error *error)
{
    *dataset = NULL;
    const char *kind;
    vlm_status status = vlm_json_get_string(&kind, options->settings, "kind", "auto", options->where, error);
    if (status != VLM_OK)
        return status;
    if (!vlm_file_exists(options->path))
        return vlm_fail(error, VLM_ERR_IO, "%s: no such file or folder; --data names a folder of pictures or a .csv or .tsv file", options->path);
    if (strcmp(kind, "auto") == 0)
        kind = guess_kind(options);
    if (strcmp(kind, "folder") == 0)
        return vlm_dataset_open_folder(dataset, options, error);
    if (strcmp(kind, "csv") == 0 || strcmp(kind, "tsv") == 0)
        return vlm_dataset_open_table(dataset, options, error);
    if (strcmp(kind, "classes") == 0)
        return vlm_dataset_open_classes(dataset, options, error);
    if (strcmp(kind, "scenes") == 0)
        return vlm_dataset_open_scenes(dataset, options, error);
    return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: data.kind \"%s\" is not known; auto, folder, csv, tsv, classes or scenes is wanted", options->where, kind);
}

void vlm_dataset_close(vlm_dataset *dataset)
{
    if (dataset)
        dataset->close(dataset);
}

/* One round of a Feistel network on two halves of `bits` bits. */
static uint64_t mix(uint64_t x, uint64_t key)
{
    x = (x ^ key) * 0x9e3779b97f4a7c15u;
    x ^= x >> 32;
    x *= 0xd6e8feb86659fd93u;
    return x ^ x >> 29;
}

size_t vlm_shuffle(uint64_t seed, uint64_t epoch, size_t i, size_t n)
{
    unsigned bits = 1; /* of a half: the network permutes 0 .. 4^bits - 1 >= n */
    while (bits < 32 && (uint64_t)1 << (2 * bits) < n)
        bits++;
    uint64_t mask = ((uint64_t)1 << bits) - 1, x = i;
    do { /* walk the cycle until it comes back below n: four steps at most on average */
        uint64_t left = x >> bits, right = x & mask;
        for (unsigned round = 0; round < 6; round++) {
            uint64_t next = left ^ (mix(right, mix(seed + round, epoch)) & mask);
            left = right;
            right = next;
        }
        x = left << bits | right;
    } while (x >= n);
    return (size_t)x;
}

vlm_status vlm_config_check_keys(const json_t *object, const char *const *known, size_t n, const char *section, const char *where, vlm_error *error)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        size_t i = 0;
        while (i < n && strcmp(key, known[i]) != 0)
            i++;
        if (i == n)
            return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: \"%s\" is no key of \"%s\"; docs/training.md lists them", where, key, section);
    }
    return VLM_OK;
}
