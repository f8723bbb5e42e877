/* The model of a run: its config completed by what tokenizer and data say, and the network made from it. */
#ifndef VLM_TRAIN_MODEL_CONFIG_H
#define VLM_TRAIN_MODEL_CONFIG_H

#include "train/config.h"

/* A fresh config.json: `base` (the config's "model", or a checkpoint's config.json) with the keys that
 * transformers needs, the tokenizer's ids and sizes (tokenizer NULL: none), or the labels (n_labels 0: none). */
vlm_status vlm_complete_model(json_t **model, const json_t *base, const char *where, const vlm_tokenizer *tokenizer, const char *const *labels, size_t n_labels, vlm_error *error);

/* The picture's size that a model takes. */
vlm_status vlm_model_image_size(size_t *height, size_t *width, const json_t *model, const char *where, vlm_error *error);

/* A network for training. from NULL: initialised as config says; else the values of the folder's checkpoint.
 * A classifier whose labels differ from the folder's begins anew. */
vlm_status vlm_make_network(vlm_network **network, const json_t *model, const char *from, const vlm_train_config *config, vlm_threads *threads, vlm_error *error);

#endif
