/* Checkpoints of a run: one folder that is a model in the transformers layout, with the optimiser's state beside. */
#ifndef VLM_TRAIN_SAVE_H
#define VLM_TRAIN_SAVE_H

#include <jansson.h>

#include "train/trainer.h"
#include "train/words.h"

/* What a checkpoint says of the run that wrote it. */
typedef struct vlm_run_state {
    size_t step, steps, batch; /* step: done */
    uint64_t seed;
} vlm_run_state;

/* Everything that does not change: config.json, the tokenizer, preprocessor_config.json. words NULL: none. */
vlm_status vlm_save_description(const char *folder, const json_t *model, const vlm_train_config *config, const vlm_network *network, const vlm_words *words, vlm_error *error);
/* Weights, optimiser, state. An interruption at any point leaves the last checkpoint whole. */
vlm_status vlm_save_checkpoint(const char *folder, const vlm_trainer *trainer, const vlm_run_state *state, vlm_error *error);
/* The state of the folder's checkpoint. *found is false when it holds none. */
vlm_status vlm_load_state(const char *folder, vlm_run_state *state, bool *found, vlm_error *error);
/* The optimiser's moments of the checkpoint at state->step. */
vlm_status vlm_load_optimizer(const char *folder, vlm_optimizer *optimizer, const vlm_run_state *state, vlm_error *error);

/* A tensor of a network's parameter `part`, as the checkpoint names and shapes it; data stands at `values`,
 * of the parameter's first value. */
vlm_entry vlm_parameter_entry(const vlm_parameter *parameter, size_t part, const float *values);

#endif
