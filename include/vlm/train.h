/* Training: CLIP by contrast, ViT with labels, from nothing or from a model. docs/training.md describes the
 * config and the data.
 *
 * A run writes one folder in the transformers layout (config.json, model.safetensors, tokenizer, preprocessor) that
 * every reader of models takes as it is, beside it the optimiser's state, state.json and log.jsonl. Each file
 * appears whole or not at all, so that an interrupted run keeps its last checkpoint; a resumed run equals an
 * uninterrupted one bit for bit, and so do runs with different numbers of threads. */
#ifndef VLM_TRAIN_H
#define VLM_TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vlm/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vlm_train_options {
    const char *data;   /* a folder, a .csv or .tsv file; see docs/training.md */
    const char *config; /* a JSON file */
    const char *output; /* the folder; made when it is not there */
    bool resume;        /* go on from the folder's checkpoint; from the beginning when it has none */
    const char *init;   /* NULL, or a model to begin from: a folder in the transformers layout or a hub name */
    size_t n_threads;   /* 0: as many as the process may run on */
    /* what the config says, unless these are set */
    size_t steps, batch; /* 0: as the config says */
    bool has_seed;
    uint64_t seed;
    double max_seconds; /* > 0: stop with a checkpoint after the first step that ends later */
    const char *dump;   /* NULL, or a safetensors file for the batch, loss and gradients of the first steps */
    size_t dump_steps;  /* how many; 0: one */
} vlm_train_options;

/* After each step, and after each checkpoint. */
typedef struct vlm_train_progress {
    size_t step, steps;    /* steps done, of all */
    double loss, rate, gradient_norm, temperature; /* temperature: 1 / exp(logit_scale); 0 for ViT */
    double samples_per_second; /* over the last steps */
    bool saved;            /* a checkpoint was written after this step */
    const char *log;       /* path of log.jsonl */
} vlm_train_progress;

/* Return false to stop: the checkpoint is written and the call succeeds. */
typedef bool vlm_train_function(void *user, const vlm_train_progress *progress);

/* Train. progress may be NULL. Errors: VLM_ERR_ARGUMENT (config, data), _IO, _FORMAT, _MISMATCH (a checkpoint that is
 * not this run's), _MEMORY; VLM_ERR_LIMIT when the loss is no longer a number. */
VLM_API vlm_status vlm_train_clip(const vlm_train_options *options, vlm_train_function *progress, void *user, vlm_error *error);
VLM_API vlm_status vlm_train_vit(const vlm_train_options *options, vlm_train_function *progress, void *user, vlm_error *error);

/* One optimiser step of a model (a folder with config.json, or a hub name; its weights are not needed) on random
 * data, to be timed. precision: "f32" (NULL too) or "bf16". */
typedef struct vlm_train_bench vlm_train_bench;
VLM_API vlm_status vlm_train_bench_open(vlm_train_bench **bench, const char *model, size_t batch, size_t n_threads, const char *precision, vlm_error *error);
/* AdamW, as the peers that it is compared with. */
VLM_API vlm_status vlm_train_bench_step(vlm_train_bench *bench, double *seconds, vlm_error *error);
VLM_API void vlm_train_bench_close(vlm_train_bench *bench);

#ifdef __cplusplus
}
#endif
#endif
