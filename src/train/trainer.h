/* A network with all that one step of training needs. */
#ifndef VLM_TRAIN_TRAINER_H
#define VLM_TRAIN_TRAINER_H

#include "train/batch.h"
#include "train/config.h"
#include "train/optimizer.h"

typedef struct vlm_step_result {
    double loss, gradient_norm, rate, temperature;
} vlm_step_result;

typedef struct vlm_trainer {
    const vlm_train_config *config; /* borrowed */
    vlm_threads *threads;           /* borrowed */
    vlm_network *network;           /* borrowed */
    vlm_optimizer *optimizer;
    vlm_context context;
    bool clip; /* contrast; else labels */
} vlm_trainer;

vlm_status vlm_trainer_create(vlm_trainer **trainer, const vlm_train_config *config, vlm_network *network, vlm_threads *threads, vlm_error *error);
void vlm_trainer_free(vlm_trainer *trainer);

/* Loss and gradients of a batch; the gradients stay in the parameters' grad. */
vlm_status vlm_trainer_gradients(vlm_trainer *trainer, const vlm_batch *batch, vlm_step_result *result, vlm_error *error);
/* Clip and step; step counts from 0. */
vlm_status vlm_trainer_update(vlm_trainer *trainer, size_t step, vlm_step_result *result, vlm_error *error);

#endif
