/* A model as it is open: what was found under its name, and what a pass needs. */
#ifndef VLM_PIPELINE_MODEL_H
#define VLM_PIPELINE_MODEL_H

#include <pthread.h>

#include "models/network.h"
#include "pipeline/pixels.h"
#include "tokens/tokenizer.h"
#include "vlm/vlm.h"

enum { VLM_MOST_CHECKPOINTS = 2 }; /* a model, and the dense layer that sentence-transformers keeps apart */

/* Where a language model's texts begin and end. */
typedef struct vlm_language_settings {
    int32_t begin; /* -1: no begin token */
    int32_t *ends; /* [n_ends] */
    size_t n_ends;
} vlm_language_settings;

struct vlm_model {
    char *path; /* resolved; NULL: embedded */
    const char *layout;
    vlm_network *network; /* NULL: only pixels or a tokenizer were asked for */
    vlm_checkpoint *checkpoints[VLM_MOST_CHECKPOINTS];
    size_t n_checkpoints;
    vlm_tokenizer *tokenizer;
    vlm_tokenizer *instruction_tokenizer; /* of InstructBLIP's Q-Former; NULL: none */
    vlm_language_settings language;
    size_t max_tokens; /* sentence-transformers' max_seq_length; 0: the tower's own */
    vlm_pixel_contract pixels;
    char pixel_line[512];
    vlm_threads *threads;
    vlm_context context;
    pthread_mutex_t lock; /* one pass at a time */
    vlm_model_info info;
};

/* structure.c: fill model->info from what was opened. */
void vlm_model_describe(vlm_model *model, vlm_dtype dtype);
/* open_language.c: fill model->language, and the instruction tokenizer, from a folder with a language model. */
vlm_status vlm_read_language_settings(vlm_model *model, const json_t *config, const char *folder, vlm_error *error);

#endif
