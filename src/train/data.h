/* Training data: where pictures and captions come from, whatever the source. A dataset is asked for samples by
 * number; all that is random about a sample follows from (seed, index), so that a resumed run sees the same
 * pictures as an uninterrupted one, whatever thread makes them.
 * Sources: folders with captions in a sidecar, CSV and TSV, a folder per class (data_files.c), and drawings
 * composed into scenes (scenes.c). */
#ifndef VLM_TRAIN_DATA_H
#define VLM_TRAIN_DATA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/random.h"
#include "base/text.h"
#include "base/threads.h"
#include "vlm/error.h"

/* Which sample of a run is wanted. */
typedef struct vlm_sample_key {
    uint64_t seed;   /* of the run */
    uint64_t index;  /* counts the samples of the run from 0: step * batch + place in the batch */
    uint64_t epoch;  /* index / n_items */
    size_t item;     /* 0 .. n_items - 1: the loader's permutation of the epoch; each item comes once an epoch */
    double progress; /* 0 .. 1: how much of the run is done, for curricula */
} vlm_sample_key;

/* What a sample is made of; the buffers are the loader's. */
typedef struct vlm_sample {
    float *pixels;    /* [3, image_height, image_width], red, green, blue, 0..1, before mean and std are applied */
    vlm_text caption; /* empty when asked; UTF-8. Not used by datasets with labels alone */
    int32_t group;    /* samples of one group in a batch are positives of each other; -1: alone */
    int32_t label;    /* class of a labelled dataset, else -1 */
} vlm_sample;

typedef struct vlm_dataset vlm_dataset;

struct vlm_dataset {
    size_t n_items;                  /* of an epoch, > 0 */
    size_t image_height, image_width;
    size_t n_labels;                 /* 0: no labels */
    const char *const *labels;       /* [n_labels], owned by the dataset */
    /* Fill a sample. Called from several threads at once: the dataset does not change. A picture that
     * cannot be read is an error that names it. */
    vlm_status (*sample)(const vlm_dataset *dataset, const vlm_sample_key *key, vlm_sample *sample, vlm_error *error);
    /* A further text as a negative for the pictures of a batch: caption and group are filled, pixels is NULL.
     * key->index is that of the batch's first sample, `place` counts the negatives of the batch.
     * NULL: the dataset has none. */
    vlm_status (*negative)(const vlm_dataset *dataset, const vlm_sample_key *key, size_t place, vlm_sample *sample, vlm_error *error);
    void (*close)(vlm_dataset *dataset); /* frees the dataset itself too */
};

typedef struct vlm_data_options {
    const char *path;         /* --data */
    const json_t *settings;   /* the config's "data" object (may be NULL): "kind" and the keys of that kind */
    const json_t *augmentation; /* the config's "augmentation" object, or NULL */
    const char *where;        /* what errors call the config */
    size_t image_height, image_width;
    double mean[3];           /* of the model's pixels, 0..1: what a padding border is filled with */
    bool labels;              /* wanted: classes (vlm train vit); else captions */
    vlm_threads *threads;     /* may be used while opening; may be NULL */
} vlm_data_options;

/* Open `path` as the settings' "kind" says: "auto" (the default), "folder", "csv", "tsv", "classes",
 * "scenes". auto: by what is there. Close with vlm_dataset_close. */
vlm_status vlm_dataset_open(vlm_dataset **dataset, const vlm_data_options *options, vlm_error *error);
void vlm_dataset_close(vlm_dataset *dataset); /* NULL allowed */

/* The kinds, each in its file. An unknown key of the settings is an error that names it (vlm_config_check_keys
 * below); "kind" is known to all. */
vlm_status vlm_dataset_open_folder(vlm_dataset **dataset, const vlm_data_options *options, vlm_error *error);
vlm_status vlm_dataset_open_table(vlm_dataset **dataset, const vlm_data_options *options, vlm_error *error);
vlm_status vlm_dataset_open_classes(vlm_dataset **dataset, const vlm_data_options *options, vlm_error *error);
/* scenes.c: drawings of several artists composed into scenes. */
vlm_status vlm_dataset_open_scenes(vlm_dataset **dataset, const vlm_data_options *options, vlm_error *error);
/* auto asks this: does the path hold a set of drawings for scenes? */
bool vlm_scenes_detect(const char *path);

/* The place of number i among n in the shuffled order of (seed, epoch): a permutation of 0 .. n - 1 that is
 * computed value by value, so that a resumed run needs no state. */
size_t vlm_shuffle(uint64_t seed, uint64_t epoch, size_t i, size_t n);

/* An error that names the first key of object (NULL allowed) that is not in the list of n known keys. */
vlm_status vlm_config_check_keys(const json_t *object, const char *const *known, size_t n, const char *section, const char *where, vlm_error *error);

#endif
