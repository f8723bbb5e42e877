/* The config of a run (docs/training.md): one JSON file with model, tokenizer, pixels, data, augmentation, train. */
#ifndef VLM_TRAIN_CONFIG_H
#define VLM_TRAIN_CONFIG_H

#include <jansson.h>

#include "train/batch.h"
#include "train/optimizer.h"
#include "train/schedule.h"

typedef struct vlm_train_config {
    json_t *root;                     /* owned; what follows is borrowed from it */
    const char *where;                /* the file, for messages; borrowed from the caller */
    const json_t *model, *tokenizer, *data, *augmentation, *pixels; /* NULL where the file has none */

    size_t batch, negatives, steps, epochs; /* one of steps and epochs is 0 */
    uint64_t seed;
    vlm_optimizer_options optimizer;
    double rate, muon_rate, gradient_clip;  /* gradient_clip 0: none */
    vlm_schedule schedule;                  /* steps are filled when they are known */
    double warm_up;                         /* below 1: a part of the steps; else steps */
    vlm_positives positives;
    double label_smoothing, logit_scale;
    bool sine_positions;
    vlm_dtype precision;                    /* of the products: VLM_F32 or VLM_BF16 */
    size_t checkpoint_every, log_every;     /* steps; checkpoint_every 0: at the end alone */

    double mean[3], std[3];
} vlm_train_config;

/* clip: defaults of CLIP (betas, mean, std); else of ViT. Unknown keys are errors that name them.
 * Release with vlm_train_config_free. */
vlm_status vlm_train_config_read(vlm_train_config *config, const char *path, bool clip, vlm_error *error);
vlm_status vlm_train_config_parse(vlm_train_config *config, json_t *root, const char *where, bool clip, vlm_error *error);
void vlm_train_config_free(vlm_train_config *config);

#endif
