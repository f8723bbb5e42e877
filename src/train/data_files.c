/* Datasets of picture files: folders with captions in a sidecar, a folder per class; tables (data_table.c) fill
 * the same list. Captions are held in memory, pictures are read when they are asked for. */
#include "train/data_files.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/memory.h"
#include "formats/json.h"

enum { DEEPEST_FOLDER = 32 };

static void close_files(vlm_dataset *base)
{
    vlm_file_dataset *dataset = (vlm_file_dataset *)base;
    free(dataset->items);
    free(dataset->captions);
    free(dataset->labels);
    vlm_arena_free(&dataset->texts);
    free(dataset);
}

/* The caption that falls to this sample, then the picture: a stream each, so that asking for the caption
 * alone gives the same one. */
static vlm_status sample_file(const vlm_dataset *base, const vlm_sample_key *key, vlm_sample *sample, vlm_error *error)
{
    const vlm_file_dataset *dataset = (const vlm_file_dataset *)base;
    const vlm_file_item *item = &dataset->items[key->item];
    vlm_random random;
    vlm_random_seed_stream(&random, key->seed, 2 * key->index);
    sample->group = -1;
    sample->label = item->label;
    sample->caption.length = 0;
    if (item->n_captions)
        vlm_text_puts(&sample->caption, dataset->captions[item->first_caption + (size_t)vlm_random_below(&random, item->n_captions)]);
    if (sample->caption.failed)
        return vlm_fail_memory(error, 0, "a caption");
    if (!sample->pixels)
        return VLM_OK;
    vlm_image *image;
    vlm_status status = vlm_image_open(&image, item->path, NULL, error);
    if (status != VLM_OK)
        return status;
    vlm_random_seed_stream(&random, key->seed, 2 * key->index + 1);
    status = vlm_augment(sample->pixels, base->image_height, base->image_width, &dataset->augmentation, image, &random, error);
    vlm_image_free(image);
    return status;
}

vlm_status vlm_file_dataset_create(vlm_file_dataset **out, const vlm_data_options *options, vlm_error *error)
{
    vlm_file_dataset *dataset = *out = vlm_alloc_zero(1, sizeof *dataset);
    if (!dataset)
        return vlm_fail_memory(error, sizeof *dataset, "a dataset");
    dataset->base = (vlm_dataset){.image_height = options->image_height, .image_width = options->image_width, .sample = sample_file, .close = close_files};
    vlm_status status = vlm_augmentation_parse(&dataset->augmentation, options->augmentation, options->where, error);
    if (status != VLM_OK) {
        close_files(&dataset->base);
        *out = NULL;
    }
    return status;
}

vlm_status vlm_file_dataset_add(vlm_file_dataset *dataset, const char *folder, const char *name, vlm_error *error)
{
    bool alone = !*folder || *name == '/';
    size_t n = strlen(folder), length = strlen(name);
    char *path = vlm_arena_alloc(&dataset->texts, length + 1 + (alone ? 0 : n + 1), 1);
    if (!path || !vlm_grow(&dataset->items, &dataset->items_capacity, dataset->n_items + 1, sizeof *dataset->items))
        return vlm_fail_memory(error, length, "the list of pictures");
    if (!alone) {
        memcpy(path, folder, n);
        path[n] = '/';
    }
    memcpy(path + (alone ? 0 : n + 1), name, length + 1);
    dataset->items[dataset->n_items++] = (vlm_file_item){path, dataset->n_captions, 0, -1};
    return VLM_OK;
}

vlm_status vlm_file_dataset_add_caption(vlm_file_dataset *dataset, const char *text, size_t length, vlm_error *error)
{
    char *copy = vlm_arena_copy_text(&dataset->texts, text, length);
    if (!copy || !vlm_grow(&dataset->captions, &dataset->captions_capacity, dataset->n_captions + 1, sizeof *dataset->captions))
        return vlm_fail_memory(error, length, "the captions");
    dataset->captions[dataset->n_captions++] = copy;
    dataset->items[dataset->n_items - 1].n_captions++;
    return VLM_OK;
}

vlm_status vlm_file_dataset_label(vlm_file_dataset *dataset, const char *text, size_t length, int32_t *label, vlm_error *error)
{
    for (size_t i = dataset->n_labels; i-- > 0;) /* from the last: files of a class stand together */
        if (strncmp(dataset->labels[i], text, length) == 0 && dataset->labels[i][length] == 0) {
            *label = (int32_t)i;
            return VLM_OK;
        }
    char *copy = vlm_arena_copy_text(&dataset->texts, text, length);
    if (!copy || dataset->n_labels >= INT32_MAX || !vlm_grow(&dataset->labels, &dataset->labels_capacity, dataset->n_labels + 1, sizeof *dataset->labels))
        return vlm_fail_memory(error, length, "the labels");
    *label = (int32_t)dataset->n_labels;
    dataset->labels[dataset->n_labels++] = copy;
    return VLM_OK;
}

static int compare_labels(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Labels in byte order, and the items' numbers with them. */
static vlm_status sort_labels(vlm_file_dataset *dataset, vlm_error *error)
{
    const char **before = vlm_alloc(dataset->n_labels, sizeof *before);
    if (!before)
        return vlm_fail_memory(error, dataset->n_labels * sizeof *before, "the labels");
    memcpy(before, dataset->labels, dataset->n_labels * sizeof *before);
    qsort(dataset->labels, dataset->n_labels, sizeof *dataset->labels, compare_labels);
    for (size_t i = 0; i < dataset->n_items; i++) {
        const char *const *place = bsearch(&before[dataset->items[i].label], dataset->labels, dataset->n_labels, sizeof *dataset->labels, compare_labels);
        dataset->items[i].label = (int32_t)(place - dataset->labels);
    }
    free(before);
    return VLM_OK;
}

vlm_status vlm_file_dataset_finish(vlm_file_dataset *dataset, const char *path, vlm_error *error)
{
    if (!dataset->n_items)
        return vlm_fail(error, VLM_ERR_ARGUMENT, "%s: there are no pictures", path);
    vlm_status status = dataset->n_labels ? sort_labels(dataset, error) : VLM_OK;
    dataset->base.n_items = dataset->n_items;
    dataset->base.n_labels = dataset->n_labels;
    dataset->base.labels = dataset->labels;
    return status;
}

bool vlm_is_picture_name(const char *name)
{
    static const char *const extensions[] = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        size_t m = strlen(extensions[i]);
        if (n > m && strcasecmp(name + n - m, extensions[i]) == 0)
            return true;
    }
    return false;
}

/* ---- captions in a sidecar: a.jpg beside a.txt, a caption a line --------------------------------------- */

static vlm_status read_sidecar(vlm_file_dataset *dataset, vlm_error *error)
{
    const char *path = dataset->items[dataset->n_items - 1].path;
    size_t stem = (size_t)(strrchr(path, '.') - path);
    char *sidecar = vlm_alloc(stem + 5, 1);
    if (!sidecar)
        return vlm_fail_memory(error, stem, "a caption's path");
    memcpy(sidecar, path, stem);
    memcpy(sidecar + stem, ".txt", 5);
    vlm_mapping file;
    vlm_status status = vlm_map_file(&file, sidecar, error);
    if (status != VLM_OK) {
        free(sidecar);
        return vlm_fail_prefix(error, "%s has no captions beside it", path);
    }
    const char *text = (const char *)file.data;
    for (size_t first = 0; first < file.size && status == VLM_OK;) {
        size_t last = first;
        while (last < file.size && text[last] != '\n')
            last++;
        size_t begin = first, end = last;
        while (begin < end && (unsigned char)text[begin] <= ' ')
            begin++;
        while (end > begin && (unsigned char)text[end - 1] <= ' ')
            end--;
        if (end > begin && memchr(text + begin, 0, end - begin))
            status = vlm_fail(error, VLM_ERR_FORMAT, "%s: a caption holds a NUL byte; text in UTF-8 is wanted", sidecar);
        else if (end > begin)
            status = vlm_file_dataset_add_caption(dataset, text + begin, end - begin, error);
        first = last + 1;
    }
    if (status == VLM_OK && !dataset->items[dataset->n_items - 1].n_captions)
        status = vlm_fail(error, VLM_ERR_FORMAT, "%s: no caption in it; one a line is wanted", sidecar);
    vlm_unmap(&file);
    free(sidecar);
    return status;
}

typedef vlm_status add_function(vlm_file_dataset *dataset, const char *folder, const char *name, void *user, vlm_error *error);

/* Every picture below a folder, in byte order. */
static vlm_status walk(vlm_file_dataset *dataset, const char *folder, size_t depth, add_function *add, void *user, vlm_error *error)
{
    char **names = NULL;
    size_t n = 0;
    if (depth > DEEPEST_FOLDER)
        return vlm_fail(error, VLM_ERR_LIMIT, "%s: folders within folders deeper than %d; is there a link in a circle?", folder, DEEPEST_FOLDER);
    vlm_status status = vlm_list_folder(&names, &n, folder, error);
    for (size_t i = 0; i < n && status == VLM_OK; i++) {
        char *path = vlm_join_path(folder, names[i]);
        if (!path)
            status = vlm_fail_memory(error, strlen(folder), "a path");
        else if (vlm_is_folder(path))
            status = walk(dataset, path, depth + 1, add, user, error);
        else if (vlm_is_picture_name(names[i]))
            status = add(dataset, folder, names[i], user, error);
        free(path);
    }
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return status;
}

static vlm_status add_with_sidecar(vlm_file_dataset *dataset, const char *folder, const char *name, void *user, vlm_error *error)
{
    (void)user;
    vlm_status status = vlm_file_dataset_add(dataset, folder, name, error);
    return status == VLM_OK ? read_sidecar(dataset, error) : status;
}

static vlm_status add_with_label(vlm_file_dataset *dataset, const char *folder, const char *name, void *user, vlm_error *error)
{
    vlm_status status = vlm_file_dataset_add(dataset, folder, name, error);
    if (status == VLM_OK)
        dataset->items[dataset->n_items - 1].label = *(const int32_t *)user;
    return status;
}

/* Create, fill by `fill`, finish; what was made is freed when one fails. */
typedef vlm_status fill_function(vlm_file_dataset *dataset, const vlm_data_options *options, vlm_error *error);

static vlm_status open_files(vlm_dataset **out, const vlm_data_options *options, fill_function *fill, vlm_error *error)
{
    static const char *const keys[] = {"kind"};
    vlm_file_dataset *dataset;
    *out = NULL;
    vlm_status status = vlm_config_check_keys(options->settings, keys, 1, "data", options->where, error);
    if (status == VLM_OK)
        status = vlm_file_dataset_create(&dataset, options, error);
    if (status != VLM_OK)
        return status;
    status = fill(dataset, options, error);
    if (status == VLM_OK)
        status = vlm_file_dataset_finish(dataset, options->path, error);
    if (status == VLM_OK)
        *out = &dataset->base;
    else
        close_files(&dataset->base);
    return status;
}

static vlm_status fill_folder(vlm_file_dataset *dataset, const vlm_data_options *options, vlm_error *error)
{
    return walk(dataset, options->path, 0, add_with_sidecar, NULL, error);
}

static vlm_status fill_classes(vlm_file_dataset *dataset, const vlm_data_options *options, vlm_error *error)
{
    char **names = NULL;
    size_t n = 0;
    vlm_status status = vlm_list_folder(&names, &n, options->path, error);
    for (size_t i = 0; i < n && status == VLM_OK; i++) {
        char *path = vlm_join_path(options->path, names[i]);
        int32_t label;
        if (!path)
            status = vlm_fail_memory(error, strlen(names[i]), "a path");
        else if (vlm_is_folder(path)) {
            status = vlm_file_dataset_label(dataset, names[i], strlen(names[i]), &label, error);
            if (status == VLM_OK)
                status = walk(dataset, path, 1, add_with_label, &label, error);
        }
        free(path);
    }
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return status;
}

vlm_status vlm_dataset_open_folder(vlm_dataset **dataset, const vlm_data_options *options, vlm_error *error)
{
    return open_files(dataset, options, fill_folder, error);
}

vlm_status vlm_dataset_open_classes(vlm_dataset **dataset, const vlm_data_options *options, vlm_error *error)
{
    return open_files(dataset, options, fill_classes, error);
}
