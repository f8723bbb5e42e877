/* A dataset that is a list of picture files with captions or a class each. */
#ifndef VLM_TRAIN_DATA_FILES_H
#define VLM_TRAIN_DATA_FILES_H

#include "base/arena.h"
#include "train/augment.h"
#include "train/data.h"

typedef struct vlm_file_item {
    const char *path;
    size_t first_caption, n_captions; /* in captions */
    int32_t label;
} vlm_file_item;

typedef struct vlm_file_dataset {
    vlm_dataset base; /* first: a vlm_dataset is handed out */
    vlm_augmentation augmentation;
    vlm_file_item *items;
    size_t n_items, items_capacity;
    const char **captions;
    size_t n_captions, captions_capacity;
    const char **labels;
    size_t n_labels, labels_capacity;
    vlm_arena texts;
} vlm_file_dataset;

vlm_status vlm_file_dataset_create(vlm_file_dataset **dataset, const vlm_data_options *options, vlm_error *error);
/* Add a picture; its captions and label follow by the functions below. path is folder + "/" + name (folder "" or
 * an absolute name: the name alone). */
vlm_status vlm_file_dataset_add(vlm_file_dataset *dataset, const char *folder, const char *name, vlm_error *error);
/* A caption of the picture added last. */
vlm_status vlm_file_dataset_add_caption(vlm_file_dataset *dataset, const char *text, size_t length, vlm_error *error);
/* The number of a label in the order of appearance; a new one is added. */
vlm_status vlm_file_dataset_label(vlm_file_dataset *dataset, const char *text, size_t length, int32_t *label, vlm_error *error);
/* All has been added: sort the labels, fill what the interface shows, refuse an empty list. */
vlm_status vlm_file_dataset_finish(vlm_file_dataset *dataset, const char *path, vlm_error *error);

/* Does the name end as a picture's does? */
bool vlm_is_picture_name(const char *name);

#endif
